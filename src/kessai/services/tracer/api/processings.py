"""Processings as people ask for them: participants, reports, verdicts by revision, the graph, totals."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from kessai.foundation.contract import Message, PageLimit, Reference
from kessai.sdk.processing.api import PROCESSINGS_MAX, ConsistencyReport, ProcessingId

Cursor = Annotated[str, msgspec.Meta(max_length=256)]


class Verdict(StrEnum):
    """What is known of a processing at its present revision."""

    PENDING = "PENDING"
    """Not everybody has reported yet, or something is in flight."""
    CONSISTENT = "CONSISTENT"
    """Everybody reported, and all records agree."""
    INCONSISTENT = "INCONSISTENT"
    """Records differ, or a participant does not name one that it called."""
    INCOMPLETE = "INCOMPLETE"
    """The deadline passed before everybody had reported."""


class GetProcessing(Message):
    """Which processing."""

    processing_id: ProcessingId


class GetProcessingOfPayment(Message):
    """Which payment's processing: by the id of the first effect where it began."""

    payment_id: Reference


class ProveAgain(Message):
    """Ask everybody who takes part anew, because something outside the platform's own records has changed."""

    processing_id: ProcessingId


class ListProcessings(Message):
    """Processings with one verdict, those that were touched longest ago first; `cursor` comes from the page before."""

    verdict: Verdict = Verdict.PENDING
    older_than_s: Annotated[int, msgspec.Meta(ge=0, le=31_536_000)] = 0
    """Only those not touched for so many seconds."""
    limit: PageLimit = 50
    cursor: Cursor | None = None


class ProcessingSummary(Message):
    """A processing in a list."""

    processing_id: str
    verdict: Verdict
    revision: int
    entry: str | None
    """Where it began; None while nobody has told."""
    participants: list[str]
    opened_at: datetime
    touched_at: datetime
    """When it was last told to have new effects."""


class ListVerdicts(Message):
    """The present verdicts of these processings."""

    processing_ids: Annotated[list[ProcessingId], msgspec.Meta(min_length=1, max_length=PROCESSINGS_MAX)]


class ProcessingVerdict(Message):
    """What is known of a processing at its present revision, and since when."""

    processing_id: str
    verdict: Verdict
    revision: int
    decided_at: datetime | None = None
    """When this revision's verdict was given; None while it is PENDING. What occurred later is not covered by it."""


class Verdicts(Message):
    """In order of id; a processing that the tracer has not heard of is left out."""

    verdicts: list[ProcessingVerdict]


class ProcessingPage(Message):
    """One page."""

    processings: list[ProcessingSummary]
    next_cursor: str | None = None


class GraphEdge(Message):
    """Who called whom, as told by the caller (it depends), the callee (it was called), or both."""

    caller: str
    callee: str
    told_by_caller: bool
    told_by_callee: bool


class ReportRecord(Message):
    """A report as it was taken."""

    participant: str
    report: ConsistencyReport
    report_digest: str
    """SHA-256 of the whole report in canonical form; what the verdict's leaf names."""
    reported_at: datetime


class Undeclared(Message):
    """A participant told that it was called by another, which does not name it among those it depends on."""

    caller: str
    callee: str


class VerdictRecord(Message):
    """A verdict that was given, with its place in the chain of seals."""

    revision: int
    verdict: Verdict
    late: list[str]
    """Who had not reported, when it is INCOMPLETE or was decided past the deadline."""
    undeclared: list[Undeclared]
    batch: int
    leaf: int
    decided_at: datetime


class Processing(Message):
    """A processing with all that is known of it."""

    processing_id: str
    verdict: Verdict
    revision: int
    entry: str | None
    participants: list[str]
    waiting_for: list[str]
    """Participants without a final report at this revision."""
    opened_at: datetime
    touched_at: datetime
    reports: list[ReportRecord]
    """In order of revision and participant."""
    verdicts: list[VerdictRecord]
    """In the order in which they were given."""
    graph: list[GraphEdge]
    drawing: str
    """The graph as a Mermaid flowchart."""
    finding_id: str | None = None


class GetTotals(Message):
    """Totals of the days from the first to the last, both included (Asia/Tokyo)."""

    first_day: date
    last_day: date


class DayTotals(Message):
    """A day's counts: of events on that day, not of how its processings stand now."""

    day: date
    opened: int = 0
    """Processings that were new."""
    touched: int = 0
    """Touches of them, the first included."""
    consistent: int = 0
    """Verdicts given."""
    inconsistent: int = 0
    incomplete: int = 0
    stale: int = 0
    """Reports about a revision that had passed, or told before."""
    contradictions: int = 0
    """Reports that contradicted one already taken."""


class Totals(Message):
    """In order of days; a day on which nothing happened is left out."""

    days: list[DayTotals]


class ListParticipants(Message):
    """All participants."""


class ParticipantStanding(Message):
    """How far a participant has come with its notices."""

    name: str
    notices: int
    """How many it was given since it was first named."""
    waiting: int
    """How many of them it has not dealt with."""
    seen_at: datetime
    """When it last reported, or was first named."""


class ParticipantStandings(Message):
    """In order of name."""

    participants: list[ParticipantStanding]
