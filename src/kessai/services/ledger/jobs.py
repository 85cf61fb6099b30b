"""The ledger's batches: lapsed holds, expired lots, subtotals of log-only accounts, anchors over the seal chains."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime

import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.foundation.errors import Conflict, NotFound, Refused
from kessai.services.ledger.domain.state import micros
from kessai.services.ledger.domain.types import AccountTypes
from kessai.services.ledger.service import LedgerService
from kessai.services.ledger.store import PACKAGE, SERVICE

ROLE = role_of(SERVICE)
CHUNK = 500
GENESIS = bytes(32)


class LedgerJobs:
    """Each job may be run at any time, by any process, again and again."""

    def __init__(self, database: Database, clock: Clock, ledger: LedgerService, types: AccountTypes) -> None:
        self._database = database
        self._clock = clock
        self._ledger = ledger
        self._types = types
        self._sql = load_queries(PACKAGE)

    async def expire_exchanges(self) -> int:
        """Release holds whose time is over; gives how many."""
        done = 0
        while True:
            rows = await self._database.fetch(ROLE, self._sql["lapsed_exchanges"], self._clock.now(), CHUNK)
            moved = sum(await asyncio.gather(*(self._expire("exc_" + row["exchange_id"].hex) for row in rows)))
            done += moved
            if len(rows) < CHUNK or not moved:
                return done

    async def _expire(self, exchange_id: str) -> int:
        try:
            await self._ledger.expire_exchange(exchange_id)
        except (Conflict, NotFound, Refused):  # captured or voided just now
            return 0
        return 1

    async def expire_lots(self) -> int:
        """Post expired value to breakage (失効); gives how many accounts were swept."""
        done = 0
        while True:
            rows = await self._database.fetch(ROLE, self._sql["accounts_with_expired_lots"], self._clock.now(), CHUNK)
            moved = sum(await asyncio.gather(*(self._sweep("acc_" + row["account_id"].hex) for row in rows)))
            done += moved
            if not moved:
                return done

    async def _sweep(self, account_id: str) -> int:
        try:
            await self._ledger.sweep_account(account_id)
        except Conflict:
            return 0
        return 1

    async def roll_up(self) -> int:
        """Bring the subtotals of log-only accounts up to the watermark; gives how many moved."""
        through = await self._ledger.reader.watermark()
        hot_types = [each.code for each in self._types if each.log_only]

        async def roll(connection: Connection) -> int:
            await connection.execute(self._sql["insert_subtotals"], hot_types)
            return len(await connection.fetch(self._sql["roll_up"], through))

        return await self._database.transaction(ROLE, roll)

    async def anchor_seals(self) -> str:
        """Bind the heads of all seal chains together; gives the anchor's seal as hexadecimal text."""
        through = await self._ledger.reader.watermark()
        now = self._clock.now()

        async def anchor(connection: Connection) -> str:
            return await self._anchor(connection, through, now)

        return await self._database.transaction(ROLE, anchor)

    async def _anchor(self, connection: Connection, through: int, now: datetime) -> str:
        last = await connection.fetchrow(self._sql["last_anchor"])
        heads = [
            [row["slot"], row["epoch"], row["sequence"], row["seal"].hex()]
            for row in await connection.fetch(self._sql["seal_heads"], through)
        ]
        text = msgspec.json.encode(heads)
        previous, number = (GENESIS, 0) if last is None else (last["seal"], last["anchor_id"])
        anchor_id = max(number + 1, micros(now))
        seal = hashlib.sha256(previous + anchor_id.to_bytes(8, "big") + text).digest()
        await connection.fetch(self._sql["insert_anchor"], anchor_id, now, text.decode(), seal)
        return seal.hex()
