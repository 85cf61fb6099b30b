"""State brought into memory: accounts with a window of lots, named lots, exchanges and what stands under their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import asyncpg
import msgspec

from kessai.foundation.db import Connection, load_queries
from kessai.services.ledger.api import ExchangeState, Freeze
from kessai.services.ledger.domain.answers import decode_record, progress_of_record
from kessai.services.ledger.domain.commands import Stored
from kessai.services.ledger.domain.progress import Done, LegProgress, Progress
from kessai.services.ledger.domain.state import NEVER, SLOT_BITS, AccountState, Lot, micros
from kessai.services.ledger.domain.types import AccountTypes
from kessai.services.ledger.store import PACKAGE

FIRST_LOTS = 4
"""Lots loaded of an account at first; one whose window proves too short is loaded with more."""

_sql = load_queries(PACKAGE)
_metadata = msgspec.json.Decoder(dict[str, str]).decode
_course = msgspec.json.Decoder(tuple[ExchangeState, list[LegProgress], list[Done]]).decode


async def load_accounts(
    connection: Connection, types: AccountTypes, hexes: Sequence[str], *, lock: bool
) -> list[tuple[AccountState, int]]:
    """Accounts that exist, each with the id of its last flush. Those that have lots are bare: see `load_windows`."""
    rows = await connection.fetch(_sql["lock_accounts" if lock else "load_accounts"], hexes)
    return [(_account(row, types), row["flush_id"]) for row in rows]


def _account(row: asyncpg.Record, types: AccountTypes) -> AccountState:
    account = AccountState(
        "acc_" + row["account_id"].hex,
        row["owner"],
        types.require(row["account_type"]),
        opened=row["opened_id"] >> SLOT_BITS,
        balance=row["balance"],
        held=row["held"],
        incoming=row["incoming"],
        version=row["version"],
        freeze=Freeze(row["frozen"]),
        closed=row["closed"],
        overdraft=row["overdraft"],
    )
    if row["metadata"] != "{}":
        account.metadata = _metadata(row["metadata"])
    if account.balance and account.type.has_lots:
        account.bare, account.complete = True, False
    return account


async def load_windows(connection: Connection, accounts: Iterable[AccountState], lots: Mapping[str, int]) -> None:
    """Bring in the first open lots of bare accounts; `lots` says how many of which account (by hex).

    After the accounts, never together with them: lots that are newer than their account are found out when its version
    is verified; older ones would not be. An account that a page in flight has credited may have more than are found.
    """
    bare = {account.hex: account for account in accounts}
    most = [lots.get(account_hex, FIRST_LOTS) for account_hex in bare]
    for row in await connection.fetch(_sql["load_lots"], list(bare), most):
        bare[row["account_id"].hex].lots.append(lot_of(row))
    for account, limit in zip(bare.values(), most, strict=True):
        account.bare = False
        account.complete = len(account.lots) < limit


def lot_of(row: asyncpg.Record) -> Lot:
    """A lot as memory holds it."""
    expires = row["expires_at"]
    until = NEVER if expires is None else micros(expires)
    return Lot(row["sequence"], row["amount"], row["remaining"], row["held"], until, row["rate"])


async def load_named_lots(connection: Connection, wanted: Sequence[tuple[AccountState, int]]) -> None:
    """Put lots that an exchange names beside their accounts' windows."""
    by_id = {account.hex: account for account, _ in wanted}
    rows = await connection.fetch(
        _sql["load_named_lots"], [account.hex for account, _ in wanted], [sequence for _, sequence in wanted]
    )
    for row in rows:
        by_id[row["account_id"].hex].side[row["sequence"]] = lot_of(row)


async def load_exchanges(connection: Connection, hexes: Sequence[str]) -> list[tuple[Progress, Stored]]:
    """Exchanges that exist, with how far they have come and their birth's record."""
    found: list[tuple[Progress, Stored]] = []
    for row in await connection.fetch(_sql["load_exchanges"], hexes):
        stored = Stored(row["digest"], row["record"], row["flush_id"])
        found.append((_progress(row), stored))
    return found


def _progress(row: asyncpg.Record) -> Progress:
    if row["progress"] is None:
        return progress_of_record(row["record"], row["digest"], row["flush_id"])
    told = decode_record(row["record"])
    state, legs, actions = _course(row["progress"])
    return Progress(
        told.exchange_id, told.kind, told.reference, state, row["version"], row["flush_id"], told.expires,
        told.reverses, told.rate, told.metadata, told.processing_id, legs, actions, row["digest"],
    )  # fmt: skip


async def load_actions(connection: Connection, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
    """Records of actions by (exchange hex, action hex)."""
    rows = await connection.fetch(_sql["load_actions"], [each[0] for each in ids], [each[1] for each in ids])
    return {(row["exchange_id"].hex, row["action_id"].hex): Stored(b"", row["record"], row["flush_id"]) for row in rows}


async def load_references(connection: Connection, references: Iterable[str]) -> dict[str, str]:
    """Exchange ids by the references that are taken."""
    rows = await connection.fetch(_sql["load_references"], list(references))
    return {row["reference"]: "exc_" + row["exchange_id"].hex for row in rows}


async def load_request_keys(connection: Connection, keys: Sequence[str]) -> dict[str, bytes]:
    """What was asked (its digest) with those idempotency keys that were used."""
    rows = await connection.fetch(_sql["load_request_keys"], keys)
    return {row["request_key"].hex: row["digest"] for row in rows}
