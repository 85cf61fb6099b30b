"""Accruals as data: what is asked for, what is left to book, and which files are refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.config import ConfigError, TomlDocument, load_toml
from kessai.foundation.money import Rounding
from kessai.services.books.api.accounting import Side
from kessai.services.books.domain.accruals import Accrual, Method, read_closing
from kessai.services.books.domain.chart import load_chart

ACCOUNTS = load_chart().accounts
CONTROLS = {code for code, account in ACCOUNTS.items() if account.control}
TEXT = load_toml("kessai.config", "accruals.toml")

SHARES = st.decimals(0, 1, places=4)
MINORS = st.integers(-(10**15), 10**15)


def accrual(share: Decimal, rounding: Rounding = Rounding.DOWN, method: Method = Method.TARGET) -> Accrual:
    return Accrual(
        name="provision", name_ja="引当金", method=method, account="2430", side=Side.DEBIT, counter="4220",
        of=("2140",), of_side=Side.CREDIT, share=share, rounding=rounding, amount_minor=None, valid_from=None,
    )  # fmt: skip


@given(SHARES, MINORS, MINORS)
def test_after_a_target_is_booked_nothing_is_left_to_book(share: Decimal, outstanding: int, had: int) -> None:
    balances = {"2140": -outstanding, "2430": had}
    due = accrual(share).due(balances, 0)
    after = {**balances, "2430": had + due}
    assert accrual(share).due(after, due) == 0
    assert 0 <= after["2430"] <= max(0, outstanding)


@given(SHARES, MINORS, MINORS)
def test_a_reversing_accrual_books_what_is_missing_of_its_month(share: Decimal, outstanding: int, had: int) -> None:
    asked = accrual(share, method=Method.REVERSING)
    first = asked.due({"2140": -outstanding, "2430": had}, 0)
    assert first == asked.asked_for({"2140": -outstanding})
    assert asked.due({"2140": -outstanding, "2430": had + first}, first) == 0


@pytest.mark.parametrize(("rounding", "target"), [(Rounding.DOWN, 33), (Rounding.HALF_UP, 34), (Rounding.UP, 34)])
def test_the_yen_is_rounded_as_it_is_written(rounding: Rounding, target: int) -> None:
    assert accrual(Decimal("0.10"), rounding).asked_for({"2140": -335}) == target


def test_the_platforms_own_file_is_read() -> None:
    closing = read_closing(TEXT, ACCOUNTS.keys(), CONTROLS)
    assert [each.name for each in closing.accruals] == ["points_provision", "bad_debt_provision"]
    assert closing.fiscal_year.starts_in == 4
    assert closing.accruals[0].asked_for({"2140": -1_999}) == 199
    assert closing.accruals[1].asked_for({"1310": 1_999}) == -20


WRITTEN = """version = 1
[fiscal_year]
starts_in = 4
retained_earnings = "3210"
[locking]
needs_approval = false
[points]
account_types = ["free_points"]
[[accrual]]
name = "one"
name_ja = "一"
method = "reversing"
amount_minor = 100
account = "2320"
side = "credit"
counter = "5220"
"""


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ('"3210"', '"3999"', "line 4: fiscal_year.retained_earnings: is not in the chart of accounts"),
        ('account = "2320"', 'account = "2110"', "line 14: accrual.0.account: 2110 is booked by the ledger's events"),
        ('counter = "5220"', 'counter = "1"', "line 16: accrual.0.counter: 1 is not in the chart of accounts"),
        ('counter = "5220"', 'counter = "2320"', "line 16: accrual.0.counter: is the account itself"),
        ("amount_minor = 100", 'of = ["2110"]', "line 9: accrual.0: needs either"),
        ("amount_minor = 100", 'share = "0.5"', "line 9: accrual.0: needs either"),
        ("amount_minor = 100", 'share = "0.5"\nof = ["1"]', "accrual.0.of: 1 is not in the chart of accounts"),
        ("amount_minor = 100", 'share = "0.5"\nof = ["2320"]', "accrual.0.of: may not hold the account itself"),
        ('side = "credit"', 'side = "left"', 'line 15: accrual.0.side: must be "debit" or "credit"'),
        ('method = "reversing"', 'method = "always"', "line 12: accrual.0.method:"),
        ("starts_in = 4", "starts_in = 13", "line 3: fiscal_year.starts_in:"),
        ("version = 1", "version = 1\nnumber = 2", "line 2: number: unknown key"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_its_line(was: str, becomes: str, told: str) -> None:
    read_closing(TomlDocument(WRITTEN, "mine.toml"), ACCOUNTS.keys(), CONTROLS)
    with pytest.raises(ConfigError) as refused:
        read_closing(TomlDocument(WRITTEN.replace(was, becomes), "mine.toml"), ACCOUNTS.keys(), CONTROLS)
    assert told in str(refused.value)


def versions(*lines: str) -> list[Accrual]:
    """Versions of one accrual, each with some lines of its own in place of its amount."""
    table = WRITTEN[WRITTEN.index("[[accrual]]") :]
    text = WRITTEN.removesuffix(table) + "".join(table.replace("amount_minor = 100", each) for each in lines)
    return list(read_closing(TomlDocument(text, "mine.toml"), ACCOUNTS.keys(), CONTROLS).accruals)


def test_of_several_versions_that_one_is_booked_which_holds_on_the_months_last_day() -> None:
    found = versions(
        "amount_minor = 100",
        "amount_minor = 200\nvalid_from = 2026-10-01",
        "amount_minor = 300\nvalid_from = 2026-12-31\nvalid_until = 2027-02-28",
    )
    ends = [date(2026, 9, 30), date(2026, 12, 30), date(2027, 2, 28)]
    assert [each.valid_until for each in found] == ends
    asked = {
        month: [each.amount_minor for each in found if each.applies_to(month)]
        for month in (date(2020, 1, 1), date(2026, 9, 1), date(2026, 10, 1), date(2026, 12, 1), date(2027, 3, 1))
    }
    assert list(asked.values()) == [[100], [100], [200], [300], []]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("amount_minor = 1", "amount_minor = 2"), "accrual.1.valid_from: overlaps the earlier version of one"),
        (
            ("amount_minor = 1\nvalid_from = 2026-02-01", "amount_minor = 2\nvalid_from = 2026-02-01"),
            "accrual.1.valid_from: overlaps the earlier version of one",
        ),
        (
            ("amount_minor = 1\nvalid_until = 2026-02-01", "amount_minor = 2\nvalid_from = 2026-02-01"),
            "accrual.0.valid_until: overlaps the next version of one, which holds from 2026-02-01 on",
        ),
        (
            ("amount_minor = 1\nvalid_until = 2026-01-30", "amount_minor = 2\nvalid_from = 2026-02-01"),
            "accrual.0.valid_until: leaves a gap before the next version of one",
        ),
        (("amount_minor = 1\nvalid_from = 2026-02-02\nvalid_until = 2026-02-01",), "accrual.0.valid_until: is before"),
    ],
)
def test_versions_that_overlap_or_leave_a_gap_are_refused(lines: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        versions(*lines)
    assert told in str(refused.value)


def test_another_version_is_booked_on_the_same_accounts() -> None:
    table = WRITTEN[WRITTEN.index("[[accrual]]") :].replace('"2320"', '"2420"') + "valid_from = 2026-10-01\n"
    with pytest.raises(ConfigError, match=r"accrual\.1\.account: must be as in the earlier version of one"):
        read_closing(TomlDocument(WRITTEN + table, "mine.toml"), ACCOUNTS.keys(), CONTROLS)
