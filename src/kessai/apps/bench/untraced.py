"""`python -m kessai.apps.bench.untraced up …`: the platform without its tracer, for `bench tracer` to be compared with.

It is made here and nowhere else: the product has no such setting. Services do not announce what they touched, nobody
takes part, nothing is judged. It serves databases from which `without_traces` took the indexes that only tracing needs.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg

from kessai.apps import cli, prover, wiring
from kessai.apps.proving import Proving
from kessai.sdk.processing.api import TOPIC_TOUCHED
from kessai.sdk.workflow import journal
from kessai.services.ledger.store import rows


class _Idle(Proving):
    """A tracer that hears nothing, and participants that are never opened."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.subscriptions = []
        self.participants = []

    async def open(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    async def open_repairs(self) -> None:
        """Nothing."""

    async def close_repairs(self) -> None:
        """Nothing."""


class _Unannounced(journal.Journal):
    """A journal whose flushes do not tell which processings they touched."""

    def _gathered(self, entries: list[Any]) -> dict[tuple[str, bool], list[Any]]:
        groups = super()._gathered(entries)
        place = (self._outbox_insert, False)
        if (published := groups.get(place)) is not None:
            kept = [row for row in published if row[1] != TOPIC_TOUCHED]
            if kept:
                groups[place] = kept
            else:
                del groups[place]
        return groups


async def without_traces(dsn: str) -> None:
    """Drop the indexes by processing, which only tracing reads."""
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetch(
            "SELECT schemaname, indexname FROM pg_indexes WHERE right(indexname, 14) = '_of_processing'"
        )
        for row in found:
            await connection.execute(f'DROP INDEX "{row["schemaname"]}"."{row["indexname"]}"')
    finally:
        await connection.close()


def _nothing(_: object) -> list[str]:
    return []


def _one_event(_: object) -> list[bytes]:
    """Instead of what was touched; its row is taken out again."""
    return [b"{}"]


@contextlib.asynccontextmanager
async def _nobody_beside(*_: object, **__: object) -> AsyncGenerator[None]:
    yield


def compose_without_tracer() -> None:
    """What this process composes from now on has no tracer."""
    from kessai.sdk.workflow import executor

    parts: Any = (wiring, executor, rows, journal, prover)
    parts[0].Proving = _Idle
    parts[1].Journal = _Unannounced
    parts[2]._touched = _nothing  # what a page announces
    parts[3].touched_events = _one_event
    parts[4].beside = _nobody_beside


def main() -> int:
    """As `kessai`, composed without a tracer."""
    compose_without_tracer()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
