"""PostgreSQL: pools a role, named SQL, retries.

Each service works under a database role of its own (`SET ROLE` once a connection, on lazily opened pools), which
may touch its own schema and nothing else. Everything retries on serialization failure (40001) and deadlock (40P01).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias, TypeVar, cast

import asyncpg

from kessai.foundation.errors import OperatorError, Unavailable, Unknown

Connection: TypeAlias = "asyncpg.Connection[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"
R = TypeVar("R")
IsolationLevel: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]

POOL_SIZE_MAX = 8
RETRIES_MAX = 12
RETRY_DELAY_S_MAX = 0.25
CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0
SENDING_TURNS = 200
"""How often to look again at once whether a large statement is on its way, before pausing in between."""
SENDING_PAUSE_S = 0.001
RETRYABLE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError, OSError)
"""What a cut connection looks like: the outcome of a commit in flight is then unknown until it is looked up."""
READ_ONLY = asyncpg.ReadOnlySQLTransactionError
"""A server that takes no writes: a standby, or what was the primary before a failover."""
EXHAUSTED = (asyncpg.InsufficientResourcesError, READ_ONLY)
"""Disk full, out of memory, too many connections, reads only: nothing was written."""

AUDITOR_ROLE = "kessai_auditor"
MAINTENANCE_ROLE = "kessai_maintenance"


def role_of(service: str) -> str:
    """The database role a service works under."""
    return f"kessai_{service}"


class _Connection(asyncpg.Connection):  # type: ignore[type-arg]
    """Keeps its role and prepared statements between uses: nothing here leaves session state behind."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """One PostgreSQL database; opens a pool a role when it is first asked for."""

    def __init__(self, dsn: str, *, isolation: str | None = None) -> None:
        self.dsn = dsn
        self._pools: dict[str | None, Pool] = {}
        self._opening = asyncio.Lock()
        self._settings = {"application_name": "kessai", "timezone": "UTC", "jit": "off"}
        if isolation is not None:
            self._settings["default_transaction_isolation"] = isolation

    async def connect(self, role: str | None) -> Connection:
        """A dedicated connection under `role` (None: the login role itself). The caller closes it."""
        try:
            connection = await asyncpg.connect(
                self.dsn,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings=self._settings,
                connection_class=_Connection,
            )
        except (*LOST, TimeoutError) as error:
            raise Unavailable("database_unavailable", "The database cannot be reached.") from error
        await _assume(connection, role)
        return connection

    async def pool(self, role: str | None) -> Pool:
        """The pool of `role`, opened at first use."""
        if (pool := self._pools.get(role)) is not None:
            return pool
        async with self._opening:
            if role not in self._pools:
                self._pools[role] = await self._open(role)
            return self._pools[role]

    async def _open(self, role: str | None) -> Pool:
        async def init(connection: Connection) -> None:
            await _assume(connection, role)

        pool = await asyncpg.create_pool(
            self.dsn,
            min_size=0,
            max_size=POOL_SIZE_MAX,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=self._settings,
            connection_class=_Connection,
            init=init,
        )
        assert pool is not None
        return pool

    async def transaction(
        self, role: str | None, work: Callable[[Connection], Awaitable[R]], *, isolation: IsolationLevel | None = None
    ) -> R:
        """Run `work` in one transaction under `role`, again after a conflict.

        Raises Unavailable when the connection was lost before the commit: nothing was written. Raises Unknown
        `commit_unknown` when it was lost during the commit: what is idempotent is then done again under the same key.
        `work` must be safe to run again: it is repeated after 40001 and 40P01, each of which wrote nothing.
        """
        pool = await self.pool(role)

        async def once() -> R:
            committing = False
            try:
                async with pool.acquire() as connection, connection.transaction(isolation=isolation):
                    result = await work(cast("Connection", connection))
                    committing = True
                return result
            except READ_ONLY:
                await pool.expire_connections()  # who is asked next may be connected to the server that writes now
                raise
            except (*LOST, TimeoutError) as error:
                if committing:
                    raise commit_unknown() from error
                raise

        return await retrying(once)

    async def fetch(self, role: str | None, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of one statement, retried like a transaction; Unknown `commit_unknown` when a change was cut off."""
        pool = await self.pool(role)

        async def once() -> list[asyncpg.Record]:
            sent = False
            try:
                async with pool.acquire() as connection:
                    sent = writes(query)
                    return await connection.fetch(query, *arguments)
            except asyncpg.DataError:
                raise
            except (*LOST, TimeoutError) as error:
                if sent:
                    raise commit_unknown() from error
                raise

        return await retrying(once)

    async def close(self) -> None:
        """Close every pool; connections still busy get a few seconds, then are cut."""
        for pool in self._pools.values():
            try:
                await asyncio.wait_for(pool.close(), 5)
            except TimeoutError:
                pool.terminate()
        self._pools.clear()


async def _assume(connection: Connection, role: str | None) -> None:
    if role is not None:
        await connection.execute(f'SET ROLE "{role}"')


async def everything_sent(connection: Connection) -> None:
    """Wait until a statement's arguments have left this process (the driver shows its transport to nobody else)."""
    transport = cast("Any", connection)._transport
    await asyncio.sleep(0)
    turns = 0
    while not connection.is_closed() and transport.get_write_buffer_size():
        turns += 1
        await asyncio.sleep(0 if turns < SENDING_TURNS else SENDING_PAUSE_S)


_WRITING = re.compile(r"\b(?:INSERT\s+INTO|DELETE\s+FROM|UPDATE\s+\S+(?:\s+AS\s+\w+)?\s+SET)\b", re.IGNORECASE)


@cache
def writes(query: str) -> bool:
    """Whether a statement changes rows."""
    return _WRITING.search(query) is not None


def commit_unknown() -> Unknown:
    """What a caller is told when the connection was lost while something was being committed."""
    return Unknown("commit_unknown", "The connection to the database was lost during the commit; ask again.")


_BY_INDEX = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL enable_bitmapscan = off"
)


async def plan_by_index(connection: Connection) -> None:
    """For this transaction: every statement looks its rows up by key, however many there are.

    Left to itself the planner reads a whole table for a batch of a thousand, until the table has a hundred times that.
    """
    await connection.execute(_BY_INDEX)


def nothing_written(error: Exception) -> Unavailable:
    """What a caller is told after one of EXHAUSTED."""
    if isinstance(error, READ_ONLY):
        return Unavailable("database_unavailable", "The database takes no writes just now.")
    return Unavailable("database_exhausted", "The database has no room for this just now.")


async def retrying(work: Callable[[], Awaitable[R]]) -> R:
    """`work()`, again with growing pauses after 40001/40P01; Unavailable once retries or the connection are gone."""
    for attempt in range(RETRIES_MAX):
        try:
            return await work()
        except RETRYABLE:
            await asyncio.sleep(random.random() * min(RETRY_DELAY_S_MAX, 0.002 * 2**attempt))  # noqa: S311
        except asyncpg.DataError:
            raise  # an argument that does not fit its column: asyncpg counts it among InterfaceErrors
        except (*LOST, *EXHAUSTED, TimeoutError) as error:
            raise Unavailable("database_unavailable", "The database cannot be reached just now.") from error
    raise Unavailable("contention", "Too many concurrent changes to the same rows; try again.")


_NAME = re.compile(r"^-- name: (\w+).*$", re.MULTILINE)


class Queries:
    """Named statements of one file: `queries["write_flush"]`."""

    def __init__(self, text: str) -> None:
        parts = _NAME.split(text)
        self._by_name = {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}

    def __getitem__(self, name: str) -> str:
        return self._by_name[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._by_name.items())


@cache
def load_queries(package: str, *, schema: str = "", file: str = "sql/queries.sql") -> Queries:
    """The named SQL of a package; `{schema}` in it becomes the service's schema (shared mechanisms use this)."""
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    return Queries(text.replace("{schema}", schema))


def require_dsn(dsn: str) -> str:
    """A PostgreSQL URL, or OperatorError."""
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise OperatorError("--database-url must start with postgresql://")
    return dsn
