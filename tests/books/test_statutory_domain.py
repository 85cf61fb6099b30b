"""The calendar, the figures of the law and the configuration of the statutory books."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.calendar import is_business_day, months_after, next_business_day
from kessai.foundation.config import ConfigError
from kessai.services.books.domain.calendar import (
    FUNDS_TRANSFER_BASE_DATES,
    PREPAID_BASE_DATES,
    is_base_date,
    last_base_date,
    period_of,
)
from kessai.services.books.domain.statutory.days import DayRules
from kessai.services.books.domain.statutory.figures import (
    Requirement,
    Safekeeping,
    cold_share,
    deposit_periods,
    is_exempt,
    prepaid_deposit,
    security_of,
)
from kessai.services.books.domain.statutory.rules import Category, read_statutory

from .statutory_world import document_of, rules_of

RULES = rules_of().latest
FUNDS = RULES.funds_transfer
LOWER = "retention_cap_minor = 900_000"
DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))


# -- calendar -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "is_open"),
    [
        (date(2026, 5, 1), True),
        (date(2026, 5, 2), False),  # Saturday
        (date(2026, 5, 3), False),  # Sunday, 憲法記念日
        (date(2026, 5, 6), False),  # 振替休日
        (date(2026, 9, 22), False),  # 国民の休日, between two holidays
        (date(2026, 12, 30), True),
        (date(2026, 12, 31), False),
        (date(2027, 1, 3), False),
        (date(2027, 1, 4), True),
    ],
)
def test_banks_are_closed_on_weekends_holidays_and_around_new_year(day: date, *, is_open: bool) -> None:
    assert is_business_day(day) is is_open


def test_third_business_day_goes_past_a_row_of_holidays() -> None:
    assert next_business_day(date(2026, 5, 1), 3) == date(2026, 5, 11)
    assert next_business_day(date(2026, 12, 29), 3) == date(2027, 1, 5)


@given(DAYS, st.integers(1, 6))
def test_business_days_counted_lie_between(day: date, count: int) -> None:
    found = next_business_day(day, count)
    between = [date.fromordinal(number) for number in range(day.toordinal() + 1, found.toordinal() + 1)]
    assert sum(map(is_business_day, between)) == count
    assert is_business_day(found)


def test_base_dates_are_the_ends_of_quarters_and_of_halves() -> None:
    assert [is_base_date(date(2026, 6, 30), dates) for dates in (FUNDS_TRANSFER_BASE_DATES, PREPAID_BASE_DATES)] == [
        True,
        False,
    ]
    assert last_base_date(date(2026, 3, 30), PREPAID_BASE_DATES) == date(2025, 9, 30)
    assert last_base_date(date(2026, 3, 31), PREPAID_BASE_DATES) == date(2026, 3, 31)


def test_two_months_after_the_end_of_a_month_are_the_end_of_a_month() -> None:
    assert months_after(date(2026, 9, 30), 2) == date(2026, 11, 30)
    assert months_after(date(2026, 3, 31), 2) == date(2026, 5, 31)
    assert months_after(date(2025, 12, 31), 2) == date(2026, 2, 28)


@given(DAYS, DAYS, st.integers(1, 7))
def test_every_day_is_in_one_period_of_at_most_a_week(day: date, first: date, days: int) -> None:
    period = period_of(day, first=first, days=days)
    assert period.since <= day <= period.until
    assert (period.until - period.since).days == days - 1
    assert period_of(period.until, first=first, days=days) == period


# -- funds transfer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obligation", "cost", "required"),
    [
        (0, 0, 10_000_000),
        (9_000_000, 450_000, 10_000_000),  # the floor
        (9_523_810, 476_191, 10_000_001),
        (100_000_000, 5_000_000, 105_000_000),
        (100_000_001, 5_000_001, 105_000_002),  # 1 % above, rounded up
        (300_000_000, 7_000_000, 307_000_000),
        (1, 1, 10_000_000),
    ],
)
def test_security_is_obligation_and_cost_and_at_least_the_floor(obligation: int, cost: int, required: int) -> None:
    found = security_of(obligation, FUNDS)
    assert (found.procedure_cost, found.required) == (cost, required)


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_more_owed_never_needs_less_security(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert security_of(less, FUNDS).required <= security_of(more, FUNDS).required


@given(st.lists(st.tuples(st.dates(date(2026, 1, 1), date(2026, 3, 31)), st.integers(0, 10**10)), min_size=1))
def test_deposit_of_a_period_covers_every_day_of_it(days: list[tuple[date, int]]) -> None:
    days = list(dict(days).items())
    periods = deposit_periods([Requirement(*each, True) for each in days], lambda _: FUNDS.deposit_terms("2"))
    for day, required in days:
        (mine,) = [each for each in periods if each.period.since <= day <= each.period.until]
        assert mine.required >= required
        assert (mine.required_on, mine.required) in days
        assert mine.due_on == next_business_day(mine.period.until, 3)


def test_of_a_period_without_a_business_day_every_day_counts() -> None:
    terms = FUNDS.deposit_terms("2")._replace(period_first=date(2026, 5, 2), period_days=2)
    days = [(date(2026, 5, number), 10_000_000 + number) for number in range(1, 9)]
    told = [Requirement(day, required, is_business_day(day)) for day, required in days]
    found = [(each.period.until, each.required_on) for each in deposit_periods(told, lambda _: terms)]
    assert found == [
        (date(2026, 5, 1), date(2026, 5, 1)),
        (date(2026, 5, 3), date(2026, 5, 3)),  # Saturday, Sunday
        (date(2026, 5, 5), date(2026, 5, 5)),  # two holidays
        (date(2026, 5, 7), date(2026, 5, 7)),
        (date(2026, 5, 9), date(2026, 5, 8)),
    ]


def test_what_undoes_an_exchange_of_points_is_what_the_exchange_was() -> None:
    points = RULES.types["paid_points"]
    told = {
        ("points_sale", False): Category.ISSUE,
        ("charge", True): Category.REDEMPTION,
        ("adjustment_out", True): Category.REPAYMENT,
        ("", False): Category.ISSUE,
        ("", True): Category.REDEMPTION,
    }
    assert {
        (kind, credit): points.category_undone(kind, credit=credit, trade=False) for kind, credit in told
    } == told  # fmt: skip


def test_figures_of_the_law_are_kept_as_they_were() -> None:
    before, now = DayRules.of(RULES), DayRules.of(rules_of(("retention_cap_minor = 1_000_000", LOWER)).latest)
    assert DayRules.read(before.text) == before
    assert now.lowered(before) == {"funds": 900_000}
    assert before.lowered(now) == before.lowered(None) == {}


# -- prepaid, crypto-assets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unused", "required"), [(10_000_000, 0), (10_000_001, 5_000_001), (24_000_000, 12_000_000), (0, 0)]
)
def test_half_of_what_is_unused_is_deposited_above_ten_million(unused: int, required: int) -> None:
    deposit = prepaid_deposit(date(2026, 3, 31), unused, RULES.prepaid)
    assert (deposit.required, deposit.due_on) == (required, date(2026, 6, 1))  # 31 May is a Sunday


def test_instrument_of_at_most_six_months_is_exempt() -> None:
    assert [is_exempt(months, RULES.prepaid) for months in (6, 7, None)] == [True, False, False]


def kept(required: int, cold: int, price: str | None, asset: str = "BTC") -> Safekeeping:
    unit_price = None if price is None else Decimal(price)
    return Safekeeping(asset=asset, required=required, cold=cold, hot=0, unit_price=unit_price)


def test_at_most_five_percent_by_value_may_be_off_cold_storage() -> None:
    bps = RULES.crypto_asset.off_cold_max_bps
    at_most = cold_share([kept(100_000_000, 95_000_000, "10000000")], bps)
    above = cold_share([kept(100_000_000, 94_999_900, "10000000")], bps)
    assert (at_most.off_cold_value, at_most.within, above.within) == (500_000, True, False)


def test_share_off_cold_storage_is_of_all_assets_together() -> None:
    both = [kept(100_000_000, 100_000_000, "10000000"), kept(100_000_000, 0, "300000", asset="ETH")]
    assert cold_share(both, 500).within is True


def test_without_a_price_nothing_is_said_about_the_share() -> None:
    assert cold_share([kept(1, 0, None)], 500).within is None


# -- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("period_days = 7\n", "period_days = 8\n", "period_days: expected `int` <= 7"),
        ('credit = "ISSUE"', 'credit = "RECEIPT"', "types.paid_points.credit: RECEIPT is nothing"),
        ("transfer_type = 2", "transfer_type = 1", "types.funds.transfer_type: must name one of"),
        ("valid_months = 12\n", "", "types.paid_points.valid_months: is missing"),
        ('book = "prepaid"', 'book = "crypto_asset"', "types.paid_points"),
        (
            "[version.types.btc]",
            "[version.types.bitcoin]",
            "types.bitcoin.book: the ledger's account type says no account type",
        ),
        (
            'trade_debit = "PURCHASE"',
            'trade_debit = "PURCHASE"\nundone_as_done = true',
            "undone_as_done: is said of prepaid instruments only",
        ),
        ("expiry = {", "expiry = { debits = 1, ", "unknown key"),
    ],
)
def test_configuration_that_cannot_be_is_refused_with_its_line(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"statutory\.toml, line \d+: ") as refused:
        rules_of((old, new))
    assert said in str(refused.value)


def test_account_type_of_a_class_that_stands_in_no_book_is_refused() -> None:
    classes = {name: each.book for name, each in RULES.types.items()} | {"gift": "prepaid", "sales": "none"}
    with pytest.raises(ConfigError, match="gift is of class prepaid, and stands in no book"):
        read_statutory(document_of(), classes)
