"""Queries: logs by page, snapshots as of any instant, totals, export."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from kessai.apps.verify import verify
from kessai.foundation.clock import TOKYO
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, Refused, Unavailable
from kessai.services.ledger import api

from .book import FIRST_INSTANT, Another, Book, FakeClock, account_id

T = TypeVar("T")


async def test_log_tells_every_entry_with_the_balance_after_it(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000")
    await book.hold("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    await book.capture("order", 100)
    logs = await book.logs("cus:1/funds")
    assert [(log.amount_minor, log.held_change_minor, log.balance_minor, log.held_minor) for log in logs] == [
        (-100, -300, 900, 0),
        (0, 300, 1_000, 300),
        (1_000, 0, 1_000, 0),
    ]
    assert [log.sequence for log in logs] == sorted({log.sequence for log in logs}, reverse=True)


@pytest.mark.parametrize("account", ["cus:1/sales", "mer:1/unsettled_sales", "bank/deposit"])
async def test_pages_give_each_entry_once_newest_first(book: Book, account: str) -> None:
    for n in range(1, 24):
        await book.give(f"cus:1/sales {n}")
        await book.move(f"cus:1/sales {n} > mer:1/unsettled_sales {n}")
        book.clock.advance(seconds=1)
    whole = await book.logs(account)
    assert [log.recorded_at for log in whole] == sorted((log.recorded_at for log in whole), reverse=True)
    for page in (1, 5, 23, 24, 46):
        assert await book.logs(account, page=page) == whole


async def test_log_only_entries_have_no_running_balance(book: Book) -> None:
    await book.give("cus:1/sales 5")
    (log,) = await book.logs("bank/deposit")
    assert (log.amount_minor, log.balance_minor, log.held_minor) == (-5, None, None)


CURSORS = (
    "1", "1,2", "1,2,3", "9223372036854775807,9223372036854775807", "4611686018427387905,1", "1,-1", "1e9,2",
    "-9223372036854775807,-9223372036854775807", "99999999999999999999,1", ",", "٣,٤",
)  # fmt: skip


async def test_any_cursor_gives_a_page_or_bad_cursor(book: Book) -> None:
    await book.give("cus:1/free_points 10")
    await book.move("cus:1/free_points 5 > mer:1/unsettled_sales 5")
    encoded = [base64.urlsafe_b64encode(text.encode()).decode() for text in CURSORS]
    for account in ("cus:1/free_points", "mer:1/unsettled_sales"):
        for cursor in ("", "AAAA", "🙂", "-1", *encoded):
            assert await _code_of(book.ledger.list_account_logs(_logs_from(account, cursor))) in {"", "bad_cursor"}
            assert await _code_of(book.ledger.list_lots(_lots_from(account, cursor))) in {"", "bad_cursor"}


def _logs_from(account: str, cursor: str) -> api.ListAccountLogs:
    return api.ListAccountLogs(account_id=account_id(account), cursor=cursor)


def _lots_from(account: str, cursor: str) -> api.ListLots:
    return api.ListLots(account_id=account_id(account), cursor=cursor)


async def _code_of(question: Awaitable[object]) -> str:
    try:
        await question
    except Invalid as refusal:
        return refusal.code
    return ""


# -- snapshots --------------------------------------------------------------------------------------------------


async def told(book: Book, account: str) -> api.Snapshot:
    """What the ledger tells of an account now, in the shape of a snapshot."""
    now = await book.account(account)
    return api.Snapshot(
        account_id=now.account_id, as_of=book.clock.now(), balance_minor=now.balance_minor, held_minor=now.held_minor,
        lots=await book.lots(account),
    )  # fmt: skip


async def test_snapshot_of_any_past_instant_is_what_was_told_then(book: Book) -> None:
    accounts = ("cus:1/free_points", "mer:1/unsettled_sales", "cus:1/credit")
    steps = [
        lambda: book.open("cus:1/credit", "cus:1/free_points", "mer:1/unsettled_sales"),
        lambda: book.give("cus:1/free_points 100 expires=20d"),
        lambda: book.give("cus:1/free_points 70 expires=3d"),
        lambda: book.move("cus:1/free_points 80 > mer:1/unsettled_sales 80", name="first"),
        lambda: book.hold("cus:1/free_points 30 + cus:1/credit 50 > mer:1/unsettled_sales 80", name="order"),
        lambda: book.reverse("first", 40),
        lambda: book.capture("order", 60, final=False),
        lambda: book.void("order"),
        lambda: book.run("expire_lots"),
        lambda: book.reverse("order"),
        lambda: book.run("roll_up"),
    ]
    seen: list[api.Snapshot] = []
    for step in steps:
        await step()
        book.clock.advance(minutes=1)
        seen += [await told(book, account) for account in accounts]
        book.clock.advance(days=1)
    accounts_by_id = {account_id(account): account for account in accounts}
    for then in seen:
        assert await book.snapshot(accounts_by_id[then.account_id], then.as_of) == then


async def test_snapshot_of_now_is_the_account(book: Book) -> None:
    await book.give("cus:1/free_points 10")
    await book.hold("cus:1/free_points 3 > mer:1/unsettled_sales 3")
    now = await book.snapshot("cus:1/free_points")
    assert (now.balance_minor, now.held_minor, now.lots) == (10, 3, await book.lots("cus:1/free_points"))


@pytest.mark.parametrize("before", [timedelta(seconds=1), timedelta(days=400)])
async def test_snapshot_from_before_the_account_was_there_is_empty(book: Book, before: timedelta) -> None:
    await book.give("cus:1/free_points 10")
    for account in ("cus:1/free_points", "bank/deposit"):
        then = await book.snapshot(account, book.clock.now() - before)
        assert (then.balance_minor, then.held_minor, then.lots) == (0, 0, [])


@pytest.mark.parametrize("at", [datetime.min, datetime(1900, 1, 1), datetime(1970, 1, 1)])  # noqa: DTZ001, DTZ901
async def test_snapshot_of_ancient_times_is_empty(book: Book, at: datetime) -> None:
    await book.give("cus:1/free_points 10")
    then = await book.snapshot("cus:1/free_points", at.replace(tzinfo=UTC))
    assert (then.balance_minor, then.lots) == (0, [])


async def test_snapshot_in_another_time_zone_is_the_same_instant(book: Book) -> None:
    await book.give("cus:1/free_points 10")
    at = book.clock.advance(hours=1)
    book.clock.advance(hours=1)
    assert (await book.snapshot("cus:1/free_points", at.astimezone(TOKYO))).balance_minor == 10


async def _stable(question: Callable[[], Awaitable[T]]) -> T:
    """Its answer, asked again while writes up to that instant may still be under way."""
    for _ in range(100):
        try:
            return await question()
        except Unavailable as unstable:
            codes = (unstable.code, unstable.retryable)
        assert codes == ("snapshot_not_stable", True)
        await asyncio.sleep(0.1)
    raise AssertionError("the snapshot never became stable")


async def test_snapshot_sees_what_another_process_wrote(book: Book, another: Another) -> None:
    other = await another()
    await book.give("cus:1/free_points 10")
    await other.give("cus:1/free_points 20")
    at = book.clock.advance(seconds=1)
    book.clock.advance(seconds=1)
    then = await _stable(lambda: book.snapshot("cus:1/free_points", at))
    assert then.balance_minor == 30


# -- totals and export --------------------------------------------------------------------------------------------


async def _business(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds", "cus:1/credit", "cus:1/trading_funds", "cus:1/btc")
    await book.give("cus:1/funds 1000")
    await book.give("cus:2/funds 10")
    await book.give("cus:1/free_points 50")
    await book.move("cus:1/funds 300 + cus:1/credit 200 > mer:1/unsettled_sales 470 + kessai/fee_income 30")
    await book.hold("cus:1/funds 100 > mer:1/unsettled_sales 100")
    await book.give("cus:1/trading_funds 5000")
    await book.move("cus:1/trading_funds 1000 > cus:1/btc 10000", rate="10000000")


async def test_totals_as_of_an_instant_are_what_they_were_then(book: Book) -> None:
    await _business(book)
    at = book.clock.advance(seconds=1)  # each flush came a microsecond after the one before
    then = (await book.ledger.list_type_totals(api.ListTypeTotals())).totals
    book.clock.advance(seconds=5)
    await book.give("cus:1/funds 77")
    await book.hold("cus:2/funds 3 > mer:1/unsettled_sales 3")
    assert (await book.ledger.list_type_totals(api.ListTypeTotals())).totals != then
    for _ in range(2):
        told = await _stable(lambda: book.ledger.list_type_totals(api.ListTypeTotals(as_of=at)))
        assert told.totals == then
        await book.run("roll_up")


async def test_totals_as_of_a_time_to_come_are_refused(book: Book) -> None:
    with pytest.raises(Invalid) as refusal:
        await book.ledger.list_type_totals(api.ListTypeTotals(as_of=book.clock.now() + timedelta(seconds=1)))
    assert refusal.value.code == "as_of_in_future"


async def test_totals_add_up_to_zero_per_asset(book: Book) -> None:
    await _business(book)
    for _ in range(2):
        totals = (await book.ledger.list_type_totals(api.ListTypeTotals())).totals
        sums: dict[str, int] = {}
        for each in totals:
            sums[each.asset] = sums.get(each.asset, 0) + each.balance_minor
        assert sums == {"JPY": 0, "BTC": 0}
        funds = next(each for each in totals if each.account_type == "funds")
        assert (funds.accounts, funds.balance_minor, funds.held_minor) == (2, 710, 100)
        assert [each.account_type for each in totals] == sorted(each.account_type for each in totals)
        await book.run("roll_up")


async def test_rolling_up_changes_nothing_that_is_told(book: Book) -> None:
    await _business(book)
    book.clock.advance(seconds=1)
    before = [await book.balance(account) for account in ("mer:1/unsettled_sales", "bank/deposit")]
    await book.run("roll_up", "roll_up")
    await book.move("cus:1/funds 5 > mer:1/unsettled_sales 5")
    await book.run("roll_up")
    after = [await book.balance(account) for account in ("mer:1/unsettled_sales", "bank/deposit")]
    assert after == [before[0] + 5, before[1]]


MOST = 10**16
MANY = 1_000


async def _overflow(book: Book) -> None:
    """A thousand customers are given all that one exchange may move: the bank's own side passes 64 bits."""
    requests = [book.request(f"bank/deposit {MOST} > cus:{n}/sales {MOST}") for n in range(MANY)]
    assert await book.batch(*requests) == ["done"] * MANY


TOO_LARGE: dict[str, Callable[[Book], Awaitable[object]]] = {
    "account": lambda b: b.account("bank/deposit"),
    "accounts of its owner": lambda b: b.ledger.list_accounts(api.ListAccounts(owner="bank")),
    "snapshot of now": lambda b: b.snapshot("bank/deposit"),
    "snapshot of an instant": lambda b: _stable(lambda: b.snapshot("bank/deposit", FIRST_INSTANT + timedelta(hours=1))),
    "totals": lambda b: b.totals(),
}


async def test_sum_beyond_64_bits_is_refused_where_it_cannot_be_told(book: Book) -> None:
    await _overflow(book)
    book.clock.advance(days=1)
    for _ in range(2):
        for question in TOO_LARGE.values():
            with pytest.raises(Refused) as refusal:
                await question(book)
            assert (refusal.value.code, refusal.value.retryable) == ("balance_overflow", False)
        assert len(await book.logs("bank/deposit")) == MANY
        assert await book.balance("cus:7/sales") == MOST
        await book.run("roll_up")


async def test_sum_that_comes_back_within_64_bits_is_told_exactly(book: Book, database: Database) -> None:
    await _overflow(book)
    book.clock.advance(seconds=1)
    await book.run("roll_up")
    ((subtotal,),) = await database.fetch(None, "SELECT balance FROM ledger.hot_subtotal WHERE balance <> 0")
    assert subtotal == -MOST * MANY
    back = [
        book.request(f"cus:{n}/sales {MOST} > bank/deposit {MOST - 1} + kessai/fee_income 1") for n in range(MANY - 3)
    ]
    assert set(await book.batch(*back)) == {"done"}
    for _ in range(2):
        assert await book.balance("bank/deposit") == -3 * MOST - (MANY - 3)
        assert (await book.totals())["deposit"] == -3 * MOST - (MANY - 3)
        book.clock.advance(seconds=1)
        await book.run("roll_up")
    assert await verify(database.dsn) == []


async def test_export_gives_every_log_of_every_account_once(book: Book) -> None:
    await _business(book)
    exported = [log async for log in book.export()]
    keys = [(log.account_id, log.sequence, log.exchange_id, log.amount_minor) for log in exported]
    assert len(keys) == len(set(keys))
    for account in ("cus:1/funds", "cus:1/btc", "mer:1/unsettled_sales", "bank/deposit"):
        mine = [log for log in exported if log.account_id == account_id(account)]
        assert sorted(mine, key=repr) == sorted(await book.logs(account), key=repr)


async def test_export_since_an_instant_leaves_out_what_was_before(book: Book, clock: FakeClock) -> None:
    await book.give("cus:1/sales 1")
    since = clock.advance(hours=1)
    await book.give("cus:1/sales 2")
    amounts = {log.amount_minor for log in [log async for log in book.export(since)]}
    assert amounts == {2, -2}


@pytest.mark.parametrize("since", [datetime.min, datetime.max])  # noqa: DTZ901
async def test_export_since_any_instant_is_answered(book: Book, since: datetime) -> None:
    await book.give("cus:1/sales 1")
    logs = [log async for log in book.export(since.replace(tzinfo=UTC))]
    assert len(logs) == (2 if since.year == 1 else 0)


async def test_account_types_are_told(book: Book) -> None:
    types = {each.account_type: each for each in (await book.ledger.list_account_types(api.ListAccountTypes())).types}
    assert types["funds"].retention_cap_minor == 1_000_000
    assert not types["funds"].auto_create
    assert (types["free_points"].auto_create, types["free_points"].expires_after_days) == (True, 180)
    assert (types["btc"].asset, types["btc"].rate_tracked) == ("BTC", True)
    assert all(types[hot].log_only for hot in ("unsettled_sales", "deposit", "fee_income", "point_cost"))
    assert not any(types[checked].log_only for checked in ("settled_sales", "settled_claims", "funds", "credit"))


async def test_hold_until_the_end_of_time_is_refused(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 10")
    for at in (datetime.max, datetime(9999, 1, 1)):  # noqa: DTZ001, DTZ901
        hold = book.hold("cus:1/funds 1 > mer:1/unsettled_sales 1", expires_at=at.replace(tzinfo=UTC))
        assert await _code_of(hold) == "expires_too_far"
    await book.shows("cus:1/funds", balance=10, held=0)


async def test_snapshot_of_now_is_of_one_instant_while_payments_go_on(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 100_000")
    looking = True

    async def pay() -> None:
        while looking:
            await book.move("cus:1/funds 10 > cus:2/funds 10")
            await book.move("cus:2/funds 10 > cus:1/funds 10")

    payers = [asyncio.create_task(pay()) for _ in range(4)]
    try:
        for _ in range(100):
            seen = await asyncio.gather(*(book.snapshot("cus:1/funds") for _ in range(4)))
            torn = [each for each in seen if sum(lot.remaining_minor for lot in each.lots) != each.balance_minor]
            assert torn == []
    finally:
        looking = False
        await asyncio.gather(*payers)


async def test_export_while_payments_go_on_adds_up(
    book: Book, another: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kessai.services.ledger.service.reader.EXPORT_PAGE", 3)
    other = await another()
    accounts = [f"cus:{number}/funds" for number in range(8)]
    await book.open(*accounts)
    for account in accounts:
        await book.give(f"{account} 1000")
    at = book.clock.advance(seconds=1)
    book.clock.advance(seconds=1)
    assert (await _stable(lambda: book.snapshot(accounts[-1], at))).balance_minor == 1_000
    sums: dict[str, int] = {}
    number = 0
    async for log in book.export():
        sums[log.exchange_id] = sums.get(log.exchange_id, 0) + log.amount_minor
        number += 1
        if number % 3 == 0:
            payer, payee = accounts[number % 8], accounts[(number + 5) % 8]
            await (book, other)[number % 2].move(f"{payer} 1 > {payee} 1")
    assert number >= len(accounts)
    assert set(sums.values()) == {0}


async def test_available_leaves_out_expired_value_however_many_lots_there_are(book: Book) -> None:
    for days in (1, 2, 2, 30):
        await book.give(f"cus:1/free_points 100 expires={days}d")
    await book.hold("cus:1/free_points 50 > bank/point_cost 50")
    book.clock.advance(days=3)
    await book.shows("cus:1/free_points", balance=400, held=50, available=100)
    (listed,) = (await book.ledger.list_accounts(api.ListAccounts(owner="cus:1"))).accounts
    assert listed.available_minor == 100


async def test_snapshot_of_a_log_only_account_may_be_of_before_its_subtotal(book: Book) -> None:
    await book.open("cus:1/sales")
    for _ in range(3):
        await book.give("cus:1/sales 100")
        book.clock.advance(days=1)
    await book.run("roll_up")
    await book.give("cus:1/sales 100")
    for days, balance in ((1, -100), (2, -200), (3, -300)):
        at = FIRST_INSTANT + timedelta(days=days) - timedelta(seconds=1)
        assert (await _stable(lambda at=at: book.snapshot("bank/deposit", at))).balance_minor == balance
    assert (await book.snapshot("bank/deposit")).balance_minor == -400
