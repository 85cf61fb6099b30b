"""Reports are taken in batches: judged, kept, and where everybody has reported a verdict is given and sealed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, plan_by_index
from kessai.foundation.errors import Conflict, Invalid, PaymentError, Unavailable
from kessai.foundation.events.outbox import bell
from kessai.foundation.groupcommit import GroupCommit
from kessai.sdk.processing.api import ConsistencyReport, Outcome, ReportsTaken, SendReports
from kessai.sdk.processing.reconcile import digest_of
from kessai.services.tracer.api import FindingKind, Verdict
from kessai.services.tracer.domain.deciding import Ruling, Standing, Taking, Told, closure, judge, ruling_of
from kessai.services.tracer.domain.findings import Case, Step, finding_hex, found_right, found_wrong
from kessai.services.tracer.domain.rules import TracerRules
from kessai.services.tracer.domain.sealing import leaf_of, report_digest, root_of, seal_of
from kessai.services.tracer.store import ROLE, findings, reports, touches
from kessai.services.tracer.store.reports import NewReport, NewVerdict, StoredSeal

R = TypeVar("R")

ATTEMPTS_MAX = 8
REQUESTS_MAX = 8
"""Requests that share a transaction; each has up to a thousand reports."""
OVERDUE_MAX = 1_000
"""Processings past their deadline that are decided in one transaction."""
NAMED_MAX = 20
"""Processings that an error names."""


class _Overtaken(Exception):
    """Somebody else's step on a finding came first."""


@dataclass(slots=True)
class _Batch:
    """What one transaction comes to."""

    standings: dict[str, Standing]
    changed: dict[str, Standing] = field(default_factory=dict)
    kept: list[NewReport] = field(default_factory=list)
    notices: list[tuple[str, tuple[str, int]]] = field(default_factory=list)
    rulings: list[tuple[Standing, Ruling]] = field(default_factory=list)
    contradictions: dict[str, str] = field(default_factory=dict)
    """By processing: what was told twice."""
    counts: Counter[str] = field(default_factory=Counter)


class Reception:
    """Takes reports. Any number of processes may, at once: a processing's row decides who comes first."""

    def __init__(self, database: Database, clock: Clock, rules: TracerRules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self._silent = rules.silent
        self._group: GroupCommit[SendReports, list[SendReports], ReportsTaken] = GroupCommit(
            prepare=self._prepare, commit=self._commit, batch_max=REQUESTS_MAX
        )

    async def take(self, request: SendReports) -> ReportsTaken:
        """Take one participant's reports; raises as the verb says, after the others of the request are taken."""
        if wrong := [each for each in request.reports if digest_of(each.effects) != each.digest]:
            named = [each.processing_id for each in wrong[:NAMED_MAX]]
            raise Invalid("digest_mismatch", "A report's digest is not that of its effects.", processing_ids=named)
        return await self._group.submit(replace(request, reports=[_consequent(each) for each in request.reports]))

    async def expire(self) -> int:
        """Decide what is past its deadline; gives how many processings that were."""
        total = 0
        while due := await reports.overdue(self._database, self._clock.now(), OVERDUE_MAX):
            decided = await self._again(lambda connection, due=due: self._expire(connection, due))
            total += decided
            if len(due) < OVERDUE_MAX or not decided:
                break
        return total

    async def close(self) -> None:
        """Carry what was accepted to its end."""
        await self._group.close()

    # -- one transaction ----------------------------------------------------------------------------------------

    async def _prepare(self, requests: list[SendReports], _: int) -> list[SendReports]:
        return requests

    async def _commit(self, requests: list[SendReports]) -> Sequence[ReportsTaken | PaymentError]:
        outcomes = await self._again(lambda connection: self._take(connection, requests))
        bell(self._database, "tracer", "notices").ring()
        return outcomes

    async def _take(self, connection: Connection, requests: Sequence[SendReports]) -> list[ReportsTaken | PaymentError]:
        now = self._clock.now()
        named = {each.processing_id for request in requests for each in request.reports}
        batch = _Batch(await reports.lock_standings(connection, sorted(named)) if named else {})
        outcomes = [self._judged(batch, request, now) for request in requests]
        self._rule(batch)
        positions: dict[str, int] = {}
        for each in requests:
            positions[each.participant] = max(positions.get(each.participant, 0), each.position or 0)
        await touches.acknowledge(connection, positions, now)
        await self._write(connection, batch, now)
        return outcomes

    async def _expire(self, connection: Connection, due: Sequence[tuple[str, int]]) -> int:
        now = self._clock.now()
        batch = _Batch(await reports.lock_standings(connection, [each[0] for each in due]))
        for processing_id, revision in due:
            standing = batch.standings[processing_id]
            if standing.revision != revision or standing.verdict != Verdict.PENDING or standing.due_at > now:
                continue
            ruling = ruling_of(standing, self._silent, overdue=True)
            assert ruling is not None
            _rule_on(batch, standing, ruling)
        await self._write(connection, batch, now)
        return len(batch.rulings)

    def _judged(self, batch: _Batch, request: SendReports, now: datetime) -> ReportsTaken | PaymentError:
        counts: Counter[Taking] = Counter()
        contradicted: list[str] = []
        for each in request.reports:
            told = _told(request.participant, each)
            standing = batch.standings.get(each.processing_id)
            taking = judge(standing, request.participant, each.revision, told)
            counts[taking] += 1
            if standing is None:
                continue
            if taking is Taking.TAKEN:
                self._keep(batch, standing, request.participant, each, told, now)
            elif taking is Taking.CONTRADICTS:
                contradicted.append(each.processing_id)
                before = standing.reports[request.participant]
                batch.contradictions[each.processing_id] = _contradiction(request.participant, before, told)
        batch.counts["stale"] += counts[Taking.STALE]
        batch.counts["contradictions"] += len(contradicted)
        if contradicted:
            sentence = "A report contradicts one on the same revision; it was not taken, the others were."
            return Conflict("report_contradicts", sentence, processing_ids=contradicted[:NAMED_MAX])
        return ReportsTaken(taken=counts[Taking.TAKEN], stale=counts[Taking.STALE])

    def _keep(
        self, batch: _Batch, standing: Standing, participant: str, report: ConsistencyReport, told: Told, now: datetime
    ) -> None:
        standing.reports[participant] = told
        subject = report.effects[0].effect_id if participant == standing.entry and report.effects else None
        batch.kept.append(NewReport(participant, report, told.digest, subject))
        batch.changed.setdefault(standing.processing_id, standing)
        if not told.final:
            standing.due_at = now + self._rules.in_flight_deadline

    def _rule(self, batch: _Batch) -> None:
        """New participants are asked; verdicts are given where everybody has reported."""
        unchanged: list[str] = []
        for standing in batch.changed.values():
            named = closure(standing, self._silent) | standing.participants
            new = named - standing.participants
            batch.notices += [(name, (standing.processing_id, standing.revision)) for name in sorted(new)]
            standing.participants = named
            ruling = ruling_of(standing, self._silent)
            if ruling is not None:
                _rule_on(batch, standing, ruling)
            elif not new and not standing.in_flight:
                unchanged.append(standing.processing_id)
        for processing_id in unchanged:
            del batch.changed[processing_id]

    # -- writing ------------------------------------------------------------------------------------------------

    async def _write(self, connection: Connection, batch: _Batch, now: datetime) -> None:
        steps = await self._findings(connection, batch, now)
        if batch.kept:
            await reports.insert_reports(connection, batch.kept, now)
        if batch.changed:
            await reports.change_processings(connection, list(batch.changed.values()))
        if batch.notices:
            await touches.add_notices(connection, batch.notices, now)
        if batch.rulings:
            await _seal(connection, batch.rulings, now)
        if steps and not await findings.write_steps(connection, steps, now):
            raise _Overtaken
        if counts := {name: count for name, count in batch.counts.items() if count}:
            await touches.count_day(connection, counts, now)

    async def _findings(self, connection: Connection, batch: _Batch, now: datetime) -> list[Step]:
        """What becomes of findings; marks processings that get one."""
        wrong: dict[str, tuple[Standing, FindingKind, str]] = {}
        right: list[Standing] = []
        for standing, ruling in batch.rulings:
            if ruling.verdict is not Verdict.CONSISTENT:
                kind = FindingKind(ruling.verdict.value)
                wrong[standing.processing_id] = (standing, kind, _reason(standing, ruling))
            elif standing.found:
                right.append(standing)
        for processing_id, reason in batch.contradictions.items():
            wrong.setdefault(processing_id, (batch.standings[processing_id], FindingKind.CONTRADICTION, reason))
        if not wrong and not right:
            return []
        ids = [finding_hex(each) for each in (*wrong, *(standing.processing_id for standing in right))]
        known = await findings.lock_findings(connection, ids)
        steps = [_wrong(known, *each, now) for each in wrong.values()]
        for standing, _, _ in wrong.values():
            if not standing.found:
                standing.found = True
                batch.changed[standing.processing_id] = standing
        return steps + _right(known, [each for each in right if each.processing_id not in wrong], now)

    async def _again(self, work: Callable[[Connection], Awaitable[R]]) -> R:
        """One transaction, anew when a finding was changed meanwhile."""
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._database.transaction(ROLE, lambda connection: _by_index(connection, work))
            except _Overtaken:
                continue
        raise Unavailable("contention", "Too many concurrent changes to the same findings; try again.")


async def _by_index(connection: Connection, work: Callable[[Connection], Awaitable[R]]) -> R:
    await plan_by_index(connection)
    return await work(connection)


def _told(participant: str, report: ConsistencyReport) -> Told:
    digest = report_digest(participant, report)
    return Told(report.outcome, digest, report.dependencies, report.callers)


def _consequent(report: ConsistencyReport) -> ConsistencyReport:
    """A report with differences is a different one, whatever it says itself."""
    if report.differences and report.outcome is Outcome.MATCHED:
        return replace(report, outcome=Outcome.DIFFERENT)
    return report


def _rule_on(batch: _Batch, standing: Standing, ruling: Ruling) -> None:
    standing.verdict = ruling.verdict
    batch.changed[standing.processing_id] = standing
    batch.rulings.append((standing, ruling))
    batch.counts[ruling.verdict.lower()] += 1


async def _seal(connection: Connection, rulings: Iterable[tuple[Standing, Ruling]], now: datetime) -> None:
    """Keep verdicts as the next batch of the chain."""
    verdicts = [
        NewVerdict(
            standing.processing_id,
            standing.revision,
            ruling.verdict.value,
            ruling.late,
            ruling.undeclared,
            sorted((name, told.digest) for name, told in standing.reports.items()),
        )
        for standing, ruling in rulings
    ]
    leaves = [
        leaf_of(v.processing_id, v.revision, v.verdict, late=v.late, undeclared=v.undeclared, reports=v.reports)
        for v in verdicts
    ]
    last, previous = await reports.lock_head(connection)
    root = root_of(leaves)
    seal = seal_of(previous, last + 1, len(leaves), root)
    link = StoredSeal(batch=last + 1, leaves=b"".join(leaves), root=root, seal=seal, sealed_at=now)
    await reports.insert_verdicts(connection, verdicts, link, now)


def _contradiction(participant: str, before: Told, told: Told) -> str:
    return (
        f"{participant} told {before.outcome} (report {before.digest.hex()}) and then {told.outcome}"
        f" (report {told.digest.hex()}) of one revision."
    )


def _reason(standing: Standing, ruling: Ruling) -> str:
    different = sorted(name for name, told in standing.reports.items() if told.outcome == Outcome.DIFFERENT)
    parts = [f"{name} found records that differ." for name in different]
    parts += [f"{callee} was called by {caller}, which does not name it." for caller, callee in ruling.undeclared]
    if ruling.late:
        parts.append(f"Not reported in time: {', '.join(ruling.late)}.")
    return f"Revision {standing.revision}: {' '.join(parts)}"


def _wrong(known: dict[str, Case], standing: Standing, kind: FindingKind, reason: str, now: datetime) -> Step:
    case = known.get(finding_hex(standing.processing_id))
    return found_wrong(case, standing.processing_id, standing.revision, kind, reason, now)


def _right(known: dict[str, Case], standings: Sequence[Standing], now: datetime) -> list[Step]:
    steps = [
        found_right(case, standing.revision, now)
        for standing in standings
        if (case := known.get(finding_hex(standing.processing_id))) is not None
    ]
    return [step for step in steps if step is not None]
