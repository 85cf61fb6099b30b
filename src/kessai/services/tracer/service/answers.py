"""What people ask of processings, put together from their rows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound
from kessai.services.tracer.api import (
    ListProcessings,
    Processing,
    ProcessingPage,
    ProcessingSummary,
    ReportRecord,
    Undeclared,
    VerdictRecord,
)
from kessai.services.tracer.domain.deciding import Told
from kessai.services.tracer.domain.drawing import edges_of, flowchart
from kessai.services.tracer.domain.findings import finding_hex
from kessai.services.tracer.store import lists, reports
from kessai.services.tracer.store.reports import StoredReport, StoredVerdict

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_position = msgspec.json.Decoder(tuple[datetime, str])


def cursor_of(at: datetime, last: str) -> str:
    """Where a page ended."""
    return base64.urlsafe_b64encode(msgspec.json.encode((at, last))).decode()


def position_of(cursor: str | None, first: str) -> tuple[datetime, str]:
    """Where a page begins; Invalid `bad_cursor` for one that was not given here."""
    if cursor is None:
        return EARLIEST, first
    try:
        return _position.decode(base64.urlsafe_b64decode(cursor))
    except (ValueError, msgspec.MsgspecError) as error:
        raise Invalid("bad_cursor", "The cursor does not come from an earlier page.") from error


async def processing(database: Database, processing_id: str) -> Processing:
    """A processing with all that is known of it; raises NotFound."""
    found = await lists.load_processing(database, processing_id)
    if found is None:
        raise NotFound("processing_not_found", "There is no such processing.")
    summary, has_finding = found
    told = await reports.reports_of(database, processing_id)
    verdicts = await reports.verdicts_of(database, processing_id)
    return _answer(summary, told, verdicts, finding_id=f"fnd_{finding_hex(processing_id)}" if has_finding else None)


async def processings(database: Database, clock: Clock, request: ListProcessings) -> ProcessingPage:
    """A page of processings with a verdict, oldest touch first."""
    after, after_id = position_of(request.cursor, "")
    until = clock.now() - timedelta(seconds=request.older_than_s)
    found = await lists.processings_by_age(
        database, request.verdict, after=after, after_id=after_id, until=until, limit=request.limit + 1
    )
    page = found[: request.limit]
    more = len(found) > request.limit
    return ProcessingPage(
        processings=page, next_cursor=cursor_of(page[-1].touched_at, page[-1].processing_id) if more else None
    )


def _answer(
    summary: ProcessingSummary,
    told: Sequence[StoredReport],
    verdicts: Sequence[StoredVerdict],
    *,
    finding_id: str | None,
) -> Processing:
    present: dict[str, Told] = {}
    for each in told:
        if each.report.revision == summary.revision:
            present[each.participant] = each.told
    last: dict[str, Told] = {each.participant: each.told for each in told} | present
    edges = edges_of(last)
    return Processing(
        processing_id=summary.processing_id,
        verdict=summary.verdict,
        revision=summary.revision,
        entry=summary.entry,
        participants=summary.participants,
        waiting_for=[name for name in summary.participants if name not in present or not present[name].final],
        opened_at=summary.opened_at,
        touched_at=summary.touched_at,
        reports=[_report(each) for each in told],
        verdicts=[_verdict(each) for each in verdicts],
        graph=edges,
        drawing=flowchart(summary.participants, summary.entry, present, edges),
        finding_id=finding_id,
    )


def _report(stored: StoredReport) -> ReportRecord:
    return ReportRecord(
        participant=stored.participant,
        report=stored.report,
        report_digest=stored.digest.hex(),
        reported_at=stored.reported_at,
    )


def _verdict(stored: StoredVerdict) -> VerdictRecord:
    return VerdictRecord(
        revision=stored.revision,
        verdict=stored.verdict,
        late=stored.late,
        undeclared=[Undeclared(caller=caller, callee=callee) for caller, callee in stored.undeclared],
        batch=stored.batch,
        leaf=stored.leaf,
        decided_at=stored.decided_at,
    )
