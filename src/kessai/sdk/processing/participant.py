"""A service's part in the Processing Tracer: what it knows of its own effects, compared with its dependencies'.

`Participant` is a loop, one at a time per service under a lease: pull notices, read what the service knows itself, ask
every dependency for its own record, compare both ways, report. No transaction is open while others are asked. What
differs is looked at twice, for the two sides are not read at one instant, and again after a pause, for one side may
hear by an event of what the other did. A dependency that is down holds up only the processings in which the service has
called it; the others are reported, and nothing is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import structlog
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call
from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, PaymentError
from kessai.foundation.lease import LEASE_S, Lease, hold
from kessai.sdk.processing.api import (
    ConsistencyReport,
    Difference,
    DifferenceKind,
    EffectRecord,
    EffectSource,
    ListEffects,
    Notice,
    Outcome,
    ProcessingEffects,
    PullNotices,
    SendReports,
    TracerForParticipants,
)
from kessai.sdk.processing.reconcile import digest_of, reconcile

log = structlog.get_logger(__name__)

WAIT_MS = 20_000
"""How long one pull waits for notices."""
PAGE = 100
"""Processings that are examined at once: the event loop is shared with the service's own requests, which a page of a
thousand would keep waiting for tenths of a second."""
HELD_MAX = 20_000
"""Processings that may wait for a dependency before no more notices are pulled."""
DOUBT_S = 2.0
"""How long records must differ in the same way before it is told: longer than an event is on its way."""
DOUBT_LOOK_S = 0.5
"""How long is waited at most before doubtful ones are looked at again, and with them what has come meanwhile."""
BACKOFF_S = 0.1
BACKOFF_S_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a service knows of one processing from its own rows alone."""

    effects: list[EffectRecord] = field(default_factory=list)
    """What it did itself: what its `list_effects` tells, too. What the processing is about (a payment) comes first."""
    claims: dict[str, list[EffectRecord]] = field(default_factory=dict)
    """By dependency: what this service believes that the dependency did for it."""
    in_flight: bool = False
    """Something of it is still under way; the flush that ends it touches the processing again."""
    callers: list[str] = field(default_factory=list)
    """On whose behalf it acted: services, or `key_…` for a request from outside."""
    within: list[Difference] = field(default_factory=list)
    """Where its own rows contradict each other (kind WITHIN), or those of an outside party for which it answers."""


OwnView: TypeAlias = Callable[[Sequence[str]], Awaitable[dict[str, Own]]]
"""A service's own account of these processings, by id, in few statements; one it has nothing of is left out."""

Answers: TypeAlias = Mapping[str, Mapping[str, ProcessingEffects]]
"""By dependency (those that answered), then by processing."""

NOTHING = Own()
"""Of a processing in which the service has no rows."""


@dataclass(slots=True)
class _Held:
    """A processing that waits for a dependency; notices up to `after` are dealt with as far as it is concerned."""

    revision: int
    after: int


class _Doubt(NamedTuple):
    """What differed, and since when (event-loop time)."""

    revision: int
    differences: list[Difference]
    since: float


class Participant:
    """Takes part for one service; several processes may open one each, one of them works at a time."""

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        own: OwnView,
        dependencies: Mapping[str, EffectSource],
        tracer: TracerForParticipants,
        lease_in: str | None = None,
        lease_s: float = LEASE_S,
        doubt_s: float = DOUBT_S,
    ) -> None:
        """`lease_in` is the schema that keeps its lease, when the service has none of its own name."""
        self.name = name
        self.reported = 0
        """Reports sent by this process."""
        self._own = own
        self._dependencies = dict(dependencies)
        self._tracer = tracer
        self._lease = Lease(database, lease_in or name, f"participant/{name}", lease_s=lease_s)
        self._after: int | None = None
        """Up to where notices are pulled; None: begin after what was acknowledged."""
        self._held: dict[str, _Held] = {}
        self._doubt_s = doubt_s
        self._doubts: dict[str, _Doubt] = {}
        """How processings that are held differed when that was first seen."""
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop, and let another process go on; what was not reported is pulled again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        self._after, self._held, self._doubts = None, {}, {}
        enter_call(Call(caller=self.name))
        failures = 0
        while True:
            try:
                await self.turn(wait_ms=0 if self._held else WAIT_MS)
                failures = failures + 1 if self._held else 0
            except Exception as error:  # noqa: BLE001  (a participant never dies; it is shown and tried again)
                failures += 1
                log.warning("participant_waits", participant=self.name, error=repr(error))
            if failures:
                only_doubts = bool(self._held) and self._held.keys() <= self._doubts.keys()
                longest_s = DOUBT_LOOK_S if only_doubts else BACKOFF_S_MAX
                await asyncio.sleep(min(longest_s, BACKOFF_S * 2 ** min(failures, 8)))

    async def turn(self, *, wait_ms: int = 0) -> int:
        """Pull one page of notices and report on it, and on what waited for a dependency; gives how many reports.

        What raises is not lost: the same notices are pulled again next time.
        """
        notices, before, end = await self._pull(wait_ms)
        due = {one: each.revision for one, each in self._held.items()}
        for each in notices:
            due[each.processing_id] = max(each.revision, due.get(each.processing_id, 0))
        if not due:
            self._after = end
            return 0
        sent, held, ids = 0, dict(self._held), list(due)
        for at in range(0, len(ids), PAGE):
            page = {one: due[one] for one in ids[at : at + PAGE]}
            reports = await self._examine_apart(page)
            for one, revision in page.items():
                if one in reports:
                    held.pop(one, None)
                else:
                    held[one] = _Held(revision, held[one].after if one in held else before)
            dealt_with = min([end, *(each.after for each in held.values())])
            await self._send(list(reports.values()), dealt_with if page.keys() >= {ids[-1]} else None)
            sent += len(reports)
        self._after, self._held = end, held
        return sent

    async def _pull(self, wait_ms: int) -> tuple[list[Notice], int, int]:
        """The next notices, and the positions before the first and at the last of them."""
        if len(self._held) >= HELD_MAX:
            assert self._after is not None
            return [], self._after, self._after
        request = PullNotices(participant=self.name, after=self._after, limit=PAGE, wait_ms=wait_ms)
        pulled = await self._tracer.pull_notices(request)
        return pulled.notices, pulled.position - len(pulled.notices), pulled.position

    async def _examine_apart(self, page: Mapping[str, int]) -> dict[str, ConsistencyReport]:
        """As `_examine`; a processing whose account cannot be given is told so, alone, and keeps nobody waiting."""
        try:
            return await self._examine(page)
        except PaymentError:
            raise  # of the moment: all of it is tried again
        except Exception as error:
            if len(page) == 1:
                ((one, revision),) = page.items()
                log.exception("own_account_fails", participant=self.name, processing_id=one)
                text = f"{self.name} cannot give its own account: {error!r}"
                fault = Difference(dependency=self.name, kind=DifferenceKind.WITHIN, effect_id=one, text=text)
                return {one: report_on(one, revision, Own(within=[fault]), {})}
            items = list(page.items())
            half = len(items) // 2
            return {
                **await self._examine_apart(dict(items[:half])),
                **await self._examine_apart(dict(items[half:])),
            }

    async def _examine(self, page: Mapping[str, int]) -> dict[str, ConsistencyReport]:
        """Reports on processings at their revisions; one that has to wait for a dependency is left out."""
        ids = list(page)
        own = await self._own(ids)
        answers = await self._ask(ids)
        down = self._dependencies.keys() - answers.keys()
        ready = [one for one in ids if not (down and down & own.get(one, NOTHING).claims.keys())]
        reports = {one: report_on(one, page[one], own.get(one, NOTHING), answers) for one in ready}
        doubtful = [one for one, each in reports.items() if each.outcome is Outcome.DIFFERENT]
        if doubtful:
            again = await self._own(doubtful)
            for one in doubtful:
                if not _same(own.get(one, NOTHING), again.get(one, NOTHING)):
                    reports[one] = _unfinished(reports[one])
                elif not self._stands(reports[one], own.get(one, NOTHING)):
                    del reports[one]  # it is looked at again
        for one in reports:
            self._doubts.pop(one, None)
        return reports

    def _stands(self, report: ConsistencyReport, own: Own) -> bool:
        """Whether records have differed so for long enough; own rows that contradict each other need no time."""
        if own.within or self._doubt_s <= 0:
            return True
        now, before = asyncio.get_running_loop().time(), self._doubts.get(report.processing_id)
        if before is None or (before.revision, before.differences) != (report.revision, report.differences):
            self._doubts[report.processing_id] = _Doubt(report.revision, report.differences, now)
            return False
        return now - before.since >= self._doubt_s

    async def _ask(self, ids: list[str]) -> dict[str, dict[str, ProcessingEffects]]:
        """Each dependency's own record of what it did for this service; one that is down is left out."""
        request = ListEffects(processing_ids=ids, caller=self.name)
        found = await asyncio.gather(*(self._answer(name, request) for name in self._dependencies))
        return {name: answer for name, answer in zip(self._dependencies, found, strict=True) if answer is not None}

    async def _answer(self, dependency: str, request: ListEffects) -> dict[str, ProcessingEffects] | None:
        try:
            page = await self._dependencies[dependency].list_effects(request)
        except Exception as error:  # noqa: BLE001  (whatever keeps it from answering, it is asked again)
            log.warning("dependency_does_not_answer", participant=self.name, dependency=dependency, error=repr(error))
            return None
        return {each.processing_id: each for each in page.processings}

    async def _send(self, reports: list[ConsistencyReport], position: int | None) -> None:
        request = SendReports(participant=self.name, position=position, reports=reports)
        try:
            await self._tracer.send_reports(request)
        except Conflict as error:
            if error.code != "report_contradicts":
                raise
            log.error("report_contradicts", participant=self.name, processings=error.details.get("processing_ids"))
        self.reported += len(reports)


def report_on(processing_id: str, revision: int, own: Own, answers: Answers) -> ConsistencyReport:
    """A service's report: its own account compared with those of its dependencies that answered. Pure."""
    theirs = {name: by_id[processing_id] for name, by_id in answers.items() if processing_id in by_id}
    dependencies = {*(name for name, claims in own.claims.items() if claims), *theirs}
    waits = own.in_flight or any(each.in_flight for each in theirs.values())
    in_flight = waits and not own.within  # rows that contradict each other do so whatever is under way
    differences = [] if in_flight else _differences(own, answers, theirs)
    effects = [] if in_flight else own.effects
    outcome = Outcome.IN_FLIGHT if in_flight else Outcome.DIFFERENT if differences else Outcome.MATCHED
    return ConsistencyReport(
        processing_id=processing_id,
        revision=revision,
        outcome=outcome,
        effects=effects,
        digest=digest_of(effects),
        dependencies=sorted(dependencies),
        callers=sorted(set(own.callers)),
        differences=differences,
    )


def _differences(own: Own, answers: Answers, theirs: Mapping[str, ProcessingEffects]) -> list[Difference]:
    found = list(own.within)
    for name in answers:
        claims = own.claims.get(name, [])
        if claims or name in theirs:
            found += reconcile(name, claims, theirs[name].effects if name in theirs else [])
    return found


def _unfinished(report: ConsistencyReport) -> ConsistencyReport:
    """The service's own account changed while others were asked: what was seen is of two moments."""
    return replace(report, outcome=Outcome.IN_FLIGHT, effects=[], digest=digest_of([]), differences=[])


def _same(one: Own, other: Own) -> bool:
    """Whether two accounts say the same, in whatever order."""
    return (
        one.in_flight == other.in_flight
        and digest_of(one.effects) == digest_of(other.effects)
        and one.claims.keys() == other.claims.keys()
        and all(digest_of(one.claims[name]) == digest_of(other.claims[name]) for name in one.claims)
        and len(one.within) == len(other.within)
    )
