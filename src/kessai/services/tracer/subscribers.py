"""What the tracer hears: which processings each service touched; and the loop that opens them."""

from __future__ import annotations

import asyncio

import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.events import Event, Subscription
from kessai.foundation.events.outbox import Pauses, bell, rung
from kessai.foundation.lease import LEASE_S, Lease, hold
from kessai.sdk.processing.api import TOPIC_TOUCHED, ProcessingTouched
from kessai.services.tracer.service import TracerService
from kessai.services.tracer.service.repairing import Repairer
from kessai.services.tracer.store import SCHEMA
from kessai.services.tracer.store.touches import Touch, touch

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""Pause before touches that another process kept are looked for; it grows while there are none."""
POLL_S_MAX = 8.0
REPAIR_POLL_S_MAX = 16.0
GATHER_S = 0.2
"""Between two deliveries of touches: they are opened less often than that."""


def touched_processings(database: Database, clock: Clock, tracer: TracerService, source: str) -> Subscription:
    """The subscription that hears of the processings that one service touched."""

    async def handle(connection: Connection, events: list[Event]) -> None:
        told = _touches(source, [event.decode(ProcessingTouched) for event in events])
        if told:
            await tracer.keep_touches(connection, told)
            tracer.told()

    return Subscription(
        database,
        source=source,
        topics=[TOPIC_TOUCHED],
        subscriber=SCHEMA.service,
        name=f"tracer.touched_by_{source}",
        handler=handle,
        clock=clock,
        pause_s=GATHER_S,
    )


def _touches(source: str, events: list[ProcessingTouched]) -> list[Touch]:
    """One touch for those that begin there, one for the others."""
    named = {
        entry: list(dict.fromkeys(one for each in events if each.entry is entry for one in each.processing_ids))
        for entry in (True, False)
    }
    return [touch(source, ids, entry=entry) for entry, ids in named.items() if ids]


class TouchedLoop:
    """Opens what was touched, every so often; several processes may open it, one works at a time."""

    def __init__(self, database: Database, tracer: TracerService, *, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._tracer = tracer
        self._pause_s = tracer.rules.reports.pause_ms / 1000
        self._lease = Lease(database, SCHEMA.service, "open-touched", lease_s=lease_s)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop, and let another process go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        doorbell = bell(self._database, SCHEMA.service, "touched")
        waiter = doorbell.listen()
        pauses = Pauses(POLL_S, POLL_S_MAX)
        try:
            while True:
                found = 0
                try:
                    found = await self._tracer.open_touched()
                except PaymentError as error:
                    log.warning("touched_processings_wait", error=str(error))
                await rung(waiter, pauses.after(found=found > 0))
                await asyncio.sleep(self._pause_s)  # what comes meanwhile shares the revision
        finally:
            doorbell.forget(waiter)


class RepairLoop:
    """Repairs what rules cover, every so often; several processes may open it, one works at a time."""

    def __init__(self, database: Database, repairer: Repairer, *, lease_s: float = LEASE_S) -> None:
        self._repairer = repairer
        self._lease = Lease(database, SCHEMA.service, "repair-findings", lease_s=lease_s)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop, and let another process go on; what was told and not answered is told again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        pauses = Pauses(POLL_S, REPAIR_POLL_S_MAX)
        while True:
            answers = 0
            try:
                answers = await self._repairer.run()
            except PaymentError as error:
                log.warning("repairs_wait", error=str(error))
            await asyncio.sleep(pauses.after(found=answers > 0))
