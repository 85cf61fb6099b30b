"""Cycles: what of the daily summaries is in none yet, sales summaries, clearings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.settlement.domain.cycles import PayeeTerms
from kessai.services.settlement.domain.drafting import SUMS, Draft, OpenSum
from kessai.services.settlement.domain.payouts import OwnerNet, PayoutState, Unpaid
from kessai.services.settlement.store import ROLE
from kessai.services.settlement.store.payouts import insert_made_steps, terms_of, terms_text

_SQL = load_queries("kessai.services.settlement", file="sql/cycles.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A sales summary (SalesSummaries): one payee's cycle."""

    payee_id: str
    cycle_id: str
    first_day: date
    last_day: date
    sales_minor: int
    refunds_minor: int
    fees_minor: int
    fee_refunds_minor: int
    added_minor: int
    taken_minor: int
    net_minor: int
    cleared_minor: int
    shortfall_minor: int
    transactions: int
    terms: PayeeTerms
    made_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """Its primary key."""
        return self.payee_id, self.cycle_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """A clearing (売上確定) or shortfall (赤残確定) of one owner in one cycle."""

    payee_id: str
    cycle_id: str
    owner_id: str
    kind: str
    amount_minor: int
    payment_id: str
    state: str = "DUE"
    code: str | None = None
    part: int = 0


# -- reading ----------------------------------------------------------------------------------------------------------


async def is_closed(database: Database, day: date) -> bool:
    """Whether a day's settlement is closed."""
    return bool(await database.fetch(ROLE, _SQL["day_is_closed"], day))


async def payees_with_money(database: Database, day: date, after: str, limit: int) -> list[str]:
    """Payees that sold something up to a day which is in no cycle yet, or have a payout that was not paid, by id."""
    return [row["payee_id"] for row in await database.fetch(ROLE, _SQL["payees_with_money"], day, after, limit)]


async def last_cycles(connection: Connection, payee_ids: Sequence[str]) -> dict[str, date]:
    """The last day of each payee's latest cycle."""
    rows = await connection.fetch(_SQL["last_cycles"], list(payee_ids))
    return {row["payee_id"]: row["last_day"] for row in rows}


async def open_sums(connection: Connection, payee_ids: Sequence[str], day: date) -> dict[str, list[OpenSum]]:
    """By payee, the sum of each owner's daily summaries up to a day that are in no cycle yet."""
    found: dict[str, list[OpenSum]] = {}
    for row in await connection.fetch(_SQL["open_sums"], list(payee_ids), day):
        each = OpenSum(
            net=OwnerNet(owner_id=row["owner_id"], net_minor=row["net_minor"]),
            first_day=row["first_day"],
            sums=tuple(row[name] for name in SUMS),
            transactions=row["transactions"],
        )
        found.setdefault(row["payee_id"], []).append(each)
    return found


async def unpaid(connection: Connection, payee_ids: Sequence[str]) -> dict[str, list[tuple[Unpaid, int]]]:
    """By payee, payouts that were not paid and whose transfer fee is back, with their versions."""
    found: dict[str, list[tuple[Unpaid, int]]] = {}
    for row in await connection.fetch(_SQL["unpaid_payouts"], list(payee_ids)):
        each = Unpaid(
            payout_id=row["payout_id"].hex,
            state=PayoutState(row["state"]),
            payable_minor=row["payable_minor"],
            carried_from=row["carried_from"],
        )
        found.setdefault(row["payee_id"], []).append((each, row["version"]))
    return found


async def clearings_of(connection: Connection, cycles: Sequence[tuple[str, str]]) -> list[Clearing]:
    """Every clearing and shortfall of some cycles (payee, cycle)."""
    rows = await connection.fetch(_SQL["clearings_of"], *_columns(cycles, 2))
    return [Clearing(**{**dict(row), "cycle_id": row["cycle_id"].hex}) for row in rows]


async def summaries_of(connection: Connection, payee_id: str, before: date, limit: int) -> list[Summary]:
    """A payee's sales summaries, newest first."""
    return [_summary(row) for row in await connection.fetch(_SQL["summaries_of_payee"], payee_id, before, limit)]


async def summary_of(connection: Connection, payee_id: str, cycle_id: str) -> Summary | None:
    """One sales summary."""
    rows = await connection.fetch(_SQL["summary_of_cycle"], payee_id, cycle_id)
    return _summary(rows[0]) if rows else None


async def lines_of(connection: Connection, payee_id: str, cycle_id: str) -> list[asyncpg.Record]:
    """A cycle's days, by merchant and method."""
    return await connection.fetch(_SQL["lines_of_cycle"], payee_id, cycle_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What was charged as fees in a cycle, or given back of them, under one tax rate."""

    given_back: bool
    rate_bps: int
    amount_minor: int
    """With the tax."""
    settled_from: date
    settled_until: date
    charged_from: date
    """The day that the first of these fees belongs to."""
    charged_until: date


async def fees_by_rate(connection: Connection, summary: Summary) -> list[Charged]:
    """What was charged as fees in a cycle, and what was given back, by tax rate."""
    rows = await connection.fetch(_SQL["owners_of_cycle"], summary.payee_id, summary.cycle_id)
    owners = [row["owner_id"] for row in rows]
    found = await connection.fetch(_SQL["fees_by_rate"], owners, summary.payee_id, summary.first_day, summary.last_day)
    return [
        Charged(
            given_back=row["kind"] == "fee_refund",
            rate_bps=row["tax_rate_bps"],
            amount_minor=row["amount_minor"],
            settled_from=row["settled_from"],
            settled_until=row["settled_until"],
            charged_from=row["charged_from"],
            charged_until=row["charged_until"],
        )
        for row in found
    ]


# -- writing ----------------------------------------------------------------------------------------------------------


async def insert_summaries(connection: Connection, drafts: Sequence[Draft], now: datetime) -> set[str]:
    """Write sales summaries; gives the payees of those that were not there yet."""
    rows = [
        (
            each.payee_id,
            each.cycle_id,
            each.first_day,
            each.last_day,
            *each.sums,
            each.cleared_minor,
            each.shortfall_minor,
            each.transactions,
            terms_text(each.terms),
            now,
        )
        for each in drafts
    ]
    found = await connection.fetch(_SQL["insert_sales_summaries"], *_columns(rows, 16))
    return {row["payee_id"] for row in found}


async def put_into_cycles(connection: Connection, drafts: Sequence[Draft], day: date) -> None:
    """Daily summaries of payees up to a day belong to these cycles from now on."""
    rows = [(each.payee_id, each.cycle_id) for each in drafts]
    await connection.execute(_SQL["put_into_cycles"], *_columns(rows, 2), day)


async def insert_clearings(connection: Connection, clearings: Sequence[Clearing]) -> None:
    """Write what has to be cleared."""
    rows = [(c.payee_id, c.cycle_id, c.owner_id, c.kind, c.amount_minor, c.payment_id, c.part) for c in clearings]
    await connection.execute(_SQL["insert_clearings"], *_columns(rows, 7))


async def insert_payouts(connection: Connection, drafts: Sequence[Draft], now: datetime) -> None:
    """Write the payouts of cycles, each with its first step."""
    rows = [
        (
            each.payee_id,
            payout_id,
            each.cycle_id,
            share.cleared_minor,
            share.carried_minor,
            share.failed_minor,
            each.pay_on,
            each.instruct_on,
            each.over.carried_from,
            share.part,
            now,
        )
        for each in drafts
        for payout_id, share in each.payouts
    ]
    await connection.execute(_SQL["insert_payouts"], *_columns(rows, 11))
    await insert_made_steps(connection, [(row[0], row[1]) for row in rows], now)


async def take_over(connection: Connection, taken: Sequence[tuple[str, str, int, str]], now: datetime) -> bool:
    """Later payouts take these over (payee, payout, version, by); False when one was changed meanwhile."""
    rows = await connection.fetch(_SQL["take_over_payouts"], *_columns(taken, 4), now)
    return len(rows) == len(taken)


async def renew_clearings(connection: Connection, clearings: Sequence[Clearing]) -> None:
    """Those that were refused are due again, under new payments."""
    rows = [(each.payee_id, each.cycle_id, each.owner_id, each.part, each.payment_id) for each in clearings]
    await connection.execute(_SQL["renew_clearings"], *_columns(rows, 5))


async def settle_clearings(connection: Connection, clearings: Sequence[Clearing]) -> None:
    """Write what became of those that were due."""
    rows = [(c.payee_id, c.cycle_id, c.owner_id, c.payment_id, c.state, c.code) for c in clearings]
    await connection.execute(_SQL["settle_clearings"], *_columns(rows, 6))


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _summary(row: asyncpg.Record) -> Summary:
    known = dict(row)
    known["cycle_id"] = known["cycle_id"].hex
    known["terms"] = terms_of(known["terms"])
    return Summary(**known)
