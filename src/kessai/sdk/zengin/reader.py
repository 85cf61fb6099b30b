"""Reading a file, record by record, in memory that does not grow with it.

Bytes that come from outside are believed only as far as they say what the format lets them say: every field of every
record is looked at, the order of the records, what the trailer counts, and what comes after the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec

from kessai.foundation.calendar import is_business_day
from kessai.sdk.zengin.characters import ENCODING
from kessai.sdk.zengin.layout import (
    CRLF,
    DATA,
    DEBIT_HEADER,
    DEBIT_LINE,
    DEBIT_TRAILER,
    EDI_FLAG,
    END_LAYOUT,
    RECORD_BYTES,
    TRANSFER_HEADER,
    TRANSFER_LINE,
    TRANSFER_LINE_EDI,
    TRANSFER_TRAILER,
    Holds,
    Layout,
)
from kessai.sdk.zengin.records import NO_CODE, DepositType, File, Header, Kind, Line, Trailer
from kessai.sdk.zengin.refusals import ZenginError
from kessai.sdk.zengin.writer import Sums

_TOKYO = ZoneInfo("Asia/Tokyo")
_DEPOSIT_TYPES = {str(each.value): each for each in DepositType}
_HEADERS = {b"21": (Kind.TRANSFER, TRANSFER_HEADER), b"91": (Kind.DEBIT, DEBIT_HEADER)}


def read(data: bytes, *, near: date | None = None, slash: bool = False) -> File:
    """A whole file; raises ZenginError. `near` and `slash` as `decode` has them.

    In a debit file that asks, lines have no result; in one that came back each has.
    """
    records = _Records((data,))
    header, *lines, trailer = _decoded(records, near, slash)
    assert isinstance(header, Header)
    assert isinstance(trailer, Trailer)
    found = [each for each in lines if isinstance(each, Line)]
    if header.kind is Kind.DEBIT and not trailer.answered:
        found = [msgspec.structs.replace(each, result=None) for each in found]
    return File(header=header, lines=found, trailer=trailer, newline=records.newline)


def decode(
    chunks: Iterable[bytes], *, near: date | None = None, slash: bool = False
) -> Iterator[Header | Line | Trailer]:
    """The header, each line, and the trailer once the end was seen too; raises ZenginError.

    `chunks` are cut anywhere. The file has no year: its day is the nearest one to `near` in a year before, the same, or
    after; without `near` the business day that is nearest to today in Tokyo. `slash`: the bank takes `/` in texts.
    A debit's `result` is the digit that stands there, which is 0 in a file that asks as well: `Trailer.answered` tells.
    """
    return _decoded(_Records(chunks), near, slash)


class _Records:
    """The records of some chunks; it knows how many it gave and whether they end with CR LF."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._data = b""
        self._at = 0
        self._unit = RECORD_BYTES
        self.newline = False
        self.number = 0
        """Of the record that was given last; the first is 1."""

    def next(self) -> bytes:
        """The next record; raises ZenginError when there is no whole one."""
        start, end = self._at, self._at + self._unit
        self.number += 1
        if end > len(self._data):
            start, end = self._more()
        if self.newline and self._data[end - len(CRLF) : end] != CRLF:
            _require_unbroken(self._data[start : start + RECORD_BYTES], self.number)
            raise ZenginError(self.number, RECORD_BYTES + 1, "mixed_newlines")
        self._at = end
        return self._data[start : start + RECORD_BYTES]

    def require_end(self) -> None:
        """Raises ZenginError when anything follows."""
        if self._filled(1):
            raise ZenginError(self.number + 1, 1, "after_end")

    def _more(self) -> tuple[int, int]:
        """Where the next record is, once all of it is there."""
        if self.number == 1:
            self._filled(RECORD_BYTES + len(CRLF))
            self.newline = self._data[RECORD_BYTES : RECORD_BYTES + len(CRLF)] == CRLF
            self._unit += len(CRLF) * self.newline
        if not self._filled(self._unit):
            _require_unbroken(self._data[self._at :][:RECORD_BYTES], self.number)
            raise ZenginError(self.number, len(self._data) - self._at + 1, "truncated")
        return self._at, self._at + self._unit

    def _filled(self, wanted: int) -> bool:
        """Whether so many bytes are there, after reading on."""
        while len(self._data) - self._at < wanted:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._data, self._at = self._data[self._at :] + bytes(chunk), 0
        return True


def _require_unbroken(record: bytes, number: int) -> None:
    """Raises ZenginError when a line break stands in it; one before it ends the record before in another manner."""
    place = next((index for index, each in enumerate(record) if each in CRLF), None)
    if place == 0 and number > 1:
        raise ZenginError(number - 1, RECORD_BYTES + 1, "mixed_newlines")
    if place is not None:
        raise ZenginError(number, place + 1, "short_record")


def _decoded(records: _Records, near: date | None, slash: bool) -> Iterator[Header | Line | Trailer]:
    header = _header(records.next(), near, slash)
    yield header
    sums = Sums(header.kind)
    read_line = _transfer if header.kind is Kind.TRANSFER else _debit
    while True:
        record = records.next()
        if record[0] != DATA:
            break
        line = read_line(record, records.number, slash)
        sums.add(line.amount, line.result, records.number)
        yield line
    trailer = _trailer(record, sums, records, slash)
    _accepted(END_LAYOUT, records.next(), records.number, slash)
    records.require_end()
    yield trailer


def _accepted(layout: Layout, record: bytes, number: int, slash: bool) -> str:
    """The record as text, one character a byte; raises ZenginError at the first byte that is wrong."""
    if not layout.accepts(slash).fullmatch(record):
        _require_type(layout, record, number)
        layout.refuse(record, slash=slash, line=number)
    return record.decode(ENCODING)


def _require_type(layout: Layout, record: bytes, number: int) -> None:
    """Raises ZenginError when it is a record of another type, or one that broke off."""
    if record[:1] != layout.fields[0].bytes:
        _require_unbroken(record[:1], number)
        raise ZenginError(number, 1, "unexpected_record")
    _require_unbroken(record, number)


def _header(record: bytes, near: date | None, slash: bool) -> Header:
    _require_type(TRANSFER_HEADER, record, 1)
    if record[1:3] not in _HEADERS:
        raise ZenginError(1, TRANSFER_HEADER["kind"].position, "value_not_allowed", "It is 21 or 91.")
    kind, layout = _HEADERS[record[1:3]]
    text = _accepted(layout, record, 1, slash)
    return Header(
        kind=kind,
        client_code=text[4:14],
        client_name=text[14:54].rstrip(),
        day=_day(text[54:58], near, layout["day"].position),
        bank_code=text[58:62],
        bank_name=text[62:77].rstrip(),
        branch_code=text[77:80],
        branch_name=text[80:95].rstrip(),
        deposit_type=_DEPOSIT_TYPES[text[95]],
        account_number=text[96:103],
    )


def _day(digits: str, near: date | None, position: int) -> date:
    """The day that MMDD names; a bank business day."""
    around = near or datetime.now(UTC).astimezone(_TOKYO).date()
    found = list(_days(int(digits[:2]), int(digits[2:]), around))
    if not found:
        raise ZenginError(1, position, "invalid_day", f"There is no day {digits} near {around}.")
    found.sort(key=lambda each: abs(each - around))
    day = next((each for each in found if near is None and is_business_day(each)), found[0])
    if not is_business_day(day):
        raise ZenginError(1, position, "not_a_business_day", f"Banks are closed on {day}.")
    return day


def _days(month: int, day: int, around: date) -> Iterator[date]:
    for year in range(around.year - 1, around.year + 2):
        try:
            yield date(year, month, day)
        except ValueError:  # no such day, at least not in that year
            continue


def _transfer(record: bytes, number: int, slash: bool) -> Line:
    with_edi = record[EDI_FLAG] == b"Y"
    text = _accepted(TRANSFER_LINE_EDI if with_edi else TRANSFER_LINE, record, number, slash)
    return Line(
        bank_code=text[1:5],
        bank_name=text[5:20].rstrip(),
        branch_code=text[20:23],
        branch_name=text[23:38].rstrip(),
        deposit_type=_DEPOSIT_TYPES[text[42]],
        account_number=text[43:50],
        name=text[50:80].rstrip(),
        amount=int(text[80:90]),
        new_code=int(text[90]),
        customer_code_1=NO_CODE if with_edi else text[91:101],
        customer_code_2=NO_CODE if with_edi else text[101:111],
        edi=text[91:111].rstrip() if with_edi else None,
        delivery=int(text[111]),
    )


def _debit(record: bytes, number: int, slash: bool) -> Line:
    text = _accepted(DEBIT_LINE, record, number, slash)
    return Line(
        bank_code=text[1:5],
        bank_name=text[5:20].rstrip(),
        branch_code=text[20:23],
        branch_name=text[23:38].rstrip(),
        deposit_type=_DEPOSIT_TYPES[text[42]],
        account_number=text[43:50],
        name=text[50:80].rstrip(),
        amount=int(text[80:90]),
        new_code=int(text[90]),
        customer_code_1=text[91:101],
        customer_code_2=text[101:111],
        result=int(text[111]),
    )


def _trailer(record: bytes, sums: Sums, records: _Records, slash: bool) -> Trailer:
    """What it says, once it has been compared with the lines."""
    number = records.number
    layout = TRANSFER_TRAILER if sums.kind is Kind.TRANSFER else DEBIT_TRAILER
    text = _accepted(layout, record, number, slash)
    said = {each.name: int(text[each.place]) for each in layout.fields if each.holds is Holds.DIGITS}
    sums.require_lines()
    for name, value in _counted(said, sums).items():
        if said[name] != value:
            code = "count_differs" if name.endswith("count") else "total_differs"
            message = f"{name}: {said[name]}; the lines come to {value}."
            raise ZenginError(number, layout[name].position, code, message)
    return Trailer(**said)


def _counted(said: dict[str, int], sums: Sums) -> dict[str, int]:
    """What the trailer has to say of the lines. A debit file that asks says nothing of settled and failed ones."""
    counted = {"count": sums.count, "total": sums.total}
    if sums.kind is Kind.TRANSFER:
        return counted
    results = {
        "settled_count": sums.settled_count,
        "settled_total": sums.settled_total,
        "failed_count": sums.count - sums.settled_count,
        "failed_total": sums.total - sums.settled_total,
    }
    asks = sums.settled_count == sums.count and not any(said[name] for name in results)
    return counted | (dict.fromkeys(results, 0) if asks else results)
