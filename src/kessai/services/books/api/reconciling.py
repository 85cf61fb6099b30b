"""The reconciling desk (照合): whether the books and the other services tell the same, and what is done where not.

Amounts are whole minor units. `through` and `since` are instants of the platform's business time.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Instant, Message, PageLimit, verb

ReconciliationId = Annotated[str, msgspec.Meta(pattern=r"^rec_[0-9a-f]{32}$")]
ReconciliationFindingId = Annotated[str, msgspec.Meta(pattern=r"^rcf_[0-9a-f]{32}$")]
Explanation = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
PageCursor = Annotated[str, msgspec.Meta(max_length=256)]


class ReconciliationName(StrEnum):
    """What is compared with what."""

    LEDGER = "ledger"
    """会計帳簿 ↔ 台帳: totals of every account type as of one instant, and record by record."""
    PAYMENT = "payment"
    """会計帳簿 ↔ 決済: what each payment tells of itself, what it published, and what is booked under it."""
    STATUTORY = "statutory"
    """法定帳簿 ↔ 台帳: every line of every customer's ledger, its balance, and the daily figures."""
    BANK = "bank"
    """会計帳簿 ↔ 銀行: each transfer and debit, and the journals of the bank's account."""
    TRACER = "tracer"
    """会計帳簿 ↔ Processing Tracer: what is booked of processings that are not proved consistent."""


class DifferenceKind(StrEnum):
    """How the two sides differ."""

    MISSING = "MISSING"
    """The other service has it, the books do not."""
    SURPLUS = "SURPLUS"
    """The books have it, the other service does not."""
    DIFFERS = "DIFFERS"
    """Both have it, with different amounts or states."""
    TOTAL = "TOTAL"
    """A total differs by more than the records that are named account for."""
    UNPROVED = "UNPROVED"
    """It is booked, and its processing is not consistent."""


class DifferenceState(StrEnum):
    """What is to be thought of a difference."""

    OPEN = "OPEN"
    """Nothing accounts for it."""
    IN_FLIGHT = "IN_FLIGHT"
    """It is younger than the tolerance: its event may still be on its way."""
    EXPLAINED = "EXPLAINED"
    """An event that stands unposted accounts for it, or somebody has explained it."""


class ReconciliationFindingState(StrEnum):
    """Where the work on a difference stands."""

    OPEN = "OPEN"
    EXPLAINED = "EXPLAINED"
    CLOSED = "CLOSED"
    """A later run did not see it any more, or somebody is done with it; seen again it is OPEN again."""


# -- requests -----------------------------------------------------------------------------------------------------


class Reconcile(Message):
    """Compare now."""

    name: ReconciliationName
    through: Instant | None = None
    """What was recorded later is left out; None: now."""
    since: Instant | None = None
    """Records before it are not compared one by one (totals always are); None: all."""


class ListReconciliations(Message):
    """Runs, newest first; `cursor` comes from the page before."""

    name: ReconciliationName | None = None
    limit: PageLimit = 50
    cursor: PageCursor | None = None


class GetReconciliation(Message):
    """Which run."""

    reconciliation_id: ReconciliationId


class ListDifferences(Message):
    """A page of a run's differences, in the order of their lines."""

    reconciliation_id: ReconciliationId
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The last line of the page before."""
    limit: PageLimit = 100


class ListReconciliationFindings(Message):
    """Findings in one state, oldest first; `cursor` comes from the page before."""

    state: ReconciliationFindingState = ReconciliationFindingState.OPEN
    limit: PageLimit = 50
    cursor: PageCursor | None = None


class GetReconciliationFinding(Message):
    """Which finding."""

    finding_id: ReconciliationFindingId


class ExplainReconciliationFinding(Message):
    """Say why the difference is there; it stays explained as long as it stays what it is."""

    finding_id: ReconciliationFindingId
    reason: Explanation


class CloseReconciliationFinding(Message):
    """Be done with it."""

    finding_id: ReconciliationFindingId
    reason: Explanation


# -- answers ------------------------------------------------------------------------------------------------------


class ReconciliationFigure(Message):
    """One total of the two sides, such as an account type's."""

    subject: str
    asset: str
    theirs_minor: int
    """The other service's."""
    ours_minor: int
    """The books'."""
    in_flight_minor: int
    """Of the difference, what may still be on its way."""
    explained_minor: int
    """Of the difference, what stands unposted."""


class Reconciliation(Message):
    """A run and what it found."""

    reconciliation_id: str
    name: ReconciliationName
    through: datetime
    since: datetime | None
    tolerance_s: int
    started_at: datetime
    finished_at: datetime
    compared: int
    """Records of either side."""
    differences: int
    """What nothing accounts for. Zero is what is wanted."""
    explained: int
    in_flight: int
    figures: list[ReconciliationFigure]


class ReconciliationPage(Message):
    """A page; `next_cursor` is None on the last one."""

    reconciliations: list[Reconciliation]
    next_cursor: str | None


class ReconciliationDifference(Message):
    """One record on which the two sides do not agree."""

    line: int
    kind: DifferenceKind
    state: DifferenceState
    subject: str
    """What it is about: an exchange and an account type, a payment, a bank instruction, a processing."""
    asset: str
    theirs_minor: int
    ours_minor: int
    at: datetime
    """When it was recorded."""
    text: str
    finding_id: str | None
    """None while it is in flight."""


class DifferencePage(Message):
    """A page; `next_after` is None on the last one."""

    differences: list[ReconciliationDifference]
    next_after: int | None


class ReconciliationFindingStep(Message):
    """One line of the audit trail."""

    sequence: int
    state: ReconciliationFindingState
    by: str
    """The API key that did it, or `books` where it came of itself."""
    reason: str
    recorded_at: datetime


class ReconciliationFinding(Message):
    """A difference that was found, with its audit trail."""

    finding_id: str
    name: ReconciliationName
    kind: DifferenceKind
    subject: str
    asset: str
    theirs_minor: int
    ours_minor: int
    state: ReconciliationFindingState
    text: str
    at: datetime
    """When what it is about was recorded."""
    opened_at: datetime
    changed_at: datetime
    reconciliation_id: str
    """The run that saw it last."""
    steps: list[ReconciliationFindingStep]


class ReconciliationFindingPage(Message):
    """A page; `next_cursor` is None on the last one."""

    findings: list[ReconciliationFinding]
    next_cursor: str | None


class Reconciling(Protocol):
    """照合: the books against the other services."""

    @verb("POST /v1/books/reconciliations", scope="books:write", status=201,
          errors=("through_in_future", "since_after_through", "snapshot_not_stable"))  # fmt: skip
    async def reconcile(self, request: Reconcile, /) -> Reconciliation:
        """Compare the books with another service now, keep what was found, and open, reopen or close findings."""
        ...

    @verb("GET /v1/books/reconciliations", scope="books:read", errors=("bad_cursor",))
    async def list_reconciliations(self, request: ListReconciliations, /) -> ReconciliationPage:
        """Runs, newest first."""
        ...

    @verb("GET /v1/books/reconciliations/{reconciliation_id}", scope="books:read",
          errors=("reconciliation_not_found",))  # fmt: skip
    async def get_reconciliation(self, request: GetReconciliation, /) -> Reconciliation:
        """A run with its totals."""
        ...

    @verb("GET /v1/books/reconciliations/{reconciliation_id}/differences", scope="books:read",
          errors=("reconciliation_not_found",))  # fmt: skip
    async def list_differences(self, request: ListDifferences, /) -> DifferencePage:
        """What a run found, record by record."""
        ...

    @verb("GET /v1/books/findings", scope="books:read", errors=("bad_cursor",))
    async def list_reconciliation_findings(self, request: ListReconciliationFindings, /) -> ReconciliationFindingPage:
        """Findings in a state, oldest first."""
        ...

    @verb("GET /v1/books/findings/{finding_id}", scope="books:read", errors=("finding_not_found",))
    async def get_reconciliation_finding(self, request: GetReconciliationFinding, /) -> ReconciliationFinding:
        """A finding with its audit trail."""
        ...

    @verb("POST /v1/books/findings/{finding_id}/explain", scope="books:write",
          errors=("finding_not_found", "finding_closed"))  # fmt: skip
    async def explain_reconciliation_finding(self, request: ExplainReconciliationFinding, /) -> ReconciliationFinding:
        """Say why a difference is there."""
        ...

    @verb("POST /v1/books/findings/{finding_id}/close", scope="books:write",
          errors=("finding_not_found", "finding_closed"))  # fmt: skip
    async def close_reconciliation_finding(self, request: CloseReconciliationFinding, /) -> ReconciliationFinding:
        """Be done with a finding, with a reason; one whose difference is still there opens again."""
        ...
