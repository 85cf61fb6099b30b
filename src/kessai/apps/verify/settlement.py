"""Settlement: every row worked out again from the one before it, down to the payments' own steps, and up to the ledger.

Events tell transactions; transactions make daily summaries, these the cycles; cycles clear, pay and claim; what was
moved for it are payments. For each payee: sold = paid out + fees + carried + claimed - collected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import asyncpg
import msgspec

from kessai.apps.verify.checks import BROKEN_MAX, Check, run_check
from kessai.apps.verify.finding import Report
from kessai.apps.verify.settlement_fees import check_fees
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.services.payment.api import PaymentStateChanged
from kessai.services.settlement.api.words import TransactionKind
from kessai.services.settlement.domain.configuration import SettlementConfig
from kessai.services.settlement.domain.intake import NewTransaction, Reader

RECORDED = "every step of a merchant's sale, refund and fee is one transaction"
HELD = "what the ledger holds for a merchant is what settlement makes of it"
BY_PAYMENTS = "merchants' own money moves by payments alone"
SUMS = (
    Check("strange_standing", "a day that is closed is the sum of its transactions"),
    Check("broken_days", "a day that is closed is the sum of its transactions"),
    Check("transactions_before_their_day", "a transaction settles on its day or later, and goes the right way"),
    Check("open_or_not", "what has not settled waits for the next day's run, and nothing else does"),
    Check("broken_summaries", "a daily summary is the sum of its transactions"),
    Check("broken_cycles", "a sales summary is the sum of its daily summaries"),
    Check("broken_clearings", "each owner's cycle is cleared once, for what it comes to"),
    Check("broken_payouts", "a payout is what its cycle cleared and earlier payouts left"),
    Check("cycles_without_payout", "a payout is what its cycle cleared and earlier payouts left"),
    Check("broken_payout_steps", "a payout is what its steps make it"),
    Check("strange_payout_steps", "a payout is what its steps make it"),
    Check("broken_statements", "a statement stays as it was issued"),
    Check("broken_claims", "a claim is what its steps make it"),
    Check("claims_against_cycles", "a claim is what its cycle was short of"),
    Check("fees_twice", "a sale, a day or a cycle has one fee"),
    Check("payees_out_of_balance", "sold = paid out + fees + carried + claimed - collected"),
    Check("offsets_out_of_balance", "sold = paid out + fees + carried + claimed - collected"),
)
MOVED = (
    Check("payouts_against_payments", "a payout is what became of its payment"),
    Check("claim_steps_against_payments", "a claim is settled by payments alone"),
    Check("overused_claim_payments", "a claim is settled by payments alone"),
    Check("movements_against_payments", "what settlement moved is a payment"),
    Check("returns_against_refunds", "what settlement moved is a payment"),
    Check("overreturned_movements", "what settlement moved is a payment"),
    Check("movements_nobody_asked", "what settlement moved is a payment"),
    Check("clearings_against_movements", "what settlement moved is a payment"),
    Check("fees_against_movements", "what settlement moved is a payment"),
)
MOVED_OUTSIDE = (
    Check("payments_outside_settlement", "merchants' own money moves because settlement asked for it"),
    Check("refunds_outside_settlement", "merchants' own money moves because settlement asked for it"),
)
SUBSCRIPTION = "settlement.payment"
AT_ONCE = 5_000
OUTBOX_ROWS = 50
_TABLE = "settlement.transaction_data"
_EXCHANGE = re.compile("exc_([0-9a-f]{32})")
_OF_FEES = (TransactionKind.FEE, TransactionKind.FEE_REFUND)

_events = msgspec.json.Decoder(list[PaymentStateChanged]).decode


async def check_settlement(
    connection: Connection, configuration: SettlementConfig, report: Report, *, tables: set[str]
) -> None:
    """Report every row of settlement that does not follow from what it was made from.

    What settlement has not heard of yet is not missed: its cursor says how far it has come.
    """
    sql = load_queries("kessai.apps.verify", file="sql/settlement.sql")
    with_payments = "payment.payment" in tables
    for check in (*SUMS, *(MOVED if with_payments else ())):
        await run_check(connection, sql, check, report, schema="settlement", types={})
    await check_fees(connection, report)
    if with_payments:
        for check in MOVED_OUTSIDE:
            await run_check(connection, sql, check, report, schema="payment", types={})
        await _note_by_hand(connection, sql, report)
        caught_up = await _Recorded(connection, sql, configuration, report).check()
        if caught_up and "ledger.flush" in tables:
            await _check_held(connection, sql, report)


async def _note_by_hand(connection: Connection, sql: Queries, report: Report) -> None:
    """Tell of what operators moved themselves: no invariant speaks of it, and it is not hidden either."""
    for row in await connection.fetch(sql["payments_by_hand"], BROKEN_MAX):
        what = f"{row['payments']} × {row['kind']} of {row['amount_minor']} in all"
        report.note(f"Moved by hand: {what}, by {row['caller']}.")


class _Recorded:
    """Transactions against the events that told of them."""

    def __init__(self, connection: Connection, sql: Queries, configuration: SettlementConfig, report: Report) -> None:
        self._connection = connection
        self._sql = sql
        self._reader = Reader(configuration.intake)
        self._report = report
        self._told: list[NewTransaction] = []
        self._found = 0

    async def check(self) -> bool:
        """True when settlement has heard of all that there is."""
        row = await self._connection.fetchrow(self._sql["heard"], SUBSCRIPTION)
        position = 0 if row is None else row["position"]
        beyond = list[NewTransaction]()
        rows = self._connection.cursor(self._sql["payment_events"], 2**62, prefetch=OUTBOX_ROWS)
        async for row in rows:
            told = self._read(row["payload"])
            if row["position"] > position:
                beyond += told
                continue
            self._told += told
            if len(self._told) >= AT_ONCE:
                await self._compare()
        await self._compare()
        await self._check_strays(beyond)
        return not beyond and not await self._connection.fetchval(self._sql["untold_events"])

    def _read(self, payload: bytes) -> list[NewTransaction]:
        try:
            events = _events(payload)
        except msgspec.MsgspecError:
            return []  # an event that cannot be read is told of by its own check
        read = (self._reader.read(each, now=each.occurred_at, told_at=each.occurred_at) for each in events)
        return [each for each in read if each is not None]

    async def _compare(self) -> None:
        told, self._told = self._told, []
        if not told:
            return
        owners, ids = [each.owner_id for each in told], [each.transaction_id for each in told]
        rows = await self._connection.fetch(self._sql["transactions_by_id"], owners, ids)
        found = {row["transaction_id"]: row for row in rows}
        self._found += len(found)
        for each in told:
            row = found.get(each.transaction_id)
            if row is None:
                self._report.add(RECORDED, _TABLE, each.transaction_id.hex, f"it is missing, of {each.payment_id}")
            elif (differences := _differences(each, row)) is not None:
                self._report.add(RECORDED, _TABLE, each.transaction_id.hex, differences)

    async def _check_strays(self, beyond: Sequence[NewTransaction]) -> None:
        """Rows that no event tells of; of events that are being taken up just now some may be there already."""
        if await self._connection.fetchval(self._sql["transaction_count"]) == self._found:
            return
        known = {each.transaction_id for each in beyond}
        async for row in self._connection.cursor(self._sql["payment_events"], 2**62, prefetch=OUTBOX_ROWS):
            known.update(each.transaction_id for each in self._read(row["payload"]))
        async for row in self._connection.cursor(self._sql["transactions"], prefetch=AT_ONCE):
            if row["transaction_id"] not in known:
                self._report.add(RECORDED, _TABLE, row["transaction_id"].hex, "no event tells of it")


def _differences(told: NewTransaction, row: asyncpg.Record) -> str | None:
    """How a row differs; a fee's day and method are those of its sale."""
    names = ["kind", "from_id", "to_id", "amount_minor", "payment_id", "processing_id", "occurred_at"]
    if told.kind not in _OF_FEES:
        names += ["method", "business_date"]
    parts = [
        f"its {name} is {row[name]}, told was {getattr(told, name)}"
        for name in names
        if row[name] != getattr(told, name)
    ]
    return "; ".join(parts) or None


# -- the ledger -----------------------------------------------------------------------------------------------------


async def _check_held(connection: Connection, sql: Queries, report: Report) -> None:
    """The three accounts of each merchant, less what is under way just now, and what no payment moved.

    The latter is told of by itself, so that it hides nothing else of its owner.
    """
    owners = {row["owner_id"]: row for row in await connection.fetch(sql["owners"])}
    beside, strays = await _beside(connection, sql)
    _tell_strays(strays, owners, report)
    balances = Counter[tuple[str, str]]()
    for row in await connection.fetch(sql["balances"]):
        balances[row["owner"], row["account_type"]] += row["balance"]
    for row in (*beside, *strays):
        balances[row["owner"], row["account_type"]] -= row["amount_minor"]
    for owner_id, row in owners.items():
        for account_type, wanted in _wanted(row).items():
            there = balances[owner_id, account_type]
            if there != wanted:
                text = f"it holds {there}, settlement makes it {wanted}"
                report.add(HELD, "ledger.account", f"{owner_id}/{account_type}", text)


async def _beside(connection: Connection, sql: Queries) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
    """What moved with payments that are under way, and what moved without any.

    What a payment gives back or pays on has no reference: its step names it. An exchange whose step is being written
    just now is not told of before the next verification.
    """
    found = await connection.fetch(sql["exchanges_beside"])
    beside = [each for each in found if each["under_way"]]
    if not (unknown := [each for each in found if not each["under_way"]]):
        return beside, []
    named = dict[str, bool]()
    async for row in connection.cursor(sql["exchanges_of_steps"], prefetch=AT_ONCE):
        ids = _EXCHANGE.findall(row["given_back"] or "")
        named.update(dict.fromkeys(ids, row["under_way"]))
        if row["exchange_id"] is not None:
            named[row["exchange_id"].hex] = row["under_way"]
    busy = {row["owner_id"] for row in await connection.fetch(sql["busy_owners"])}
    strays = list[asyncpg.Record]()
    for row in unknown:
        under_way = named.get(row["exchange_id"].hex)
        if under_way or (under_way is None and row["owner"] in busy):
            beside.append(row)
        elif under_way is None:
            strays.append(row)
    return beside, strays


def _tell_strays(strays: Sequence[asyncpg.Record], owners: Collection[str], report: Report) -> None:
    """Exchanges of nobody's payment: a finding with merchants that settlement knows, told of with others."""
    for row in [each for each in strays if each["owner"] in owners][:BROKEN_MAX]:
        text = f"it moved {row['amount_minor']} of {row['owner']}/{row['account_type']} without any payment"
        report.add(BY_PAYMENTS, "ledger.exchange", f"exc_{row['exchange_id'].hex}", text)
    others = [each for each in strays if each["owner"] not in owners]
    if others:
        merchants = len({each["owner"] for each in others})
        report.note(
            f"Moved without a payment: {len(others)} times, of {merchants} merchants that settlement does not know."
        )


def _wanted(row: Any) -> dict[str, int]:
    return {
        "unsettled_sales": row["recorded_minor"] + row["unsettled_moved"],
        "settled_sales": row["settled_moved"],
        "settled_claims": row["claims_moved"],
    }
