"""The steps of payments that the books keep, each beside what the payment service published."""

from __future__ import annotations

from collections.abc import Sequence

from kessai.apps.verify.finding import Projection, Report
from kessai.foundation.db import Connection, Queries
from kessai.foundation.events.outbox import events_of
from kessai.services.books.service.reconciling.feed import step_of
from kessai.services.books.store.reconciling import StoredStep

STEPS = Projection("every published step of a payment is kept as it was", "books.payment_step", StoredStep._fields, 2)
PAGE = 5_000
"""Steps compared together."""
ROWS_AT_ONCE = 50


async def check_steps(connection: Connection, sql: Queries, report: Report) -> None:
    """Compare every kept step with its event, column by column; one that is not kept is not asked about."""
    steps: list[StoredStep] = []
    async for row in connection.cursor(sql["published_payment"], prefetch=ROWS_AT_ONCE):
        steps += map(step_of, events_of("payment", row["position"], row["topic"], row["payload"], row["recorded_at"]))
        if len(steps) >= PAGE:
            await _compare(connection, sql, report, steps)
            steps = []
    await _compare(connection, sql, report, steps)


async def _compare(connection: Connection, sql: Queries, report: Report, steps: Sequence[StoredStep]) -> None:
    names = [[each.payment_id for each in steps], [each.version for each in steps]]
    kept = [tuple(row) for row in await connection.fetch(sql["kept_payment_steps"], *names)]
    STEPS.compare(report, steps, kept)
