"""Activities whose rows and whose journalled outcome are one transaction of this database: exactly once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import asyncpg

from kessai.foundation.clock import Clock
from kessai.foundation.db import EXHAUSTED, LOST, RETRYABLE, Connection, Database, Queries, commit_unknown
from kessai.foundation.errors import Unavailable
from kessai.foundation.lease import Lease
from kessai.sdk.workflow.steps import Step

Boundary = Callable[[Literal["before", "after"]], None]


async def run_in_transaction(
    database: Database,
    role: str,
    queries: Queries,
    lease: Lease,
    clock: Clock,
    step: Step,
    work: Callable[[Connection], Awaitable[bytes]],
    seal: Callable[[bytes], bytes],
    boundary: Boundary,
) -> bytes:
    """The step's outcome as it is stored: of this transaction, or of an earlier one whose commit we were not told of.

    Raises what `work` raises (nothing is then written), LeaseLost, Unavailable, or Unknown when the commit was cut off;
    after either it may be called again: the step's key lets only one transaction come through.
    """
    found = await database.fetch(role, queries["activity_found"], step.workflow_id, step.seq, step.started_at)
    if found:
        step.recorded_at = found[0]["recorded_at"]
        return found[0]["outcome"]
    pool = await database.pool(role)
    committing = False
    try:
        async with pool.acquire() as connection:
            async with connection.transaction():
                await lease.fence(connection)  # type: ignore[arg-type]  # a pool's proxy has the connection's methods
                step.outcome = seal(await work(connection))  # type: ignore[arg-type]
                step.recorded_at = max(step.recorded_at, clock.now())
                await connection.execute(queries["activity_in_transaction"], *step.row())
                boundary("before")
                committing = True
            boundary("after")
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "workflow_log":
            raise
        raise Unavailable("outcome_arrived", "The commit that was cut off has come through just now.") from error
    except (*RETRYABLE, *EXHAUSTED) as error:
        raise Unavailable("contention", "The transaction met another one; it is made again.") from error
    except LOST as error:
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
            raise  # an argument that does not fit its column
        if committing:
            raise commit_unknown() from error
        raise Unavailable("database_unavailable", "The database cannot be reached just now.") from error
    return step.outcome
