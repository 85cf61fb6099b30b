"""Reports, verdicts and seals: written in batches, read by processing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg
import msgspec

from kessai.foundation.db import Connection, Database, load_queries
from kessai.sdk.processing.api import ConsistencyReport, Difference, EffectRecord, Outcome
from kessai.services.tracer.api import Verdict
from kessai.services.tracer.domain.deciding import Standing, Told
from kessai.services.tracer.store import ROLE

CHAIN = "verdicts"

_sql = load_queries("kessai.services.tracer")
_encode = msgspec.msgpack.Encoder().encode
_body = msgspec.msgpack.Decoder(tuple[list[EffectRecord], list[Difference]]).decode
_named = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode
_calls = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode


class NewReport(NamedTuple):
    """A report to be kept."""

    participant: str
    report: ConsistencyReport
    digest: bytes
    subject: str | None
    """What the processing is about: the first effect where it began."""


class NewVerdict(NamedTuple):
    """A verdict to be kept, in the order of the leaves of its batch."""

    processing_id: str
    revision: int
    verdict: str
    late: Sequence[str]
    undeclared: Sequence[tuple[str, str]]
    reports: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """A report as it was taken."""

    participant: str
    report: ConsistencyReport
    digest: bytes
    reported_at: datetime

    @property
    def told(self) -> Told:
        """What a verdict depends on."""
        return Told(self.report.outcome, self.digest, self.report.dependencies, self.report.callers)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """A verdict as it was given."""

    processing_id: str
    revision: int
    verdict: Verdict
    late: list[str]
    undeclared: list[tuple[str, str]]
    reports: list[tuple[str, bytes]]
    batch: int
    leaf: int
    decided_at: datetime
    retired: bool = False
    """What it rests on was kept for long enough, and is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeal:
    """A batch of the chain."""

    batch: int
    leaves: bytes
    root: bytes
    seal: bytes
    sealed_at: datetime


async def lock_standings(connection: Connection, processing_ids: Sequence[str]) -> dict[str, Standing]:
    """Processings with the reports of their present revision, nobody else's to change until the transaction ends."""
    rows = await connection.fetch(_sql["lock_processings"], sorted(processing_ids))
    standings = {
        row["processing_id"]: Standing(
            processing_id=row["processing_id"],
            entry=row["entry"],
            participants=frozenset(row["participants"]),
            revision=row["revision"],
            verdict=row["verdict"],
            found=row["found"],
            due_at=row["due_at"],
        )
        for row in rows
    }
    revisions = [each.revision for each in standings.values()]
    for row in await connection.fetch(_sql["standing_reports"], list(standings), revisions):
        reports = standings[row["processing_id"]].reports
        if row["final"] or row["participant"] not in reports:
            reports[row["participant"]] = Told(row["outcome"], row["digest"], row["dependencies"], row["callers"])
    return standings


async def insert_reports(connection: Connection, reports: Sequence[NewReport], now: datetime) -> None:
    """Keep reports."""
    told = [each.report for each in reports]
    await connection.execute(
        _sql["insert_reports"],
        [each.processing_id for each in told],
        [each.revision for each in told],
        [each.participant for each in reports],
        [each.outcome.value for each in told],
        [each.digest for each in reports],
        [bytes.fromhex(each.digest) for each in told],
        [" ".join(each.dependencies) for each in told],
        ["\x1f".join(each.callers) for each in told],
        [each.subject for each in reports],
        now,
        [_encode((each.effects, each.differences)) for each in told],
    )


async def change_processings(connection: Connection, standings: Sequence[Standing]) -> None:
    """Write what became of processings that are locked."""
    await connection.execute(
        _sql["change_processings"],
        [each.processing_id for each in standings],
        [" ".join(sorted(each.participants)) for each in standings],
        [each.verdict for each in standings],
        [each.found for each in standings],
        [each.due_at for each in standings],
    )


async def lock_head(connection: Connection) -> tuple[int, bytes]:
    """The last batch of the chain and its seal; the next is ours until the transaction ends."""
    row = await connection.fetchrow(_sql["lock_head"], CHAIN)
    assert row is not None
    return row["batch"], row["seal"]


async def insert_verdicts(
    connection: Connection, verdicts: Sequence[NewVerdict], seal: StoredSeal, now: datetime
) -> None:
    """Keep verdicts as the batch of the chain that `seal` is."""
    await connection.execute(
        _sql["insert_verdicts"],
        CHAIN,
        seal.batch,
        seal.leaves,
        seal.root,
        seal.seal,
        now,
        [each.processing_id for each in verdicts],
        [each.revision for each in verdicts],
        [each.verdict for each in verdicts],
        [" ".join(each.late) for each in verdicts],
        [_encode(each.reports) for each in verdicts],
        [_encode(each.undeclared) for each in verdicts],
        list(range(len(verdicts))),
    )


async def overdue(database: Database, now: datetime, limit: int) -> list[tuple[str, int]]:
    """Processings past their deadline without a verdict, with their revisions."""
    rows = await database.fetch(ROLE, _sql["overdue_processings"], now, limit)
    return [(row["processing_id"], row["revision"]) for row in rows]


async def reports_of(database: Database, processing_id: str) -> list[StoredReport]:
    """All reports on a processing, in order of revision and participant."""
    return [report_of(row) for row in await database.fetch(ROLE, _sql["reports_of"], processing_id)]


async def verdicts_of(database: Database, processing_id: str) -> list[StoredVerdict]:
    """All verdicts on a processing, in the order in which they were given."""
    return [verdict_of(row) for row in await database.fetch(ROLE, _sql["verdicts_of"], processing_id)]


def report_of(row: asyncpg.Record) -> StoredReport:
    """A row of `report`."""
    effects, differences = _body(row["body"])
    report = ConsistencyReport(
        processing_id=row["processing_id"],
        revision=row["revision"],
        outcome=Outcome(row["outcome"]),
        effects=effects,
        digest=row["effects_digest"].hex(),
        dependencies=row["dependencies"],
        callers=row["callers"],
        differences=differences,
    )
    return StoredReport(
        participant=row["participant"], report=report, digest=row["digest"], reported_at=row["reported_at"]
    )


def verdict_of(row: asyncpg.Record) -> StoredVerdict:
    """A row of `verdict`."""
    return StoredVerdict(
        processing_id=row["processing_id"],
        revision=row["revision"],
        verdict=Verdict(row["verdict"]),
        late=row["late"],
        undeclared=_calls(row["undeclared"]),
        reports=_named(row["reports"]),
        batch=row["batch"],
        leaf=row["leaf"],
        decided_at=row["decided_at"],
        retired=row["retired_at"] is not None,
    )
