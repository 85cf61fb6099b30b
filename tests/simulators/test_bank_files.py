"""The simulated bank's files: what is taken, what becomes of each line, and the statement that lists it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.sdk import zengin
from kessai.simulators.bank import Books, Declined, FileFate, LineFate
from tests.simulators.bank_files import DAY, OPEN, SENT, Hours, account, debits, opened, payments, require_kept

FIRST, SECOND, THIRD = "1000001", "1000002", "1000003"


def _told(books: Books, after: int = 0) -> list[tuple[int, str, str | None, str | None]]:
    """Line, state, code and booking day of each entry."""
    return [(each.line, each.state, each.code, each.on) for each in books.files.feed[after:]]


def _opened_day(hours: Hours, books: Books) -> None:
    hours.at = OPEN
    books.settle_due()


def test_lines_are_carried_out_on_the_files_day_and_booked_one_by_one() -> None:
    hours = Hours()
    books = opened(hours, FIRST, SECOND)
    assert books.files.take("a", payments(FIRST, SECOND)).state == "accepted"
    books.settle_due()
    assert _told(books) == [(0, "accepted", None, None), (1, "accepted", None, None), (2, "accepted", None, None)]
    assert books.statement() == []
    _opened_day(hours, books)
    assert _told(books, 3) == [(1, "done", None, "2026-04-30"), (2, "done", None, "2026-04-30")]
    assert [(each.id, each.amount, each.words) for each in books.statement("2026-04-30")] == [
        ("a-000001", -1_000, "file transfer"),
        ("a-000002", -1_001, "file transfer"),
    ]
    assert books.files.find("a").closed
    require_kept(books)


def test_a_line_that_fails_is_not_booked() -> None:
    hours = Hours()
    books = opened(hours, FIRST)
    books.files.take("a", payments(FIRST, "7777777", "9000007"))
    _opened_day(hours, books)
    assert _told(books, 4) == [
        (1, "done", None, "2026-04-30"),
        (2, "failed", "no_account", None),
        (3, "failed", "account_closed", None),
    ]
    assert len(books.statement()) == 1
    require_kept(books)


def test_some_lines_are_refused_with_the_file_and_the_others_done() -> None:
    hours = Hours()
    books = opened(hours, FIRST, SECOND)
    books.files.foresee_line(LineFate(customer_code="0000000002", state="refused", code="limit_exceeded"))
    standing = books.files.take("a", payments(FIRST, SECOND, "9000010")).told()
    assert standing["refused"] == [{"line": 2, "code": "limit_exceeded"}, {"line": 3, "code": "invalid_account"}]
    assert (standing["accepted_lines"], standing["accepted_total"], standing["total"]) == (1, 1_000, 3_003)
    _opened_day(hours, books)
    assert [each.id for each in books.statement()] == ["a-000001"]


def test_a_transfer_that_was_done_comes_back_business_days_later() -> None:
    hours = Hours()
    books = opened(hours, FIRST, SECOND)
    books.files.foresee_line(LineFate(line=1, state="returned", code="account_closed", return_after_days=2))
    books.files.foresee_line(LineFate(line=2, state="recalled", return_after_days=1))
    books.files.take("a", payments(FIRST, SECOND))
    _opened_day(hours, books)
    hours.to(date(2026, 5, 6), 12)
    books.settle_due()
    assert _told(books, 5) == [(2, "recalled", "recalled", "2026-05-01")]
    hours.to(date(2026, 5, 7))  # 3 to 6 May are holidays
    books.settle_due()
    assert _told(books, 6) == [(1, "returned", "account_closed", "2026-05-07")]
    assert [each.words for each in books.statement()][2:] == ["recalled file transfer", "returned file transfer"]
    require_kept(books)


def test_a_line_may_be_done_later_than_the_others() -> None:
    hours = Hours()
    books = opened(hours, FIRST, SECOND)
    books.files.foresee_line(LineFate(number=FIRST, after_s=3_600))
    books.files.take("a", payments(FIRST, SECOND))
    _opened_day(hours, books)
    assert [each.state for each in books.files.find("a").lines] == ["processing", "done"]
    assert not books.files.find("a").closed
    hours.pass_(hours=1)
    books.settle_due()
    assert [each.state for each in books.files.find("a").lines] == ["done", "done"]
    assert books.files.find("a").closed


@pytest.mark.parametrize(
    ("came", "code"),
    [
        (datetime(2026, 4, 30, 14, 59, tzinfo=SENT.tzinfo), None),
        (datetime(2026, 4, 30, 15, 0, tzinfo=SENT.tzinfo), "late"),
        (datetime(2026, 5, 1, 9, 0, tzinfo=SENT.tzinfo), "late"),
        (datetime(2026, 3, 30, 9, 0, tzinfo=SENT.tzinfo), None),
    ],
)
def test_a_file_comes_in_time_or_is_refused(came: datetime, code: str | None) -> None:
    hours = Hours()
    hours.at = came
    filed = opened(hours, FIRST).files.take("a", payments(FIRST))
    assert (filed.state, filed.code) == ("refused" if code else "accepted", code)


def test_a_file_that_cannot_be_read_is_refused_and_the_place_is_told() -> None:
    books = opened(Hours(), FIRST)
    wrong = payments(FIRST).replace(b"8000001", b"8000002")
    filed = books.files.take("a", wrong)
    assert (filed.state, filed.code, filed.line, filed.position) == ("refused", "count_differs", 3, 2)
    books.files.take("b", b"nothing")
    assert _told(books) == [(0, "refused", "total_differs", None), (0, "refused", "unreadable", None)]


def test_a_file_is_taken_once_for_its_id_and_once_for_its_content() -> None:
    books = opened(Hours(), FIRST)
    first = books.files.take("a", payments(FIRST))
    assert books.files.take("a", payments(FIRST)) is first
    with pytest.raises(Declined) as caught:
        books.files.take("a", payments(FIRST, amount=5))
    assert (caught.value.code, caught.value.status) == ("id_reused", 409)
    again = books.files.take("b", payments(FIRST))
    assert (again.state, again.code, again.duplicate_of) == ("refused", "duplicate_file", "a")
    assert [each.file_id for each in books.files.feed] == ["a", "a", "b"]


def test_the_content_of_a_file_that_was_refused_may_come_again() -> None:
    books = opened(Hours(), FIRST)
    books.files.foresee_file(FileFate(refuse="not_today"))
    assert books.files.take("a", payments(FIRST)).code == "not_today"
    assert books.files.take("b", payments(FIRST)).state == "accepted"


def test_a_file_may_be_accepted_later_than_it_came() -> None:
    hours = Hours()
    books = opened(hours, FIRST)
    books.files.foresee_file(FileFate(about="a", after_s=60))
    assert books.files.take("a", payments(FIRST)).state == "received"
    assert books.files.feed == []
    hours.pass_(minutes=1)
    books.settle_due()
    assert books.files.find("a").state == "accepted"


def test_a_line_is_called_back_before_its_day_and_after_it() -> None:
    hours = Hours()
    books = opened(hours, FIRST, SECOND, THIRD)
    books.files.foresee_line(LineFate(number=THIRD, recall="refused"))
    books.files.take("a", payments(FIRST, SECOND, THIRD))
    books.files.recall("a-000001")
    _opened_day(hours, books)
    for name in ("a-000002", "a-000002", "a-000003"):
        books.files.recall(name)
    assert _told(books, 4) == [
        (1, "recalled", "recalled", None),
        (2, "done", None, "2026-04-30"),
        (3, "done", None, "2026-04-30"),
        (2, "recalled", "recalled", "2026-04-30"),
        (3, "recall_refused", None, None),
    ]
    assert [each.amount for each in books.statement()] == [-1_001, -1_002, 1_001]
    with pytest.raises(Declined, match="line_not_found"):
        books.files.recall("a-000004")
    require_kept(books)


def test_a_debit_file_comes_back_with_a_result_in_each_line() -> None:
    hours = Hours()
    numbers = (FIRST, "9000003", "7777777", "9000004", "9000005", "9000008", "9000010")
    books = opened(hours, *numbers[:2], *numbers[3:6])
    books.files.foresee_line(LineFate(number=FIRST, after_s=60))
    books.files.take("d", debits(*numbers))
    with pytest.raises(Declined, match="results_not_ready"):
        books.files.result_file("d")
    _opened_day(hours, books)
    assert len(_told(books)) == 1 + len(numbers)
    hours.pass_(minutes=1)
    books.settle_due()
    assert _told(books)[-1] == (0, "results", None, "2026-04-30")
    file = zengin.read(books.files.result_file("d"), near=DAY)
    assert [each.result for each in file.lines] == [0, 1, 2, 3, 4, 9, 9]
    assert (file.trailer.settled_count, file.trailer.settled_total) == (1, 1_000)
    assert [(each.amount, each.words) for each in books.statement()] == [(1_000, "file debit")]
    require_kept(books)


def test_a_debit_needs_a_mandate_and_money() -> None:
    hours = Hours()
    books = opened(hours, FIRST)
    books.check(account(SECOND))
    books.files.take("d", debits(FIRST, SECOND, amount=1_000_001))
    _opened_day(hours, books)
    file = zengin.read(books.files.result_file("d"), near=DAY)
    assert [each.result for each in file.lines] == [1, 4]


def test_a_result_may_be_told_twice() -> None:
    hours = Hours()
    books = opened(hours, FIRST)
    books.files.take("a", payments(FIRST))
    _opened_day(hours, books)
    books.files.say_again("a", 1)
    last, again = books.files.feed[-2:]
    assert (again.position, again.state, again.on) == (last.position + 1, last.state, last.on)


def test_files_survive_a_restart(tmp_path: Path) -> None:
    hours, path = Hours(), tmp_path / "bank.jsonl"
    books = opened(hours, FIRST, SECOND, THIRD, path=path)
    books.files.foresee_line(LineFate(line=1, state="returned", return_after_days=1))
    books.files.foresee_line(LineFate(line=2, after_s=3_600))
    books.files.foresee_file(FileFate(about="late", after_s=10**6))
    books.files.take("a", payments(FIRST, SECOND, THIRD))
    books.files.take("late", payments(FIRST, amount=7))
    _opened_day(hours, books)
    books.files.recall("a-000003")
    before = (books.files.feed, books.files.files, books.statement(), books.client_balance)
    books.close()
    again = Books(hours, path)
    assert (again.files.feed, again.files.files, again.statement(), again.client_balance) == before
    hours.to(date(2026, 5, 1))
    again.settle_due()
    assert [each.state for each in again.files.find("a").lines] == ["returned", "done", "recalled"]
    again.close()
    once_more = Books(hours, path)
    once_more.settle_due()
    assert (once_more.files.feed, once_more.statement()) == (again.files.feed, again.statement())
    once_more.close()


FATES: st.SearchStrategy[LineFate] = st.builds(
    LineFate,
    line=st.sampled_from([None, 1, 2, 3]),
    state=st.sampled_from(["done", "failed", "refused", "returned", "recalled"]),
    after_s=st.sampled_from([0, 60, 10**6]),
    return_after_days=st.integers(1, 4),
    recall=st.sampled_from(["done", "refused"]),
)
STEPS: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(
        st.tuples(st.just("transfers"), st.integers(1, 600_000)),
        st.tuples(st.just("debits"), st.integers(1, 600_000)),
        st.tuples(st.just("pass"), st.integers(1, 72)),
        st.tuples(st.just("fate"), FATES),
        st.tuples(st.just("recall"), st.integers(1, 3)),
    ),
    max_size=15,
)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_whatever_becomes_of_files_no_money_is_made_or_lost(steps: list[tuple[str, Any]]) -> None:
    hours = Hours()
    books = opened(hours, FIRST, SECOND)
    for number, (what, value) in enumerate(steps):
        match what:
            case "transfers":
                books.files.take(f"f{number}", payments(FIRST, SECOND, "7777777", amount=value))
            case "debits":
                books.files.take(f"f{number}", debits(FIRST, SECOND, "7777777", amount=value))
            case "pass":
                hours.pass_(hours=value)
            case "fate":
                books.files.foresee_line(value)
            case _:
                for filed in [each for each in books.files.files.values() if each.state == "accepted"]:
                    books.files.recall(f"{filed.id}-{value:06d}")
        books.settle_due()
        require_kept(books)
    hours.at += timedelta(days=60)
    books.settle_due()
    require_kept(books)
    assert all(filed.closed for filed in books.files.files.values() if filed.state == "accepted")
    assert [each.position for each in books.files.feed] == list(range(1, len(books.files.feed) + 1))
