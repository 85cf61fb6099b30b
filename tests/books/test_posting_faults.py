"""One event that is wrong stands unposted by itself: its neighbours are booked, and nothing closes over it."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest

from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Unavailable
from kessai.foundation.events import Event
from kessai.foundation.events.outbox import events_of
from kessai.services.bank.api import InstructionKind, InstructionState
from kessai.services.books.api.accounting import PeriodState, Repost
from kessai.services.books.service import bookkeeping
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.books.store import ROLE
from kessai.services.books.store.feed import unwritten_before
from tests.books.office import MAY_10, asked, office
from tests.books.statutory_world import at, world_of
from tests.books.test_posting import instruction, rules_without, told
from tests.books.test_rules import shipped
from tests.books.town import Town, config, town

TRADE = "cus:1/trading_funds 200_500 > cus:1/btc 2_000_000 + internal:trade/fee_income 500"
WITHDRAWAL = "cus:1/funds 1_050 > internal:bank/bank_in_transit 1_000 + internal:withdrawal_fee/fee_income 50"


async def lines_of(t: Town) -> list[tuple[Any, ...]]:
    """The statutory lines: sequence, part, amount, balance, category."""
    rows = await t.database.fetch(
        None,
        "SELECT sequence, part, amount, balance, category FROM books.statement_line"
        " ORDER BY account_id, sequence, part",
    )
    return [tuple(row) for row in rows]


async def tell(t: Town, *, without: bytes = b"\0", only: bytes = b"") -> None:
    """Tell of all that happened in one batch, or of a part of it: without an account type, or only with one."""
    rows = await t.database.fetch(
        None,
        "SELECT position, topic, payload, recorded_at FROM ledger.outbox"
        " WHERE topic IN ('ledger.account', 'ledger.exchange') ORDER BY position",
    )
    events = [event for row in rows for event in events_of("ledger", *row)]
    chosen = [
        each
        for each in events
        if (each.topic == "ledger.account" and only in each.payload and without not in each.payload)
        or (each.topic == "ledger.exchange" and not only)
    ]

    async def hear(connection: Connection, each: list[Event]) -> None:
        await t.bookkeeper.hear(connection, each)

    await t.database.transaction(ROLE, lambda connection: hear(connection, chosen))


@pytest.mark.parametrize("unknown", [b"fee_income", b"bank_in_transit"])
async def test_statutory_lines_wait_for_every_account_and_are_written_once(database: Database, unknown: bytes) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 2_000 > cus:1/funds 2_000", kind="top_up")
        await t.book.move(WITHDRAWAL, kind="withdrawal")
        await t.relayed()
        await tell(t, without=unknown)
        assert await lines_of(t) == [(1, 1, 2_000, 2_000, "RECEIPT")]
        await tell(t, only=unknown)
        assert await t.unposted() == {}
        assert [line[2:4] for line in await lines_of(t)] == [(2_000, 2_000), (-1_000, 1_000), (-50, 950)]
        await t.proved()


async def test_a_trade_is_told_as_one_once_its_accounts_are_known(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/trading_funds", "cus:1/btc", "internal:trade/fee_income")
        await t.book.give("cus:1/trading_funds 300_000", kind="exchange_in")
        await t.book.move(TRADE, kind="trade", rate="10000000")
        await t.relayed()
        await tell(t, without=b'"btc"')
        before = await lines_of(t)
        await tell(t, only=b'"btc"')
        (trades,) = await t.database.fetch(None, "SELECT count(*) AS trades FROM books.crypto_trade")
        assert ([line[2] for line in before], trades["trades"]) == ([300_000], 1)
        assert "WITHDRAWAL" not in {line[4] for line in await lines_of(t)}


async def test_an_unknown_account_is_the_reason_before_any_other(database: Database) -> None:
    async with town(database, config(rules=rules_without("withdrawal"))) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 2_000 > cus:1/funds 2_000", kind="top_up")
        await t.book.move(WITHDRAWAL, kind="withdrawal")
        await t.relayed()
        await tell(t, without=b"fee_income")
        assert [each.split()[0] for each in (await t.unposted()).values()] == ["account_unknown"]
        await tell(t, only=b"fee_income")
        assert list((await t.unposted()).values()) == ["no_rule withdrawal"]
        assert len(await lines_of(t)) == 3


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", "2026-01-01"])
async def test_an_instant_that_a_caller_wrote_never_keeps_an_event_out(database: Database, written: str) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/trading_funds", "cus:1/btc")
        await t.book.give("cus:1/trading_funds 300_000", kind="exchange_in")
        await t.book.move(TRADE, kind="trade", rate="10000000", metadata={"ordered_at": written})
        await t.heard()
        (trade,) = await t.database.fetch(None, "SELECT ordered_at, executed_at FROM books.crypto_trade")
        assert trade["ordered_at"] == trade["executed_at"]
        assert [each.parked_count for each in t.subscriptions] == [0, 0]


async def test_what_a_trade_says_of_itself_is_written_without_what_no_text_may_have(database: Database) -> None:
    said = {"counterparty": "a\0b", "order_kind": "li\0mit", "limit_price": "1\0", "payment_id": "p\0"}
    async with town(database) as t:
        await t.book.open("cus:1/trading_funds", "cus:1/btc")
        await t.book.give("cus:1/trading_funds 300_000", kind="exchange_in")
        await t.book.move(TRADE, kind="trade", rate="10000000", metadata=said)
        await t.heard()
        (trade,) = await t.database.fetch(None, "SELECT counterparty, order_kind, limit_price FROM books.crypto_trade")
        assert tuple(trade) == ("ab", "LIMIT", "1")
        assert [each.parked_count for each in t.subscriptions] == [0, 0]


async def test_what_is_given_for_its_fee_alone_is_no_trade_and_is_booked(database: Database) -> None:
    async with town(database) as t:
        for customer in ("cus:1", "cus:2"):
            await t.book.open(f"{customer}/trading_funds", f"{customer}/btc")
            await t.book.give(f"{customer}/trading_funds 500", kind="exchange_in")
        await t.book.move("cus:2/trading_funds 1 > cus:2/btc 7", kind="trade", rate="1")
        free = "cus:1/trading_funds 500 + cus:2/btc 7 > cus:1/btc 7 + internal:trade/fee_income 500"
        await t.book.move(free, kind="trade")
        await t.heard()
        trades = await t.database.fetch(None, "SELECT owner FROM books.crypto_trade")
        assert [each["owner"] for each in trades] == ["cus:2"]
        assert [each.parked_count for each in t.subscriptions] == [0, 0]
        assert sorted(line[2] for line in await lines_of(t) if abs(line[2]) == 7) == [-7, 7, 7]


WRONG: dict[str, dict[str, Any]] = {
    "a posting that is too short": {"postings": [[1, "acc_1"]]},
    "an account that is a list": {"postings": [[1, [], "JPY", 1, 0, 1, 0, 1]]},
    "an amount that is a word": {"postings": [[1, "ACCOUNT", "JPY", "1", 0, 1, 0, 1]]},
    "an amount beyond every column": {"postings": [[1, "ACCOUNT", "JPY", 2**70, 0, 2**70, 0, 1]]},
    "an account that is no id": {"postings": [[1, "acc_nonsense", "JPY", 1, 0, 1, 0, 1]]},
    "a name that no text may have": {"reference": "a\0b", "postings": [[1, "ACCOUNT", "JPY", 1, 0, 1, 0, 1]]},
}


@pytest.mark.parametrize("what", WRONG)
async def test_an_event_that_cannot_be_written_stands_unposted_and_its_neighbours_are_booked(
    database: Database, what: str
) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        (row,) = await t.database.fetch(
            None, "SELECT account_id, owner FROM ledger.account WHERE owner = 'cus:1' AND account_type = 'funds'"
        )
        postings = [
            [f"acc_{row['account_id'].hex}" if cell == "ACCOUNT" else cell for cell in posting]
            for posting in WRONG[what]["postings"]
        ]
        event = {
            "exchange_id": f"exc_{1:032x}", "action": "created", "kind": "top_up", "state": "CAPTURED", "caller": "x",
            **WRONG[what], "postings": postings,
        }  # fmt: skip
        await _publish(t, "ledger.exchange", [event])
        await t.book.move("internal:bank_deposit/deposit 20 > cus:1/funds 20", kind="top_up")
        await _heard_at_last(t)
        assert len(await t.unposted()) == 1
        assert [each.parked_count for each in t.subscriptions] == [0, 0]
        assert await t.balances() == {"1210": 30, "2110": -30}
        assert sum(t.bookkeeper.standing.values()) == 1


async def test_an_account_that_cannot_be_read_stands_unposted(database: Database) -> None:
    async with town(database) as t:
        await _publish(t, "ledger.account", [{"account_id": "acc_none"}])
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        await _heard_at_last(t)
        (standing,) = (await t.unposted()).values()
        assert standing.startswith("unreadable ")
        assert [each.parked_count for each in t.subscriptions] == [0, 0]
        assert await t.balances() == {"1210": 10, "2110": -10}
        done = await t.bookkeeper.repost(list(await t.unposted()))
        assert (done.posted, len(done.standing)) == ([], 1)


async def _publish(t: Town, topic: str, events: list[dict[str, Any]]) -> None:
    await t.database.fetch(
        None,
        "INSERT INTO ledger.outbox (outbox_id, topic, event_count, payload, recorded_at)"
        " VALUES (gen_random_uuid(), $1, $2, $3, $4)",
        topic, len(events), json.dumps(events).encode(), t.clock.now() - timedelta(seconds=1),
    )  # fmt: skip


async def _heard_at_last(t: Town) -> None:
    """As a subscription does: what fails for now is tried again."""
    for _ in range(5):
        try:
            await t.heard()
        except Unavailable:
            continue
        else:
            return
    raise AssertionError("it is never heard")


async def test_reposting_goes_on_past_an_event_that_fails_in_writing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(database, config(rules=rules_without("top_up"))) as t:
        await t.book.open("cus:1/funds")
        for amount in range(1, 8):
            await t.book.move(f"internal:bank_deposit/deposit {amount} > cus:1/funds {amount}", kind="top_up")
        await t.heard()
        mended, whole = Bookkeeper(t.database, t.clock, config()), bookkeeping.journals.copy_journals

        async def no_fives(connection: Connection, decided: list[Any], entries: list[Any]) -> None:
            if any(entry.amount == 5 for entry in entries):
                raise OverflowError("five")
            await whole(connection, decided, entries)

        with monkeypatch.context() as patch:
            patch.setattr(bookkeeping.journals, "copy_journals", no_fives)
            done = await mended.repost(list(await t.unposted()))
        assert (len(done.posted), [each[1:] for each in done.standing]) == (6, [("unreadable", "OverflowError: five")])
        assert (await mended.repost(list(await t.unposted()))).standing == []
        await t.proved()


async def test_news_of_an_account_are_taken_though_what_waited_for_it_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 10 > cus:1/funds 10", kind="top_up")
        await t.relayed()
        await tell(t, without=b'"deposit"')
        whole = bookkeeping.journals.copy_journals

        async def none(connection: Connection, decided: list[Any], entries: list[Any]) -> None:
            if entries:
                raise OverflowError("ten")
            await whole(connection, decided, entries)

        with monkeypatch.context() as patch:
            patch.setattr(bookkeeping.journals, "copy_journals", none)
            with pytest.raises(Unavailable):
                await tell(t, only=b'"deposit"')
            await tell(t, only=b'"deposit"')
        assert [each.split()[0] for each in (await t.unposted()).values()] == ["account_unknown"]
        await t.bookkeeper.look_after_unknown(t.book.ledger)
        assert await t.unposted() == {}
        await t.proved()


# -- what closes, and what is cut -------------------------------------------------------------------------------------


async def park(t: Town, subscription: str) -> None:
    """An event of the present is parked, as one is whose handler failed for a reason of its own."""
    await t.database.fetch(
        None,
        "INSERT INTO books.parked_event (subscription, position, ordinal, source, topic, payload, error, attempts,"
        " parked_at, recorded_at) VALUES ($1, 9, 0, 'ledger', 'ledger.exchange', '{}', 'no', 1, $2, $2)",
        subscription, t.clock.now(),
    )  # fmt: skip


@pytest.mark.parametrize("subscription", ["books.ledger", "books.bank"])
async def test_no_month_closes_over_a_parked_event(database: Database, subscription: str) -> None:
    async with office(database, waits=True) as o:
        await o.topped_up(1_000)
        await park(o.town, subscription)
        o.town.clock.advance(days=40)
        await o.town.heard()
        with asked("close"), pytest.raises(Unavailable, match="put aside for an operator"):
            await o.close("2026-05")
        await o.town.database.fetch(None, "UPDATE books.parked_event SET resolved_at = $1", MAY_10)
        with asked("close again"):
            assert (await o.close("2026-05")).state is PeriodState.CLOSED


async def test_a_parked_event_of_a_later_month_closes_nothing_out(database: Database) -> None:
    async with office(database, waits=True) as o:
        await o.topped_up(1_000)
        o.town.clock.advance(days=40)
        await park(o.town, "books.ledger")
        await o.town.heard()
        with asked("close"):
            assert (await o.close("2026-05")).state is PeriodState.CLOSED


FRIDAY, SATURDAY = date(2026, 4, 3), date(2026, 4, 4)


async def test_no_day_is_cut_over_an_event_whose_lines_are_not_written(database: Database) -> None:
    async with world_of(database, at(FRIDAY)) as world:
        await world.give("cus:1/funds 100")
        await world.heard()
        account = f"acc_{7:032x}"
        await database.fetch(
            None,
            "INSERT INTO books.unposted_event (event_id, source, position, ordinal, topic, payload, subject,"
            " occurred_at, reason, detail, attempts, parked_at)"
            " VALUES ('ledger/99/0', 'ledger', 99, 0, 'ledger.exchange', '{}', '', $1, 'account_unknown', $2, 1, $1)",
            world.clock.now(), account,
        )  # fmt: skip
        world.go_to(SATURDAY, hour=1)
        with pytest.raises(Unavailable):
            await world.made(FRIDAY)
        await database.fetch(None, "UPDATE books.unposted_event SET reason = 'no_rule'")
        assert await unwritten_before(database, world.clock.now()) == 0
        assert (await world.made(FRIDAY)).books


async def test_an_instant_of_the_future_does_not_tell_that_the_feed_has_come_so_far(database: Database) -> None:
    async with world_of(database, at(FRIDAY)) as world:
        await world.give("cus:1/funds 100")
        now = world.clock.now()
        world.clock.advance(days=5)
        await world.give("cus:1/funds 7")
        world.clock.advance(seconds=(now - world.clock.now()).total_seconds())
        await world.heard()
        await world.give("cus:1/funds 50")  # of Friday, and not heard
        world.go_to(SATURDAY, hour=1)
        with pytest.raises(Unavailable):
            await world.made(FRIDAY)
        (row,) = await database.fetch(None, "SELECT seen_at FROM books.statutory_feed")
        assert row["seen_at"] == now


async def test_what_is_reposted_does_not_tell_how_far_the_feed_has_come(database: Database) -> None:
    async with world_of(database, at(FRIDAY)) as world:
        now = world.clock.now()
        world.clock.advance(days=1)
        await world.give("cus:1/funds 7")
        world.clock.advance(seconds=(now - world.clock.now()).total_seconds())
        await world.heard()
        (before,) = await database.fetch(None, "SELECT seen_at FROM books.statutory_feed")
        world.clock.advance(days=2)
        rows = await database.fetch(None, "SELECT event_id FROM books.unposted_event")
        done = await Bookkeeper(database, world.clock, config()).repost([row["event_id"] for row in rows])
        (after,) = await database.fetch(None, "SELECT seen_at FROM books.statutory_feed")
        assert (done.standing, after["seen_at"]) == ([], before["seen_at"])


# -- the bank -------------------------------------------------------------------------------------------------------


async def test_a_return_waits_for_a_transfer_that_stands_unposted(database: Database) -> None:
    rules = shipped_without_transfers()
    async with town(database, config(rules=rules)) as t:
        await told(t, instruction(InstructionKind.TRANSFER, InstructionState.DONE, 300, 1))
        t.bookkeeper.books = config()
        await told(t, instruction(InstructionKind.TRANSFER, InstructionState.RETURNED, 300, 1))
        assert [each.split()[0] for each in (await t.unposted()).values()] == ["no_rule", "original_unposted"]
        done, returned = sorted(await t.unposted())
        assert (await t.bookkeeper.repost([returned])).posted == []
        assert (await t.bookkeeper.repost([done])).standing == []
        assert await t.balances() == {"1110": -300, "1231": 300}
        assert (await t.bookkeeper.repost([returned])).standing == []
        assert await t.balances() == {}
        await t.proved()


async def test_both_ways_of_a_transfer_are_reposted_together_in_their_order(database: Database) -> None:
    async with town(database, config(rules=shipped_without_transfers())) as t:
        done, returned = (
            instruction(InstructionKind.TRANSFER, state, 300, 1)
            for state in (InstructionState.DONE, InstructionState.RETURNED)
        )
        await told(t, done)
        await told(t, returned)
        t.bookkeeper.books = config()
        result = await t.bookkeeper.repost(sorted(await t.unposted(), reverse=True))
        assert (len(result.posted), result.standing, await t.balances()) == (2, [], {})
        await t.proved()


async def test_a_transfer_that_is_told_after_its_return_is_not_booked_again(database: Database) -> None:
    async with town(database) as t:
        await told(t, instruction(InstructionKind.TRANSFER, InstructionState.RETURNED, 300, 1))
        await told(t, instruction(InstructionKind.TRANSFER, InstructionState.DONE, 300, 1))
        assert await t.balances() == {}
        assert await t.unposted() == {}
        await t.proved()


def shipped_without_transfers() -> str:
    """The platform's rules, less what the bank sends."""
    text = shipped("posting_rules.toml")
    line = '  transfer_out = { deposit = "1110", clearing = "1231" }\n'
    assert line in text
    return text.replace(line, "")


# -- reposting all of it ----------------------------------------------------------------------------------------------


async def test_everything_that_stands_is_tried_again_a_page_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kessai.services.books.service.accounting.REPOST_MAX", 2)
    async with office(database) as o:
        t = o.town
        t.bookkeeper.books = config(rules=rules_without("top_up"))
        await t.book.open("cus:1/funds")
        for amount, kind in ((1, "windfall"), (2, "windfall"), (3, "windfall"), (4, "top_up"), (5, "top_up")):
            await t.book.move(f"internal:bank_deposit/deposit {amount} > cus:1/funds {amount}", kind=kind)
        await t.heard()
        t.bookkeeper.books = config()
        pages = [await o.desk.repost(Repost())]
        while (cursor := pages[-1].next_cursor) is not None:
            pages.append(await o.desk.repost(Repost(cursor=cursor)))
        assert [(each.posted, len(each.standing)) for each in pages] == [(0, 2), (1, 1), (1, 0)]
        assert t.bookkeeper.standing == {"no_rule": 3}


async def test_what_stands_is_chosen_by_reason_and_detail(database: Database) -> None:
    async with office(database) as o:
        t = o.town
        await t.book.open("cus:1/funds")
        for kind in ("windfall", "luck"):
            await t.book.move("internal:bank_deposit/deposit 1 > cus:1/funds 1", kind=kind)
        await t.heard()
        done = await o.desk.repost(Repost(reason="no_rule", detail="luck"))
        assert [each.detail for each in done.standing] == ["luck"]
        assert (await o.desk.repost(Repost(reason="unbalanced"))).standing == []


async def test_what_stands_is_counted_without_reading_all_of_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")

        async def never(_: object) -> dict[str, int]:
            raise AssertionError

        monkeypatch.setattr(bookkeeping.unposted, "count_unposted", never)
        for kind in ("windfall", "luck", "windfall"):
            await t.book.move("internal:bank_deposit/deposit 1 > cus:1/funds 1", kind=kind)
            await t.heard()
        await t.bookkeeper.repost(list(await t.unposted()))
        assert t.bookkeeper.standing == {"no_rule": 3}
