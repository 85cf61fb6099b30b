"""Files to the bank (総合振込, 口座振替), their lines, approvals and steps, and results that fit none."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import msgspec

from kessai.foundation.contract import Message, PageLimit
from kessai.services.bank.api.words import (
    Cursor,
    DepositType,
    FailureCode,
    FileId,
    FileState,
    InstructionKind,
    LineNumber,
    LineState,
    OwnerKind,
    RecallState,
)

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", description="SHA-256 in hexadecimal")]

# -- requests ---------------------------------------------------------------------------------------------------


class GetFile(Message):
    """Which file."""

    file_id: FileId


class ListFiles(Message):
    """A page of files, the newest first; `cursor` comes from the page before."""

    transfer_on: date | None = None
    """Only those of one day."""
    limit: PageLimit = 50
    cursor: Cursor | None = None


class ListFileLines(Message):
    """A page of a file's lines, in their order."""

    file_id: FileId
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The last line of the page before."""
    limit: PageLimit = 200


class ListPayees(Message):
    """A page of those whom a file pays or debits, in the file's order."""

    file_id: FileId
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The last line of the page before."""
    limit: PageLimit = 200


class GetLineHistory(Message):
    """Whose steps."""

    file_id: FileId
    line: LineNumber


class ApproveFile(Message):
    """Approve the sending of a file with this very content; approving again by the same key changes nothing."""

    file_id: FileId
    content_sha256: Digest


class RejectFile(Message):
    """Reject a file that was not sent: its instructions wait for the next one. Rejecting again changes nothing."""

    file_id: FileId


class ListUnmatched(Message):
    """A page of the bank's results that fit no line as they should, the newest first."""

    limit: PageLimit = 50
    before: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """The lowest position of the page before."""


# -- answers ----------------------------------------------------------------------------------------------------


class FileStep(Message):
    """One entry of a file's history."""

    sequence: int
    state: FileState
    caller: str
    """The API key or service that did it."""
    code: str | None
    recorded_at: datetime


class FileApproval(Message):
    """Who approved."""

    approver: str
    approved_at: datetime


class BankFile(Message):
    """A file to the bank, without its content: that has people's names and numbers, and stays sealed."""

    file_id: str
    kind: InstructionKind
    transfer_on: date
    """The business day on which its money is to move."""
    state: FileState
    version: int
    lines: int
    """The count of its trailer."""
    total_minor: int
    """The sum of its trailer, whole yen."""
    open_lines: int
    """Lines without an end."""
    content_sha256: str
    approvals_needed: int
    approved: int
    """By how many different keys."""
    code: str | None
    """Why the bank did not take it."""
    maker: str
    made_at: datetime
    sent_at: datetime | None
    paid_lines: int
    """Of a debit file: what its result file's trailer says was paid, and was not."""
    paid_minor: int
    unpaid_lines: int
    unpaid_minor: int
    approvals: list[FileApproval]
    steps: list[FileStep]


class BankFiles(Message):
    """A page; each file without its approvals and steps. `next_cursor` is None on the last one."""

    files: list[BankFile]
    next_cursor: str | None


class FileLine(Message):
    """One line of a file."""

    file_id: str
    line: int
    """From 1, as in the file."""
    instruction_id: str
    customer_code_1: str
    customer_code_2: str
    amount_minor: int
    attempt: int
    """Which file of the instruction's this is, from 1."""
    state: LineState
    failure_code: FailureCode | None
    booked_on: date | None
    """The day on which it last moved money on our account."""
    recall: RecallState | None
    version: int
    updated_at: datetime


class FileLines(Message):
    """A page, in the file's order."""

    lines: list[FileLine]


class FilePayee(Message):
    """Whom one line pays or debits, as the bank will read it."""

    line: int
    instruction_id: str
    owner_kind: OwnerKind
    owner_id: str
    """The customer or merchant on whose account the instruction was given."""
    bank_code: str
    bank_name: str
    branch_code: str
    branch_name: str
    deposit_type: DepositType
    last_digits: str
    """The last three of the account number."""
    name: str
    """The account's holder, in the half-width characters that the file has."""
    amount_minor: int


class FilePayees(Message):
    """A page, in the file's order."""

    content_sha256: str
    """Of the bytes that these were read from: what an approval names."""
    payees: list[FilePayee]


class LineStep(Message):
    """One entry of a line's history."""

    sequence: int
    state: LineState
    failure_code: FailureCode | None
    recorded_at: datetime


class LineHistory(Message):
    """Every step, the oldest first; nothing is ever removed."""

    file_id: str
    line: int
    steps: list[LineStep]


class UnmatchedResult(Message):
    """A result that was not applied: an operator and the bank have to talk about it."""

    position: int
    """In the bank's list of results."""
    file_id: str
    line: int
    state: str
    code: str | None
    amount_minor: int
    reason: str
    """`unknown_file`, `unknown_line`, `other_customer_codes`, `other_amount`, `not_sent`, `contradicts`,
    `unknown_word`, `result_file_unreadable`."""
    met_at: datetime


class UnmatchedResults(Message):
    """A page, the newest first."""

    results: list[UnmatchedResult]
