"""Retention: reports, and what verdicts say of them, are deleted when their class's time is over.

The leaves stay in their batches, so that the chain is still checked from end to end; what a leaf was made of is gone.
A processing on which somebody still works is held back until its finding is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from kessai.foundation.clock import Clock
from kessai.foundation.db import MAINTENANCE_ROLE, Connection, Database
from kessai.services.tracer.api import Verdict
from kessai.services.tracer.domain.rules import TracerRules
from kessai.services.tracer.store import retention
from kessai.services.tracer.store.retention import EARLIEST, Aged

PAGE = 1_000
AT_REST = (Verdict.CONSISTENT, Verdict.INCONSISTENT, Verdict.INCOMPLETE)


class Forgetting:
    """Looks at each processing once a class; what was touched again comes again."""

    def __init__(self, database: Database, clock: Clock, rules: TracerRules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules

    async def run(self) -> int:
        """Forget what is due; gives how many processings."""
        count = await self._again()
        for name in self._rules.kept_classes:
            for verdict in AT_REST:
                count += await self._walk(name, verdict)
        return count

    async def _walk(self, name: str, verdict: Verdict) -> int:
        until, count = self._clock.now() - self._kept(name), 0
        after = await retention.position(self._database, name, verdict)
        if verdict is Verdict.INCOMPLETE:  # the one verdict that comes long after the last touch
            after = (max(EARLIEST + self._rules.in_flight_deadline, after[0]) - self._rules.in_flight_deadline, "")
        while page := await retention.aged(self._database, verdict, after, until, PAGE):
            kinds = await retention.kinds_of(self._database, page)
            mine = [each for each in page if self._rules.kept_class(kinds.get(each.processing_id)) == name]
            after = (page[-1].touched_at, page[-1].processing_id)
            count += await self._retire(name, verdict, mine, after)
        return count

    async def _retire(self, name: str, verdict: Verdict, mine: Sequence[Aged], after: tuple[datetime, str]) -> int:
        now, until = self._clock.now(), self._clock.now() - self._kept(name)
        busy = await retention.worked_on(self._database, mine)

        async def work(connection: Connection) -> int:
            await retention.hold_back(connection, sorted(busy), name)
            done = [each.processing_id for each in mine if each.processing_id not in busy]
            retired = await retention.retire(connection, done, until, now)
            await retention.move(connection, name, verdict, after)
            return retired

        return await self._database.transaction(MAINTENANCE_ROLE, work)

    async def _again(self) -> int:
        """What was held back, where nobody works on it any more."""
        after, count, now = "", 0, self._clock.now()
        while page := await retention.held(self._database, after, PAGE):
            after = page[-1][1].processing_id
            busy = await retention.worked_on(self._database, [each for _, each in page])
            for name in self._rules.kept_classes:
                done = [each.processing_id for own, each in page if own == name and each.processing_id not in busy]
                until = now - self._kept(name)
                count += await self._database.transaction(
                    MAINTENANCE_ROLE,
                    lambda connection, done=done, until=until: retention.retire(connection, done, until, now),
                )
        return count

    def _kept(self, name: str) -> timedelta:
        return self._rules.kept_classes[name]
