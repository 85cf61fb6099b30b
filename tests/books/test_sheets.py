"""What the totals say of a town's books: trial balance, ledgers of accounts, statements, consumption tax, reports."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.services.books.api.accounting import Journal, JournalsOfPayments, ListJournals, ReopenPeriod
from kessai.services.books.api.statements import (
    AccountLedger,
    GetAccountLedger,
    GetBalanceSheet,
    GetConsumptionTax,
    GetIncomeStatement,
    GetTrialBalance,
)
from kessai.services.books.domain.table import Report, Row
from kessai.services.books.service.asked import Asked
from kessai.services.books.service.reports import Reports
from tests.books.office import Office, office, require_refusal

MARCH_31, APRIL_1, APRIL_20, MAY_9 = date(2026, 3, 31), date(2026, 4, 1), date(2026, 4, 20), date(2026, 5, 9)
SPRING: dict[str, Any] = {"since": MARCH_31, "until": MAY_9}


async def a_spring(o: Office) -> None:
    """Three months over the turn of the fiscal year."""
    await o.post(MARCH_31, "1110 1000000 | 3110 1000000")
    await o.post(MARCH_31, "1110 50000 | 4910 50000")
    await o.post(APRIL_20, "1110 11000 | 4910 11000 out10 incl")
    await o.post(APRIL_20, "5220 5400 in08 incl + 5210 1100 in10 incl | 1110 6500")
    await o.post(MAY_9, "5220 2200 in10 incl | 1110 2200")


async def test_a_trial_balance_tells_opening_movement_and_closing(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        told = await o.desk.get_trial_balance(GetTrialBalance(month="2026-04"))
        assert [
            (line.account, line.opening_minor, line.debit_minor, line.credit_minor, line.closing_minor)
            for line in told.lines
        ] == [
            ("1110", 1_050_000, 11_000, 6_500, 1_054_500),
            ("1910", 0, 500, 0, 500),
            ("2310", 0, 0, 1_000, -1_000),
            ("3110", -1_000_000, 0, 0, -1_000_000),
            ("3210", -50_000, 0, 0, -50_000),
            ("4910", 0, 0, 10_000, -10_000),
            ("5210", 0, 1_000, 0, 1_000),
            ("5220", 0, 5_000, 0, 5_000),
        ]
        assert (told.lines[0].name_ja, told.lines[0].section) == ("普通預金", "asset")
        (total,) = told.sums
        assert (total.opening_minor, total.debit_minor, total.credit_minor, total.closing_minor) == (
            0,
            17_500,
            17_500,
            0,
        )
        days = await o.desk.get_trial_balance(GetTrialBalance(since=APRIL_1, until=date(2026, 4, 30)))
        assert days == told


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "range_required"),
        ({"since": MARCH_31}, "range_required"),
        ({"month": "2026-04", "since": MARCH_31, "until": MAY_9}, "range_required"),
        ({"since": MAY_9, "until": MARCH_31}, "range_reversed"),
    ],
)
async def test_a_trial_balance_is_of_a_month_or_of_a_range(
    database: Database, asked: dict[str, Any], code: str
) -> None:
    async with office(database) as o:
        with require_refusal(code):
            await o.desk.get_trial_balance(GetTrialBalance(**asked))


async def test_a_balance_sheet_carries_last_years_profit_and_shows_this_years(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        sheet = await o.desk.get_balance_sheet(GetBalanceSheet(since="2026-03", until="2026-05"))
        assert sheet.days == [MARCH_31, date(2026, 4, 30), date(2026, 5, 31)]
        assert {line.account: line.amounts_minor for line in sheet.lines} == {
            "1110": [1_050_000, 1_054_500, 1_052_300],
            "1910": [0, 500, 700],
            "2310": [0, 1_000, 1_000],
            "3110": [1_000_000, 1_000_000, 1_000_000],
            "3210": [0, 50_000, 50_000],
            "": [50_000, 4_000, 2_000],
        }
        assert sheet.assets_minor == [1_050_000, 1_055_000, 1_053_000]
        assert [d + e for d, e in zip(sheet.liabilities_minor, sheet.equity_minor, strict=True)] == sheet.assets_minor
        assert (await o.desk.get_balance_sheet(GetBalanceSheet(since="2026-04"))).assets_minor == [1_055_000]
        assert (await o.desk.get_balance_sheet(GetBalanceSheet(since="2026-04", asset="BTC"))).assets_minor == [0]


@pytest.mark.parametrize("month", ["2026-03", "2026-04", "2026-05"])
async def test_an_accounts_ledger_opens_and_closes_as_the_trial_balance_has_it(database: Database, month: str) -> None:
    async with office(database) as o:
        await a_spring(o)
        told = await o.desk.get_trial_balance(GetTrialBalance(month=month))
        ends: dict[str, tuple[int, int]] = {}
        for line in told.lines:
            asked = GetAccountLedger(account=line.account, since=told.since, until=told.until)
            ledger = await o.desk.get_account_ledger(asked)
            ends[line.account] = (ledger.opening_minor, ledger.closing_minor)
            filters = {"account": line.account}
            report = await Reports(o.desk.offers()).build(
                Asked(name="general_ledger", since=told.since, until=told.until, filters=filters)
            )
            assert tuple(value for _, _, value in report.facts) == ends[line.account]
        assert ends == {line.account: (line.opening_minor, line.closing_minor) for line in told.lines}


async def test_an_accounts_ledger_of_the_new_year_begins_at_zero_where_it_earns(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        ends = {
            account: await o.desk.get_account_ledger(
                GetAccountLedger(account=account, since=APRIL_1, until=date(2026, 4, 30))
            )
            for account in ("4910", "3210")
        }
        assert {code: (each.opening_minor, each.closing_minor) for code, each in ends.items()} == {
            "4910": (0, -10_000),
            "3210": (-50_000, -50_000),
        }
        (line,) = ends["4910"].lines
        assert line.balance_minor == -10_000


async def test_an_income_statement_is_by_month(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        told = await o.desk.get_income_statement(GetIncomeStatement(since="2026-03", until="2026-05"))
        assert told.months == ["2026-03", "2026-04", "2026-05"]
        assert {line.account: line.amounts_minor for line in told.lines} == {
            "4910": [50_000, 10_000, 0], "5210": [0, 1_000, 0], "5220": [0, 5_000, 2_000],
        }  # fmt: skip
        assert told.profit_minor == [50_000, 4_000, -2_000]
        with require_refusal("range_reversed"):
            await o.desk.get_income_statement(GetIncomeStatement(since="2026-05", until="2026-03"))
        with require_refusal("range_too_long"):
            await o.desk.get_income_statement(GetIncomeStatement(since="2020-05", until="2026-03"))


async def test_consumption_tax_is_told_by_code_and_rate(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        told = await o.desk.get_consumption_tax(GetConsumptionTax(**SPRING))
        assert [(x.tax_code, x.direction, x.rate, x.net_minor, x.tax_minor, x.gross_minor) for x in told.lines] == [
            ("out08", "output", "0.08", 0, 0, 0),
            ("out10", "output", "0.10", 10_000, 1_000, 11_000),
            ("in08", "input", "0.08", 5_000, 400, 5_400),
            ("in10", "input", "0.10", 3_000, 300, 3_300),
        ]
        assert (told.output_tax_minor, told.input_tax_minor, told.payable_minor) == (1_000, 700, 300)


async def test_only_yen_are_counted_in_the_consumption_tax(database: Database) -> None:
    async with office(database) as o:
        await o.post(MAY_9, "1110 1_100 | 4910 1_100 out10 incl")
        await database.fetch(
            None,
            "INSERT INTO books.day_total SELECT account, booked_on, event_on, 'BTC', account_type, kind, tax_code,"
            " debit * 7, credit * 7, entries FROM books.day_total",
        )
        told = await o.desk.get_consumption_tax(GetConsumptionTax(since=MAY_9, until=MAY_9))
        line = next(each for each in told.lines if each.tax_code == "out10")
        assert (line.net_minor, line.tax_minor, told.payable_minor) == (1_000, 100, 100)


async def test_a_fee_that_was_given_back_is_off_the_consumption_tax(database: Database) -> None:
    async with office(database) as o:
        await o.town.book.open("cus:1/funds")
        await o.town.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        legs = "cus:1/funds 420 > internal:bank/bank_in_transit 200 + internal:withdrawal_fee/fee_income 220"
        await o.town.book.move(legs, name="out", kind="withdrawal")
        await o.town.heard()
        day = {"since": date(2026, 5, 10), "until": date(2026, 5, 10)}
        line = (await o.desk.get_consumption_tax(GetConsumptionTax(**day))).lines[1]
        assert (line.tax_code, line.net_minor, line.tax_minor) == ("out10", 200, 20)
        await o.town.book.reverse("out", kind="return")
        await o.town.heard()
        line = (await o.desk.get_consumption_tax(GetConsumptionTax(**day))).lines[1]
        assert (line.net_minor, line.tax_minor) == (0, 0)
        assert (await o.desk.get_income_statement(GetIncomeStatement(since="2026-05"))).lines == []


# -- entries --------------------------------------------------------------------------------------------------------


async def test_the_ledger_of_an_account_runs_from_page_to_page(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        pages: list[AccountLedger] = []
        cursor: str | None = None
        while not pages or cursor is not None:
            pages.append(
                await o.desk.get_account_ledger(
                    GetAccountLedger(account="1110", since=APRIL_1, until=MAY_9, limit=1, cursor=cursor)
                )
            )
            cursor = pages[-1].next_cursor
        lines = [line for page in pages for line in page.lines]
        assert [(x.booked_on, x.debit_minor, x.credit_minor, x.balance_minor) for x in sorted(lines, key=_place)] == [
            (APRIL_20, *each) for each in sorted((x.debit_minor, x.credit_minor, x.balance_minor) for x in lines[:2])
        ] + [(MAY_9, 0, 2_200, 1_052_300)]
        assert {(page.opening_minor, page.closing_minor) for page in pages} == {(1_050_000, 1_052_300)}
        assert {x.against for x in lines} == {"sundry"}
        whole = await o.desk.get_account_ledger(GetAccountLedger(account="1110", since=APRIL_1, until=MAY_9))
        assert (whole.lines, whole.next_cursor) == (lines, None)
        assert whole.lines[-1].balance_minor == whole.closing_minor


def _place(line: Any) -> tuple[date, int, int]:
    return line.booked_on, line.debit_minor, line.credit_minor


async def test_the_other_account_of_an_entry_is_named_where_there_is_one(database: Database) -> None:
    async with office(database) as o:
        await o.post(MAY_9, "1110 500 | 4910 500")
        told = await o.desk.get_account_ledger(GetAccountLedger(account="4910", since=MAY_9, until=MAY_9))
        assert [(x.against, x.credit_minor, x.balance_minor) for x in told.lines] == [("1110", 500, -500)]


async def test_a_report_names_several_other_accounts_in_both_languages(database: Database) -> None:
    async with office(database) as o:
        await o.post(MAY_9, "1110 500 | 4910 300 + 3110 200")
        asked = Asked(name="general_ledger", since=MAY_9, until=MAY_9, filters={"account": "1110"})
        ((_, _, _, _, against, *_),) = await rows_of(await Reports(o.desk.offers()).build(asked))
        assert against == "諸口 (sundry)"


@pytest.mark.parametrize("cursor", ["!", "bm8=", "WyIyMDI2LTA1LTAxIl0=", "é"])
async def test_a_cursor_from_elsewhere_is_refused(database: Database, cursor: str) -> None:
    async with office(database) as o:
        with require_refusal("bad_cursor"):
            await o.desk.get_account_ledger(GetAccountLedger(account="1110", since=APRIL_1, until=MAY_9, cursor=cursor))
        with require_refusal("bad_cursor"):
            await o.desk.list_journals(ListJournals(since=APRIL_1, until=MAY_9, cursor=cursor))


async def test_an_account_that_never_was_has_no_ledger(database: Database) -> None:
    async with office(database) as o:
        with require_refusal("account_not_found"):
            await o.desk.get_account_ledger(GetAccountLedger(account="9999", since=APRIL_1, until=MAY_9))


async def test_journals_are_listed_by_day_page_by_page(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        found: list[Journal] = []
        cursor: str | None = None
        while not found or cursor is not None:
            page = await o.desk.list_journals(ListJournals(**SPRING, limit=2, cursor=cursor))
            found += page.journals
            cursor = page.next_cursor
        assert [each.booked_on for each in found] == [MARCH_31, MARCH_31, APRIL_20, APRIL_20, MAY_9]
        assert len({each.journal_id for each in found}) == 5
        whole = await o.desk.list_journals(ListJournals(**SPRING))
        assert (whole.journals, whole.next_cursor) == (found, None)


async def test_journals_of_payments_are_found_whenever_they_were_booked(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        await o.town.book.move(
            "internal:campaign/point_cost 90 > cus:1/free_points 90", kind="incentive", metadata={"payment_id": "inc_1"}
        )
        await o.town.heard()
        whole = (await o.desk.list_journals(ListJournals(since=MARCH_31, until=date(2099, 1, 1), limit=1000))).journals
        paid = [each for each in whole if each.payment_id is not None]
        named = sorted({str(each.payment_id) for each in paid})
        assert named
        found = await o.desk.list_journals_of_payments(JournalsOfPayments(payment_ids=[*named, "chg_unknown"]))
        assert sorted(found.journals, key=lambda each: each.journal_id) == sorted(
            paid, key=lambda each: each.journal_id
        )


# -- reports --------------------------------------------------------------------------------------------------------


async def rows_of(report: Report) -> list[Row]:
    return [row async for chunk in report.chunks for row in chunk]


async def test_every_report_has_as_many_cells_as_columns(database: Database) -> None:
    async with office(database) as o:
        await a_spring(o)
        await o.town.book.move("internal:campaign/point_cost 90 > cus:1/free_points 90", kind="incentive")
        await o.town.heard()
        reports = Reports(o.desk.offers())
        for name in reports.names:
            filters = dict.fromkeys(reports.required_of(name), "1110")
            until = date(2026, 5, 10)
            report = await reports.build(Asked(name=name, since=MARCH_31, until=until, filters=filters))
            rows = await rows_of(report)
            assert rows, name
            assert {len(row) for row in (*rows, *report.totals)} == {len(report.columns)}, name
            assert len({column.name for column in report.columns}) == len(report.columns), name


async def test_unexpired_points_are_told_by_type_and_kind_with_their_provision(database: Database) -> None:
    async with office(database) as o:
        o.town.clock.advance(days=-20)
        await o.town.book.move("internal:campaign/point_cost 900 > cus:1/free_points 900", kind="incentive")
        await o.town.book.move("cus:1/free_points 300 > mer:1/unsettled_sales 300", kind="charge")
        await o.town.heard()
        o.town.clock.advance(days=20)
        await o.close("2026-04")
        asked = Asked(name="points_outstanding", since=APRIL_1, until=date(2026, 4, 30))
        report = await Reports(o.desk.offers()).build(asked)
        assert await rows_of(report) == [
            ("free_points", "JPY", "charge", 0, 0, 300, -300),
            ("free_points", "JPY", "incentive", 0, 900, 0, 900),
        ]
        assert report.totals == (
            ("free_points", "JPY", "計", 0, 900, 300, 600), ("paid_points", "JPY", "計", 0, 0, 0, 0),
        )  # fmt: skip
        assert [(english, value) for english, _, value in report.facts] == [("points_provision", -60)]


async def test_a_report_that_cannot_be_made_is_refused(database: Database) -> None:
    async with office(database) as o:
        reports = Reports(o.desk.offers())
        for name, filters, code in (
            ("fairy_tale", {}, "report_not_found"),
            ("journal", {"account": "1110"}, "filter_unknown"),
            ("general_ledger", {}, "filter_required"),
            ("general_ledger", {"account": "9999"}, "account_not_found"),
            ("balance_sheet", {"asset": "GOLD"}, "asset_unknown"),
        ):
            with require_refusal(code):
                await reports.build(Asked(name=name, since=APRIL_1, until=MAY_9, filters=filters))
        with require_refusal("range_reversed"):
            await reports.build(Asked(name="journal", since=MAY_9, until=APRIL_1))


# -- any story ------------------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("top up"), st.integers(1, 10_000)),
        st.tuples(st.just("charge"), st.integers(1, 500)),
        st.tuples(st.just("fee"), st.integers(1, 500)),
        st.tuples(st.just("points"), st.integers(1, 500)),
        st.tuples(st.just("rent"), st.integers(1, 9_000)),
        st.tuples(st.just("day"), st.integers(1, 25)),
        st.tuples(st.just("close"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
        st.tuples(st.just("hear"), st.just(0)),
    ),
    max_size=14,
)
REFUSALS_OF_MONTHS = ("earlier_period_open", "later_period_closed", "period_not_ended", "period_before_books")
MOVES = {
    "top up": ("top_up", "internal:bank_deposit/deposit {0} > cus:1/funds {0}"),
    "charge": ("charge", "cus:1/funds {0} > mer:1/unsettled_sales {0}"),
    "fee": ("merchant_fee", "mer:1/unsettled_sales {0} > internal:merchant_fee/fee_income {0}"),
    "points": ("incentive", "internal:campaign/point_cost {0} > cus:1/free_points {0}"),
}


async def _act(o: Office, what: str, amount: int) -> None:
    today = o.town.clock.now().date()
    last_month = today.replace(day=1).toordinal() - 1
    month = f"{date.fromordinal(last_month):%Y-%m}"
    match what:
        case "day":
            o.town.clock.advance(days=amount)
        case "close":
            await _unless_refused(o.close(month))
        case "reopen":
            await _unless_refused(o.desk.reopen_period(ReopenPeriod(month=month, reason="again")))
        case "rent":
            await o.post(today, f"5220 {amount} in10 incl | 1110 {amount}")
        case "hear":
            await o.town.heard()
        case _:
            kind, legs = MOVES[what]
            await o.town.book.move(legs.format(amount), kind=kind)


async def _unless_refused(asked: Any) -> None:
    try:
        await asked
    except PaymentError as refusal:
        if refusal.code not in REFUSALS_OF_MONTHS:
            raise


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
async def test_whatever_happens_the_books_balance_on_every_day(
    postgres: Any, database_template: str, story: Any
) -> None:
    """Late events included: those that were not heard before their month was closed."""
    name = f"test_books_{abs(hash(tuple(story))):x}"
    await postgres.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database_template}"')
    database = Database(postgres.dsn_of(name))
    try:
        async with office(database) as o:
            await o.topped_up(10_000)
            for what, amount in story:
                await _act(o, what, amount)
            await o.town.heard()
            await o.town.proved()
            await _balanced(o)
    finally:
        await database.close()
        await postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _balanced(o: Office) -> None:
    today = o.town.clock.now().date()
    sheet = await o.desk.get_balance_sheet(GetBalanceSheet(since="2026-05", until=f"{today:%Y-%m}"))
    assert [d + e for d, e in zip(sheet.liabilities_minor, sheet.equity_minor, strict=True)] == sheet.assets_minor
    for back in range(0, 40, 7):
        since = date.fromordinal(today.toordinal() - back)
        told = await o.desk.get_trial_balance(GetTrialBalance(since=since, until=today))
        assert [(each.opening_minor, each.debit_minor - each.credit_minor) for each in told.sums] in ([], [(0, 0)])
        for line in told.lines:
            ledger = await o.desk.get_account_ledger(
                GetAccountLedger(account=line.account, since=since, until=today, limit=1000)
            )
            assert sum(x.debit_minor for x in ledger.lines) == line.debit_minor
            assert sum(x.credit_minor for x in ledger.lines) == line.credit_minor
            assert not ledger.lines or ledger.lines[-1].balance_minor == ledger.closing_minor
