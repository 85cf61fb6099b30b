"""What is read from the running totals: no statement here touches an entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.domain.sheets import AccountSum

_sql = load_queries("kessai.services.books", file="sql/accounting.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSum:
    """Movements of one account type of the ledger by one kind; the opening is positive on the credit side."""

    account_type: str
    asset: str
    kind: str
    opening: int
    debit: int
    credit: int


async def account_sums(connection: Connection, since: date, until: date, year_start: date) -> list[AccountSum]:
    """Every account over some days, by code and asset; `year_start` is not after `since`."""
    return [_account_sum(row) for row in await connection.fetch(_sql["account_sums"], since, until, year_start)]


def _account_sum(row: asyncpg.Record) -> AccountSum:
    earlier = int(row["earlier_debit"] or 0) - int(row["earlier_credit"] or 0)
    this_year = int(row["opening_debit"] or 0) - int(row["opening_credit"] or 0)
    return AccountSum(
        account=row["account"],
        asset=row["asset"],
        opening=earlier + this_year,
        earlier=earlier,
        debit=int(row["debit"] or 0),
        credit=int(row["credit"] or 0),
    )


async def account_ends(
    connection: Connection, accounts: Sequence[str], asset: str, since: date, until: date, year_start: date
) -> dict[str, tuple[int, int, int]]:
    """Accounts' balances before the fiscal year, before the first day and after the last; debit positive."""
    rows = await connection.fetch(_sql["account_ends"], list(accounts), asset, since, until, year_start)
    return {
        row["account"]: (int(row["earlier"] or 0), int(row["opening"] or 0), int(row["closing"] or 0)) for row in rows
    }


async def balances_of(
    connection: Connection, accounts: Sequence[str], until: date, year_start: date, yearly: Sequence[str]
) -> dict[tuple[str, str], int]:
    """Balances at the end of a day by account and asset, positive on the debit side; of `yearly` ones of the year."""
    rows = await connection.fetch(_sql["balances_of"], list(accounts), until, year_start, list(yearly))
    return {(row["account"], row["asset"]): int(row["balance"]) for row in rows}


async def month_sums(connection: Connection, until: date, asset: str) -> list[tuple[str, date, int]]:
    """What each month added to each account up to a day: account, month, amount (debit positive)."""
    rows = await connection.fetch(_sql["month_sums"], until, asset)
    return [(row["account"], _month(row["month"]), int(row["amount"])) for row in rows]


def _month(number: int) -> date:
    year, month = divmod(number - 1, 12)
    return date(year, month + 1, 1)


async def tax_sums(connection: Connection, since: date, until: date, asset: str) -> list[tuple[str, str, int]]:
    """By tax code and account: what was booked in an asset over some days (debit positive)."""
    rows = await connection.fetch(_sql["tax_sums"], since, until, asset)
    return [(row["tax_code"], row["account"], int(row["amount"])) for row in rows]


async def type_sums(connection: Connection, types: Sequence[str], since: date, until: date) -> list[TypeSum]:
    """By account type of the ledger and kind: what there was before some days, and what they brought."""
    rows = await connection.fetch(_sql["type_sums"], list(types), since, until)
    return [
        TypeSum(
            account_type=row["account_type"],
            asset=row["asset"],
            kind=row["kind"],
            opening=int(row["opening"] or 0),
            debit=int(row["debit"] or 0),
            credit=int(row["credit"] or 0),
        )
        for row in rows
    ]
