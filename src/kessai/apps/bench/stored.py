"""Processings of long ago, as the tracer keeps them: decided, sealed and at rest, written by COPY."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec

from kessai.sdk.processing.api import ConsistencyReport, Outcome
from kessai.sdk.processing.reconcile import digest_of
from kessai.services.tracer.domain.sealing import NOTHING, leaf_of, report_digest, root_of, seal_of

SEALED_AT_ONCE = 500
"""Verdicts of one batch: as many as a busy second makes."""
COPIED_AT_ONCE = 50_000
AGE = timedelta(days=400)
PARTICIPANTS = ("ledger", "payment")
EMPTY = digest_of([])

_msgpack = msgspec.msgpack.Encoder().encode
BODY = _msgpack(([], []))
PROCESSING = ("processing_id", "entry", "participants", "revision", "verdict", "found", "opened_at", "touched_at",
              "due_at")  # fmt: skip
REPORT = ("processing_id", "revision", "participant", "final", "outcome", "digest", "effects_digest", "dependencies",
          "callers", "subject", "body", "reported_at")  # fmt: skip
VERDICT = ("processing_id", "revision", "verdict", "late", "reports", "undeclared", "batch", "leaf", "decided_at")
SEAL = ("chain", "batch", "leaves", "root", "seal", "sealed_at")


class _Past:
    """Rows in the making, and the chain so far."""

    def __init__(self, count: int) -> None:
        self._first = datetime.now(UTC) - AGE
        self._step = AGE / max(1, count) / 2
        self.batch, self.seal = 0, NOTHING
        self.rows: dict[str, list[tuple[object, ...]]] = {"processing": [], "report": [], "verdict": [], "seal": []}

    def add(self, first: int, number: int) -> None:
        """One more batch of the chain: processings from a number on."""
        self.batch += 1
        leaves = [self._processing(first + at, at) for at in range(number)]
        root = root_of(leaves)
        self.seal = seal_of(self.seal, self.batch, len(leaves), root)
        at = self._first + self._step * (first + number)
        self.rows["seal"].append(("verdicts", self.batch, b"".join(leaves), root, self.seal, at))

    def _processing(self, number: int, leaf: int) -> bytes:
        at = self._first + self._step * number
        millis = int(at.timestamp() * 1000)
        named = f"prc_{UUID(int=(millis << 80) | (0x7 << 76) | (0x2 << 62) | number).hex}"
        reports: list[tuple[str, bytes]] = []
        for name in PARTICIPANTS:
            depends = ["ledger"] if name == "payment" else []
            callers = ["payment"] if name == "ledger" else ["key_of_long_ago"]
            told = ConsistencyReport(processing_id=named, revision=1, outcome=Outcome.MATCHED, digest=EMPTY,
                                     dependencies=depends, callers=callers)  # fmt: skip
            digest = report_digest(name, told)
            reports.append((name, digest))
            self.rows["report"].append((named, 1, name, True, "MATCHED", digest, bytes.fromhex(EMPTY), depends, callers,
                                        None, BODY, at))  # fmt: skip
        self.rows["processing"].append((named, "payment", list(PARTICIPANTS), 1, "CONSISTENT", False, at, at, at))
        self.rows["verdict"].append((named, 1, "CONSISTENT", [], _msgpack(reports), _msgpack([]), self.batch, leaf, at))
        return leaf_of(named, 1, "CONSISTENT", late=(), undeclared=(), reports=reports)


async def store_processings(dsn: str, count: int, told: Callable[[int, int], None]) -> None:
    """Keep so many processings of long ago, with two reports and a verdict each, in a chain that checks out."""
    past = _Past(count)
    connection = await asyncpg.connect(dsn)
    try:
        for first in range(0, count, SEALED_AT_ONCE):
            past.add(first, min(SEALED_AT_ONCE, count - first))
            if len(past.rows["processing"]) >= COPIED_AT_ONCE or first + SEALED_AT_ONCE >= count:
                await _copy(connection, past.rows)
                told(min(count, first + SEALED_AT_ONCE), count)
        await connection.execute(
            "UPDATE tracer.seal_head SET batch = $1, seal = $2 WHERE chain = 'verdicts'", past.batch, past.seal
        )
        await connection.execute("VACUUM (ANALYZE)", timeout=None)
    finally:
        await connection.close()


async def _copy(connection: asyncpg.Connection[asyncpg.Record], rows: dict[str, list[tuple[object, ...]]]) -> None:
    for name, columns in (("processing", PROCESSING), ("report", REPORT), ("verdict", VERDICT), ("seal", SEAL)):
        await connection.copy_records_to_table(name, schema_name="tracer", records=rows[name], columns=columns)
        rows[name].clear()
