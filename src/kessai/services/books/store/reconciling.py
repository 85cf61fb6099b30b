"""Payment steps, what is staged for a run, runs with their differences, and findings with their audit trails."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.books.api.reconciling import (
    DifferenceKind,
    DifferenceState,
    Reconciliation,
    ReconciliationDifference,
    ReconciliationFigure,
    ReconciliationFindingState,
    ReconciliationFindingStep,
    ReconciliationName,
)
from kessai.services.books.domain.reconciling import Case, Difference, Step
from kessai.services.books.store import ROLE

_sql = load_queries("kessai.services.books", file="sql/reconciling.sql")
_figures = msgspec.json.Decoder(list[ReconciliationFigure])
_STAGED = ("run_id", "line", "subject", "account_id", "sequence", "amount", "balance", "state", "recorded_at")
LONG_S = 1_800.0
"""A comparison of whole tables may take this long."""


class StoredStep(NamedTuple):
    """A step of a payment, in the order of the columns of `insert_payment_steps`."""

    payment_id: str
    version: int
    kind: str
    action: str
    state: str
    asset: str
    amount_minor: int
    fee_minor: int
    captured_minor: int
    refunded_minor: int
    payer_id: str
    payee_id: str
    beneficiary_id: str | None
    exchange_id: str
    refund_id: str | None
    processing_id: str
    occurred_at: datetime
    recorded_at: datetime


class Staged(NamedTuple):
    """What another service told of one thing: an account log, an effect, a verdict."""

    subject: str
    account_id: UUID | None
    sequence: int
    amount: int
    balance: int | None
    state: str
    recorded_at: datetime


async def insert_payment_steps(connection: Connection, steps: Sequence[StoredStep]) -> None:
    """Keep steps; one that is kept already is left as it is."""
    await connection.execute(_sql["insert_payment_steps"], *map(list, zip(*steps, strict=True)))


# -- one run ------------------------------------------------------------------------------------------------------


async def begin_staging(database: Database, run_id: UUID, now: datetime, stale: datetime) -> None:
    """Mark a run's rows as begun, and remove those of runs that began before `stale` and never ended."""
    await database.fetch(ROLE, _sql["forget_stale"], stale)
    await stage(database, run_id, [Staged("", None, 0, 0, None, "", now)], first=0)


async def stage(database: Database, run_id: UUID, rows: Sequence[Staged], *, first: int) -> None:
    """Copy rows in, numbered from `first` on."""
    records = [(run_id, line, *row) for line, row in enumerate(rows, first)]

    async def work(connection: Connection) -> None:
        await connection.copy_records_to_table("staged_record", schema_name="books", columns=_STAGED, records=records)

    await database.transaction(ROLE, work)


async def forget_staged(database: Database, run_id: UUID) -> None:
    """Remove a run's rows."""
    await database.fetch(ROLE, _sql["forget_staged"], run_id)


async def compare(database: Database, query: str, *arguments: object) -> list[asyncpg.Record]:
    """What one comparison finds."""
    return (await compare_together(database, (query, *arguments)))[0]


async def compare_together(database: Database, *questions: tuple[object, ...]) -> list[list[asyncpg.Record]]:
    """What several comparisons find in one view of the books; each is a query's name and its arguments."""

    async def work(connection: Connection) -> list[list[asyncpg.Record]]:
        return [await connection.fetch(_sql[str(query)], *arguments, timeout=LONG_S) for query, *arguments in questions]

    return await database.transaction(ROLE, work, isolation="repeatable_read")


async def write_run(
    connection: Connection, run: Reconciliation, found: Sequence[tuple[Difference, str | None]]
) -> None:
    """Write a run with its differences, each with its finding (32 digits)."""
    run_id = UUID(run.reconciliation_id[4:])
    await connection.execute(
        _sql["insert_run"],
        run_id,
        run.name.value,
        run.through,
        run.since,
        run.tolerance_s,
        run.started_at,
        run.finished_at,
        run.compared,
        run.differences,
        run.explained,
        run.in_flight,
        msgspec.json.encode(run.figures),
    )
    rows = [
        (n, each.kind.value, each.state.value, each.subject, each.asset, each.theirs, each.ours, each.at, each.text, of)
        for n, (each, of) in enumerate(found, 1)
    ]
    if rows:
        await connection.execute(_sql["insert_differences"], run_id, *map(list, zip(*rows, strict=True)))


async def load_run(database: Database, run_id: str) -> Reconciliation | None:
    """A run (32 digits), if there is one."""
    rows = await database.fetch(ROLE, _sql["load_run"], run_id)
    return _run(rows[0]) if rows else None


async def last_run(database: Database, name: ReconciliationName) -> Reconciliation | None:
    """The run of a name that ended last."""
    rows = await database.fetch(ROLE, _sql["last_run"], name.value)
    return _run(rows[0]) if rows else None


async def list_runs(
    database: Database, name: ReconciliationName | None, *, before: datetime, before_id: str, limit: int
) -> list[Reconciliation]:
    """Runs that ended before an instant (and id), newest first."""
    rows = await database.fetch(ROLE, _sql["list_runs"], name and name.value, before, before_id, limit)
    return [_run(row) for row in rows]


async def list_differences(
    database: Database, run_id: str, *, after: int, limit: int
) -> list[ReconciliationDifference]:
    """A run's differences after a line."""
    return [
        ReconciliationDifference(
            line=row["line"],
            kind=DifferenceKind(row["kind"]),
            state=DifferenceState(row["state"]),
            subject=row["subject"],
            asset=row["asset"],
            theirs_minor=int(row["theirs"]),
            ours_minor=int(row["ours"]),
            at=row["at"],
            text=row["text"],
            finding_id=row["finding_id"] and f"rcf_{row['finding_id'].hex}",
        )
        for row in await database.fetch(ROLE, _sql["list_differences"], run_id, after, limit)
    ]


def _run(row: asyncpg.Record) -> Reconciliation:
    return Reconciliation(
        reconciliation_id=f"rec_{row['run_id'].hex}",
        name=ReconciliationName(row["name"]),
        through=row["through"],
        since=row["since"],
        tolerance_s=row["tolerance_s"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        compared=row["compared"],
        differences=row["differences"],
        explained=row["explained"],
        in_flight=row["in_flight"],
        figures=_figures.decode(row["figures"]),
    )


# -- findings -----------------------------------------------------------------------------------------------------


async def lock_findings(connection: Connection, finding_ids: Sequence[str]) -> dict[str, Case]:
    """Those of the findings (32 digits each) that exist, nobody else's to change until the transaction ends."""
    rows = await connection.fetch(_sql["lock_findings"], sorted(finding_ids))
    return {row["finding_id"].hex: _case(row) for row in rows}


async def standing_findings(
    connection: Connection, name: ReconciliationName, since: datetime, through: datetime
) -> list[Case]:
    """What is not closed, of things that were recorded between two instants."""
    rows = await connection.fetch(_sql["standing_findings"], name.value, since, through)
    return [_case(row) for row in rows]


async def load_findings(database: Database, finding_ids: Sequence[str]) -> list[Case]:
    """Those of the findings that exist."""
    return [_case(row) for row in await database.fetch(ROLE, _sql["load_findings"], list(finding_ids))]


async def list_findings(
    database: Database, state: ReconciliationFindingState, *, after: datetime, after_id: str, limit: int
) -> list[Case]:
    """Findings in a state, opened after an instant (and id), oldest first."""
    rows = await database.fetch(ROLE, _sql["list_findings"], state.value, after, after_id, limit)
    return [_case(row) for row in rows]


async def write_steps(connection: Connection, steps: Sequence[Step], now: datetime) -> bool:
    """Write findings that are one step further; False when another step came first (then roll back)."""
    rows = [
        (each.finding_id, each.name.value, each.kind.value, each.subject, each.asset, each.theirs, each.ours,
         each.state.value, each.version, each.text, each.at, each.opened_at, each.changed_at, each.run_id)
        for each in (step.case for step in steps)
    ]  # fmt: skip
    if not rows:
        return True
    written = await connection.fetch(_sql["write_findings"], *map(list, zip(*rows, strict=True)))
    told = [(s.case.finding_id, s.case.version, s.case.state.value, s.by, s.reason) for s in steps]
    if len(written) != len(steps):
        return False
    await connection.execute(_sql["insert_finding_steps"], *map(list, zip(*told, strict=True)), now)
    return True


async def steps_of(database: Database, finding_ids: Sequence[str]) -> dict[str, list[ReconciliationFindingStep]]:
    """The audit trails, by finding."""
    found: defaultdict[str, list[ReconciliationFindingStep]] = defaultdict(list)
    for row in await database.fetch(ROLE, _sql["finding_steps_of"], list(finding_ids)):
        found[row["finding_id"].hex].append(
            ReconciliationFindingStep(
                sequence=row["sequence"],
                state=ReconciliationFindingState(row["state"]),
                by=row["acted_by"],
                reason=row["reason"],
                recorded_at=row["recorded_at"],
            )
        )
    return found


def _case(row: asyncpg.Record) -> Case:
    return Case(
        finding_id=row["finding_id"].hex,
        name=ReconciliationName(row["name"]),
        kind=DifferenceKind(row["kind"]),
        subject=row["subject"],
        asset=row["asset"],
        theirs=int(row["theirs"]),
        ours=int(row["ours"]),
        state=ReconciliationFindingState(row["state"]),
        version=row["version"],
        text=row["text"],
        at=row["at"],
        opened_at=row["opened_at"],
        changed_at=row["changed_at"],
        run_id=row["run_id"].hex,
    )
