"""Writing a file, record by record.

A record is put together and accepted in one step when all of it is in the format's characters already. Only when it is
not are its texts folded, and what cannot be written is refused field by field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NoReturn

import msgspec

from kessai.foundation.calendar import is_business_day
from kessai.sdk.zengin.characters import ENCODING, fold, kana
from kessai.sdk.zengin.layout import (
    COUNT_MAX,
    CRLF,
    DEBIT_HEADER,
    DEBIT_LINE,
    END_RECORD,
    RECORD_BYTES,
    TOTAL_MAX,
    TRANSFER_HEADER,
    TRANSFER_LINE,
    TRANSFER_LINE_EDI,
    Field,
    Holds,
    Layout,
)
from kessai.sdk.zengin.records import NO_CODE, Header, Kind, Line
from kessai.sdk.zengin.refusals import ZenginError

Values = dict[str, str | int]


def write(header: Header, lines: Iterable[Line], *, newline: bool = True, slash: bool = False) -> bytes:
    """A whole file; `newline` ends each record with CR LF. Raises ZenginError, and then nothing was made."""
    return b"".join(encode(header, lines, newline=newline, slash=slash))


def encode(header: Header, lines: Iterable[Line], *, newline: bool = True, slash: bool = False) -> Iterator[bytes]:
    """The file's records in order, in memory that does not grow with their number.

    Raises ZenginError at the first record that cannot be written. Those before it have been given by then, so write
    them under another name until the last one is there. `slash`: the bank takes `/` in texts.
    """
    tail = CRLF if newline else b""
    yield _header(header, slash) + tail
    sums = Sums(header.kind)
    written = _transfer if header.kind is Kind.TRANSFER else _debit
    for number, line in enumerate(lines, start=2):
        record = written(line, number, slash)
        sums.add(line.amount, line.result, number)
        yield record + tail
    sums.require_lines()
    yield _trailer(sums) + tail
    yield END_RECORD + tail


class Sums:
    """What the trailer says of the lines so far."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.count = 0
        self.total = 0
        self.settled_count = 0
        self.settled_total = 0
        self.answered: bool | None = None
        """Whether lines have results; None before the first."""

    def add(self, amount: int, result: int | None, number: int) -> None:
        """One more; `result` is None in what is asked for."""
        self.count += 1
        self.total += amount
        if self.count > COUNT_MAX:
            raise ZenginError(number, 1, "too_many_lines")
        if self.total > TOTAL_MAX:
            raise ZenginError(number, DEBIT_LINE["amount"].position, "total_too_large")
        if self.kind is Kind.DEBIT:
            self._settle(amount, result, number)

    def _settle(self, amount: int, result: int | None, number: int) -> None:
        answered = result is not None
        if self.answered not in (None, answered):
            raise ZenginError(number, DEBIT_LINE["result"].position, "result_missing")
        self.answered = answered
        if result == 0:
            self.settled_count += 1
            self.settled_total += amount

    def require_lines(self) -> None:
        """Raises ZenginError when there was none."""
        if not self.count:
            raise ZenginError(2, 1, "no_lines")


def _header(header: Header, slash: bool) -> bytes:
    layout = TRANSFER_HEADER if header.kind is Kind.TRANSFER else DEBIT_HEADER
    record = _composed(layout, header_values(header), 1, slash)
    if not is_business_day(header.day):
        raise ZenginError(1, layout["day"].position, "not_a_business_day", f"Banks are closed on {header.day}.")
    return record


def header_values(header: Header) -> Values:
    """What its fields hold, by their names."""
    return {
        "client_code": header.client_code,
        "client_name": header.client_name,
        "day": header.day.strftime("%m%d"),
        "bank_code": header.bank_code,
        "bank_name": header.bank_name,
        "branch_code": header.branch_code,
        "branch_name": header.branch_name,
        "deposit_type": header.deposit_type,
        "account_number": header.account_number,
    }


def _transfer(line: Line, number: int, slash: bool) -> bytes:
    """A transfer's data record."""
    layout = TRANSFER_LINE if line.edi is None else TRANSFER_LINE_EDI
    accepts = layout.accepts(slash).fullmatch
    if line.result is None and (line.edi is None or not _has_codes(line)):
        record = _transfer_as_it_is(line)
        if accepts(record) or accepts(record := _transfer_as_it_is(_folded(line))):
            return record
    return _transfer_in_parts(layout, line, number, slash)


def _transfer_as_it_is(line: Line) -> bytes:
    """The record if every part fits as it is; every part has at least its field's length, so that 120 bytes together
    are each in its place."""
    if line.edi is None:
        codes, flag = f"{line.customer_code_1:10}{line.customer_code_2:10}", " "
    else:
        codes, flag = f"{line.edi:20}", "Y"
    text = (
        f"2{line.bank_code:4}{line.bank_name:15}{line.branch_code:3}{line.branch_name:15}0000{line.deposit_type:d}"
        f"{line.account_number:7}{line.name:30}{line.amount:010d}{line.new_code:d}{codes}{line.delivery:d}{flag}       "
    )
    return text.encode(ENCODING, "replace")


def _transfer_in_parts(layout: Layout, line: Line, number: int, slash: bool) -> bytes:
    values = _line_values(line) | {"delivery": line.delivery}
    if line.edi is not None:
        if _has_codes(line):
            raise ZenginError(number, layout["edi"].position, "edi_and_customer_codes")
        values["edi"] = line.edi
    if line.result is not None:
        raise ZenginError(number, DEBIT_LINE["result"].position, "result_not_allowed")
    return _composed(layout, values, number, slash)


def _has_codes(line: Line) -> bool:
    return not line.customer_code_1 == line.customer_code_2 == NO_CODE


def _debit(line: Line, number: int, slash: bool) -> bytes:
    """A debit's data record."""
    if line.edi is not None:
        raise ZenginError(number, TRANSFER_LINE_EDI["edi"].position, "edi_not_allowed")
    accepts = DEBIT_LINE.accepts(slash).fullmatch
    record = _debit_as_it_is(line)
    if accepts(record) or accepts(record := _debit_as_it_is(_folded(line))):
        return record
    return _composed(DEBIT_LINE, _line_values(line) | {"result": line.result or 0}, number, slash)


def _debit_as_it_is(line: Line) -> bytes:
    text = (
        f"2{line.bank_code:4}{line.bank_name:15}{line.branch_code:3}{line.branch_name:15}    {line.deposit_type:d}"
        f"{line.account_number:7}{line.name:30}{line.amount:010d}{line.new_code:d}"
        f"{line.customer_code_1:10}{line.customer_code_2:10}{line.result or 0:d}        "
    )
    return text.encode(ENCODING, "replace")


def _folded(line: Line) -> Line:
    """The line with its texts folded as far as they can be."""
    return msgspec.structs.replace(
        line,
        bank_name=fold(line.bank_name),
        branch_name=fold(line.branch_name),
        name=fold(line.name),
        edi=None if line.edi is None else fold(line.edi),
    )


def _line_values(line: Line) -> Values:
    return {
        "bank_code": line.bank_code,
        "bank_name": line.bank_name,
        "branch_code": line.branch_code,
        "branch_name": line.branch_name,
        "deposit_type": line.deposit_type,
        "account_number": line.account_number,
        "name": line.name,
        "amount": line.amount,
        "new_code": line.new_code,
        "customer_code_1": line.customer_code_1,
        "customer_code_2": line.customer_code_2,
    }


def _trailer(sums: Sums) -> bytes:
    text = f"8{sums.count:06d}{sums.total:012d}"
    if sums.kind is Kind.DEBIT:
        failed = (sums.count - sums.settled_count, sums.total - sums.settled_total) if sums.answered else (0, 0)
        text += f"{sums.settled_count:06d}{sums.settled_total:012d}{failed[0]:06d}{failed[1]:012d}"
    return text.encode().ljust(RECORD_BYTES)


def _composed(layout: Layout, values: Values, number: int, slash: bool) -> bytes:
    """The record, from folded texts; raises ZenginError at the first field that cannot be written."""
    parts: list[bytes] = []
    for field in layout.fields:
        part = field.bytes if field.name not in values else _part(field, values[field.name], number, slash)
        field.require(part, slash=slash, line=number)
        parts.append(part)
    return b"".join(parts)


def _part(field: Field, value: str | int, number: int, slash: bool) -> bytes:
    if field.holds in (Holds.TEXT, Holds.NAME):
        return _text(field, str(value), number, slash)
    if isinstance(value, int):
        text, code = f"{value:0{field.length}d}", "out_of_range"
    else:
        text, code = value, "wrong_length"
    if len(text) != field.length or text.startswith("-"):
        raise ZenginError(number, field.position, code, f"{field.name}: it has {field.length} digits.")
    return text.encode("ascii", "replace")


def _text(field: Field, text: str, number: int, slash: bool) -> bytes:
    try:
        written = kana(text, slash=slash)
    except ZenginError as no:
        _refuse_letter(field, text, no, number)
    if len(written) > field.length:
        message = f"{field.name}: {len(written)} bytes; it has {field.length}."
        raise ZenginError(number, field.position + field.length, "too_long", message)
    return written.encode(ENCODING).ljust(field.length)


def _refuse_letter(field: Field, text: str, no: ZenginError, number: int) -> NoReturn:
    """At the byte where the character would stand."""
    before = len(fold(text[: no.position - 1] + "|")) - 1
    position = field.position + before
    raise ZenginError(number, position, no.code, f"{field.name}: {no.message}") from None
