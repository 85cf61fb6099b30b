"""The prover: the tracer's loops and everybody who takes part, in a process beside those that serve.

What proves a payment takes its time from nobody who wants to pay. It works under the same leases as a platform that
does all in one process; what the process beside it relays is rung over a pipe, what others do is found by looking.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator

import structlog
import uvloop

from kessai.apps.children import Child, Orders, orders_of, say_ready
from kessai.apps.signals import Stopping
from kessai.apps.wiring import SOURCES, Platform
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError, PaymentError
from kessai.foundation.events.outbox import bell
from kessai.foundation.telemetry import configure_logging

log = structlog.get_logger(__name__)

MODULE = "kessai.apps.prover"
POSITIONED = "positioned"


@contextlib.asynccontextmanager
async def beside(
    orders: Orders, database: Database | None = None, *, after: asyncio.Event | None = None
) -> AsyncGenerator[None]:
    """Keep a prover while this lasts, begun once `after` is set.

    Events that are relayed in this process, on `database`, are rung there.
    """
    child, stop = Child(MODULE, orders), asyncio.Event()
    tasks = [asyncio.create_task(_keep(child, stop, after))]
    if database is not None:
        tasks += [asyncio.create_task(_ring(child, database, source)) for source in SOURCES]
    try:
        yield
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await child.stop()


async def _keep(child: Child, stop: asyncio.Event, after: asyncio.Event | None) -> None:
    """Nobody waits for it: payments are made while it is not there yet, and proved once it is."""
    if after is not None:
        await after.wait()
    try:
        await child.start()
    except OperatorError as error:
        log.error("prover_does_not_start", error=str(error))
    await child.keep(stop)


async def _ring(child: Child, database: Database, source: str) -> None:
    doorbell = bell(database, source, POSITIONED)
    waiter = doorbell.listen()
    try:
        while True:
            await waiter.wait()
            waiter.clear()
            child.tell(source)
    finally:
        doorbell.forget(waiter)


async def _work() -> None:
    stopping, platforms = Stopping(), list[Platform]()

    def told(source: str) -> None:
        for each in platforms:
            bell(each.database, source, POSITIONED).ring()

    orders = await orders_of(stopping, told=told)
    configure_logging(level=orders.settings.log_level, form=orders.settings.log_format)
    platform = Platform(orders.dsn, orders.settings)
    platforms.append(platform)
    await platform.open_proving()
    try:
        say_ready()
        await stopping.asked.wait()
    finally:
        await platform.close_proving()


def main() -> int:
    """A prover's life: 0 when it was asked to stop, 2 when it could not start."""
    try:
        uvloop.run(_work())
    except (OperatorError, PaymentError) as error:
        print(str(error), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
