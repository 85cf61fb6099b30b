"""Clearing files: what of one can be taken. Pure; docs/services/cardnetwork_simulator.md has the layout.

A file that is not whole (cut, no such records, counts or sums that do not agree with its trailer) is taken in no part.
Of a whole one each line that cannot be read is listed with its record and position, and every other is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from kessai.sdk.iso8583 import passes_luhn
from kessai.services.nfc.api.clearing import ClearingLineWrong, LineKind, LineSum
from kessai.services.nfc.domain.clearing import Line

RECORD_BYTES = 160
T = TypeVar("T")
_HEADER = re.compile(rb"HCL(?P<file>[A-Za-z0-9_-]{1,32} {0,31})(?P<day>[0-9]{8})(?P<sequence>[0-9]{6}) {111}")
_TRAILER = re.compile(
    rb"T(?P<count>[0-9]{6})(?P<S>[0-9]{6})(?P<S_minor>[0-9]{15})(?P<R>[0-9]{6})(?P<R_minor>[0-9]{15})"
    rb"(?P<V>[0-9]{6})(?P<V_minor>[0-9]{15}) {90}"
)


class FileWrong(Exception):
    """The file as a whole cannot be taken: `file_unreadable`, `file_of_another_id`, `file_totals_differ`."""

    def __init__(self, code: str, record: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.record = record
        """Where it was found; the header is 1, 0: nowhere in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """A whole file."""

    file_id: str
    day: date
    sequence: int
    count: int
    """Details by the trailer, unreadable ones among them."""
    sums: Mapping[LineKind, LineSum]
    lines: Sequence[Line]
    wrong: Sequence[ClearingLineWrong]


def read_clearing(content: bytes, file_id: str) -> ReadFile:
    """A file; FileWrong when it is not whole."""
    records = content.split(b"\n")
    if records.pop() != b"" or len(records) < 2:
        raise FileWrong("file_unreadable", len(records) + 1)
    for place, record in enumerate(records, 1):
        if len(record) != RECORD_BYTES:
            raise FileWrong("file_unreadable", place)
    opened, closed = _HEADER.fullmatch(records[0]), _TRAILER.fullmatch(records[-1])
    if opened is None or closed is None:
        raise FileWrong("file_unreadable", 1 if opened is None else len(records))
    if opened["file"].decode().rstrip(" ") != file_id:
        raise FileWrong("file_of_another_id", 1)
    lines, wrong = _details(records[1:-1], file_id)
    sums = {
        kind: LineSum(count=int(closed[kind.value]), amount_minor=int(closed[f"{kind.value}_minor"]))
        for kind in LineKind
    }
    _require_totals(sums, int(closed["count"]), lines, wrong, len(records))
    return ReadFile(
        file_id=file_id,
        day=_day_of(opened["day"], 1),
        sequence=int(opened["sequence"]),
        count=int(closed["count"]),
        sums=sums,
        lines=lines,
        wrong=wrong,
    )


def _require_totals(
    sums: Mapping[LineKind, LineSum],
    count: int,
    lines: Sequence[Line],
    wrong: Sequence[ClearingLineWrong],
    trailer: int,
) -> None:
    """The trailer says what the lines come to; of lines that cannot be read, what it says beyond the others."""
    if count != len(lines) + len(wrong) or count != sum(each.count for each in sums.values()):
        raise FileWrong("file_totals_differ", trailer)
    for kind, told in sums.items():
        amounts = [each.amount_minor for each in lines if each.kind is kind]
        less = told.count - len(amounts), told.amount_minor - sum(amounts)
        if less != (0, 0) and not (wrong and 0 < less[0] <= len(wrong) and less[1] >= 0):
            raise FileWrong("file_totals_differ", trailer)


def _day_of(text: bytes, record: int) -> date:
    try:
        return _date(text.decode())
    except ValueError as error:
        raise FileWrong("file_unreadable", record) from error


# -- details --------------------------------------------------------------------------------------------------------


class _Unreadable(Exception):
    def __init__(self, position: int, code: str) -> None:
        super().__init__(code)
        self.position = position
        self.code = code


def _details(records: Iterable[bytes], file_id: str) -> tuple[list[Line], list[ClearingLineWrong]]:
    lines: list[Line] = []
    wrong: list[ClearingLineWrong] = []
    for number, record in enumerate(records, 1):
        try:
            lines.append(_line(record, number, file_id))
        except _Unreadable as error:
            wrong.append(ClearingLineWrong(line=number + 1, position=error.position, code=error.code))
    return lines, wrong


_DIGITS = re.compile(r"[0-9]+")
_TEXT = re.compile(r"[\x20-\x7e]*")
_REFERENCE = re.compile(r"[A-Za-z0-9_-]+ *")
_CODE = re.compile(r"[A-Za-z0-9]{6}| {6}")


def _date(text: str) -> date:
    if not _DIGITS.fullmatch(text):
        raise ValueError(text)
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def _amount(text: str) -> int:
    if (amount := int(text)) <= 0:
        raise ValueError(text)
    return amount


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text.rstrip(" ")

    return read


_number, _text, _reference, _code = (_matching(each) for each in (_DIGITS, _TEXT, _REFERENCE, _CODE))


def _card(text: str) -> str:
    """The issuer's reference; never a card's number, which would be kept in clear with the line."""
    if passes_luhn(card := _reference(text)):
        raise ValueError
    return card


_AT: Mapping[str, tuple[int, int]] = {
    "line": (2, 6), "kind": (8, 1), "card": (9, 16), "amount": (25, 12), "currency": (37, 3), "authorized_on": (40, 8),
    "approval_code": (48, 6), "rrn": (54, 12), "merchant": (66, 15), "mcc": (81, 4), "acquirer": (85, 11),
    "reference": (96, 23), "processed_on": (119, 8), "filler": (127, 34),
}  # fmt: skip
"""Position (from 1) and length of each field."""


def _line(record: bytes, number: int, file_id: str) -> Line:
    if record[:1] != b"D":
        raise _Unreadable(1, "record_unknown")
    try:
        text = record.decode("ascii")
    except UnicodeDecodeError as error:
        raise _Unreadable(error.start + 1, "not_ascii") from error
    fields = _Fields(text)
    if int(fields.read("line", _number, "number_wrong")) != number:
        raise _Unreadable(_AT["line"][0], "line_out_of_order")
    fields.read("filler", _filler, "filler_not_blank")
    return Line(
        file_id=file_id,
        line=number,
        kind=LineKind(fields.read("kind", LineKind, "kind_unknown")),
        card=fields.read("card", _card, "reference_wrong"),
        amount_minor=fields.read("amount", lambda each: _amount(_number(each)), "amount_wrong"),
        currency=fields.read("currency", _number, "number_wrong"),
        authorized_on=fields.read("authorized_on", _date, "date_wrong"),
        approval_code=fields.read("approval_code", _code, "code_wrong") or None,
        rrn=fields.read("rrn", _reference, "reference_wrong"),
        merchant=fields.read("merchant", _text, "text_wrong"),
        mcc=fields.read("mcc", _number, "number_wrong"),
        acquirer=fields.read("acquirer", _number, "number_wrong"),
        reference=fields.read("reference", _number, "number_wrong"),
        processed_on=fields.read("processed_on", _date, "date_wrong"),
    )


def _filler(text: str) -> None:
    if text.strip(" "):
        raise ValueError(text)


class _Fields:
    """A detail, field by field; what cannot be read says where it stands."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, name: str, read: Callable[[str], T], code: str) -> T:
        """A field's value."""
        position, length = _AT[name]
        try:
            return read(self._text[position - 1 : position - 1 + length])
        except ValueError as error:
            raise _Unreadable(position, code) from error
