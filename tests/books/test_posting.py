"""Booking what the ledger tells: every event once, whole, on its accounts; what cannot be booked is seen."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest

from kessai.foundation.db import Connection, Database
from kessai.foundation.events import Event, outbox_insert, outbox_row
from kessai.foundation.events.outbox import events_of
from kessai.services.bank.api import InstructionChanged, InstructionKind, InstructionState, OwnerKind
from kessai.services.books.service import bookkeeping
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.books.store import ROLE
from tests.books.test_rules import shipped
from tests.books.town import Town, config, town


def rules_without(kind: str) -> str:
    """The platform's rules, less one."""
    text = shipped("posting_rules.toml")
    start = text.index(f"  [version.rules.{kind}]\n")
    end = text.find("\n  [version.rules.", start + 1)
    return text[:start] + text[end:]


async def test_a_payment_is_booked_on_the_accounts_of_its_legs(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        await t.book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", kind="charge", reference="chg_1")
        await t.heard()
        assert await t.balances() == {"1210": 1_000, "2110": -700, "2210": -300}
        assert await t.unposted() == {}
        await t.proved()
        rows = await t.database.fetch(
            None,
            "SELECT kind, product, merchant, payment_id, event_id, booked_on FROM books.journal ORDER BY journal_id",
        )
        assert [tuple(row) for row in rows] == [
            ("top_up", "funds_transfer", None, None, "ledger/3/0", date(2026, 4, 1)),
            ("charge", "payment", "mer:1", "chg_1", "ledger/5/0", date(2026, 4, 1)),
        ]


async def test_entries_name_merchants_and_the_platform_but_no_customer(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 500 > cus:1/funds 500", kind="top_up")
        await t.book.move("cus:1/funds 500 > mer:1/unsettled_sales 500", kind="charge")
        await t.heard()
        rows = await t.database.fetch(None, "SELECT DISTINCT owner FROM books.entry ORDER BY owner")
        assert [row["owner"] for row in rows] == ["", "internal:bank_deposit", "mer:1"]


async def test_a_fee_includes_its_tax_and_nothing_is_lost_to_rounding(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 9_999 > cus:1/funds 9_999", kind="top_up")
        withdrawal = "cus:1/funds 1_200 > internal:bank/bank_in_transit 1_000 + internal:withdrawal_fee/fee_income 200"
        await t.book.move(withdrawal, kind="withdrawal")
        await t.heard()
        balances = await t.balances()
        assert (balances["4120"], balances["2310"]) == (-182, -18)
        rows = await t.database.fetch(None, "SELECT account FROM books.entry WHERE tax_code = 'out10' ORDER BY account")
        assert [row["account"] for row in rows] == ["2310", "4120"]
        await t.proved()


async def test_a_hold_books_nothing_and_its_captures_name_the_payment(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        await t.book.hold("cus:1/funds 900 > mer:1/unsettled_sales 900", name="order", kind="charge", reference="chg_9")
        await t.heard()
        assert await t.balances() == {"1210": 1_000, "2110": -1_000}
        await t.book.capture("order", 400, final=False)
        await t.heard()
        await t.book.capture("order", 100)
        await t.heard()
        rows = await t.database.fetch(None, "SELECT payment_id FROM books.journal WHERE action = 'captured'")
        assert [row["payment_id"] for row in rows] == ["chg_9", "chg_9"]
        assert (await t.balances())["2210"] == -500
        await t.proved()


async def test_a_reversal_is_booked_by_the_rule_of_what_it_reverses(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        await t.book.move("cus:1/funds 800 > mer:1/unsettled_sales 800", name="sale", kind="charge", reference="chg_1")
        await t.heard()
        await t.book.reverse("sale", 300, reversal="back", kind="refund", reference="rfd_1")
        await t.book.reverse("back", 100, kind="reversal")
        await t.heard()
        rows = await t.database.fetch(
            None,
            "SELECT kind, rule, payment_id, merchant, description FROM books.journal WHERE action = 'reversed'"
            " ORDER BY journal_id",
        )
        assert [tuple(row) for row in rows] == [
            ("charge", "charge", "chg_1", "mer:1", "加盟店決済 返金"),
            ("charge", "charge", "chg_1", "mer:1", "加盟店決済 取消"),
        ]
        assert await t.balances() == {"1210": 1_000, "2110": -400, "2210": -600}
        await t.proved()


async def test_two_assets_balance_each_by_itself(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/trading_funds", "cus:1/btc")
        await t.book.move("internal:bank_deposit/deposit 70_000 > cus:1/trading_funds 70_000", kind="top_up")
        await t.book.open("internal:market/trading_funds")
        trade = "cus:1/trading_funds 50_000 > cus:1/btc 500_000"
        await t.book.move(trade, kind="trade", rate="10000000")
        await t.heard()
        unposted = await t.unposted()
        assert list(unposted.values()) == ["leg_not_taken trading_funds"]  # a top-up of a trading account is unheard of
        balances = await t.balances()
        assert balances == {"2150": 50_000, "1410": -50_000, "2160 BTC": -500_000, "1420 BTC": 500_000}


async def test_points_that_expire_become_breakage(database: Database) -> None:
    async with town(database) as t:
        grant = "internal:campaign/point_cost 120 > cus:1/free_points 120 expires=3d"
        await t.book.move(grant, kind="point_grant")
        t.clock.advance(days=4)
        await t.book.run("expire_lots")
        await t.heard()
        assert await t.balances() == {"5110": 120, "4210": -120}
        await t.proved()


async def test_an_event_without_a_rule_stands_unposted_and_its_neighbours_are_booked(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.batch(
            t.book.request("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up"),
            t.book.request("internal:bank_deposit/deposit 20 > cus:1/funds 20", kind="windfall"),
            t.book.request("internal:bank_deposit/deposit 30 > cus:1/funds 30", kind="top_up"),
        )
        await t.heard()
        assert await t.balances() == {"1210": 40, "2110": -40}
        assert await t.unposted() == {"ledger/3/1": "no_rule windfall"}
        assert t.bookkeeper.standing == {"no_rule": 1}


async def test_what_was_unposted_is_booked_after_the_rules_were_mended_and_only_once(database: Database) -> None:
    async with town(database, config(rules=rules_without("top_up"))) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", name="in", kind="top_up")
        await t.book.reverse("in", 4)
        await t.heard()
        unposted = await t.unposted()
        assert [each.split()[0] for each in unposted.values()] == ["no_rule", "original_unposted"]
        still = await t.bookkeeper.repost(list(unposted))
        assert (still.posted, len(still.standing)) == ([], 2)
        mended = Bookkeeper(t.database, t.clock, config())
        done = await asyncio.gather(*(mended.repost(list(unposted)) for _ in range(3)))
        assert sum(len(each.posted) for each in done) == 2
        assert (await mended.repost(list(unposted))).posted == []
        assert await t.balances() == {"1210": 6, "2110": -6}
        assert await t.unposted() == {}
        assert mended.standing == {}
        await t.proved()


async def test_an_event_waits_for_an_account_that_nobody_told_of_and_is_booked_with_the_news(
    database: Database,
) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        await t.relayed()
        await _swap_positions(t)
        await _deliver_row_by_row(t)
        assert await t.unposted() == {}
        await t.proved()


async def _swap_positions(t: Town) -> None:
    """The exchange gets the position before the account's: two processes whose clocks differ may do that."""
    await t.database.fetch(
        None,
        "UPDATE ledger.outbox SET position = CASE topic WHEN 'ledger.exchange' THEN 1 ELSE position + 1 END"
        " WHERE topic IN ('ledger.exchange', 'ledger.account')",
    )


async def _deliver_row_by_row(t: Town) -> None:
    """One row at a time, so that the event is handled before the news."""
    rows = await t.database.fetch(
        None,
        "SELECT position, topic, payload, recorded_at FROM ledger.outbox WHERE topic LIKE 'ledger.%' ORDER BY position",
    )
    for row in rows:
        events = events_of("ledger", row["position"], row["topic"], row["payload"], row["recorded_at"])

        await t.database.transaction(ROLE, partial(_hear, t, events))
        if row["position"] == 1:
            assert [each.split()[0] for each in (await t.unposted()).values()] == ["account_unknown"]


async def _hear(t: Town, events: list[Event], connection: Connection) -> None:
    await t.bookkeeper.hear(connection, events)


async def test_an_event_from_the_future_is_not_booked(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        start = t.clock.now()
        t.clock.advance(days=2)
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        t.clock.advance(seconds=(start - t.clock.now()).total_seconds())
        await t.heard()
        assert list((await t.unposted()).values()) == ["future_date 2026-04-03"]


async def test_the_day_of_an_event_is_japans(database: Database) -> None:
    async with town(database, at=datetime(2026, 4, 30, 14, 59, 59, tzinfo=UTC)) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1 > cus:1/funds 1", kind="top_up")
        t.clock.advance(seconds=1)
        await t.book.move("internal:bank_deposit/deposit 2 > cus:1/funds 2", kind="top_up")
        await t.heard()
        rows = await t.database.fetch(None, "SELECT event_on FROM books.journal ORDER BY journal_id")
        assert [row["event_on"] for row in rows] == [date(2026, 4, 30), date(2026, 5, 1)]


async def test_a_late_event_goes_to_the_open_period_and_names_its_own_day(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        await t.database.fetch(
            None, "INSERT INTO books.period VALUES ('2026-04-01', 'CLOSED', 1, '2026-05-01T00:00:00Z', 'test')"
        )
        t.clock.advance(days=40)
        await t.heard()
        (row,) = await t.database.fetch(None, "SELECT booked_on, event_on, description FROM books.journal")
        assert tuple(row) == (date(2026, 5, 1), date(2026, 4, 1), "入金 (チャージ) (2026-04-01 分)")
        (total,) = await t.database.fetch(None, "SELECT DISTINCT booked_on, event_on FROM books.day_total")
        assert tuple(total) == (date(2026, 5, 1), date(2026, 4, 1))
        await t.proved()


async def test_an_event_that_is_told_again_is_booked_once(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        await t.heard()
        await t.database.fetch(None, "UPDATE books.subscription_cursor SET position = 0, handled = 0")
        await t.book.move("internal:bank_deposit/deposit 5 > cus:1/funds 5", kind="top_up")
        await t.relayed()
        subscription = t.hear_with(t.bookkeeper)[0]
        with pytest.raises(Exception, match="booked before"):
            await subscription.deliver()
        await subscription.deliver()
        assert await t.balances() == {"1210": 15, "2110": -15}
        assert subscription.parked_count == 0
        await t.proved()


async def test_two_processes_book_every_event_once(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        other = t.hear_with(Bookkeeper(t.database, t.clock, config()))[0]
        for amount in range(1, 40):
            await t.book.move(f"internal:bank_deposit/deposit {amount} > cus:1/funds {amount}", kind="top_up")
            await t.relayed()
            await asyncio.gather(t.subscriptions[0].deliver(), other.deliver())
        await t.heard()
        assert (await t.balances())["1210"] == sum(range(1, 40))
        await t.proved()


async def test_a_crash_before_the_commit_leaves_nothing_half_booked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        await t.relayed()
        for step in ("hold_gate", "copy_journals", "add_totals"):
            await _crash_in(t, step, monkeypatch)
            assert await t.balances() == {}
        await t.heard()
        assert await t.balances() == {"1210": 10, "2110": -10}
        await t.proved()


async def _crash_in(t: Town, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost after a step."""
    owner = bookkeeping if step == "hold_gate" else bookkeeping.journals
    whole = getattr(owner, step)

    async def cut(*arguments: object) -> None:
        await whole(*arguments)
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, cut)
        with pytest.raises(Exception, match="database"):
            await t.subscriptions[0].deliver()


async def test_accounts_that_were_never_told_of_are_learned_and_what_waited_is_booked(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        await t.database.fetch(None, "DELETE FROM ledger.outbox WHERE topic = 'ledger.account'")
        await t.heard()
        assert [each.split()[0] for each in (await t.unposted()).values()] == ["account_unknown"]
        learned = await t.bookkeeper.learn_from(t.book.ledger)
        assert learned == 2
        assert await t.unposted() == {}
        assert await t.balances() == {"1210": 10, "2110": -10}
        assert await t.bookkeeper.learn_from(t.book.ledger) == 0


async def test_an_event_that_cannot_be_read_is_put_aside(database: Database) -> None:
    async with town(database) as t:
        await t.database.fetch(
            None,
            "INSERT INTO ledger.outbox (outbox_id, topic, event_count, payload, recorded_at)"
            " VALUES (gen_random_uuid(), 'ledger.exchange', 1, '[{\"exchange_id\": 1}]', $1)",
            t.clock.now() - timedelta(seconds=1),
        )
        await t.heard()
        assert [each.split()[0] for each in (await t.unposted()).values()] == ["unreadable"]


# -- the bank -------------------------------------------------------------------------------------------------------


def instruction(kind: InstructionKind, state: InstructionState, amount: int, number: int) -> InstructionChanged:
    """What the bank service tells of an instruction."""
    prefix = "bdb" if kind is InstructionKind.DEBIT else "btr"
    return InstructionChanged(
        event_id=f"evt_{number:032x}", instruction_id=f"{prefix}_{number:032x}", kind=kind, state=state,
        account_id=f"bac_{1:032x}", owner_kind=OwnerKind.CUSTOMER, owner_id="cus:1", amount_minor=amount,
        failure_code=None, bank_reference=None, reference="wdr_1", processing_id="prc_1", version=1,
        occurred_at=datetime(2026, 4, 1, tzinfo=UTC),
    )  # fmt: skip


async def told(t: Town, *events: InstructionChanged) -> None:
    """The bank service tells, and the books hear."""
    rows = [outbox_row(f"bank.{each.kind.value}", [each], t.clock.now()) for each in events]
    await t.database.fetch("kessai_bank", outbox_insert("bank"), *map(list, zip(*rows, strict=True)))
    await t.heard()


async def test_what_the_bank_did_moves_our_account_there(database: Database) -> None:
    transfer, debit = InstructionKind.TRANSFER, InstructionKind.DEBIT
    done, returned = InstructionState.DONE, InstructionState.RETURNED
    async with town(database) as t:
        await told(t, instruction(debit, InstructionState.SENT, 900, 1), instruction(debit, done, 900, 1))
        assert await t.balances() == {"1110": 900, "1231": -900}
        await told(t, instruction(transfer, done, 300, 2))
        assert await t.balances() == {"1110": 600, "1231": -600}
        await told(t, instruction(transfer, returned, 300, 2))
        assert await t.balances() == {"1110": 900, "1231": -900}
        await told(t, instruction(transfer, InstructionState.FAILED, 50, 3))
        assert await t.unposted() == {}
        rows = await t.database.fetch(None, "SELECT kind, action, exchange_id, payment_id FROM books.journal")
        assert {row["kind"] for row in rows} == {"bank_debit", "bank_transfer"}
        assert {row["payment_id"] for row in rows} == {"wdr_1"}
        await t.proved()


async def test_what_came_back_before_it_was_told_that_it_left_did_both(database: Database) -> None:
    async with town(database) as t:
        await told(t, instruction(InstructionKind.TRANSFER, InstructionState.RETURNED, 300, 2))
        assert await t.balances() == {}
        rows = await t.database.fetch(None, "SELECT account, amount FROM books.entry ORDER BY line")
        assert [tuple(row) for row in rows] == [("1110", -300), ("1231", 300), ("1110", 300), ("1231", -300)]
        await t.proved()
