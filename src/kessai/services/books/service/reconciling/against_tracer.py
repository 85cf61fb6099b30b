"""会計帳簿 ↔ Processing Tracer: what is booked of processings that are not proved consistent in time.

The tracer's instants are real time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from kessai.foundation.errors import PaymentError
from kessai.services.books.api.reconciling import DifferenceKind, DifferenceState
from kessai.services.books.domain.reconciling import Difference
from kessai.services.books.service.reconciling.runs import NAMED_MAX, Outcome, Run, Staging
from kessai.services.books.store.reconciling import Staged, compare
from kessai.services.tracer.api import (
    Finding,
    FindingState,
    GetFinding,
    GetProcessing,
    ListProcessings,
    ProcessingSummary,
    Verdict,
)

NOT_PROVED = (Verdict.INCONSISTENT, Verdict.INCOMPLETE, Verdict.PENDING)
PAGE = 500
TOLD_MAX = 100
"""Processings whose finding is asked for; the others are told by their verdict alone."""
EXPLAINED = (FindingState.EXPLAINED, FindingState.REPAIRED)


async def against_tracer(run: Run) -> Outcome:
    """Every journal of a processing that is not consistent beyond the tolerance."""
    staging = Staging(run)
    for verdict in NOT_PROVED:
        async for each in _processings(run, verdict):
            await staging.add([Staged(each.processing_id, None, 0, 0, None, each.verdict.value, each.touched_at)])
    await staging.finish()
    outcome = Outcome(compared=staging.count)
    if not staging.count:
        return outcome
    rows = await compare(run.database, "unproved_journals", run.run_id, run.through, NAMED_MAX)
    findings: dict[str, Finding | None] = {}
    for subject in dict.fromkeys(row["subject"] for row in rows[:TOLD_MAX]):
        findings[subject] = await _finding(run, subject)
    for row in rows:
        finding = findings.get(row["subject"])
        state = DifferenceState.EXPLAINED if finding and finding.state in EXPLAINED else DifferenceState.OPEN
        told = f"; finding {finding.finding_id} is {finding.state}" if finding else ""
        booked = int(row["booked"] or 0)
        outcome.name(
            Difference(
                kind=DifferenceKind.UNPROVED,
                state=state,
                subject=row["subject"],
                asset=row["asset"],
                theirs=0,
                ours=booked,
                at=row["recorded_at"],
                text=f"{booked} {row['asset']} in {row['journals']} journals; its verdict is {row['state']}{told}",
            )
        )
        outcome.counts[state] += 1
    if rows:
        outcome.counts[DifferenceState.OPEN] += rows[0]["records"] - len(rows)
    return outcome


async def _processings(run: Run, verdict: Verdict) -> AsyncIterator[ProcessingSummary]:
    cursor = None
    while True:
        request = ListProcessings(verdict=verdict, older_than_s=run.tolerance_s, limit=PAGE, cursor=cursor)
        page = await run.doors.tracer.list_processings(request)
        for each in page.processings:
            yield each
        if (cursor := page.next_cursor) is None:
            return


async def _finding(run: Run, processing_id: str) -> Finding | None:
    """The tracer's finding on a processing; None: there is none, or it cannot be had now."""
    try:
        found = await run.doors.tracer.get_processing(GetProcessing(processing_id=processing_id))
        if found.finding_id is None:
            return None
        return await run.doors.tracer.get_finding(GetFinding(finding_id=found.finding_id))
    except PaymentError:
        return None
