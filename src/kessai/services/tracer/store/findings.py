"""Findings and their audit trails."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.tracer.api import FindingKind, FindingState, FindingStep, RepairKind
from kessai.services.tracer.domain.findings import Case, Step
from kessai.services.tracer.store import ROLE

_sql = load_queries("kessai.services.tracer")


async def lock_findings(connection: Connection, finding_ids: Sequence[str]) -> dict[str, Case]:
    """Those of the findings (32 digits each) that exist, nobody else's to change until the transaction ends."""
    rows = await connection.fetch(_sql["lock_findings"], sorted(finding_ids))
    return {row["finding_id"].hex: case_of(row) for row in rows}


async def write_steps(connection: Connection, steps: Sequence[Step], now: datetime) -> bool:
    """Write findings that are one step further; False when another step came first (then roll back)."""
    cases = [each.case for each in steps]
    rows = await connection.fetch(
        _sql["write_findings"],
        [each.finding_id for each in cases],
        [each.processing_id for each in cases],
        [each.kind.value for each in cases],
        [each.state.value for each in cases],
        [each.version for each in cases],
        [each.revision for each in cases],
        [each.assignee for each in cases],
        now,
    )
    await connection.execute(
        _sql["insert_finding_steps"],
        [each.finding_id for each in cases],
        [each.version for each in cases],
        [each.state.value for each in cases],
        [each.by for each in steps],
        [each.reason for each in steps],
        [each.assignee for each in steps],
        [each.repair_kind and each.repair_kind.value for each in steps],
        [each.repair_id for each in steps],
        now,
    )
    return len(rows) == len(steps)


async def load_findings(database: Database, finding_ids: Sequence[str]) -> list[Case]:
    """Those of the findings that exist."""
    return [case_of(row) for row in await database.fetch(ROLE, _sql["load_findings"], list(finding_ids))]


async def findings_by_age(
    database: Database, state: FindingState, *, after: datetime, after_id: str, limit: int
) -> list[Case]:
    """Findings in a state, opened after an instant (and id), oldest first."""
    return [case_of(row) for row in await database.fetch(ROLE, _sql["findings_by_age"], state, after, after_id, limit)]


async def steps_of(database: Database, finding_ids: Sequence[str]) -> dict[str, list[FindingStep]]:
    """The audit trails, by finding."""
    found: defaultdict[str, list[FindingStep]] = defaultdict(list)
    for row in await database.fetch(ROLE, _sql["finding_steps_of"], list(finding_ids)):
        found[row["finding_id"].hex].append(
            FindingStep(
                sequence=row["sequence"],
                state=FindingState(row["state"]),
                by=row["acted_by"],
                reason=row["reason"],
                assignee=row["assignee"],
                repair_kind=row["repair_kind"] and RepairKind(row["repair_kind"]),
                repair_id=row["repair_id"],
                recorded_at=row["recorded_at"],
            )
        )
    return found


def case_of(row: asyncpg.Record) -> Case:
    """A row of `finding`."""
    return Case(
        finding_id=row["finding_id"].hex,
        processing_id=row["processing_id"],
        kind=FindingKind(row["kind"]),
        state=FindingState(row["state"]),
        version=row["version"],
        revision=row["revision"],
        assignee=row["assignee"],
        opened_at=row["opened_at"],
        changed_at=row["changed_at"],
    )
