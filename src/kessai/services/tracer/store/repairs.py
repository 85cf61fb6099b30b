"""What rules had services do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from kessai.foundation.db import Connection, Database, load_queries
from kessai.sdk.processing.api import ConsistencyReport, RepairAction
from kessai.services.tracer.domain.findings import Case
from kessai.services.tracer.domain.repairing import Order
from kessai.services.tracer.store import ROLE
from kessai.services.tracer.store.findings import case_of
from kessai.services.tracer.store.reports import report_of

DONE, REFUSED = "DONE", "REFUSED"

_sql = load_queries("kessai.services.tracer", file="sql/repairs.sql")


class Due(NamedTuple):
    """An instruction that was written down and not answered yet."""

    processing_id: str
    repair_id: str
    finding_id: str
    order: Order
    attempts: int


async def findings_changed(database: Database, after: tuple[datetime, str], limit: int) -> list[Case]:
    """Open findings that changed after an instant (and id), in the order in which they did."""
    return [case_of(row) for row in await database.fetch(ROLE, _sql["findings_changed"], *after, limit)]


async def reports_at(
    database: Database, processings: Sequence[tuple[str, int]]
) -> dict[str, dict[str, ConsistencyReport]]:
    """The final reports on processings at their revisions, by participant."""
    found: defaultdict[str, dict[str, ConsistencyReport]] = defaultdict(dict)
    ids, revisions = [each[0] for each in processings], [each[1] for each in processings]
    for row in await database.fetch(ROLE, _sql["reports_at"], ids, revisions):
        told = report_of(row)
        found[told.report.processing_id][told.participant] = told.report
    return found


async def insert_repairs(connection: Connection, case: Case, orders: Sequence[Order], now: datetime) -> bool:
    """Write down what is to be done; False where any of it was tried before (then roll back)."""
    processing_id = case.processing_id
    rows = await connection.fetch(
        _sql["insert_repairs"],
        [processing_id] * len(orders),
        [each.repair_hex(processing_id) for each in orders],
        [case.finding_id] * len(orders),
        [case.revision] * len(orders),
        [each.rule for each in orders],
        [each.service for each in orders],
        [each.action.value for each in orders],
        [each.effect_id for each in orders],
        now,
    )
    return len(rows) == len(orders)


async def due(database: Database, now: datetime, limit: int) -> list[Due]:
    """What is to be told now, longest due first."""
    return [
        Due(
            row["processing_id"],
            row["repair_id"].hex,
            row["finding_id"].hex,
            Order(row["rule"], row["service"], RepairAction(row["action"]), row["effect_id"]),
            row["attempts"],
        )
        for row in await database.fetch(ROLE, _sql["repairs_due"], now, limit)
    ]


async def attempt(database: Database, told: Sequence[Due], again_at: Sequence[datetime]) -> None:
    """They are being told; when to tell them again, should no answer come."""
    ids, repairs = [each.processing_id for each in told], [each.repair_id for each in told]
    await database.fetch(ROLE, _sql["attempt_repairs"], ids, repairs, list(again_at))


async def settle(connection: Connection, told: Due, state: str, outcome: str, now: datetime) -> bool:
    """The answer; False when it was known."""
    rows = await connection.fetch(_sql["settle_repair"], told.processing_id, told.repair_id, state, outcome, now)
    return bool(rows)


async def left(connection: Connection, processing_id: str) -> int:
    """How many of a processing's are not answered yet."""
    row = await connection.fetchrow(_sql["repairs_left"], processing_id)
    assert row is not None
    return row["repairs"]
