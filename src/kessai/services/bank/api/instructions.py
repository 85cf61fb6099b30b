"""Transfers and debits: requests, answers and the events that tell of them."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from kessai.foundation.contract import Message, PageLimit, Reference
from kessai.services.bank.api.words import (
    AccountId,
    Cursor,
    DebitId,
    FailureCode,
    InstructionId,
    InstructionKind,
    InstructionState,
    OwnerKind,
    Participant,
    TransferId,
    Yen,
)


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
    transfer_on: date | None = None
    """The business day on which the money is to arrive, by a file (総合振込); None: at once, online."""


class DebitIn(Message):
    """口座振替: take money from a registered account with a mandate."""

    account_id: AccountId
    amount_minor: Yen
    reference: Reference | None = None
    instruction_id: DebitId | None = None
    """Chosen by the caller, `bdb_` and 32 digits; None: derived from the call's idempotency key."""
    owner_id: Participant | None = None
    """Whose account it must be; another's is not found. None does not ask."""
    transfer_on: date | None = None
    """The business day on which the money is to be taken, by a file (口座振替); None: at once, online."""


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


class RecallInstruction(Message):
    """組戻依頼: which transfer by file to call back."""

    instruction_id: TransferId


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
    transfer_on: date | None = None
    """The day of the file that it goes with, or waits for: the next business day where the cut-off was past."""
    asked_on: date | None = None
    """The day that its caller named."""
    attempts: int = 0
    """How many files it has been in."""
    file_id: str | None = None
    """The file that it went into last; None: it waits for one, or goes online."""
    line: int | None = None
    """Its line there, from 1."""


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
    booked_on: date | None = None
    """Of DONE: the day on which the bank booked it, where the bank tells of one (by files)."""


TOPIC_TRANSFER = "bank.transfer"
TOPIC_DEBIT = "bank.debit"
TOPICS = {InstructionKind.TRANSFER: TOPIC_TRANSFER, InstructionKind.DEBIT: TOPIC_DEBIT}
