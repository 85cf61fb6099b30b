"""Touches become processings at a new revision, and notices to everybody who takes part in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, plan_by_index
from kessai.foundation.events.outbox import bell
from kessai.services.tracer.domain.rules import TracerRules
from kessai.services.tracer.store import ROLE, touches
from kessai.services.tracer.store.touches import Opened, Touch

TOUCHES_MAX = 500
"""Touches looked at in one go."""
PROCESSINGS_OPENED_MAX = 8_192
"""Processings of one transaction, unless one touch alone has more."""


class _Overtaken(Exception):
    """Another process has opened some of these touches."""


class Opening:
    """Opens what was touched: however often a processing is among it, it gets one revision."""

    def __init__(self, database: Database, clock: Clock, rules: TracerRules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules

    async def keep(self, connection: Connection, told: Sequence[Touch]) -> None:
        """Keep touches within the transaction of whoever tells them; `ring` after it."""
        await touches.insert_touches(connection, told, self._clock.now())

    def ring(self) -> None:
        """Tell this process's loop that there are touches; without it, polling finds them."""
        bell(self._database, "tracer", "touched").ring()

    async def open_touched(self) -> int:
        """Open all that was touched until now; gives how many processings that were."""
        total = 0
        while told := _page(await touches.list_touches(self._database, TOUCHES_MAX)):
            try:
                names = await self._database.transaction(
                    ROLE, lambda connection, told=told: self._open(connection, told)
                )
            except _Overtaken:
                continue
            total += names
            bell(self._database, "tracer", "notices").ring()
        return total

    async def _open(self, connection: Connection, told: Sequence[Touch]) -> int:
        now = self._clock.now()
        await plan_by_index(connection)
        if not await touches.delete_touches(connection, told):
            raise _Overtaken
        due_at = now + self._rules.deadline
        opened = await touches.touch_processings(connection, _coalesced(told), now, due_at)
        await self._notify(connection, opened, now)
        new = sum(each.revision == 1 for each in opened)
        await touches.count_day(connection, {"opened": new, "touched": len(opened)}, now)
        return len(opened)

    async def _notify(self, connection: Connection, opened: Sequence[Opened], now: datetime) -> None:
        silent = self._rules.silent
        wanted = (
            (name, (each.processing_id, each.revision))
            for each in opened
            for name in each.participants
            if name not in silent
        )
        await touches.add_notices(connection, wanted, now)


def _page(told: list[Touch]) -> list[Touch]:
    """The first of them, up to so many processings."""
    size = 0
    for number, each in enumerate(told):
        size += len(each.processing_ids)
        if number and size > PROCESSINGS_OPENED_MAX:
            return told[:number]
    return told


def _coalesced(told: Sequence[Touch]) -> list[tuple[str, str | None, str]]:
    """Each processing once, in order of id: where it began, as far as is told here, and who touched it."""
    sources: dict[str, str] = {}
    entries: dict[str, str] = {}
    for each in told:
        name = each.source
        for one in each.processing_ids:
            before = sources.get(one)
            if before is None:
                sources[one] = name
            elif name not in before.split(" "):
                sources[one] = f"{before} {name}"
        if each.entry:
            for one in each.processing_ids:
                entries.setdefault(one, name)
    return [(one, entries.get(one), sources[one]) for one in sorted(sources)]
