"""The state machine of an instruction, and what each report from the bank makes of it.

Reports come more than once, late, and out of order: one that is behind what is known changes nothing. So whoever hears
of an instruction (the workflow that sends it, the feed of results, an inquiry) may apply what it heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from msgspec.structs import replace

from kessai.foundation.contract import Message
from kessai.services.bank.api import (
    AbortInstruction,
    BankAccount,
    DebitIn,
    FailureCode,
    Instruction,
    InstructionChanged,
    InstructionKind,
    InstructionState,
    TransferOut,
)

S = InstructionState
Asked: TypeAlias = TransferOut | DebitIn | AbortInstruction
"""What names an instruction by its content."""

TRANSITIONS: Mapping[InstructionState, frozenset[InstructionState]] = {
    S.ACCEPTED: frozenset({S.UNKNOWN, S.SENT, S.DONE, S.FAILED, S.RETURNED}),
    S.UNKNOWN: frozenset({S.SENT, S.DONE, S.FAILED, S.RETURNED}),
    S.SENT: frozenset({S.DONE, S.FAILED, S.RETURNED}),
    S.DONE: frozenset({S.RETURNED}),
    S.FAILED: frozenset(),
    S.RETURNED: frozenset(),
}
"""From a state to these; steps in between may have been missed. Only a transfer is RETURNED."""


class Report(Message, frozen=True):
    """What the bank (or the lack of its answer) says about one instruction."""

    state: InstructionState
    failure_code: FailureCode | None = None
    bank_reference: str | None = None
    booked_on: date | None = None
    """The day on which the bank booked it, where it says so."""


@dataclass(frozen=True, slots=True)
class Result:
    """One entry of the bank's feed: what became of an instruction."""

    instruction_id: str
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class BankRecord:
    """The bank's own record of an instruction."""

    instruction_id: str
    kind: InstructionKind
    state: InstructionState
    amount_minor: int
    bank_reference: str
    booked_minor: int
    """What it did to the platform's account there, all lines together."""


@dataclass(frozen=True, slots=True)
class Change:
    """An instruction after one step."""

    instruction: Instruction
    was: InstructionState
    """The state that the step led from."""
    booked_on: date | None = None
    """The bank's own day of it."""

    @property
    def state(self) -> InstructionState:
        """The state that the step led to."""
        return self.instruction.state


def new_instruction(
    request: Asked,
    instruction_id: str,
    account: BankAccount,
    *,
    processing_id: str,
    now: datetime,
) -> Instruction:
    """An instruction that is journalled and of which the bank has not heard."""
    kind = InstructionKind.TRANSFER if instruction_id.startswith("btr_") else InstructionKind.DEBIT
    return Instruction(
        instruction_id=instruction_id,
        kind=kind,
        state=S.ACCEPTED,
        account_id=account.account_id,
        owner_kind=account.owner_kind,
        owner_id=account.owner_id,
        amount_minor=request.amount_minor,
        failure_code=None,
        bank_reference=None,
        reference=request.reference,
        processing_id=processing_id,
        created_at=now,
        updated_at=now,
        version=0,
    )


def same_order(instruction: Instruction, request: Asked) -> bool:
    """Whether a repeated request asks for what was instructed."""
    asked = (request.account_id, request.amount_minor, request.reference)
    if asked != (instruction.account_id, instruction.amount_minor, instruction.reference):
        return False
    return isinstance(request, AbortInstruction) or request.transfer_on == instruction.asked_on


def advanced(instruction: Instruction, report: Report, now: datetime) -> Change | None:
    """The step that a report leads to; None when it says nothing new."""
    if report.state not in TRANSITIONS[instruction.state]:
        return None
    if report.state is S.RETURNED and instruction.kind is not InstructionKind.TRANSFER:
        return None
    after = replace(
        instruction,
        state=report.state,
        failure_code=report.failure_code,
        bank_reference=report.bank_reference or instruction.bank_reference,
        updated_at=max(now, instruction.updated_at),
        version=instruction.version + 1,
    )
    return Change(after, instruction.state, report.booked_on)


def latest(results: Sequence[Result]) -> dict[str, Report]:
    """Of several results of one instruction, the one that is furthest."""
    found: dict[str, Report] = {}
    for each in results:
        known = found.get(each.instruction_id)
        if known is None or each.report.state in TRANSITIONS[known.state]:
            found[each.instruction_id] = each.report
    return found


def moved(kind: InstructionKind, state: InstructionState, amount_minor: int) -> int:
    """What an instruction has done to the platform's own account at the bank; a transfer is taken off once sent."""
    match kind:
        case InstructionKind.TRANSFER:
            return -amount_minor if state in (S.SENT, S.DONE) else 0
        case InstructionKind.DEBIT:
            return amount_minor if state is S.DONE else 0


def failure_of(word: str | None) -> FailureCode:
    """The bank's word for a failure in ours; one that we do not know is `other`."""
    try:
        return FailureCode(word or "")
    except ValueError:
        return FailureCode.OTHER


def event_of(change: Change) -> InstructionChanged:
    """What is published about a step."""
    after = change.instruction
    return InstructionChanged(
        event_id=f"{after.instruction_id}:{after.version}",
        instruction_id=after.instruction_id,
        kind=after.kind,
        state=after.state,
        account_id=after.account_id,
        owner_kind=after.owner_kind,
        owner_id=after.owner_id,
        amount_minor=after.amount_minor,
        failure_code=after.failure_code,
        bank_reference=after.bank_reference,
        reference=after.reference,
        processing_id=after.processing_id,
        version=after.version,
        occurred_at=after.updated_at,
        booked_on=change.booked_on,
    )
