"""Queries: read from the database, never from memory, so that every process tells the same."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.foundation.errors import Invalid, NotFound, Refused, Unavailable
from kessai.foundation.money import BALANCE_MINOR_MAX
from kessai.services.ledger import api
from kessai.services.ledger.domain.answers import answer_of_progress, answer_of_record, decode_record
from kessai.services.ledger.domain.state import (
    NEVER,
    SLOT_BITS,
    AccountState,
    Lot,
    flush_instant,
    instant,
    lot_id,
    micros,
)
from kessai.services.ledger.domain.types import AccountTypes
from kessai.services.ledger.store import PACKAGE, SERVICE, loading
from kessai.services.ledger.store.writer import Writer

ROLE = role_of(SERVICE)
EXPORT_PAGE = 5_000
NEWEST = 2**63 - 1
ORDINAL_MAX = 2**31 - 1
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)
LOTS_TOLD_MAX = 2**31 - 1
"""Of a snapshot: all that are open."""


class Reader:
    """Answers the ledger's queries."""

    def __init__(self, database: Database, clock: Clock, types: AccountTypes, writer: Writer) -> None:
        self._database = database
        self._clock = clock
        self._types = types
        self._writer = writer
        self._sql = load_queries(PACKAGE)

    async def _fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._database.fetch(ROLE, self._sql[name], *arguments)

    # -- accounts ---------------------------------------------------------------------------------------------------

    async def _load(self, hexes: Sequence[str], *, with_lots: bool = False) -> list[AccountState]:
        """Accounts of one instant, with all their open lots where those are told."""

        async def load(connection: Connection) -> list[AccountState]:
            found = [account for account, _ in await loading.load_accounts(connection, self._types, hexes, lock=False)]
            if with_lots:
                wishes = dict.fromkeys(hexes, LOTS_TOLD_MAX)
                await loading.load_windows(connection, [account for account in found if account.bare], wishes)
            return found

        accounts = await self._database.transaction(ROLE, load, isolation="repeatable_read")
        await self._sum_up(accounts)
        return accounts

    async def _sum_up(self, accounts: Sequence[AccountState]) -> None:
        """The balances of those that are log-only."""
        hot = {account.hex: account for account in accounts if account.type.log_only}
        for row in await self._fetch("hot_balances", list(hot), NEWEST) if hot else []:
            hot[row["account_id"].hex].balance = int(row["balance"])

    async def _messages(self, hexes: Sequence[str]) -> list[api.Account]:
        """Accounts as their callers see them. What has expired in their lots is summed where the lots are."""
        now = self._clock.now()

        async def load(connection: Connection) -> tuple[list[AccountState], dict[str, int]]:
            found = [account for account, _ in await loading.load_accounts(connection, self._types, hexes, lock=False)]
            expiring = [account.hex for account in found if account.type.expires]
            rows = await connection.fetch(self._sql["expired_in_lots"], expiring, now) if expiring else []
            return found, {row["account_id"].hex: row["expired"] for row in rows}

        accounts, expired = await self._database.transaction(ROLE, load, isolation="repeatable_read")
        await self._sum_up(accounts)
        return [_message(account, micros(now), expired.get(account.hex, 0)) for account in accounts]

    async def state(self, account_id: str, *, with_lots: bool = False) -> AccountState:
        """The account; raises NotFound."""
        found = await self._load([account_id[4:]], with_lots=with_lots)
        if not found:
            raise _not_found(account_id)
        return found[0]

    async def account(self, account_id: str) -> api.Account:
        """The account as it stands; raises NotFound."""
        found = await self._messages([account_id[4:]])
        if not found:
            raise _not_found(account_id)
        return found[0]

    async def accounts_of(self, owner: str) -> api.Accounts:
        """An owner's accounts, in order of type."""
        rows = await self._fetch("accounts_of_owner", owner)
        accounts = await self._messages([row["account_id"].hex for row in rows]) if rows else []
        return api.Accounts(accounts=sorted(accounts, key=lambda account: account.account_type))

    async def over_cap(self, limit: int) -> api.Accounts:
        """Accounts above their type's retention cap."""
        caps = {each.code: each.retention_cap_minor for each in self._types if each.retention_cap_minor is not None}
        rows = await self._fetch("accounts_over_cap", list(caps), list(caps.values()), limit)
        return api.Accounts(accounts=await self._messages([row["account_id"].hex for row in rows]) if rows else [])

    # -- exchanges --------------------------------------------------------------------------------------------------

    async def exchange(self, exchange_id: str) -> api.Exchange:
        """An exchange as it stands; raises NotFound."""

        async def load(connection: Connection) -> api.Exchange | None:
            found = await loading.load_exchanges(connection, [exchange_id[4:]])
            if not found or found[0][0].refused:
                return None
            progress, stored = found[0]
            if progress.version == 0:
                return answer_of_record(stored.record, stored.flush_id)
            told = decode_record(stored.record)
            postings = told.postings if told.action != "authorized" else []
            return answer_of_progress(progress, postings, stored.flush_id)

        answer = await self._database.transaction(ROLE, load)
        if answer is None:
            raise NotFound("exchange_not_found", "There is no such exchange.", exchange_id=exchange_id)
        return answer

    async def exchange_by_reference(self, reference: str) -> api.Exchange:
        """An exchange by its caller's reference; raises NotFound."""
        rows = await self._fetch("load_references", [reference])
        if not rows:
            raise NotFound("exchange_not_found", "No exchange has this reference.", reference=reference)
        return await self.exchange("exc_" + rows[0]["exchange_id"].hex)

    async def digests(self, exchange_ids: Sequence[str]) -> dict[str, bytes]:
        """Content digests of those exchanges that exist."""
        rows = await self._fetch("load_exchanges", [exchange_id[4:] for exchange_id in exchange_ids])
        return {"exc_" + row["exchange_id"].hex: row["digest"] for row in rows}

    # -- logs and lots ----------------------------------------------------------------------------------------------

    async def logs(self, request: api.ListAccountLogs) -> api.AccountLogPage:
        """A page of an account's log, newest first."""
        account = await self.state(request.account_id)
        if account.type.log_only:
            before = _cursor(request.cursor, NEWEST, ORDINAL_MAX) or [NEWEST, ORDINAL_MAX]
            rows = await self._fetch("hot_logs", account.hex, before[0], before[1], request.limit + 1)
            logs = [_hot_log(row) for row in rows]
            keys = [[row["flush_id"], row["ordinal"]] for row in rows]
        else:
            before = _cursor(request.cursor, NEWEST) or [NEWEST]
            rows = await self._fetch("account_logs", account.hex, before[0], request.limit + 1)
            logs = [_log(row) for row in rows]
            keys = [[row["sequence"]] for row in rows]
        more = len(logs) > request.limit
        cursor = _encode_cursor(keys[request.limit - 1]) if more else None
        return api.AccountLogPage(logs=logs[: request.limit], next_cursor=cursor)

    async def lots(self, request: api.ListLots) -> api.LotPage:
        """A page of an account's lots in order of consumption."""
        account = await self.state(request.account_id)
        after = _cursor(request.cursor, NEVER, NEWEST)
        since = datetime(1970, 1, 1, tzinfo=UTC) if after is None else _expiry_instant(after[0])
        name = "lots_all" if request.include_empty else "lots_open"
        rows = await self._fetch(name, account.hex, since, after[1] if after else -1, request.limit + 1)
        lots = [_lot(row) for row in rows]
        if len(rows) <= request.limit:
            return api.LotPage(lots=lots, next_cursor=None)
        last = rows[request.limit - 1]
        expires = NEVER if last["expires_at"] is None else micros(last["expires_at"])
        return api.LotPage(lots=lots[: request.limit], next_cursor=_encode_cursor([expires, last["sequence"]]))

    async def snapshot(self, request: api.GetSnapshot) -> api.Snapshot:
        """An account and its lots as of an instant, from the append-only rows."""
        now = self._clock.now()
        if request.as_of is not None and request.as_of > now:
            raise Invalid("as_of_in_future", "as_of lies in the future.", field="as_of")
        account = await self.state(request.account_id, with_lots=request.as_of is None)
        if request.as_of is None:
            lots = [_lot_of_state(account, lot) for lot in account.lots]
            return api.Snapshot(
                account_id=account.account_id,
                as_of=now,
                balance_minor=_told(account.balance),
                held_minor=account.held,
                lots=lots,
            )
        through = (max(0, micros(request.as_of)) << SLOT_BITS) | ((1 << SLOT_BITS) - 1)
        await self._require_stable(through)
        return await self._as_of(account, request.as_of, through)

    async def _as_of(self, account: AccountState, as_of: datetime, through: int) -> api.Snapshot:
        if account.type.log_only:
            rows = await self._fetch("hot_balance_as_of", account.hex, through)
            balance = _told(rows[0]["balance"])
            return api.Snapshot(
                account_id=account.account_id, as_of=as_of, balance_minor=balance, held_minor=0, lots=[]
            )
        rows = await self._fetch("log_as_of", account.hex, through)
        if not rows:
            return api.Snapshot(account_id=account.account_id, as_of=as_of, balance_minor=0, held_minor=0, lots=[])
        lots = await self._fetch("lots_as_of", account.hex, rows[0]["sequence"])
        return api.Snapshot(
            account_id=account.account_id,
            as_of=as_of,
            balance_minor=rows[0]["balance"],
            held_minor=rows[0]["held"],
            lots=[_lot(row) for row in lots],
        )

    async def watermark(self) -> int:
        """Every flush with an id up to this one has landed or never will."""
        await self._writer.ready()
        lowest = await self._writer.renew()
        now = (await self._fetch("database_time"))[0]["at"]
        for row in await self._fetch("list_writers"):
            if row["fenced"] or self._writer.is_own(row):
                continue
            if row["lease_until"] < now and await self._fetch("fence_writer", row["slot"], row["epoch"], now):
                continue
            lowest = min(lowest, row["stable_id"])
        return lowest

    async def _require_stable(self, through: int) -> None:
        if through >= await self.watermark():
            raise Unavailable(
                "snapshot_not_stable", "Writes up to that instant are still under way; ask again shortly."
            )

    # -- totals and export ------------------------------------------------------------------------------------------

    async def type_totals(self, as_of: datetime | None) -> api.TypeTotals:
        """Totals of every account type; as of an instant they are what there is now less what came after it."""
        hot_types = [each.code for each in self._types if each.log_only]
        through = None if as_of is None else await self._through(as_of)

        async def read(connection: Connection) -> list[list[asyncpg.Record]]:
            totals = await connection.fetch(self._sql["type_totals"])
            hot = await connection.fetch(self._sql["hot_type_totals"], hot_types)
            return [totals, hot, [] if through is None else await connection.fetch(self._sql["later_totals"], through)]

        rows, hot_rows, later_rows = await self._database.transaction(ROLE, read, isolation="repeatable_read")
        hot = {row["account_type"]: row["balance"] for row in hot_rows}
        later = {row["account_type"]: (row["amount"], row["held_change"]) for row in later_rows}
        return api.TypeTotals(
            totals=[
                api.TypeTotal(
                    account_type=row["account_type"],
                    asset=row["asset"],
                    accounts=row["accounts"],
                    balance_minor=_told(
                        hot.get(row["account_type"], row["balance"]) - later.get(row["account_type"], (0, 0))[0]
                    ),
                    held_minor=_told(row["held"] - later.get(row["account_type"], (0, 0))[1]),
                )
                for row in rows
            ]
        )

    async def _through(self, as_of: datetime) -> int:
        """The last flush id of an instant below which nobody writes any more; raises Invalid and Unavailable."""
        if as_of > self._clock.now():
            raise Invalid("as_of_in_future", "as_of lies in the future.", field="as_of")
        through = (max(0, micros(as_of)) << SLOT_BITS) | ((1 << SLOT_BITS) - 1)
        await self._require_stable(through)
        return through

    async def export(self, since: datetime | None) -> AsyncIterator[api.AccountLog]:
        """Every account log, by account; log-only accounts last.

        All of one instant: up to the watermark at the start, so that what one account gave another has got.
        """
        through = await self.watermark()
        first = 0 if since is None else min(max(0, micros(since)) << SLOT_BITS, NEWEST)
        after: tuple[UUID, int] = (UUID(int=0), -1)
        while rows := await self._fetch("export_logs", first, through, *after, EXPORT_PAGE):
            for row in rows:
                yield _log(row)
            after = (rows[-1]["account_id"], rows[-1]["sequence"])
        hot_after: tuple[UUID, int, int] = (UUID(int=0), -1, -1)
        while rows := await self._fetch("export_hot_logs", first, through, *hot_after, EXPORT_PAGE):
            for row in rows:
                yield _hot_log(row)
            hot_after = (rows[-1]["account_id"], rows[-1]["flush_id"], rows[-1]["ordinal"])

    async def export_accounts(self) -> AsyncIterator[api.ExportedAccount]:
        """Every account, by id."""
        after = UUID(int=0)
        while rows := await self._fetch("export_accounts", after, EXPORT_PAGE):
            for row in rows:
                yield api.ExportedAccount(
                    account_id="acc_" + row["account_id"].hex,
                    owner=row["owner"],
                    account_type=row["account_type"],
                    opened_at=flush_instant(row["opened_id"]),
                )
            after = rows[-1]["account_id"]


def _told(total: int | Decimal) -> int:
    """An exact total as the door's 64 bits tell it; raises Refused `balance_overflow` for one that they cannot hold."""
    if abs(total) > BALANCE_MINOR_MAX:
        raise Refused("balance_overflow", "The sum is exact in the books, but too large to be told in 64 bits.")
    return int(total)


def _not_found(account_id: str) -> NotFound:
    return NotFound("account_not_found", "There is no such account.", account_id=account_id)


def _message(account: AccountState, now: int, expired: int) -> api.Account:
    _told(account.balance)
    message = account.message(now)
    return msgspec.structs.replace(message, available_minor=message.available_minor - expired) if expired else message


def _log(row: asyncpg.Record) -> api.AccountLog:
    return api.AccountLog(
        account_id="acc_" + row["account_id"].hex,
        sequence=row["sequence"],
        exchange_id="exc_" + row["exchange_id"].hex,
        amount_minor=row["amount"],
        held_change_minor=row["held_change"],
        balance_minor=row["balance"],
        held_minor=row["held"],
        recorded_at=flush_instant(row["flush_id"]),
    )


def _hot_log(row: asyncpg.Record) -> api.AccountLog:
    return api.AccountLog(
        account_id="acc_" + row["account_id"].hex,
        sequence=0,
        exchange_id="exc_" + row["exchange_id"].hex,
        amount_minor=row["amount"],
        held_change_minor=0,
        balance_minor=None,
        held_minor=None,
        recorded_at=flush_instant(row["flush_id"]),
    )


def _lot(row: asyncpg.Record) -> api.Lot:
    return api.Lot(
        lot_id=lot_id(row["account_id"].hex, row["sequence"]),
        amount_minor=row["amount"],
        remaining_minor=row["remaining"],
        held_minor=row["held"],
        expires_at=row["expires_at"],
        acquisition_rate=row["rate"],
    )


def _lot_of_state(account: AccountState, lot: Lot) -> api.Lot:
    return api.Lot(
        lot_id=lot_id(account.hex, lot.sequence),
        amount_minor=lot.amount,
        remaining_minor=lot.remaining,
        held_minor=lot.held,
        expires_at=None if lot.expires == NEVER else instant(lot.expires),
        acquisition_rate=lot.rate,
    )


def _expiry_instant(expires: int) -> datetime:
    return FOREVER if expires >= micros(FOREVER) else instant(expires)


def _encode_cursor(key: Sequence[int]) -> str:
    return base64.urlsafe_b64encode(",".join(map(str, key)).encode()).decode().rstrip("=")


def _cursor(cursor: str | None, *most: int) -> list[int] | None:
    """The key that a cursor stands for: whole numbers from 0 to the ones given; raises Invalid `bad_cursor`."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        key = [int(part) for part in text.split(",")]
    except (ValueError, binascii.Error) as error:
        raise Invalid("bad_cursor", "The cursor does not come from an earlier page.", field="cursor") from error
    if len(key) != len(most) or not all(0 <= part <= limit for part, limit in zip(key, most, strict=True)):
        raise Invalid("bad_cursor", "The cursor does not come from an earlier page.", field="cursor")
    return key
