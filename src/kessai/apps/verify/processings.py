"""Processings: each has its verdict, a finding, or time left; what was sealed is what stands there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kessai.apps.trace.view import View
from kessai.apps.verify.checks import BROKEN_MAX
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, load_queries
from kessai.services.tracer.service.checking import check_chain

PACKAGE = "kessai.apps.verify"
DECIDED = "every processing has a verdict, a finding, or time left"
WORKED = "a finding is what its steps make it"
SEALED = "every verdict is as it was sealed"
GRACE = timedelta(minutes=10)
"""Past its deadline a processing is decided by a job; a platform may have been stopped meanwhile."""

_sql = load_queries(PACKAGE, file="sql/tracer.sql")


async def check_processings(connection: Connection, report: Report) -> None:
    """Verdicts, findings and the chain of seals, on a connection whose view does not change. Its time is real time."""
    overdue = datetime.now(UTC) - GRACE
    for row in await connection.fetch(_sql["processings_left_lying"], overdue, BROKEN_MAX):
        text = f"revision {row['revision']} should have been decided by {row['due_at']:%Y-%m-%d %H:%M:%S}Z"
        report.add(DECIDED, "tracer.processing", row["processing_id"], text)
    for row in await connection.fetch(_sql["wrong_without_finding"], BROKEN_MAX):
        text = f"it is {row['verdict']} at revision {row['revision']}, and nobody was told"
        report.add(DECIDED, "tracer.processing", row["processing_id"], text)
    for row in await connection.fetch(_sql["broken_findings"], BROKEN_MAX):
        text = (
            f"it is {row['state']} after {row['version']} steps; there are {row['steps'] or 0}, to {row['last_state']}"
        )
        report.add(WORKED, "tracer.finding", f"fnd_{row['finding_id'].hex}", text)
    async for sentence in check_chain(View.of(connection)):
        table, key, text = _parts(sentence)
        report.add(SEALED, table, key, text)


def _parts(sentence: str) -> tuple[str, str, str]:
    """A sentence of the chain's check: the table, the row's key, and what is wrong."""
    named, _, text = sentence.partition(": ")
    table, _, key = named.partition(" ")
    return table, key.strip("()").replace(", ", "/"), text
