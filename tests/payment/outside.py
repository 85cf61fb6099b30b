"""A card gateway, a bank and approvals in memory, each with its own books and with answers that can be lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from msgspec.structs import replace

from kessai.foundation.errors import Conflict, NotFound, Refused, Unavailable, Unknown
from kessai.foundation.ids import new_hex
from kessai.services.bank.api import (
    AbortInstruction,
    BankAccount,
    DebitIn,
    DepositType,
    FailureCode,
    GetBankAccount,
    GetInstruction,
    Instruction,
    InstructionKind,
    InstructionState,
    OwnerKind,
    TransferOut,
)
from kessai.services.cardgateway.api import (
    AuthorizationState,
    AuthorizeCard,
    CaptureCard,
    CardAuthorization,
    CardOperation,
    CompleteAuthorization,
    InquireAuthorization,
    OperationKind,
    OperationState,
    RefundCard,
    VoidCard,
)
from kessai.services.identity.api import Approval, ApprovalState, ConsumeApproval

NOW = datetime(2025, 4, 1, tzinfo=UTC)
A = AuthorizationState


class Faulty:
    """Somebody outside whose next calls can fail, by verb, one fault a call."""

    def __init__(self) -> None:
        self.faults: dict[str, deque[str]] = {}
        self.calls: list[str] = []

    def fail(self, verb: str, *faults: str) -> None:
        """`before`: not reached; `lost`: nothing was done and nobody knows; `after`: done, but the answer is lost.

        `down`: nothing was done. Anything else: a refusal with that code.
        """
        self.faults.setdefault(verb, deque()).extend(faults)

    def before(self, verb: str) -> str | None:
        """Note a call, and fail it if that is due before it takes effect."""
        self.calls.append(verb)
        waiting = self.faults.get(verb)
        fault = waiting.popleft() if waiting else None
        match fault:
            case None | "after":
                return fault
            case "down":
                raise Unavailable("card_gateway_unavailable", "It is down.")
            case "lost":
                raise Unknown("card_outcome_unknown", "No answer came.")
            case code:
                raise Refused(code, "No.")

    def after(self, fault: str | None) -> None:
        """Lose the answer, if that is due."""
        if fault == "after":
            raise Unknown("card_outcome_unknown", "No answer came.")


@dataclass
class Held:
    """One authorization in the gateway's own books."""

    authorization: CardAuthorization
    operations: dict[str, CardOperation] = field(default_factory=dict[str, CardOperation])


class Cards(Faulty):
    """The card gateway's door, as far as payments use it."""

    def __init__(self) -> None:
        super().__init__()
        self.books: dict[str, Held] = {}
        self.asks_for_3ds = False

    @property
    def taken(self) -> int:
        """What cards have paid in all."""
        return sum(
            held.authorization.captured_minor - held.authorization.refunded_minor for held in self.books.values()
        )

    @property
    def held(self) -> int:
        """What is held on cards."""
        open_ones = (h.authorization for h in self.books.values() if h.authorization.state is A.AUTHORIZED)
        return sum(each.amount_minor - each.captured_minor for each in open_ones)

    async def authorize(self, request: AuthorizeCard, /) -> CardAuthorization:
        fault = self.before("authorize")
        assert request.authorization_id is not None
        if (known := self.books.get(request.authorization_id)) is None:
            state = A.REQUIRES_ACTION if self.asks_for_3ds else A.AUTHORIZED
            known = self.books[request.authorization_id] = Held(_authorization(request, state))
        elif known.authorization.state is A.VOIDED:
            raise Refused("authorization_voided", "It was undone before it came.")
        self.after(fault)
        return known.authorization

    def customer_acts(self, *, succeeds: bool = True) -> None:
        """The customer goes through 3-D Secure."""
        for held in self.books.values():
            if held.authorization.state is A.REQUIRES_ACTION:
                state = A.AUTHORIZED if succeeds else A.REFUSED
                code = None if succeeds else "authentication_failed"
                held.authorization = replace(held.authorization, state=state, refusal_code=code, action_url=None)

    async def complete_authorization(self, request: CompleteAuthorization, /) -> CardAuthorization:
        fault = self.before("complete_authorization")
        found = self.books[request.authorization_id].authorization
        if found.state is A.REQUIRES_ACTION:
            raise Refused("action_pending", "The customer has not acted.")
        self.after(fault)
        return found

    async def capture(self, request: CaptureCard, /) -> CardAuthorization:
        fault = self.before("capture")
        held = self.books[request.authorization_id]
        if _is_new(held, request.operation_id):
            before = held.authorization
            left = before.amount_minor - before.captured_minor
            amount = left if request.amount_minor is None else request.amount_minor
            if before.state is not A.AUTHORIZED or amount > left:
                raise Refused("authorization_not_authorized", "Nothing is held.")
            ends = request.final or amount == left
            state = A.CAPTURED if ends else A.AUTHORIZED
            held.authorization = replace(before, state=state, captured_minor=before.captured_minor + amount)
            _note(held, request.operation_id, OperationKind.CAPTURE, amount)
        self.after(fault)
        return held.authorization

    async def void(self, request: VoidCard, /) -> CardAuthorization:
        fault = self.before("void")
        held = self.books.get(request.authorization_id)
        if held is None:
            ghost = AuthorizeCard(card_id="crd_" + "0" * 32, customer_id="x", amount_minor=1,
                                  authorization_id=request.authorization_id)  # fmt: skip
            held = self.books[request.authorization_id] = Held(_authorization(ghost, A.VOIDED))
        elif held.authorization.state is A.CAPTURED:
            raise Refused("already_captured", "It is taken.")
        elif held.authorization.state is not A.REFUSED:
            captured = held.authorization.captured_minor
            held.authorization = replace(held.authorization, state=A.CAPTURED if captured else A.VOIDED)
        self.after(fault)
        return held.authorization

    async def refund(self, request: RefundCard, /) -> CardAuthorization:
        fault = self.before("refund")
        held = self.books[request.authorization_id]
        if _is_new(held, request.operation_id):
            before = held.authorization
            left = before.captured_minor - before.refunded_minor
            amount = left if request.amount_minor is None else request.amount_minor
            if not left:
                raise Refused("authorization_not_captured", "Nothing was taken.")
            if amount > left:
                raise Refused("refund_above_captured", "More than was taken.")
            held.authorization = replace(before, refunded_minor=before.refunded_minor + amount)
            _note(held, request.operation_id, OperationKind.REFUND, amount)
        self.after(fault)
        return held.authorization

    async def inquire(self, request: InquireAuthorization, /) -> CardAuthorization:
        fault = self.before("inquire")
        held = self.books.get(request.authorization_id)
        if held is None:
            raise NotFound("authorization_not_found", "There is none.")
        self.after(fault)
        return replace(held.authorization, operations=list(held.operations.values()))


def _is_new(held: Held, operation_id: str | None) -> bool:
    return operation_id is None or operation_id not in held.operations


def _note(held: Held, operation_id: str | None, kind: OperationKind, amount: int) -> None:
    operation_id = operation_id or new_hex()
    held.operations[operation_id] = CardOperation(
        operation_id=operation_id, kind=kind, state=OperationState.DONE, amount_minor=amount, final=True,
        refusal_code=None, processing_id="", caller="payment", instructed_at=NOW, settled_at=NOW,
    )  # fmt: skip


def _authorization(request: AuthorizeCard, state: AuthorizationState) -> CardAuthorization:
    return CardAuthorization(
        authorization_id=str(request.authorization_id), customer_id=request.customer_id, card_id=request.card_id,
        state=state, amount_minor=request.amount_minor, asset=request.asset, captured_minor=0, refunded_minor=0,
        refusal_code=None, action_url="https://issuer.example/3ds" if state is A.REQUIRES_ACTION else None,
        reference=request.reference, processing_id="", created_at=NOW, updated_at=NOW, version=1,
    )  # fmt: skip


class Teller(Faulty):
    """The bank's door, as far as payments use it; it answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts: dict[str, str] = {}
        self.books: dict[str, Instruction] = {}
        self.days: list[date | None] = []
        """When each transfer was to be made."""

    def account_of(self, owner_id: str) -> str:
        """Register a bank account."""
        account_id = f"bac_{new_hex()}"
        self.accounts[account_id] = owner_id
        return account_id

    def answers(self, state: InstructionState, code: FailureCode | None = None) -> None:
        """What the bank says of everything under way (or of what is done, when it comes back)."""
        for key, each in self.books.items():
            if each.state not in (InstructionState.FAILED, InstructionState.RETURNED):
                self.books[key] = replace(each, state=state, failure_code=code)

    async def get_account(self, request: GetBankAccount, /) -> BankAccount:
        self.before("get_account")
        owner_id = self.accounts.get(request.account_id)
        if owner_id is None:
            raise NotFound("bank_account_not_found", "There is none.")
        return BankAccount(
            account_id=request.account_id, owner_kind=OwnerKind.CUSTOMER, owner_id=owner_id, bank_code="0001",
            branch_code="001", deposit_type=DepositType.ORDINARY, last_digits="567", debits=True, registered_at=NOW,
            removed_at=None,
        )  # fmt: skip  # pyright: ignore[reportArgumentType]

    async def debit(self, request: DebitIn, /) -> Instruction:
        return self._instruct("debit", request, InstructionKind.DEBIT)

    async def transfer(self, request: TransferOut, /) -> Instruction:
        self.days.append(request.transfer_on)
        return self._instruct("transfer", request, InstructionKind.TRANSFER)

    def _instruct(self, verb: str, request: Any, kind: InstructionKind) -> Instruction:
        fault = self.before(verb)
        known = self.books.setdefault(
            request.instruction_id,
            Instruction(
                instruction_id=request.instruction_id, kind=kind, state=InstructionState.ACCEPTED,
                account_id=request.account_id, owner_kind=OwnerKind.CUSTOMER,
                owner_id=self.accounts[request.account_id], amount_minor=request.amount_minor, failure_code=None,
                bank_reference=None, reference=request.reference, processing_id="", created_at=NOW, updated_at=NOW,
                version=1,
            ),
        )  # fmt: skip
        self.after(fault)
        return known

    async def abort(self, request: AbortInstruction, /) -> Instruction:
        is_new = request.instruction_id not in self.books
        transfer = request.instruction_id.startswith("btr_")
        kind = InstructionKind.TRANSFER if transfer else InstructionKind.DEBIT
        found = self._instruct("abort", request, kind)
        if is_new:
            found = replace(found, state=InstructionState.FAILED, failure_code=FailureCode.ABORTED)
            self.books[request.instruction_id] = found
        return found

    async def get_instruction(self, request: GetInstruction, /) -> Instruction:
        self.before("get_instruction")
        return self.books[request.instruction_id]


class Secretary:
    """Approvals of a second person: by content, each used once."""

    def __init__(self) -> None:
        self.approved: dict[str, str] = {}
        self.consumed: dict[str, str] = {}

    async def consume_approval(self, request: ConsumeApproval, /) -> Approval:
        """As identity does."""
        if request.approval_id not in self.approved:
            raise NotFound("approval_not_found", "There is none.")
        if self.approved[request.approval_id] != request.content_sha256:
            raise Conflict("approval_content_differs", "It is of other content.")
        if self.consumed.setdefault(request.approval_id, request.consumer_id) != request.consumer_id:
            raise Conflict("approval_consumed", "It was used.")
        return Approval(
            approval_id=request.approval_id, state=ApprovalState.CONSUMED, subject=request.subject,
            action=request.action, content_sha256=request.content_sha256, requested_by="key_a", approved_by="key_b",
            consumer_id=request.consumer_id, requested_at=NOW, expires_at=NOW, steps=[],
        )  # fmt: skip
