"""Accounts: opened once, frozen either way, closed only when empty, their settings changed in the open."""

from __future__ import annotations

import pytest

from kessai.foundation.errors import PaymentError, Refused
from kessai.services.ledger import api
from kessai.services.ledger.api import Freeze, account_id_of

from .book import Another, Book, FakeClock, account_id


async def test_account_id_is_derived_from_owner_and_type(book: Book) -> None:
    opened = await book.open("cus:1/funds")
    assert opened.account_id == account_id_of("cus:1", "funds")
    assert opened.account_id != account_id_of("cus:1", "sales")
    assert (opened.owner, opened.account_type, opened.asset) == ("cus:1", "funds", "JPY")
    assert opened.opened_at == book.clock.now()


async def test_opening_again_gives_the_same_account_with_its_balance(book: Book) -> None:
    await book.open("cus:1/funds", metadata={"first": "yes"})
    await book.give("cus:1/funds 700")
    again = await book.open("cus:1/funds", metadata={"second": "yes"})
    assert (again.balance_minor, again.metadata) == (700, {"first": "yes"})


async def test_owners_accounts_are_listed_in_order_of_their_type(book: Book) -> None:
    await book.open("cus:1/sales", "cus:1/funds", "cus:2/funds", "cus:1/credit")
    listed = (await book.ledger.list_accounts(api.ListAccounts(owner="cus:1"))).accounts
    assert [each.account_type for each in listed] == ["credit", "funds", "sales"]


async def test_points_account_opens_itself_with_its_first_credit(book: Book) -> None:
    await book.give("cus:1/free_points 100")
    await book.shows("cus:1/free_points", balance=100, available=100)


async def test_frozen_out_stops_debits_and_lets_credits_in(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.freeze("cus:1/funds", Freeze.OUT)
    await book.give("cus:1/funds 100")
    with pytest.raises(Refused) as refusal:
        await book.move("cus:1/funds 1 > mer:1/unsettled_sales 1")
    assert refusal.value.code == "account_frozen"
    await book.shows("cus:1/funds", balance=100, freeze=Freeze.OUT)


async def test_frozen_in_stops_credits_and_lets_debits_out(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.freeze("cus:1/funds", Freeze.IN)
    await book.move("cus:1/funds 1 > mer:1/unsettled_sales 1")
    with pytest.raises(Refused) as refusal:
        await book.give("cus:1/funds 1")
    assert refusal.value.code == "account_frozen"
    await book.shows("cus:1/funds", balance=99)


async def test_thawed_account_moves_again(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.freeze("cus:1/funds", Freeze.BOTH)
    await book.freeze("cus:1/funds", Freeze.NONE)
    await book.give("cus:1/funds 100")
    await book.shows("cus:1/funds", balance=100, freeze=Freeze.NONE)


@pytest.mark.parametrize("freeze", [Freeze.IN, Freeze.BOTH])
async def test_returning_value_lands_on_a_frozen_account(book: Book, freeze: Freeze) -> None:
    await book.open("cus:1/funds")
    await book.freeze("cus:1/funds", freeze)
    await book.give("cus:1/funds 100 returning")
    await book.shows("cus:1/funds", balance=100)


async def test_returning_value_lands_above_the_retention_cap(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000000")
    await book.give("cus:1/funds 5 returning")
    await book.shows("cus:1/funds", balance=1_000_005)


async def test_refund_lands_on_an_account_that_was_filled_and_frozen_since(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000000")
    await book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    await book.give("cus:1/funds 300")
    await book.freeze("cus:1/funds", Freeze.BOTH)
    await book.reverse("order")
    await book.shows("cus:1/funds", balance=1_000_300)


async def test_account_is_closed_at_zero_and_stays_closed(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 10")
    await book.move("cus:1/funds 10 > mer:1/unsettled_sales 10")
    closed = await book.close("cus:1/funds")
    assert closed.closed
    await book.shows("cus:1/funds", closed=True, balance=0)


async def test_account_that_a_hold_may_still_pay_into_is_not_closed(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 100")
    await book.hold("cus:1/funds 100 > cus:2/funds 100", name="gift")
    with pytest.raises(Refused) as refusal:
        await book.close("cus:2/funds")
    assert refusal.value.code == "account_not_empty"
    await book.void("gift")
    await book.shows("cus:1/funds", balance=100, held=0)
    await book.close("cus:2/funds")


async def test_metadata_is_replaced_and_the_rest_stays(book: Book) -> None:
    await book.open("cus:1/credit", limit=1_000, metadata={"a": "1", "b": "2"})
    changed = await book.update("cus:1/credit", metadata={"c": "3"})
    assert (changed.metadata, changed.overdraft_limit_minor) == ({"c": "3"}, 1_000)


async def test_raised_overdraft_is_available_at_once(book: Book) -> None:
    await book.open("cus:1/credit", limit=100)
    await book.update("cus:1/credit", overdraft_limit_minor=500)
    await book.shows("cus:1/credit", available=500)
    await book.move("cus:1/credit 500 > mer:1/unsettled_sales 500")
    await book.shows("cus:1/credit", balance=-500, available=0)


async def test_overdraft_lowered_below_the_debt_is_refused_in_the_doors_words(book: Book) -> None:
    await book.open("cus:1/credit", limit=500)
    await book.move("cus:1/credit 300 > mer:1/unsettled_sales 300")
    with pytest.raises(PaymentError) as refusal:
        await book.update("cus:1/credit", overdraft_limit_minor=200)
    assert refusal.value.code == "overdraft_not_allowed"
    await book.shows("cus:1/credit", balance=-300, overdraft_limit=500)


async def test_an_account_that_may_be_overdrawn_is_opened_by_a_debit_with_its_types_limit(book: Book) -> None:
    await book.move("mer:1/settled_claims 300 > mer:1/unsettled_sales 300")
    await book.shows("mer:1/settled_claims", balance=-300, available=9_999_999_700, overdraft_limit=10_000_000_000)
    with pytest.raises(Refused, match="insufficient_funds"):
        await book.move("mer:2/settled_claims 10_000_000_001 > mer:2/unsettled_sales 10_000_000_001")
    with pytest.raises(PaymentError, match="account_not_found"):
        await book.account("mer:2/settled_claims")


async def test_what_is_owed_is_credited_up_to_zero_and_no_further(book: Book) -> None:
    await book.move("mer:1/settled_claims 300 > mer:1/unsettled_sales 300")
    with pytest.raises(Refused, match="retention_cap_exceeded"):
        await book.move("mer:1/unsettled_sales 301 > mer:1/settled_claims 301")
    await book.move("mer:1/unsettled_sales 300 > mer:1/settled_claims 300")
    await book.shows("mer:1/settled_claims", balance=0)


async def test_every_entry_and_every_change_of_settings_raises_the_version(book: Book) -> None:
    versions = [(await book.open("cus:1/funds")).version]
    await book.give("cus:1/funds 10")
    versions.append((await book.account("cus:1/funds")).version)
    versions.append((await book.freeze("cus:1/funds", Freeze.IN)).version)
    versions.append((await book.update("cus:1/funds", metadata={"a": "b"})).version)
    await book.hold("cus:1/funds 1 > mer:1/unsettled_sales 1")
    versions.append((await book.account("cus:1/funds")).version)
    assert versions == sorted(set(versions))


async def test_change_is_seen_by_another_process_that_knew_the_account(book: Book, another: Another) -> None:
    other = await another()
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 10")
    await other.give("cus:1/funds 10")
    await book.freeze("cus:1/funds", Freeze.OUT)
    with pytest.raises(Refused) as refusal:
        await other.move("cus:1/funds 1 > mer:1/unsettled_sales 1")
    assert refusal.value.code == "account_frozen"
    await book.freeze("cus:1/funds", Freeze.NONE)
    await other.move("cus:1/funds 20 > mer:1/unsettled_sales 20")
    await book.shows("cus:1/funds", balance=0)


async def test_refusal_is_never_told_from_stale_memory(book: Book, another: Another) -> None:
    other = await another()
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 10")
    await other.move("cus:1/funds 10 > mer:1/unsettled_sales 10")
    await book.give("cus:1/funds 50")
    await other.move("cus:1/funds 50 > mer:1/unsettled_sales 50")
    await book.shows("cus:1/funds", balance=0)


async def test_log_only_account_shows_the_sum_of_its_logs(book: Book, clock: FakeClock) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    for _ in range(3):
        await book.move("cus:1/funds 10 > mer:1/unsettled_sales 10")
    clock.advance(seconds=1)
    await book.shows("mer:1/unsettled_sales", balance=30, version=0, log_only=True)
    await book.shows("bank/deposit", balance=-100)
    assert account_id("mer:1/unsettled_sales") == account_id_of("mer:1", "unsettled_sales")


async def test_accounts_that_returns_lifted_above_their_cap_are_listed(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds", "cus:3/funds")
    await book.give("cus:1/funds 1000000")
    await book.give("cus:2/funds 1000000")
    await book.give("cus:3/funds 5")
    await book.give("cus:2/funds 1 returning")
    listed = (await book.ledger.list_over_cap(api.ListOverCap())).accounts
    assert [(each.account_id, each.balance_minor) for each in listed] == [(account_id("cus:2/funds"), 1_000_001)]
