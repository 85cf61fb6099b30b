"""Journals as 弥生会計 imports them (仕訳日記帳, 弥生インポート形式): 25 columns, cp932, no header.

The columns are explained in docs/services/books_forms.md. 弥生 keeps yen: lines of other assets are left out, and
counted. Tax stands on lines of its own in the books, which is what 弥生 calls 別記 (税抜経理).
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from itertools import zip_longest
from typing import BinaryIO

from kessai.foundation.errors import Refused
from kessai.services.books.domain.exporting import JournalBook, Voucher, VoucherLine
from kessai.services.books.service.forms.separated import encoded

AMOUNT_MAX = 99_999_999_999
"""Eleven digits."""
NO_TAX = "対象外"
TAX_NAMES = {
    "out10": "課税売上別10%",
    "out08": "課税売上別軽減8%",
    "in10": "課対仕入別10%",
    "in08": "課対仕入別軽減8%",
    "exempt": "非課売上",
    "free": "輸出売上",
}
"""税区分 of a tax code; every other is 対象外."""
NAME_BYTES, SUMMARY_BYTES, MEMO_BYTES = 24, 64, 180
_SINGLE, _FIRST, _MIDDLE, _LAST = "2000", "2110", "2100", "2101"
_JOURNAL, _SLIP = "0", "3"
_FORMULA = str.maketrans("=+-@", "＝＋－＠")


COLUMNS = (
    *("識別フラグ", "伝票No.", "決算", "取引日付"),
    *("借方勘定科目", "借方補助科目", "借方部門", "借方税区分", "借方金額", "借方税金額"),
    *("貸方勘定科目", "貸方補助科目", "貸方部門", "貸方税区分", "貸方金額", "貸方税金額"),
    *("摘要", "番号", "期日", "タイプ", "生成元", "仕訳メモ", "付箋1", "付箋2", "調整"),
)
"""What the columns are; the file itself has no header."""


class YayoiPen:
    """A journal of one debit and one credit is one row; any other is a 振替伝票 of several rows."""

    def __init__(self, book: JournalBook, out: BinaryIO) -> None:
        self._out = out
        self._names = _names(book)
        self.left_out = 0

    def vouchers(self, vouchers: list[Voucher]) -> None:
        """Write some journals; Refused `amount_out_of_form` above eleven digits."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
        for voucher in vouchers:
            writer.writerows(self._rows(voucher))
        self._out.write(encoded(text.getvalue(), "cp932"))

    def close(self) -> None:
        """Nothing follows."""

    def _rows(self, voucher: Voucher) -> list[list[str | int]]:
        yen = [line for line in voucher.lines if line.asset == "JPY"]
        self.left_out += len(voucher.lines) - len(yen)
        debits, credited = [e for e in yen if e.amount > 0], [e for e in yen if e.amount < 0]
        pairs = list(zip_longest(debits, credited))
        single = len(debits) == len(credited) == 1
        return [self._row(voucher, *pair, _flag(at, len(pairs), single=single)) for at, pair in enumerate(pairs)]

    def _row(
        self, voucher: Voucher, debit: VoucherLine | None, credit: VoucherLine | None, flag: str
    ) -> list[str | int]:
        memo = " ".join(each for each in (voucher.journal_id, voucher.payment_id, voucher.merchant) if each)
        return [
            flag,
            "",  # 伝票No.: 弥生 numbers by itself
            "",
            f"{voucher.booked_on:%Y/%m/%d}",
            *self._side(debit),
            *self._side(credit),
            _cut(_harmless(voucher.description), SUMMARY_BYTES),
            "",
            "",
            _JOURNAL if flag == _SINGLE else _SLIP,
            "",
            _cut(memo, MEMO_BYTES),
            "0",
            "0",
            "no",
        ]  # fmt: skip

    def _side(self, line: VoucherLine | None) -> list[str | int]:
        """勘定科目, 補助科目, 部門, 税区分, 金額, 税金額 of one side."""
        if line is None:
            return ["", "", "", NO_TAX, 0, 0]
        amount = abs(line.amount)
        if amount > AMOUNT_MAX:
            raise Refused("amount_out_of_form", f"An amount of {amount:,} yen has more digits than this form holds.")
        return [self._names[line.account], "", "", TAX_NAMES.get(line.tax_code, NO_TAX), amount, 0]


def _names(book: JournalBook) -> dict[str, str]:
    """勘定科目 by code, as much as the column holds; where two would be the same, with their codes before them."""
    names = {account.code: _named(account.name_ja) for account in book.accounts}
    twice = {name for name, times in Counter(names.values()).items() if times > 1}
    return {code: _cut(f"{code} {name}", NAME_BYTES) if name in twice else name for code, name in names.items()}


def _named(name: str) -> str:
    """A name that fits: without what stands in brackets after it if need be, else cut."""
    return name if _cut(name, NAME_BYTES) == name else _cut(name.partition(" (")[0], NAME_BYTES)


def _flag(at: int, rows: int, *, single: bool) -> str:
    if single:
        return _SINGLE
    return _FIRST if at == 0 else _LAST if at == rows - 1 else _MIDDLE


def _harmless(text: str) -> str:
    """A text that no spreadsheet runs: its first character is written full-width."""
    return text[:1].translate(_FORMULA) + text[1:]


def _cut(text: str, size: int) -> str:
    """As much of a text as so many bytes of cp932 hold: 弥生 would cut the rest off."""
    line, used = "", 0
    for each in text:
        used += 1 if each.isascii() or "｡" <= each <= "ﾟ" else 2
        if used > size:
            break
        line += each if each.isprintable() else " "
    return line
