"""The bank door: messages, published events, verbs and the errors of each in order of precedence.

`transfer` and `debit` answer as soon as the instruction is journalled (ACCEPTED): the bank is told by another process
of work, and what becomes of it is published. So these verbs are done (a record), refused (Refused, Invalid, NotFound)
or not answered (Unavailable, Unknown); what the *bank* says is in the record's state. The caller may choose
the id of what it makes: the same id with the same content gives the same record, `idempotency_key_reused` otherwise.
Who got no answer and wants it no longer asks for its `abort`: either it stands, or it never will.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, PageLimit, Reference, verb
from kessai.sdk.processing.api import EffectsPage, ListEffects

AMOUNT_MINOR_MAX = 9_999_999_999
"""What one instruction may move: ten digits of yen, as the Zengin records have them."""

AccountId = Annotated[str, msgspec.Meta(pattern=r"^bac_[0-9a-f]{32}$")]
InstructionId = Annotated[str, msgspec.Meta(pattern=r"^(btr|bdb)_[0-9a-f]{32}$")]
TransferId = Annotated[str, msgspec.Meta(pattern=r"^btr_[0-9a-f]{32}$")]
DebitId = Annotated[str, msgspec.Meta(pattern=r"^bdb_[0-9a-f]{32}$")]
Participant = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Yen = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX, description="whole yen")]
BankCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")]
BranchCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3}$")]
AccountNumber = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{7}$")]
HolderName = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
Cursor = Annotated[str, msgspec.Meta(max_length=128)]


class OwnerKind(StrEnum):
    """Whose bank account it is."""

    CUSTOMER = "customer"
    MERCHANT = "merchant"


class DepositType(StrEnum):
    """預金種目: the kind of bank account, as Zengin codes 1, 2 and 4 have it."""

    ORDINARY = "ordinary"
    """普通"""
    CURRENT = "current"
    """当座"""
    SAVINGS = "savings"
    """貯蓄"""


class InstructionKind(StrEnum):
    """What the bank is told to do."""

    TRANSFER = "transfer"
    """振込: push money out to the account."""
    DEBIT = "debit"
    """口座振替: pull money in from the account."""


class InstructionState(StrEnum):
    """Where an instruction stands. DONE is final for a debit; a transfer that is DONE may still be RETURNED."""

    ACCEPTED = "ACCEPTED"
    """Journalled here; the bank has not answered yet."""
    UNKNOWN = "UNKNOWN"
    """The bank's reply was lost; it is being inquired."""
    SENT = "SENT"
    """The bank has it and works on it (手続中)."""
    DONE = "DONE"
    """手続済: the money moved."""
    FAILED = "FAILED"
    """手続不成立: the money did not move; `failure_code` says why."""
    RETURNED = "RETURNED"
    """資金返却・組戻済: the money had left, and came back."""


class FailureCode(StrEnum):
    """Why an instruction failed or came back; the first six are the result codes 1–4, 8 and 9 of a 口座振替."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    NO_ACCOUNT = "no_account"
    STOPPED_BY_HOLDER = "stopped_by_holder"
    NO_MANDATE = "no_mandate"
    STOPPED_BY_CLIENT = "stopped_by_client"
    OTHER = "other"
    NAME_MISMATCH = "name_mismatch"
    ACCOUNT_CLOSED = "account_closed"
    LIMIT_EXCEEDED = "limit_exceeded"
    ABORTED = "aborted"
    """It was prevented before the bank was told, see `abort`."""


FINAL_STATES = frozenset({InstructionState.DONE, InstructionState.FAILED, InstructionState.RETURNED})

# -- requests ---------------------------------------------------------------------------------------------------


class RegisterBankAccount(Message):
    """Register a bank account; the bank is asked whether it exists and bears the holder's name (口座確認)."""

    owner_kind: OwnerKind
    owner_id: Participant
    """The customer or merchant."""
    bank_code: BankCode
    branch_code: BranchCode
    deposit_type: DepositType = DepositType.ORDINARY
    account_number: AccountNumber
    holder_name: HolderName
    """In kana or Latin letters; compared with the bank's by its width-less, upper-case form."""
    debits: bool = False
    """Also ask the bank for a mandate to debit it (口座振替契約)."""
    account_id: AccountId | None = None
    """Chosen by the caller; None: derived from the call's idempotency key."""


class GetBankAccount(Message):
    """Which bank account."""

    account_id: AccountId


class ListBankAccounts(Message):
    """An owner's bank accounts, newest first."""

    owner_kind: OwnerKind
    owner_id: Participant
    include_removed: bool = False


class RemoveBankAccount(Message):
    """Which bank account; removing it again changes nothing. What is under way goes on."""

    account_id: AccountId


class TransferOut(Message):
    """振込: send money to a registered account."""

    account_id: AccountId
    amount_minor: Yen
    reference: Reference | None = None
    """The caller's own word for it, such as its payment's id."""
    instruction_id: TransferId | None = None
    """Chosen by the caller, `btr_` and 32 digits; None: derived from the call's idempotency key."""
    owner_id: Participant | None = None
    """Whose account it must be; another's is not found. None does not ask."""


class DebitIn(Message):
    """口座振替: take money from a registered account with a mandate."""

    account_id: AccountId
    amount_minor: Yen
    reference: Reference | None = None
    instruction_id: DebitId | None = None
    """Chosen by the caller, `bdb_` and 32 digits; None: derived from the call's idempotency key."""
    owner_id: Participant | None = None
    """Whose account it must be; another's is not found. None does not ask."""


class AbortInstruction(Message):
    """What is never to be done unless it was journalled already: the request whose answer did not come."""

    instruction_id: InstructionId
    account_id: AccountId
    amount_minor: Yen
    reference: Reference | None = None


class GetInstruction(Message):
    """Which transfer or debit."""

    instruction_id: InstructionId


class InquireInstruction(Message):
    """Which transfer or debit to ask the bank about now."""

    instruction_id: InstructionId


class GetInstructionHistory(Message):
    """Whose steps."""

    instruction_id: InstructionId


class ListInstructions(Message):
    """A page of an owner's transfers and debits, newest first; `cursor` comes from the page before."""

    owner_kind: OwnerKind
    owner_id: Participant
    kind: InstructionKind | None = None
    limit: PageLimit = 50
    cursor: Cursor | None = None


# -- answers ----------------------------------------------------------------------------------------------------


class BankAccount(Message):
    """A registered bank account, without its number and its holder's name."""

    account_id: str
    owner_kind: OwnerKind
    owner_id: str
    bank_code: str
    branch_code: str
    deposit_type: DepositType
    last_digits: str
    """The last three of the number, for the owner to tell accounts apart."""
    debits: bool
    """Whether it may be debited."""
    registered_at: datetime
    removed_at: datetime | None


class BankAccounts(Message):
    """Newest first."""

    accounts: list[BankAccount]


class Instruction(Message):
    """A transfer or a debit, and how far it has come."""

    instruction_id: str
    kind: InstructionKind
    state: InstructionState
    account_id: str
    owner_kind: OwnerKind
    owner_id: str
    amount_minor: int
    """Whole yen."""
    failure_code: FailureCode | None
    """Why it FAILED or was RETURNED."""
    bank_reference: str | None
    """The bank's own number for it, once it has one."""
    reference: str | None
    processing_id: str
    created_at: datetime
    updated_at: datetime
    version: int
    """Grows with every change of state."""


class InstructionPage(Message):
    """A page; `next_cursor` is None on the last one."""

    instructions: list[Instruction]
    next_cursor: str | None


class InstructionStep(Message):
    """One entry of an instruction's history."""

    sequence: int
    state: InstructionState
    failure_code: FailureCode | None
    recorded_at: datetime


class InstructionHistory(Message):
    """Every step, oldest first; nothing is ever removed."""

    instruction_id: str
    steps: list[InstructionStep]


# -- events -----------------------------------------------------------------------------------------------------


class InstructionChanged(
    msgspec.Struct, frozen=True, kw_only=True, tag="bank.instruction_changed", tag_field="type"
):  # fmt: skip
    """Published in `bank.transfer` or `bank.debit` with every step of an instruction after ACCEPTED."""

    event_id: str
    instruction_id: str
    kind: InstructionKind
    state: InstructionState
    account_id: str
    owner_kind: OwnerKind
    owner_id: str
    amount_minor: int
    failure_code: FailureCode | None
    bank_reference: str | None
    reference: str | None
    processing_id: str
    version: int
    """The instruction's version after this step; a later event has a higher one."""
    occurred_at: datetime


TOPIC_TRANSFER = "bank.transfer"
TOPIC_DEBIT = "bank.debit"
TOPICS = {InstructionKind.TRANSFER: TOPIC_TRANSFER, InstructionKind.DEBIT: TOPIC_DEBIT}

# -- the door ---------------------------------------------------------------------------------------------------


class Bank(Protocol):
    """銀行接続: bank accounts, transfers and debits."""

    @verb("POST /v1/bank/accounts", scope="bank:write", moves_value=True, status=201,
          errors=("holder_name_not_writable", "idempotency_key_reused", "bank_account_registered", "bank_unavailable",
                  "no_such_bank_account", "holder_name_mismatch", "debits_not_possible",
                  "mandate_outcome_unknown"))  # fmt: skip
    async def register_account(self, request: RegisterBankAccount, /) -> BankAccount:
        """Register a customer's or merchant's bank account after the bank has confirmed its holder's name."""
        ...

    @verb("GET /v1/bank/accounts/{account_id}", scope="bank:read", errors=("bank_account_not_found",))
    async def get_account(self, request: GetBankAccount, /) -> BankAccount:
        """A registered bank account."""
        ...

    @verb("GET /v1/bank/accounts", scope="bank:read")
    async def list_accounts(self, request: ListBankAccounts, /) -> BankAccounts:
        """An owner's bank accounts, newest first."""
        ...

    @verb("POST /v1/bank/accounts/{account_id}/remove", scope="bank:write", errors=("bank_account_not_found",))
    async def remove_account(self, request: RemoveBankAccount, /) -> BankAccount:
        """Remove a bank account: no new instruction names it; what is under way goes on."""
        ...

    @verb("POST /v1/bank/transfers", scope="bank:write", moves_value=True, status=201,
          errors=("idempotency_key_reused", "bank_account_not_found", "bank_account_removed"))  # fmt: skip
    async def transfer(self, request: TransferOut, /) -> Instruction:
        """Send money to a bank account (振込); answers once it is journalled, the bank's answer is an event."""
        ...

    @verb("POST /v1/bank/debits", scope="bank:write", moves_value=True, status=201,
          errors=("idempotency_key_reused", "bank_account_not_found", "bank_account_removed",
                  "debits_not_agreed"))  # fmt: skip
    async def debit(self, request: DebitIn, /) -> Instruction:
        """Take money from a bank account (口座振替); answers once it is journalled, the bank's answer is an event."""
        ...

    @verb("POST /v1/bank/instructions/{instruction_id}/abort", scope="bank:write",
          errors=("idempotency_key_reused", "bank_account_not_found"))  # fmt: skip
    async def abort(self, request: AbortInstruction, /) -> Instruction:
        """Make sure that what was not journalled never will be: FAILED with `aborted`; else how far it has come."""
        ...

    @verb("GET /v1/bank/instructions/{instruction_id}", scope="bank:read", errors=("instruction_not_found",))
    async def get_instruction(self, request: GetInstruction, /) -> Instruction:
        """A transfer or debit as it is known here."""
        ...

    @verb("POST /v1/bank/instructions/{instruction_id}/inquire", scope="bank:write",
          errors=("instruction_not_found", "bank_unavailable"))  # fmt: skip
    async def inquire(self, request: InquireInstruction, /) -> Instruction:
        """Ask the bank about a transfer or debit now, and give what is known afterwards."""
        ...

    @verb("GET /v1/bank/instructions/{instruction_id}/history", scope="bank:read", errors=("instruction_not_found",))
    async def get_history(self, request: GetInstructionHistory, /) -> InstructionHistory:
        """Every step of a transfer or debit, with its time."""
        ...

    @verb("POST /v1/bank/effects", scope="bank:read", batch=True)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The transfers and debits of some processings, as their callers should know them."""
        ...

    @verb("GET /v1/bank/instructions", scope="bank:read", errors=("bad_cursor",))
    async def list_instructions(self, request: ListInstructions, /) -> InstructionPage:
        """An owner's transfers and debits, newest first."""
        ...
