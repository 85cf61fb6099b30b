"""Findings: listed, and moved on by people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import NotFound, Unavailable
from kessai.foundation.ids import bare
from kessai.services.tracer.api import Finding, FindingPage, ListFindings, Verdict
from kessai.services.tracer.domain.findings import Case, Step, found_right
from kessai.services.tracer.service.answers import cursor_of, position_of
from kessai.services.tracer.store import ROLE, findings, reports

_LOWEST = "0" * 32
ATTEMPTS_MAX = 5


class _Overtaken(Exception):
    """Another step came first."""


class Casework:
    """What people do about findings."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, finding_id: str) -> Finding:
        """A finding with its audit trail; raises NotFound."""
        cases = await findings.load_findings(self._database, [bare(finding_id)])
        if not cases:
            raise _not_found()
        return (await self._shown(cases))[0]

    async def page(self, request: ListFindings) -> FindingPage:
        """Findings in a state, oldest first."""
        after, after_id = position_of(request.cursor, _LOWEST)
        found = await findings.findings_by_age(
            self._database, request.state, after=after, after_id=after_id, limit=request.limit + 1
        )
        page = found[: request.limit]
        more = len(found) > request.limit
        return FindingPage(
            findings=await self._shown(page),
            next_cursor=cursor_of(page[-1].opened_at, page[-1].finding_id) if more else None,
        )

    async def step(self, finding_id: str, decide: Callable[[Case], Step]) -> Finding:
        """Decide on what is stored and write it; anew when another step came first."""
        for _ in range(ATTEMPTS_MAX):
            try:
                await self._database.transaction(ROLE, lambda connection: self._step(connection, finding_id, decide))
            except _Overtaken:
                continue
            return await self.get(finding_id)
        raise Unavailable("contention", "Too many concurrent changes to the same finding; try again.")

    async def settle(self, finding_id: str) -> Finding:
        """After a repair was linked: closed at once when the processing has been proved since it was found wrong."""

        async def work(connection: Connection) -> None:
            case = await _locked(connection, finding_id)
            standings = await reports.lock_standings(connection, [case.processing_id])
            standing = standings[case.processing_id]
            proved = standing.verdict == Verdict.CONSISTENT and standing.revision > case.revision
            step = found_right(case, standing.revision, self._clock.now()) if proved else None
            if step is not None and not await findings.write_steps(connection, [step], self._clock.now()):
                raise _Overtaken

        await self._database.transaction(ROLE, work)
        return await self.get(finding_id)

    async def _step(self, connection: Connection, finding_id: str, decide: Callable[[Case], Step]) -> None:
        step = decide(await _locked(connection, finding_id))
        if not await findings.write_steps(connection, [step], self._clock.now()):
            raise _Overtaken

    async def _shown(self, cases: Sequence[Case]) -> list[Finding]:
        steps = await findings.steps_of(self._database, [each.finding_id for each in cases])
        return [
            Finding(
                finding_id=f"fnd_{each.finding_id}",
                processing_id=each.processing_id,
                kind=each.kind,
                state=each.state,
                revision=each.revision,
                assignee=each.assignee,
                opened_at=each.opened_at,
                changed_at=each.changed_at,
                steps=steps[each.finding_id],
            )
            for each in cases
        ]


async def _locked(connection: Connection, finding_id: str) -> Case:
    known = await findings.lock_findings(connection, [bare(finding_id)])
    if not known:
        raise _not_found()
    return known[bare(finding_id)]


def _not_found() -> NotFound:
    return NotFound("finding_not_found", "There is no such finding.")
