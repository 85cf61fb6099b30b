"""Tax of what is given back in parts: in the end all of it, however many the parts are and however they are told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.foundation.db import Database
from kessai.services.books.domain.given_back import Taxed
from kessai.services.books.domain.rules import TaxCode
from tests.books.town import Town, town

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
    from tests.books.town import config

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
