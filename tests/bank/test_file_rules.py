"""Pure rules about files: what a word of the bank makes of a line, days and hours, codes, terms."""

from __future__ import annotations

from datetime import UTC, date, datetime
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kessai.foundation.clock import TOKYO
from kessai.foundation.config import ConfigError, TomlDocument
from kessai.services.bank.api import (
    BankFile,
    FailureCode,
    FileLine,
    FileState,
    InstructionKind,
    LineState,
    RecallState,
)
from kessai.services.bank.domain import FileEntry, LineChange, customer_code, is_retried, judged, load_terms

NOW = datetime(2030, 4, 9, tzinfo=UTC)
CODES = ("0000000001", "0000000002")
FILE = BankFile(
    file_id="btf_" + "0" * 32,
    kind=InstructionKind.TRANSFER,
    transfer_on=date(2030, 4, 9),
    state=FileState.SENT,
    version=3,
    lines=1,
    total_minor=100,
    open_lines=1,
    content_sha256="0" * 64,
    approvals_needed=2,
    approved=2,
    code=None,
    maker="bank",
    made_at=NOW,
    sent_at=NOW,
    paid_lines=0,
    paid_minor=0,
    unpaid_lines=0,
    unpaid_minor=0,
    approvals=[],
    steps=[],
)
LINE = FileLine(
    file_id=FILE.file_id,
    line=1,
    instruction_id="btr_" + "0" * 32,
    customer_code_1=CODES[0],
    customer_code_2=CODES[1],
    amount_minor=100,
    attempt=1,
    state=LineState.SENT,
    failure_code=None,
    booked_on=None,
    recall=None,
    version=1,
    updated_at=NOW,
)


def entry(word: str, **other: Any) -> FileEntry:
    """What the bank says of the line."""
    plain: dict[str, Any] = {"position": 1, "file_id": FILE.file_id, "line": 1, "codes": CODES, "amount_minor": 100}
    return FileEntry(word=word, **(plain | other))


def _after(words: list[str], line: FileLine = LINE) -> tuple[FileLine, list[str]]:
    set_aside: list[str] = []
    for word in words:
        found = judged(FILE, line, entry(word, code="account_closed"), NOW)
        if isinstance(found, LineChange):
            line = found.line
        elif found is not None:
            set_aside.append(found)
    return line, set_aside


@given(st.permutations(["accepted", "accepted", "done", "done", "returned", "returned"]))
def test_what_is_told_late_twice_or_out_of_order_comes_to_the_same_end(words: list[str]) -> None:
    line, set_aside = _after(words)
    assert (line.state, line.failure_code, set_aside) == (LineState.RETURNED, FailureCode.ACCOUNT_CLOSED, [])


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["done", "failed"], LineState.DONE),
        (["failed", "done"], LineState.FAILED),
        (["refused", "done"], LineState.REFUSED),
        (["accepted", "refused"], LineState.ACCEPTED),
        (["recalled", "returned"], LineState.RECALLED),
    ],
)
def test_what_contradicts_the_line_is_set_aside(words: list[str], end: LineState) -> None:
    line, set_aside = _after(words)
    assert (line.state, set_aside) == (end, ["contradicts"])


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"codes": (CODES[0], "0000000009")}, "other_customer_codes"),
        ({"codes": ("", "")}, "other_customer_codes"),
        ({"amount_minor": 101}, "other_amount"),
        ({"word": "vanished"}, "unknown_word"),
    ],
)
def test_a_result_is_matched_by_line_and_codes_and_amount_together(other: dict[str, object], reason: str) -> None:
    told = replace_entry(other)
    assert judged(FILE, LINE, told, NOW) == reason


def replace_entry(other: dict[str, object]) -> FileEntry:
    """An entry that is different in something."""
    return entry(str(other.get("word", "done")), **{name: each for name, each in other.items() if name != "word"})


def test_what_is_told_of_nothing_of_ours_is_set_aside() -> None:
    assert judged(None, LINE, entry("done"), NOW) == "unknown_file"
    assert judged(FILE, None, entry("done"), NOW) == "unknown_line"
    assert judged(replace(FILE, state=FileState.MADE), LINE, entry("done"), NOW) == "not_sent"


def test_a_debit_does_not_come_back() -> None:
    debit = replace(LINE, instruction_id="bdb_" + "0" * 32, state=LineState.DONE)
    assert judged(FILE, debit, entry("returned"), NOW) == "contradicts"


def test_a_recall_that_is_refused_leaves_the_line_as_it_is() -> None:
    asked = replace(LINE, state=LineState.DONE, recall=RecallState.ASKED)
    found = judged(FILE, asked, entry("recall_refused"), NOW)
    assert isinstance(found, LineChange)
    assert (found.line.state, found.line.recall) == (LineState.DONE, RecallState.REFUSED)
    assert judged(FILE, found.line, entry("recall_refused"), NOW) is None


def test_a_line_is_tried_again_for_a_passing_reason_and_so_often() -> None:
    terms = load_terms().retry
    refused = replace(LINE, state=LineState.REFUSED, failure_code=FailureCode.LIMIT_EXCEEDED)
    assert is_retried(refused, terms)
    assert not is_retried(replace(refused, attempt=terms.attempts_max), terms)
    assert not is_retried(replace(refused, failure_code=FailureCode.NO_ACCOUNT), terms)
    assert not is_retried(replace(refused, state=LineState.FAILED), terms)


def test_customer_codes_are_ten_digits_that_say_nothing_and_stay_the_same() -> None:
    codes = {customer_code("instruction", str(n)) for n in range(1000)}
    assert len(codes) == 1000
    assert all(len(each) == 10 and each.isdigit() for each in codes)
    assert customer_code("owner", "mer:1") == customer_code("owner", "mer:1")


def test_over_the_turn_of_the_year_the_cut_off_is_on_the_last_business_day() -> None:
    terms, kind = load_terms(), InstructionKind.TRANSFER
    first = date(2031, 1, 6)  # the 1st to the 3rd are closed, the 4th and 5th a weekend
    assert terms.cut_off_of(kind, first) == datetime(2030, 12, 30, 15, tzinfo=TOKYO)
    past = datetime(2030, 12, 30, 15, 0, 1, tzinfo=TOKYO)
    assert terms.day_for(kind, first, past) == date(2031, 1, 7)
    assert terms.day_cut_off_on(kind, date(2030, 12, 30), past) == first
    assert terms.day_cut_off_on(kind, date(2030, 12, 30), datetime(2030, 12, 30, 14, tzinfo=TOKYO)) is None


@given(st.dates(date(2026, 1, 1), date(2032, 12, 31)), st.integers(0, 23), st.integers(0, 40))
def test_the_day_of_an_instruction_is_never_cut_off_and_never_before_the_day_asked(
    today: date, hour: int, ahead: int
) -> None:
    terms = load_terms()
    now = datetime.combine(today, datetime.min.time(), TOKYO).replace(hour=hour)
    asked = date.fromordinal(today.toordinal() + ahead)
    for kind in InstructionKind:
        day = terms.day_for(kind, asked, now)
        assert day >= asked
        assert terms.cut_off_of(kind, day) >= now


def test_a_folder_that_is_not_named_is_found_at_its_line() -> None:
    text = resources.files("kessai.config").joinpath("bank.toml").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"connection\.folder"):
        load_terms(TomlDocument(text.replace('way = "http" ', 'way = "folder" '), "bank.toml"))
