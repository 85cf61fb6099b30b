"""Files that were put together by hand, column by column: ours are the same byte for byte."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

from kessai.sdk import zengin
from kessai.sdk.zengin import DepositType, Header, Kind, Line
from tests.sdk.zengin import second_reader
from tests.sdk.zengin.samples import DAY, header

GOLDEN = Path(__file__).parent / "golden"
PLACES: tuple[tuple[str, str, str, str], ...] = (
    ("0001", "ミズホ", "101", "トウキョウ"),
    ("0009", "ﾐﾂｲｽﾐﾄﾓ", "123", "ｼﾝｼﾞｭｸ"),
    ("0017", "", "200", ""),
)


def _line(
    place: tuple[str, str, str, str], kind: DepositType, number: str, name: str, amount: int, **more: object
) -> Line:
    bank, bank_name, branch, branch_name = place
    plain = Line(
        bank_code=bank,
        bank_name=bank_name,
        branch_code=branch,
        branch_name=branch_name,
        deposit_type=kind,
        account_number=number,
        name=name,
        amount=amount,
    )
    return msgspec.structs.replace(plain, **more)


TRANSFERS = [
    _line(PLACES[0], DepositType.ORDINARY, "0000001", "ヤマダ　タロウ", 1, new_code=1, customer_code_1="0000000001"),
    _line(
        *(PLACES[1], DepositType.CURRENT, "7654321", "カ）ガギグゲゴパピプペポａｂｃｄｅｆｇｈ", 9_999_999_999),
        customer_code_1="0000000002",
        customer_code_2="0000000003",
        delivery=8,
    ),
    _line(
        *(("9900", "ゆうちょ", "018", "ゼロイチハチ"), DepositType.SAVINGS, "9876543", "（イ）A.B−C", 12_345),
        new_code=2,
        edi="INV-2026.04 (1)",
    ),
    _line(PLACES[2], DepositType.OTHER, "0123456", "サービス ニッポン シュッパン", 500),
]
DEBIT_HEADER = header(
    kind=Kind.DEBIT,
    client_code="9876543210",
    client_name="ケッサイ(カ",
    day=date(2026, 4, 27),
    deposit_type=DepositType.CURRENT,
    account_number="7654321",
)
DEBITS = [
    _line(PLACES[0], DepositType.ORDINARY, "0000001", "ヤマダ タロウ", 3_000, new_code=1, customer_code_1="0000000001"),
    _line(PLACES[1], DepositType.ORDINARY, "7654321", "サトウ ハナコ", 4_500, customer_code_1="0000000002"),
    _line(PLACES[2], DepositType.CURRENT, "0123456", "スズキ ジロウ", 800, customer_code_1="0000000003"),
    _line(
        *(("0033", "", "001", ""), DepositType.TAX, "7777777", "タカハシ シロウ", 1),
        new_code=2,
        customer_code_1="0000000004",
    ),
    _line(
        *(("0010", "", "301", ""), DepositType.OTHER, "1111111", "タナカ ゴロウ", 20),
        customer_code_1="0000000005",
        customer_code_2="0000000009",
    ),
    _line(
        ("0310", "", "101", ""), DepositType.ORDINARY, "2222222", "イトウ ロクロウ", 300, customer_code_1="0000000006"
    ),
    _line(
        ("0036", "", "201", ""), DepositType.ORDINARY, "3333333", "ワタナベ ナナコ", 4_000, customer_code_1="0000000007"
    ),
]
RESULTS = [
    msgspec.structs.replace(each, result=result) for each, result in zip(DEBITS, (0, 1, 2, 3, 4, 8, 9), strict=True)
]
FILES: dict[str, tuple[Header, list[Line], bool]] = {
    "transfers.txt": (header(bank_name="ミツビシUFJ", branch_name="ホンテン"), TRANSFERS, True),
    "transfers_without_newlines.txt": (header(), TRANSFERS, False),
    "debits.txt": (DEBIT_HEADER, DEBITS, True),
    "debits_with_results.txt": (DEBIT_HEADER, RESULTS, True),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_one_that_was_put_together_by_hand(name: str) -> None:
    head, lines, newline = FILES[name]
    assert zengin.write(head, lines, newline=newline) == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_put_together_by_hand_is_read(name: str) -> None:
    head, lines, newline = FILES[name]
    file = zengin.read((GOLDEN / name).read_bytes(), near=DAY)
    assert (file.header, file.newline) == (head.as_written(), newline)
    assert file.lines == [each.as_written() for each in lines]
    assert second_reader.read((GOLDEN / name).read_bytes(), DAY).header["client_name"] == file.header.client_name


def test_a_debit_file_that_came_back_totals_what_was_paid_and_what_was_not() -> None:
    trailer = zengin.read((GOLDEN / "debits_with_results.txt").read_bytes(), near=DAY).trailer
    assert (trailer.count, trailer.total) == (7, 12_621)
    assert (trailer.settled_count, trailer.settled_total) == (1, 3_000)
    assert (trailer.failed_count, trailer.failed_total) == (6, 9_621)
    assert trailer.answered


def test_every_file_kept_here_is_compared() -> None:
    assert {each.name for each in GOLDEN.glob("*.txt")} == set(FILES)
