"""Tax of what is given back in parts: in the end all of it, however many the parts are and however they are told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.foundation.db import Database
from kessai.services.books.domain.given_back import Legs, Taxed, give_back
from kessai.services.books.domain.rules import TaxCode
from tests.books.test_rules import shipped
from tests.books.town import Town, config, town

CODES = [
    TaxCode(name_ja="税", direction="output", rate_bps=rate, account="2310", rounding=rounding, code="out")
    for rate in (1, 800, 1_000, 9_999)
    for rounding in ("down", "half_up")
]


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(CODES), st.lists(st.integers(1, 200), min_size=1, max_size=20), st.booleans())
def test_what_is_given_back_whole_has_no_tax_left_and_each_part_no_more_than_itself(
    code: TaxCode, parts: list[int], credit: bool
) -> None:
    sign = -1 if credit else 1
    gross = sign * sum(parts)
    leg = Taxed(gross=gross, tax=code.included_in(gross))
    for part in parts:
        tax = leg.give_back(-sign * part, code)
        assert 0 <= -sign * tax <= part
    assert (leg.back, leg.tax_back) == (-gross, -leg.tax)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(CODES), st.lists(st.integers(-50, 50), max_size=20), st.integers(1, 500))
def test_the_tax_that_was_given_back_depends_only_on_how_much_is_back(
    code: TaxCode, steps: list[int], gross: int
) -> None:
    leg, back = Taxed(gross=-gross, tax=code.included_in(-gross)), 0
    for step in steps:
        if 0 <= back + step <= gross:
            back += step
            leg.give_back(step, code)
    assert leg.tax_back == (-leg.tax if back == gross else code.included_in(back))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(CODES), st.lists(st.integers(1, 60), min_size=2, max_size=6))
def test_a_leg_of_several_postings_gives_all_their_taxes_back(code: TaxCode, postings: list[int]) -> None:
    leg = Taxed(gross=sum(postings), tax=sum(code.included_in(each) for each in postings))
    for each in reversed(postings):
        leg.give_back(-each, code)
    assert leg.tax_back == -leg.tax


async def test_fees_are_taxed_or_exempt_as_their_kind_is(database: Database) -> None:
    async with town(database) as t:
        await t.book.move("mer:1/unsettled_sales 1_100 > internal:merchant_fee/fee_income 1_100", kind="merchant_fee")
        exempt = "mer:1/unsettled_sales 1_100 > internal:merchant_fee_exempt/fee_income 1_100"
        await t.book.move(exempt, name="exempt", kind="merchant_fee_exempt")
        await t.book.move("mer:1/unsettled_sales 330 > mer:1/settled_sales 330", kind="clearing")
        transfer = "mer:1/settled_sales 330 > internal:transfer_fee/fee_income 330"
        await t.book.move(transfer, name="transfer", kind="transfer_fee")
        await t.heard()
        fees = {"4110": -1_000, "4130": -300, "4140": -1_100, "2310": -130}
        assert await t.balances() == {"2210": 2_530, **fees}
        for name, part in (("exempt", 1_100), ("transfer", 330)):
            await t.book.reverse(name, part, kind="refund")
        await t.heard()
        assert await t.balances() == {"2210": 1_430, "2220": -330, "4110": -1_000, "2310": -100}
        await t.proved()


async def test_what_a_merchant_owes_is_an_asset_until_it_is_set_off_or_repaid(database: Database) -> None:
    async with town(database) as t:
        await t.book.move("mer:1/settled_claims 2_000 > mer:1/unsettled_sales 2_000", kind="shortfall")
        await t.heard()
        assert await t.balances() == {"1320": 2_000, "2210": -2_000}
        await t.book.move("mer:1/unsettled_sales 2_000 > mer:1/settled_sales 2_000", kind="clearing")
        await t.book.move("mer:1/settled_sales 1_200 > mer:1/settled_claims 1_200", kind="claim_offset")
        repaid = "internal:bank_deposit/deposit 500 > mer:1/settled_claims 500"
        await t.book.move(repaid, kind="claim_repayment")
        await t.book.move("internal:bank/bank_in_transit 300 > mer:1/settled_claims 300", kind="claim_repayment")
        await t.heard()
        assert await t.balances() == {"1210": 500, "1230": 300, "2220": -800}
        await t.proved()


WITHDRAWAL = "cus:1/funds 1_032 > internal:bank/bank_in_transit 1_000 + internal:withdrawal_fee/fee_income 32"


async def begun(t: Town) -> None:
    """A withdrawal with a fee of 32, of which the tax is 2."""
    await t.book.open("cus:1/funds")
    await t.book.move("internal:bank_deposit/deposit 5_000 > cus:1/funds 5_000", kind="top_up")
    await t.book.move(WITHDRAWAL, name="out", kind="withdrawal")


@pytest.mark.parametrize("heard", [True, False], ids=["one by one", "in one batch"])
async def test_a_fee_that_is_given_back_in_parts_leaves_no_tax(database: Database, *, heard: bool) -> None:
    async with town(database) as t:
        await begun(t)
        for _ in range(4):
            await t.book.reverse("out", 258, kind="refund")
            if heard:
                await t.heard()
        await t.heard()
        assert await t.balances() == {"1210": 5_000, "2110": -5_000}
        await t.proved()


async def test_what_is_taken_back_of_a_refund_takes_its_tax_along(database: Database) -> None:
    async with town(database) as t:
        await begun(t)
        await t.heard()
        before = await t.balances()
        await t.book.reverse("out", 258, reversal="first", kind="refund")
        await t.book.reverse("out", 258, reversal="second", kind="refund")
        await t.heard()
        await t.book.reverse("first", 100, kind="reversal")
        await t.book.reverse("second", 258, kind="reversal")
        await t.book.reverse("first", 158, kind="reversal")
        await t.heard()
        assert await t.balances() == before
        origins = await t.database.fetch(None, "SELECT DISTINCT origin FROM books.journal WHERE action = 'reversed'")
        assert len(origins) == 1
        await t.proved()


async def test_parts_that_stood_unposted_give_back_what_is_left_of_the_tax(database: Database) -> None:
    from kessai.services.books.service.bookkeeping import Bookkeeper
    from tests.books.test_posting import rules_without

    async with town(database, config(rules=rules_without("withdrawal"))) as t:
        await begun(t)
        for _ in range(4):
            await t.book.reverse("out", 258, kind="refund")
        await t.heard()
        mended = Bookkeeper(t.database, t.clock, config())
        standing = sorted(await t.unposted())
        await mended.repost([each for each in standing if each.endswith("/0")])
        while standing := list(await t.unposted()):
            assert (await mended.repost(standing[-1:] + standing[:1])).posted
        assert await t.balances() == {"1210": 5_000, "2110": -5_000}
        await t.proved()


def rate_changes_on(day: str, leg: str) -> str:
    """The platform's rules, with a second version that taxes what withdrawals cost otherwise."""
    first = shipped("posting_rules.toml")
    second = first[first.index("[[version]]") :].replace("number = 1", "number = 2").replace("2020-01-01", day)
    code = """  [version.tax.out20]
  name_ja = "課税売上 20%"
  direction = "output"
  rate_bps = 2_000
  account = "2310"

  [version.legs]
"""
    second = second.replace("  [version.legs]\n", code, 1)
    old = 'fee_income = { account = "4190", tax = "out10",'
    assert old in second
    return first + "\n" + second.replace(old, f'fee_income = {{ account = "4190",{leg}')


@pytest.mark.parametrize("leg", [' tax = "out20",', ""], ids=["another rate", "no tax any more"])
async def test_what_was_sold_before_a_change_of_the_rate_is_given_back_at_its_own(database: Database, leg: str) -> None:
    async with town(database, config(rules=rate_changes_on("2026-04-02", leg))) as t:
        await begun(t)
        await t.heard()
        t.clock.advance(days=2)
        await t.book.move(WITHDRAWAL, name="dearer", kind="withdrawal")
        for _ in range(4):
            await t.book.reverse("out", 258, kind="refund")
        await t.heard()
        back = await t.database.fetch(
            None,
            "SELECT DISTINCT e.tax_code FROM books.entry AS e JOIN books.journal AS j USING (journal_id)"
            " WHERE j.action = 'reversed' AND e.account_type = 'fee_income'",
        )
        assert [row["tax_code"] for row in back] == ["out10"]
        tax = {' tax = "out20",': 5, "": 0}[leg]
        standing = {"1210": 5_000, "1230": -1_000, "2110": -3_968, "2310": -tax, "4120": tax - 32}
        assert await t.balances() == {name: amount for name, amount in standing.items() if amount}
        await t.proved()


def test_parts_of_several_rates_are_given_back_one_after_the_other_and_taken_again() -> None:
    codes = {
        name: TaxCode(name_ja="税", direction="output", rate_bps=rate, account="2310", code=name)
        for name, rate in (("a", 1_000), ("b", 2_000))
    }
    place = ("fee_income", "internal:fee", "JPY")
    legs: Legs = {(*place, "a"): Taxed(gross=-110, tax=-10), (*place, "b"): Taxed(gross=-120, tax=-20)}

    def moved(amount: int) -> list[tuple[str, int, int]]:
        return [(each.code.code, each.amount, each.tax) for each in give_back(legs, place, amount, codes)]

    assert moved(55) == [("a", 55, 5)]
    assert moved(100) == [("a", 55, 5), ("b", 45, 7)]
    assert moved(-10) == [("a", -10, -1)]
    assert moved(85) == [("a", 10, 1), ("b", 75, 13)]
    assert all(each.tax_back == -each.tax for each in legs.values())
    assert give_back(legs, ("funds", "", "JPY"), 5, codes) == []
