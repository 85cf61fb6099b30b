"""The life of a file to the bank and of its lines, and what each word of the bank makes of them. Pure.

A result is matched by file, line and customer codes together, and its amount must be the line's: by one of them alone
nothing is ever guessed. What is behind what is known changes nothing; what contradicts it is set aside and listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from msgspec.structs import replace

from kessai.sdk import zengin
from kessai.services.bank.api import (
    BankFile,
    FailureCode,
    FileLine,
    FileState,
    InstructionKind,
    InstructionState,
    LineState,
    RecallState,
)
from kessai.services.bank.domain.instructions import Report, failure_of
from kessai.services.bank.domain.terms import RetryTerms

F, L = FileState, LineState
CUSTOMER_CODE_DIGITS = 10

UNSENT = frozenset({F.MADE, F.APPROVED})
"""A file that the bank has surely not heard of."""
AT_BANK = frozenset({F.SENDING, F.SENT, F.ACCEPTED, F.CLOSED})
"""A file of which the bank may tell something."""
ENDED = frozenset({L.REFUSED, L.DONE, L.FAILED, L.RETURNED, L.RECALLED})

TRANSITIONS: Mapping[LineState, frozenset[LineState]] = {
    L.MADE: frozenset(),
    L.APPROVED: frozenset({L.ACCEPTED, L.REFUSED, L.DONE, L.FAILED, L.RETURNED, L.RECALLED}),
    L.SENT: frozenset({L.ACCEPTED, L.REFUSED, L.DONE, L.FAILED, L.RETURNED, L.RECALLED}),
    L.ACCEPTED: frozenset({L.DONE, L.FAILED, L.RETURNED, L.RECALLED}),
    L.DONE: frozenset({L.RETURNED, L.RECALLED}),
    L.REFUSED: frozenset(),
    L.FAILED: frozenset(),
    L.RETURNED: frozenset(),
    L.RECALLED: frozenset(),
    L.DISCARDED: frozenset(),
}
"""What the bank's word may make of a line; our own steps are its file's. One that is APPROVED may be there already: it
is noted a moment later that its file went."""
_BEHIND: Mapping[LineState, frozenset[LineState]] = {
    L.DONE: frozenset({L.ACCEPTED}),
    L.REFUSED: frozenset({L.FAILED}),
    L.FAILED: frozenset({L.ACCEPTED}),
    L.RETURNED: frozenset({L.ACCEPTED, L.DONE}),
    L.RECALLED: frozenset({L.ACCEPTED, L.DONE}),
}
"""What a line in a state may still hear late."""
_WORDS = {
    "accepted": L.ACCEPTED,
    "refused": L.REFUSED,
    "done": L.DONE,
    "failed": L.FAILED,
    "returned": L.RETURNED,
    "recalled": L.RECALLED,
}
_KINDS = {InstructionKind.TRANSFER: zengin.Kind.TRANSFER, InstructionKind.DEBIT: zengin.Kind.DEBIT}
RECALL_REFUSED = "recall_refused"
_LATE = ("late", "too_late")
RESULT_CODES: Mapping[int, FailureCode | None] = {
    0: None,
    1: FailureCode.INSUFFICIENT_FUNDS,
    2: FailureCode.NO_ACCOUNT,
    3: FailureCode.STOPPED_BY_HOLDER,
    4: FailureCode.NO_MANDATE,
    8: FailureCode.STOPPED_BY_CLIENT,
    9: FailureCode.OTHER,
}
"""振替結果コード of a 口座振替 record; None is paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """What the bank tells of a file (line 0) or of one of its lines."""

    position: int
    file_id: str
    line: int
    codes: tuple[str, str] = ("", "")
    amount_minor: int = 0
    word: str
    code: str | None = None
    booked_on: date | None = None


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line after one step."""

    line: FileLine
    was: LineState


@dataclass(frozen=True, slots=True)
class Unmatched:
    """An entry that was not applied, and why; `part` is the line within a result file."""

    entry: FileEntry
    reason: str
    part: int = 0


def line_id(file_id: str, line: int) -> str:
    """Under which id the bank has a line: the file's, and its number in six digits."""
    return f"{file_id}-{line:06d}"


def customer_code(*parts: str) -> str:
    """Ten digits that always stand for the same parts, and say nothing of them."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 10**CUSTOMER_CODE_DIGITS:0{CUSTOMER_CODE_DIGITS}d}"


def judged(file: BankFile | None, line: FileLine | None, entry: FileEntry, now: datetime) -> LineChange | str | None:
    """What an entry makes of its line: a step, nothing (it is behind what is known), or why it does not fit."""
    if reason := misfit(file, line, entry):
        return reason
    assert line is not None
    if entry.word == RECALL_REFUSED:
        if line.recall is not RecallState.ASKED:
            return None
        return LineChange(
            replace(line, recall=RecallState.REFUSED, version=line.version + 1, updated_at=now), line.state
        )
    state = _WORDS.get(entry.word)
    if state is None:
        return "unknown_word"
    if state is line.state or state in _BEHIND.get(line.state, ()):
        return None
    comes_back = state in (L.RETURNED, L.RECALLED)
    if state not in TRANSITIONS[line.state] or (comes_back and not line.instruction_id.startswith("btr_")):
        return "contradicts"
    return LineChange(_advanced(line, state, entry, now), line.state)


def misfit_of_file(file: BankFile, told: zengin.File) -> str | None:
    """Why what came back is not the results of this debit file: nothing of it may be taken for one. None when it is.

    The bytes that we sent have a 0, which means paid, in each line: only the trailer tells that nobody has answered.
    """
    header, trailer = told.header, told.trailer
    ours = (_KINDS[file.kind], file.transfer_on, file.lines, file.total_minor)
    if (header.kind, header.day, trailer.count, trailer.total) != ours or header.kind is not zengin.Kind.DEBIT:
        return "result_file_of_another"
    if not trailer.answered:
        return "result_file_unanswered"
    return None


def misfit(file: BankFile | None, line: FileLine | None, entry: FileEntry) -> str | None:
    """Why an entry is about none of our lines; None when it is about this one."""
    if file is None:
        return "unknown_file"
    if line is None:
        return "unknown_line"
    if entry.codes != (line.customer_code_1, line.customer_code_2):
        return "other_customer_codes"
    if entry.amount_minor != line.amount_minor:
        return "other_amount"
    return None if file.state in AT_BANK else "not_sent"


def _advanced(line: FileLine, state: LineState, entry: FileEntry, now: datetime) -> FileLine:
    code = None
    if state is L.RECALLED:
        code = FailureCode.RECALLED
    elif state in (L.REFUSED, L.FAILED, L.RETURNED):
        code = failure_of(entry.code)
    recall = recall_of_refused(line) if state is L.REFUSED else line.recall
    if state is L.RECALLED:
        recall = RecallState.DONE
    booked_on = entry.booked_on or line.booked_on
    return replace(
        line,
        state=state,
        failure_code=code,
        booked_on=booked_on,
        recall=recall,
        version=line.version + 1,
        updated_at=now,
    )


def report_of(line: FileLine) -> Report:
    """What a line's state says about its instruction; not for a REFUSED one that is tried again."""
    reference = line_id(line.file_id, line.line)
    match line.state:
        case L.DONE:
            state = InstructionState.DONE
        case L.FAILED | L.REFUSED:
            state = InstructionState.FAILED
        case L.RETURNED | L.RECALLED:
            state = InstructionState.RETURNED
        case _:
            state = InstructionState.SENT
    booked_on = line.booked_on if state is InstructionState.DONE else None
    return Report(state=state, failure_code=line.failure_code, bank_reference=reference, booked_on=booked_on)


def is_retried(line: FileLine, terms: RetryTerms) -> bool:
    """Whether a line that the bank did not take goes into another file; not one that was called back meanwhile."""
    may_be = line.failure_code in terms.codes and line.recall is None
    return line.state is L.REFUSED and may_be and line.attempt < terms.attempts_max


def recall_of_refused(line: FileLine) -> RecallState | None:
    """What becomes of a line's recall when the bank does not take the line: its money stays, as was asked for."""
    return RecallState.DONE if line.recall is RecallState.ASKED else line.recall


def refusal_of(code: str | None) -> FailureCode:
    """Why the lines of a file that was refused as a whole are."""
    return FailureCode.LATE if code in _LATE else FailureCode.NOT_TAKEN


def prefix_of(kind: InstructionKind) -> str:
    """How ids of instructions of a kind begin."""
    return "btr_" if kind is InstructionKind.TRANSFER else "bdb_"
