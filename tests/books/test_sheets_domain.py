"""Trial balances, balance sheets and income statements of any entries at all: they add up, day by day."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from kessai.services.books.domain.accruals import FiscalYear
from kessai.services.books.domain.chart import Section, load_chart
from kessai.services.books.domain.periods import month_of, months_between
from kessai.services.books.domain.sheets import (
    AccountSum,
    balance_sheet,
    income_statement,
    sums_of,
    total_of,
    trial_balance,
)

ACCOUNTS = load_chart().accounts
RETAINED = "3210"
DAYS = st.dates(date(2024, 1, 1), date(2026, 12, 31))
CODES = st.sampled_from([*ACCOUNTS, "9999"])
JOURNALS = st.lists(st.tuples(DAYS, CODES, CODES, st.integers(1, 10**12)), max_size=30)
YEARS = st.builds(FiscalYear, starts_in=st.integers(1, 12), retained_earnings=st.just(RETAINED))
Journal = tuple[date, str, str, int]


def entries(journals: list[Journal]) -> list[tuple[date, str, int]]:
    return [each for day, debit, credit, amount in journals for each in ((day, debit, amount), (day, credit, -amount))]


def account_sums(journals: list[Journal], since: date, until: date, year: FiscalYear) -> list[AccountSum]:
    """As the totals give them."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for day, account, amount in entries(journals):
        if day > until:
            continue
        if day < since:
            found[account][0] += amount
            found[account][1] += amount if day < year.start_of(since) else 0
        else:
            found[account][2 if amount > 0 else 3] += abs(amount)
    return [
        AccountSum(account=account, asset="JPY", opening=had[0], earlier=had[1], debit=had[2], credit=had[3])
        for account, had in sorted(found.items())
    ]


@given(JOURNALS, DAYS, DAYS, YEARS)
def test_a_trial_balance_of_any_days_adds_up_to_zero(
    journals: list[Journal], one: date, other: date, year: FiscalYear
) -> None:
    since, until = sorted((one, other))
    rows = trial_balance(account_sums(journals, since, until, year), ACCOUNTS, RETAINED)
    for each in sums_of(rows):
        assert (each.opening, each.debit - each.credit, each.closing) == (0, 0, 0)
    by_account = {row.account: row for row in rows}
    for code, row in by_account.items():
        booked = [(day, amount) for day, account, amount in entries(journals) if account == code]
        assert row.debit - row.credit == sum(amount for day, amount in booked if since <= day <= until)
        if code in ACCOUNTS and not ACCOUNTS[code].section.on_balance_sheet:
            assert row.opening == sum(amount for day, amount in booked if year.start_of(since) <= day < since)


@given(JOURNALS, DAYS, DAYS, YEARS)
def test_a_balance_sheet_balances_in_every_month(
    journals: list[Journal], one: date, other: date, year: FiscalYear
) -> None:
    months = months_between(*sorted((one, other)))
    movements = [(account, month_of(day), amount) for day, account, amount in entries(journals)]
    lines = balance_sheet(movements, ACCOUNTS, year, months)
    assets, liabilities, equity = (
        total_of(lines, section, len(months)) for section in (Section.ASSET, Section.LIABILITY, Section.EQUITY)
    )
    assert assets == [debt + own for debt, own in zip(liabilities, equity, strict=True)]
    assert {line.section for line in lines} <= {Section.ASSET, Section.LIABILITY, Section.EQUITY}


@given(JOURNALS, DAYS, YEARS)
def test_the_profit_in_the_balance_sheet_is_what_the_statements_of_the_year_earned(
    journals: list[Journal], day: date, year: FiscalYear
) -> None:
    months = months_between(year.start_of(day), day)
    movements = [(account, month_of(day), amount) for day, account, amount in entries(journals)]
    profit = balance_sheet(movements, ACCOUNTS, year, [months[-1]])[-1]
    lines = income_statement(movements, ACCOUNTS, months)
    earned = sum(total_of(lines, Section.INCOME, len(months))) - sum(total_of(lines, Section.EXPENSE, len(months)))
    assert (profit.account, profit.amounts) == ("", (earned,))


def test_earlier_years_stand_in_retained_earnings() -> None:
    year = FiscalYear(starts_in=4, retained_earnings=RETAINED)
    journals = [(date(2026, 3, 31), "1110", "4910", 700), (date(2026, 4, 1), "1110", "4910", 50)]
    rows = trial_balance(account_sums(journals, date(2026, 4, 1), date(2026, 4, 30), year), ACCOUNTS, RETAINED)
    assert [(row.account, row.opening, row.closing) for row in rows] == [
        ("1110", 700, 750), ("3210", -700, -700), ("4910", 0, -50),
    ]  # fmt: skip
    movements = [(account, month_of(day), amount) for day, account, amount in entries(journals)]
    lines = balance_sheet(movements, ACCOUNTS, year, [date(2026, 3, 1), date(2026, 4, 1)])
    assert [(line.account, line.amounts) for line in lines] == [
        ("1110", (700, 750)), ("3210", (0, 700)), ("", (700, 50)),
    ]  # fmt: skip
