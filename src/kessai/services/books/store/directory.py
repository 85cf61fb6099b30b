"""The ledger's accounts as the books know them, and what was booked of exchanges before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.domain.given_back import Legs, note
from kessai.services.books.domain.posting import Original
from kessai.services.ledger.api import AccountOpened, ExportedAccount

_sql = load_queries("kessai.services.books")


async def insert_accounts(connection: Connection, accounts: Sequence[AccountOpened | ExportedAccount]) -> list[str]:
    """Add accounts; gives the ids (`acc_…`) of those that were not known yet."""
    rows = await connection.fetch(
        _sql["insert_accounts"],
        [each.account_id[4:] for each in accounts],
        [each.owner for each in accounts],
        [each.account_type for each in accounts],
        [each.opened_at for each in accounts],
    )
    return [f"acc_{row['account_id'].hex}" for row in rows]


async def load_accounts(connection: Connection, account_ids: Collection[str]) -> list[tuple[str, str, str]]:
    """Id, owner and type of those of the accounts that are known."""
    rows = await connection.fetch(_sql["load_accounts"], [each[4:] for each in account_ids])
    return [(f"acc_{row['account_id'].hex}", row["owner"], row["account_type"]) for row in rows]


async def load_originals(connection: Connection, exchange_ids: Collection[str]) -> dict[str, Original]:
    """What is booked of exchanges and bank instructions."""
    rows = await connection.fetch(_sql["load_originals"], list(exchange_ids))
    return {row["exchange_id"]: Original(row["kind"], row["payment_id"], row["merchant"], row["root"]) for row in rows}


async def load_taxed(
    connection: Connection, exchange_ids: Collection[str], accounts: Mapping[str, frozenset[str]]
) -> dict[str, Legs]:
    """What is booked under tax codes of exchanges and of what reverses them. `accounts`: where a code's tax stands."""
    found: defaultdict[str, Legs] = defaultdict(dict)
    for row in await connection.fetch(_sql["load_taxed"], list(exchange_ids)):
        key = (row["account_type"], row["owner"], row["asset"], row["tax_code"])
        note(found[row["root"]], [(key, row["account"], row["amount"])], accounts, is_back=row["is_back"])
    return found


async def insert_held(connection: Connection, payments: dict[str, str]) -> None:
    """Remember the payments of exchanges that are held."""
    await connection.execute(_sql["insert_held"], list(payments), list(payments.values()))


async def load_held(connection: Connection, exchange_ids: Collection[str]) -> dict[str, str]:
    """The payments of exchanges that were held."""
    rows = await connection.fetch(_sql["load_held"], list(exchange_ids))
    return {row["exchange_id"]: row["payment_id"] for row in rows}
