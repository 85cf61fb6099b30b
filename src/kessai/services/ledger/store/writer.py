"""The one connection that writes: a slot under a lease with its own seal chain, and pages written in one statement.

Fencing: a flush carries its slot's epoch and sequence; a process whose slot was taken over cannot write. A lost
connection leaves a commit's outcome open; it is looked up by flush id after taking a new epoch, which waits for
whatever the old connection may still be doing. Leases run on the database's real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg
import structlog
from asyncpg.transaction import Transaction

from kessai.foundation.clock import Clock
from kessai.foundation.db import (
    EXHAUSTED,
    LOST,
    READ_ONLY,
    RETRYABLE,
    Connection,
    Database,
    everything_sent,
    load_queries,
    nothing_written,
    role_of,
)
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.groupcommit import Conflicted
from kessai.foundation.lease import DatabaseTime
from kessai.foundation.rowarray import accept_encoded
from kessai.services.ledger.domain.state import SLOT_BITS, SLOTS_MAX, micros
from kessai.services.ledger.store import PACKAGE, SERVICE
from kessai.services.ledger.store.rows import ROW_TYPES, Rows

LEASE = timedelta(seconds=10)
HEARTBEAT_S = 3.0
RESOLVE_S_MAX = 30.0
"""How long a flush with an open outcome is inquired before its callers are told that it is unknown."""
GENESIS = bytes(32)
MICROS_MAX = 1 << (63 - SLOT_BITS)
"""Instants that fit into a flush id: until 2091."""
PLANS = (
    "SET plan_cache_mode = force_generic_plan; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    "SET enable_seqscan = off"
)
"""A page names the rows it wants by key: the planner, which cannot see how many, must not scan tables for them."""
STALE = (asyncpg.CheckViolationError, asyncpg.UniqueViolationError, *RETRYABLE)
"""Memory and database differ: the version check, a lot's bounds, or an id that is already there."""

log = structlog.get_logger("kessai.ledger")


def next_seal(previous: bytes, flush_id: int, digest: bytes, effects: int, expected: int) -> bytes:
    """Seal of a flush: SHA-256 over its writer's previous seal, the flush's numbers and the digest of its effects."""
    numbers = struct.pack(">qii", flush_id, effects, expected)
    return hashlib.sha256(previous + numbers + digest).digest()


class Writer:
    """Owns the writing connection, the slot and the seal chain of one process."""

    def __init__(self, database: Database, clock: Clock, *, idle: Callable[[], bool]) -> None:
        self.idle = idle
        """Whether nothing is decided or in flight, so that later flushes get later ids."""
        self._database = database
        self._clock = clock
        self._sql = load_queries(PACKAGE)
        self._time = DatabaseTime(database, role_of(SERVICE), self._sql["database_time"])
        self._connection: Connection | None = None
        self._holder = uuid.uuid4()
        self._heart: asyncio.Task[None] | None = None
        self._locked: Transaction | None = None
        self.slot = 0
        self.epoch = 0
        self.sequence = 0
        self.seal = GENESIS
        self.last_id = 0
        """Newest flush id given out; those of later flushes are larger."""
        self.landed_id = 0
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect and take a slot."""
        await self.ready()
        self._heart = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Give the slot back and disconnect."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        if self._connection is not None and not self._connection.is_closed():
            with contextlib.suppress(*LOST, TimeoutError):
                await self._connection.fetch(self._sql["release_writer"], self.slot, self.epoch)
                await self._connection.close(timeout=5)

    async def ready(self) -> Connection:
        """The writing connection, opened and with a slot claimed; raises Unavailable while there is no database."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                self._locked = None
                connection = await self._database.connect(role_of(SERVICE))
                try:
                    await connection.execute(PLANS)
                    await accept_encoded(connection, SERVICE, ROW_TYPES)
                    with contextlib.suppress(asyncpg.InvalidParameterValueError):
                        # Several times quicker than the built-in default, where the server was built with it.
                        await connection.execute("SET default_toast_compression = lz4")
                    await self._claim(connection)
                except (*LOST, *EXHAUSTED, *RETRYABLE, TimeoutError) as error:
                    connection.terminate()
                    raise Unavailable("database_unavailable", "The database cannot be reached just now.") from error
                self._connection = connection
            return self._connection

    async def _claim(self, connection: Connection) -> None:
        now = await connection.fetchval(self._sql["database_time"])
        rows = await connection.fetch(self._sql["list_writers"])
        own = [row["slot"] for row in rows if row["slot"] == self.slot and self.epoch]
        lapsed = [row["slot"] for row in rows if row["lease_until"] < now or row["fenced"]]
        for slot in (*own, *lapsed):
            claimed = await connection.fetchrow(
                self._sql["claim_writer"], slot, self._holder, now + LEASE, GENESIS, now
            )
            if claimed is not None:
                return await self._begin(connection, claimed, now + LEASE)
        for slot in range(len(rows), SLOTS_MAX):
            claimed = await connection.fetchrow(self._sql["insert_writer"], slot, self._holder, now + LEASE, GENESIS)
            if claimed is not None:
                return await self._begin(connection, claimed, now + LEASE)
        raise Unavailable("no_writer_slot", "Too many processes are writing.")

    async def _begin(self, connection: Connection, row: asyncpg.Record, until: datetime) -> None:
        """Take up a slot that was claimed, above whatever was promised before the claim was seen; and promise that.

        Writers are read once more now that it is committed: a watermark that was reckoned without this slot is no
        higher than what one of them had stored by then, so that no flush of ours can fall below it, wherever our clock
        stands.
        """
        rows = await connection.fetch(self._sql["list_writers"])
        self.slot, self.epoch, self.sequence = row["slot"], row["epoch"], 0
        self.seal = GENESIS
        self.last_id = max([self.last_id, *(each["stable_id"] for each in rows)])
        await connection.fetch(self._sql["renew_writer"], self.slot, self.epoch, until, self.last_id)
        self.landed_id = self.last_id
        log.debug("writer_slot_taken", slot=self.slot, epoch=self.epoch)

    async def sent(self) -> None:
        """Wait until the page in flight is on its way: a socket takes only part of a large one at once.

        The rest goes when the loop is free, and deciding the next page would keep it busy.
        """
        if (connection := self._connection) is not None:
            await everything_sent(connection)

    def next_id(self, floor: int) -> int:
        """A new flush id: now, but after every earlier one and after `floor`."""
        at = max(micros(self._clock.now()), (max(self.last_id, floor) >> SLOT_BITS) + 1)
        if at >= MICROS_MAX:
            raise Unavailable("time_exhausted", "The clock is past the last instant that can be recorded (year 2091).")
        self.last_id = (at << SLOT_BITS) | self.slot
        return self.last_id

    async def lock(self) -> Connection:
        """Begin the transaction in which rows are locked before they are decided on (after repeated conflicts)."""
        connection = await self.ready()
        await self.unlock()
        self._locked = connection.transaction(isolation="read_committed")
        await self._locked.start()
        return connection

    async def unlock(self) -> None:
        """Give up locks, if any are held."""
        if self._locked is not None:
            transaction, self._locked = self._locked, None
            with contextlib.suppress(*LOST, asyncpg.PostgresError):
                await transaction.rollback()

    async def write(self, rows: Rows) -> None:
        """Commit a page. Raises Conflicted (nothing written), Unavailable (nothing written) or Unknown."""
        epoch = self.epoch
        seal = next_seal(self.seal, rows.flush_id, rows.digest, rows.effects, rows.expected)
        try:
            connection = await self.ready()
            if self.epoch != epoch or rows.flush_id % SLOTS_MAX != self.slot:
                raise Conflicted  # another slot was taken since the page was decided
            await self._write(connection, rows, seal)
        except STALE as error:
            await self.unlock()
            await self._check_epoch()
            raise Conflicted from error
        except EXHAUSTED as error:
            await self.unlock()
            if isinstance(error, READ_ONLY) and self._connection is not None:
                self._connection.terminate()  # the next one may reach the server that writes now
            raise nothing_written(error) from error
        except asyncpg.DataError:
            await self.unlock()
            raise  # an argument that does not fit its column: nothing was sent
        except (*LOST, TimeoutError) as error:
            log.warning("connection_lost_in_commit", flush_id=rows.flush_id, error=type(error).__name__)
            await self._resolve(rows.flush_id)
            return
        except asyncpg.PostgresError:
            await self.unlock()
            raise
        self.sequence += 1
        self.seal = seal
        self.landed_id = rows.flush_id

    async def _write(self, connection: Connection, rows: Rows, seal: bytes) -> None:
        if rows.births is None:
            await self._write_flush(connection, rows, seal)
            await self._commit_locked()
            return
        transaction = None if self._locked is not None else connection.transaction()
        if transaction is not None:
            await transaction.start()
        try:
            await connection.execute(self._sql["write_births"], rows.flush_id, *rows.births)
            await self._write_flush(connection, rows, seal)
        except BaseException:
            if transaction is not None and not connection.is_closed():
                with contextlib.suppress(*LOST, asyncpg.PostgresError):
                    await transaction.rollback()
            raise
        if transaction is not None:
            await transaction.commit()
        await self._commit_locked()

    async def _write_flush(self, connection: Connection, rows: Rows, seal: bytes) -> None:
        await connection.execute(
            self._sql["write_flush"], rows.flush_id, self.slot, self.epoch, self.sequence + 1, rows.effects,
            rows.digest, seal, rows.expected, *rows.flush,
        )  # fmt: skip

    async def _commit_locked(self) -> None:
        if self._locked is not None:
            transaction, self._locked = self._locked, None
            await transaction.commit()

    async def verify(self, rows: Rows) -> None:
        """See that what a page of refusals and look-ups was decided on still holds; raises Conflicted."""
        try:
            connection = await self.ready()
            count = await connection.fetchval(self._sql["verify_versions"], *rows.verified)
        except RETRYABLE as error:
            raise Conflicted from error
        except (*LOST, *EXHAUSTED, TimeoutError) as error:
            raise Unavailable("database_unavailable", "The database cannot be reached just now.") from error
        finally:
            await self.unlock()
        if count != len(rows.verified[0]):
            raise Conflicted

    async def _check_epoch(self) -> None:
        """After a conflict: were we fenced? Then drop the connection, so that the next page claims a slot anew."""
        connection = self._connection
        if connection is None or connection.is_closed():
            return
        with contextlib.suppress(*LOST, TimeoutError):
            rows = await connection.fetch(self._sql["list_writers"])
            if not any(self.is_own(row) for row in rows):
                self._let_go()

    def is_own(self, row: asyncpg.Record) -> bool:
        """Whether a writer's row is the slot that this process holds."""
        return row["slot"] == self.slot and row["epoch"] == self.epoch

    def _let_go(self) -> None:
        log.warning("writer_fenced", slot=self.slot, epoch=self.epoch)
        if self._connection is not None:
            self._connection.terminate()

    async def _resolve(self, flush_id: int) -> None:
        """Did the flush commit? Taking a new epoch waits for the old connection's transaction to end either way."""
        if self._connection is not None:
            self._connection.terminate()
        give_up = time.monotonic() + RESOLVE_S_MAX
        while time.monotonic() < give_up:
            try:
                connection = await self.ready()
                found = await connection.fetchval(self._sql["find_flush"], flush_id)
            except (Unavailable, *LOST, TimeoutError):
                await asyncio.sleep(0.1)
                continue
            if found is None:
                raise Conflicted
            return
        raise Unknown("outcome_unknown", "The database was lost during the commit; send the same request again.")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            with contextlib.suppress(Unavailable, Unknown, *LOST, TimeoutError, asyncpg.PostgresError):
                await self.renew()

    async def renew(self) -> int:
        """Prolong the lease; with nothing in flight, promise that no flush will be recorded before now.

        Gives what is promised: only what is stored, for whoever joins goes by that. Raises Unavailable when the slot is
        somebody else's by now; the next page claims one anew.
        """
        until = await self._time.now() + LEASE
        epoch, landed = self.epoch, self.next_id(0) if self.idle() else self.landed_id
        rows = await self._database.fetch(role_of(SERVICE), self._sql["renew_writer"], self.slot, epoch, until, landed)
        if not rows:
            if epoch == self.epoch:
                self._let_go()
            raise Unavailable("snapshot_not_stable", "This process takes a writer's slot anew; ask again shortly.")
        self.landed_id = max(self.landed_id, landed)
        return landed
