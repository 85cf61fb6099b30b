"""Every refusal names the record, the byte and a stable code, when a file is read and when one is written."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from kessai.sdk import zengin
from kessai.sdk.zengin import DepositType, Header, Kind, Line, ZenginError
from tests.sdk.zengin.samples import DAY, file_of, header, line

NEXT = date(2026, 5, 1)
DEBITS: dict[str, Any] = {"kind": Kind.DEBIT}


def _refused(data: bytes, **other: Any) -> tuple[int, int, str]:
    with pytest.raises(ZenginError) as caught:
        zengin.read(data, near=DAY, **other)
    assert caught.value.code in zengin.CODES
    assert str(caught.value).startswith(f"line {caught.value.line}, position {caught.value.position}: ")
    return caught.value.line, caught.value.position, caught.value.code


def _changed(data: bytes, record: int, position: int, text: bytes) -> bytes:
    """A file in which some bytes of a record are other ones."""
    at = (record - 1) * 122 + position - 1
    return data[:at] + text + data[at + len(text) :]


@pytest.mark.parametrize(
    ("record", "position", "text", "code"),
    [
        (1, 1, b"2", "unexpected_record"),
        (1, 2, b"22", "value_not_allowed"),
        (1, 4, b"1", "value_not_allowed"),
        (1, 9, b"A", "not_digits"),
        (1, 15, b" " * 40, "name_missing"),
        (1, 20, b"a", "character_not_allowed"),
        (1, 55, b"1332", "invalid_day"),
        (1, 55, b"0000", "invalid_day"),
        (1, 55, b"0230", "invalid_day"),
        (1, 55, b"0429", "not_a_business_day"),
        (1, 55, b"0502", "not_a_business_day"),
        (1, 55, b"1231", "not_a_business_day"),
        (1, 55, b"0103", "not_a_business_day"),
        (1, 63, b" ", "not_left_justified"),
        (1, 96, b"4", "value_not_allowed"),
        (1, 110, b"0", "not_spaces"),
        (2, 1, b"3", "unexpected_record"),
        (2, 6, b"\xa6", "character_not_allowed"),
        (2, 39, b"1", "not_zeros"),
        (2, 43, b"3", "value_not_allowed"),
        (2, 44, b" ", "not_digits"),
        (2, 51, b" ", "not_left_justified"),
        (2, 51, b" " * 30, "name_missing"),
        (2, 53, b"\xb0", "character_not_allowed"),
        (2, 53, b"\xa7", "character_not_allowed"),
        (2, 53, b"/", "character_not_allowed"),
        (2, 53, b"\x82\xa0", "character_not_allowed"),
        (2, 81, b"0" * 10, "amount_zero"),
        (2, 81, b"-", "not_digits"),
        (2, 91, b"3", "value_not_allowed"),
        (2, 111, b"A", "not_digits"),
        (2, 112, b"0", "value_not_allowed"),
        (2, 113, b"N", "value_not_allowed"),
        (2, 120, b"\0", "not_spaces"),
        (2, 121, b"  ", "mixed_newlines"),
        (2, 60, b"\r\n", "short_record"),
        (3, 2, b"000002", "count_differs"),
        (3, 8, b"000000001001", "total_differs"),
        (3, 20, b"0", "not_spaces"),
        (4, 1, b"8", "unexpected_record"),
        (4, 2, b"9", "not_spaces"),
    ],
)
def test_a_byte_that_is_wrong_is_named(record: int, position: int, text: bytes, code: str) -> None:
    assert _refused(_changed(file_of(), record, position, text)) == (record, position, code)


@pytest.mark.parametrize(
    ("data", "line_number", "position", "code"),
    [
        (b"", 1, 1, "truncated"),
        (b"1", 1, 2, "truncated"),
        (file_of()[:121], 1, 121, "mixed_newlines"),
        (file_of()[:122], 2, 1, "truncated"),
        (file_of()[:300], 3, 57, "truncated"),
        (file_of()[:-1], 4, 122, "truncated"),
        (file_of()[:366], 4, 1, "truncated"),
        (file_of(newline=False)[:-1], 4, 120, "truncated"),
        (file_of() + b"\x1a", 5, 1, "after_end"),
        (file_of() + b"\r\n", 5, 1, "after_end"),
        (file_of() + file_of(), 5, 1, "after_end"),
        (file_of(newline=False) + b"\r\n", 5, 1, "after_end"),
        (file_of()[:122] + file_of()[244:], 2, 1, "no_lines"),
        (file_of()[:244] + file_of()[366:], 3, 1, "unexpected_record"),
        (file_of()[:122] + file_of(newline=False)[120:], 2, 121, "mixed_newlines"),
        (file_of(newline=False)[:120] + b"\n" + file_of(newline=False)[120:], 1, 121, "mixed_newlines"),
        (file_of()[:200] + file_of()[201:], 2, 120, "short_record"),
        (b"\xef\xbb\xbf" + file_of(), 1, 1, "unexpected_record"),
        (file_of().decode("cp932").encode("utf-16-le"), 1, 2, "value_not_allowed"),
    ],
)
def test_records_that_are_missing_cut_or_too_many_are_named(
    data: bytes, line_number: int, position: int, code: str
) -> None:
    assert _refused(data) == (line_number, position, code)


def test_a_debit_files_trailer_has_to_agree_with_its_results() -> None:
    data = file_of(line(result=0, amount=300), line(result=1, amount=500), **DEBITS)
    assert zengin.read(data, near=DAY).trailer.failed_total == 500
    for position, text, code in [
        (20, b"000002", "count_differs"),
        (26, b"000000000301", "total_differs"),
        (38, b"000000", "count_differs"),
        (44, b"000000000501", "total_differs"),
    ]:
        assert _refused(_changed(data, 4, position, text)) == (4, position, code)
    asked = _changed(data, 4, 20, b"0" * 36)
    assert _refused(asked) == (4, 20, "count_differs")
    assert _refused(_changed(data, 3, 112, b"5")) == (3, 112, "value_not_allowed")


@pytest.mark.parametrize(
    ("head", "lines", "line_number", "position", "code"),
    [
        ({"day": date(2026, 4, 29)}, [line()], 1, 55, "not_a_business_day"),
        ({"client_name": "株式会社"}, [line()], 1, 15, "character_not_allowed"),
        ({"client_name": "  "}, [line()], 1, 15, "name_missing"),
        ({"client_code": "123"}, [line()], 1, 5, "wrong_length"),
        ({"client_code": "12345678９0"}, [line()], 1, 13, "not_digits"),
        ({"deposit_type": DepositType.SAVINGS}, [line()], 1, 96, "value_not_allowed"),
        ({}, [], 2, 1, "no_lines"),
        ({}, [line(), line(name="ガヲ")], 3, 53, "character_not_allowed"),
        ({}, [line(name="ア" * 31)], 2, 81, "too_long"),
        ({}, [line(name="ガ" * 16)], 2, 81, "too_long"),
        ({}, [line(name="")], 2, 51, "name_missing"),
        ({}, [line(bank_code="00050", bank_name="ABC")], 2, 2, "wrong_length"),
        ({}, [line(bank_code="000", bank_name="5ABCDEFGHIJKLMNO")], 2, 2, "wrong_length"),
        ({}, [line(account_number="123456A")], 2, 50, "not_digits"),
        ({}, [line(account_number="１２３４５６７")], 2, 44, "not_digits"),
        ({}, [line(amount=0)], 2, 81, "amount_zero"),
        ({}, [line(amount=-1)], 2, 81, "out_of_range"),
        ({}, [line(amount=10**10)], 2, 81, "out_of_range"),
        ({}, [line(new_code=3)], 2, 91, "value_not_allowed"),
        ({}, [line(new_code=10)], 2, 91, "out_of_range"),
        ({}, [line(delivery=9)], 2, 112, "value_not_allowed"),
        ({}, [line(customer_code_1="1")], 2, 92, "wrong_length"),
        ({}, [line(edi="A", customer_code_1="0000000001")], 2, 92, "edi_and_customer_codes"),
        ({}, [line(edi="ガ" * 11)], 2, 112, "too_long"),
        ({}, [line(result=0)], 2, 112, "result_not_allowed"),
        ({}, [line(deposit_type=DepositType.TAX)], 2, 43, "value_not_allowed"),
        (DEBITS, [line(edi="A")], 2, 92, "edi_not_allowed"),
        (DEBITS, [line(result=0), line()], 3, 112, "result_missing"),
        (DEBITS, [line(result=5)], 2, 112, "value_not_allowed"),
        (DEBITS, [line(deposit_type=DepositType.SAVINGS)], 2, 43, "value_not_allowed"),
        ({}, [line(amount=9_999_999_999)] * 101, 102, 81, "total_too_large"),
    ],
)
def test_what_cannot_be_written_is_named_before_there_is_a_file(
    head: dict[str, Any], lines: list[Line], line_number: int, position: int, code: str
) -> None:
    with pytest.raises(ZenginError) as caught:
        zengin.write(header(**head), lines)
    assert (caught.value.line, caught.value.position, caught.value.code) == (line_number, position, code)


def test_a_message_never_shows_what_a_file_has_of_names_and_numbers() -> None:
    data = _changed(file_of(line(name="ﾋﾐﾂ ﾊﾅｺ", account_number="8765432")), 2, 60, b"?")
    with pytest.raises(ZenginError) as caught:
        zengin.read(data, near=DAY)
    assert "ﾋﾐﾂ" not in str(caught.value)
    assert "8765432" not in str(caught.value)


def test_a_slash_is_read_only_from_banks_that_take_it() -> None:
    data = zengin.write(header(), [line(name="A/B")], slash=True)
    assert zengin.read(data, near=DAY, slash=True).lines[0].name == "A/B"
    assert _refused(data) == (2, 52, "character_not_allowed")


@pytest.mark.parametrize(
    ("day", "near"),
    [
        (date(2026, 12, 30), date(2027, 1, 4)),
        (date(2027, 1, 4), date(2026, 12, 30)),
        (date(2028, 2, 29), date(2028, 2, 1)),
        (DAY, DAY),
        (NEXT, DAY),
    ],
)
def test_the_year_is_the_one_near_which_it_is_read(day: date, near: date) -> None:
    assert zengin.read(file_of(day=day), near=near).header.day == day


def test_without_a_date_to_be_near_the_day_is_a_business_day_of_this_time() -> None:
    found: Header = zengin.read(file_of()).header
    assert (found.day.month, found.day.day) == (DAY.month, DAY.day)


def test_a_leap_day_is_no_day_near_other_years() -> None:
    assert _refused_near(file_of(day=date(2028, 2, 29)), date(2026, 2, 1)) == "invalid_day"


def _refused_near(data: bytes, near: date) -> str:
    with pytest.raises(ZenginError) as caught:
        zengin.read(data, near=near)
    return caught.value.code


def test_a_file_of_more_lines_than_the_trailer_can_count_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kessai.sdk.zengin.writer.COUNT_MAX", 3)
    with pytest.raises(ZenginError) as caught:
        zengin.write(header(), [line()] * 4)
    assert (caught.value.line, caught.value.code) == (5, "too_many_lines")
