"""Clearing: the processor's daily files of what really was bought and given back, and what does not agree with them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, PageLimit, verb

TOPIC_CLEARING = "nfc.clearing"
LINES_WRONG_SHOWN_MAX = 200
FileId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
ClearingFindingId = Annotated[str, msgspec.Meta(pattern=r"^cfd_[0-9a-f]{32}$")]
Cursor = Annotated[str, msgspec.Meta(max_length=256)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class ClearingFileState(StrEnum):
    """Where a clearing file stands."""

    REFUSED = "REFUSED"
    """It is not whole: no line of it was taken. Another content under its id may still be."""
    TAKEN = "TAKEN"
    """Its lines are kept, and are being compared with our authorizations."""
    CLEARED = "CLEARED"
    """Every line has its outcome."""


class LineKind(StrEnum):
    """What a line is."""

    SALE = "S"
    REFUND = "R"
    REVERSAL = "V"
    """Of a sale, after its clearing."""


class LineOutcome(StrEnum):
    """What came of a line. All but `matched`, `lower`, `refunded` and `reversed` are findings as well."""

    MATCHED = "matched"
    LOWER = "lower"
    """Less than was authorized: captured, and the rest let go of."""
    HIGHER = "higher"
    """More than stood of it: captured, and the difference charged by force."""
    UNAUTHORIZED = "unauthorized"
    """Nothing of ours bears it: charged by force."""
    EXPIRED = "expired"
    """Its authorization had lapsed: charged by force."""
    NOT_APPROVED = "not_approved"
    """We had declined it or answered too late: charged by force."""
    DUPLICATE = "duplicate"
    """The sale (or refund) was cleared before: nothing moves."""
    CLEARED_BEFORE = "cleared_before"
    """Its authorization bears another sale: nothing moves."""
    REVERSED_BEFORE = "reversed_before"
    """The network had taken its authorization back: nothing moves."""
    WRONG_CARD = "wrong_card"
    """It names another card than its authorization or sale: nothing moves."""
    WRONG_APPROVAL_CODE = "wrong_approval_code"
    """Nothing moves."""
    WRONG_CURRENCY = "wrong_currency"
    """Nothing moves."""
    UNKNOWN_CARD = "unknown_card"
    """The card is no customer's: there is nobody to charge."""
    IMPLAUSIBLE = "implausible"
    """More than any payment of ours may be: nothing moves."""
    REFUNDED = "refunded"
    REFUND_ABOVE = "refund_above"
    """More than was left of the sale: what was left is given back."""
    REFUND_WITHOUT_SALE = "refund_without_sale"
    """Nothing moves."""
    REFUND_OF_UNCLEARED = "refund_of_uncleared"
    """Its authorization was never cleared: nothing was taken that could be given back."""
    REVERSED = "reversed"
    REVERSAL_DIFFERS = "reversal_differs"
    """Not what was left of the sale: the lower of both is given back."""
    REVERSAL_WITHOUT_SALE = "reversal_without_sale"
    """Nothing moves."""


class FindingKind(StrEnum):
    """What a finding is about, where it is not a line's outcome."""

    FILE_REFUSED = "file_refused"
    FILE_CHANGED = "file_changed"
    """The processor gives other content under the id of a file that was taken."""
    SEQUENCE_GAP = "sequence_gap"
    SEQUENCE_TWICE = "sequence_twice"
    LINE_UNREADABLE = "line_unreadable"
    TOTALS_DIFFER = "totals_differ"
    UNKNOWN_THERE = "unknown_there"
    """Approved by us, and the processor knows nothing of it."""
    DECLINED_THERE = "declined_there"
    """Approved by us, and declined or given up there: our answer did not arrive, or 91 had left."""
    REVERSED_THERE = "reversed_there"
    """More was taken back there than here."""
    STANDS_DIFFER = "stands_differ"
    """Less stands of it here than there."""
    AMOUNT_DIFFERS = "amount_differs"
    APPROVED_THERE = "approved_there"
    """Approved there and not by us: it is charged by force if a clearing file claims it."""
    UNKNOWN_HERE = "unknown_here"
    """The processor has an approved authorization that we have no row of."""
    ADVICE_DIFFERS = "advice_differs"
    """An advice came under the key of something else: it was answered 00, and nothing was charged for it."""
    NOT_BORNE = "not_borne"
    """What was cleared is not what the payment service has taken."""


class ClearingFindingState(StrEnum):
    """Whether somebody still has to look at it."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class ClearingLineWrong(Message):
    """A line of a file that could not be read."""

    line: int
    """The record of the file, its header being 1."""
    position: int
    """Where in the record, from 1."""
    code: str


class LineSum(Message):
    """Lines of one kind, by the file's trailer."""

    count: int
    amount_minor: int


class ClearingFile(Message):
    """A clearing file as it was taken."""

    file_id: str
    sequence: int
    day: date
    state: ClearingFileState
    code: str | None
    """Of a refused one: why."""
    lines: int
    undecided: int
    """Lines without an outcome so far."""
    wrong: list[ClearingLineWrong]
    """The first of them; a page of files leaves them out."""
    sales: LineSum
    refunds: LineSum
    reversals: LineSum
    outcomes: dict[str, int]
    """How many lines came to what; a page of files leaves it out."""
    taken_at: datetime
    cleared_at: datetime | None


class ListClearingFiles(Message):
    """A page of files, the highest sequence first."""

    before_sequence: Annotated[int, msgspec.Meta(ge=1)] | None = None
    limit: PageLimit = 50


class ClearingFiles(Message):
    """A page."""

    files: list[ClearingFile]


class GetClearingFile(Message):
    """Which file."""

    file_id: FileId


class ListClearingLines(Message):
    """A page of a file's lines, in their order; `outcome` leaves the others out."""

    file_id: FileId
    outcome: LineOutcome | None = None
    after_line: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: PageLimit = 100


class ClearingLine(Message):
    """A line. The card is named by the issuer's reference, never by its number."""

    line: int
    kind: LineKind
    card: str
    amount_minor: int
    currency: str
    authorized_on: date
    approval_code: str | None
    rrn: str
    merchant: str
    mcc: str
    acquirer: str
    acquirer_reference: str
    processed_on: date
    outcome: LineOutcome | None
    moved_minor: int
    """What was captured or charged for it, or given back."""
    authorization_id: str | None
    """What bears it; of a higher one, the authorization."""
    decided_at: datetime | None


class ClearingLines(Message):
    """A page."""

    lines: list[ClearingLine]


class GetClearingDay(Message):
    """Which day, in Tokyo."""

    day: date


class ClearingTotal(Message):
    """One figure of a day, theirs and ours."""

    figure: str
    """`authorized`, `declined`, `reversed`, `sales`, `refunds`, `reversals`, `net`."""
    ours_count: int
    ours_minor: int
    theirs_count: int
    theirs_minor: int


class ClearingDay(Message):
    """A day that was reconciled."""

    day: date
    agrees: bool
    """Whether every figure does."""
    totals: list[ClearingTotal]
    looked_at: datetime


class ClearingFinding(Message):
    """Something on which the network and we do not agree, or of which somebody should know."""

    finding_id: str
    kind: str
    """A LineOutcome or a FindingKind."""
    about: str
    """What it is about: a line (`<file>#<line>`), a file, an authorization, a day's figure, or their key."""
    state: ClearingFindingState
    file_id: str | None
    line: int | None
    authorization_id: str | None
    customer_id: str | None
    day: date
    """The business date that it was found for."""
    ours_minor: int
    theirs_minor: int
    detail: str
    remedy: str | None
    """`let_go`: the job nfc.repair lets go of it, once the processor says so again."""
    found_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    notes: list[ClearingNote]
    """Oldest first; a page of findings leaves them out."""


class ClearingNote(Message):
    """What somebody said of a finding."""

    text: str
    by: str
    at: datetime
    closes: bool


class ListClearingFindings(Message):
    """A page of findings, the newest first."""

    state: ClearingFindingState | None = None
    kind: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class ClearingFindingPage(Message):
    """A page; `next_cursor` is None on the last one."""

    findings: list[ClearingFinding]
    next_cursor: str | None = None


class GetClearingFinding(Message):
    """Which finding."""

    finding_id: ClearingFindingId


class ExplainClearingFinding(Message):
    """What is known of it; who says so is the caller."""

    finding_id: ClearingFindingId
    note: Text


class CloseClearingFinding(Message):
    """Why nothing is left to be done; who says so is the caller."""

    finding_id: ClearingFindingId
    reason: Text


class ClearingFileChanged(
    msgspec.Struct, frozen=True, kw_only=True, tag="nfc.clearing_file", tag_field="type"
):  # fmt: skip
    """Published in `nfc.clearing` when a file was taken, refused, or has all its outcomes."""

    file_id: str
    sequence: int
    day: date
    state: ClearingFileState
    code: str | None
    lines: int
    occurred_at: datetime


class ClearingFindingChanged(
    msgspec.Struct, frozen=True, kw_only=True, tag="nfc.clearing_finding", tag_field="type"
):  # fmt: skip
    """Published in `nfc.clearing` when something is found, and when it is closed."""

    finding_id: str
    kind: str
    state: ClearingFindingState
    about: str
    authorization_id: str | None
    customer_id: str | None
    ours_minor: int
    theirs_minor: int
    day: date
    occurred_at: datetime


class NfcClearing(Protocol):
    """売上確定: clearing files, and what does not agree."""

    @verb("GET /v1/nfc/clearing-files", scope="nfc:read")
    async def list_clearing_files(self, request: ListClearingFiles, /) -> ClearingFiles:
        """Files, the newest first."""
        ...

    @verb("GET /v1/nfc/clearing-files/{file_id}", scope="nfc:read", errors=("clearing_file_not_found",))
    async def get_clearing_file(self, request: GetClearingFile, /) -> ClearingFile:
        """A file, with its first wrong lines and how many lines came to what."""
        ...

    @verb("GET /v1/nfc/clearing-files/{file_id}/lines", scope="nfc:read", errors=("clearing_file_not_found",))
    async def list_clearing_lines(self, request: ListClearingLines, /) -> ClearingLines:
        """A file's lines and their outcomes."""
        ...

    @verb("GET /v1/nfc/clearing-days/{day}", scope="nfc:read", errors=("clearing_day_not_found",))
    async def get_clearing_day(self, request: GetClearingDay, /) -> ClearingDay:
        """A day's totals, the processor's and ours."""
        ...

    @verb("GET /v1/nfc/clearing-findings", scope="nfc:read", errors=("bad_cursor",))
    async def list_clearing_findings(self, request: ListClearingFindings, /) -> ClearingFindingPage:
        """Findings, the newest first."""
        ...

    @verb("GET /v1/nfc/clearing-findings/{finding_id}", scope="nfc:read", errors=("finding_not_found",))
    async def get_clearing_finding(self, request: GetClearingFinding, /) -> ClearingFinding:
        """A finding, with what was said of it."""
        ...

    @verb("POST /v1/nfc/clearing-findings/{finding_id}/explain", scope="nfc:write",
          errors=("finding_not_found", "clearing_finding_closed"))  # fmt: skip
    async def explain_clearing_finding(self, request: ExplainClearingFinding, /) -> ClearingFinding:
        """Say what is known of it; it stays open. The same words of the same person are kept once."""
        ...

    @verb("POST /v1/nfc/clearing-findings/{finding_id}/close", scope="nfc:write",
          errors=("finding_not_found", "clearing_finding_closed"))  # fmt: skip
    async def close_clearing_finding(self, request: CloseClearingFinding, /) -> ClearingFinding:
        """Nothing is left to be done, and why. Closing it again with the same words changes nothing."""
        ...
