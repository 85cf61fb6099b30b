"""Where each field stands: the 120 bytes of every record, as tables.

A table becomes one regular expression, by which a record is accepted in one step; when it is not, `refuse` walks the
table to the first byte that is wrong. Reader and writer accept by the same expressions, so that what is written can be
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from kessai.sdk.zengin.characters import LETTERS, SLASH
from kessai.sdk.zengin.refusals import ZenginError

RECORD_BYTES: Final = 120
CRLF: Final = b"\r\n"
DATA: Final = ord("2")
"""The first byte of a data record."""
END_RECORD: Final = b"9".ljust(RECORD_BYTES)
EDI_FLAG: Final = slice(112, 113)
COUNT_MAX: Final = 999_999
TOTAL_MAX: Final = 999_999_999_999


class Holds(Enum):
    """What a field has in it."""

    DIGITS = auto()
    AMOUNT = auto()
    """Digits that are not all 0."""
    CHOICE = auto()
    """One of some bytes."""
    CONSTANT = auto()
    TEXT = auto()
    """Left-justified, filled with spaces; may be blank."""
    NAME = auto()
    """A text that may not be blank."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its first byte (from 1), how many there are, and what is in them."""

    name: str
    length: int
    holds: Holds
    bytes: bytes = b""
    """A constant, or what may be chosen from."""
    position: int = 0

    @property
    def place(self) -> slice:
        """Where it is in a record."""
        return slice(self.position - 1, self.position - 1 + self.length)

    def pattern(self, letters: bytes) -> bytes:
        """What it accepts, as a regular expression."""
        match self.holds:
            case Holds.DIGITS:
                return rb"[0-9]{%d}" % self.length
            case Holds.AMOUNT:
                return rb"(?!0{%d})[0-9]{%d}" % (self.length, self.length)
            case Holds.CHOICE:
                return rb"[%b]" % self.bytes
            case Holds.CONSTANT:
                return re.escape(self.bytes)
            case Holds.TEXT:
                return rb"(?! (?! {%d}))[%b]{%d}" % (self.length - 1, letters, self.length)
            case Holds.NAME:
                return rb"(?! )[%b]{%d}" % (letters, self.length)

    def require(self, held: bytes, *, slash: bool, line: int) -> None:
        """Raise ZenginError at the first byte that is wrong; nothing when all are right."""
        letters = _letters(slash)
        if re.fullmatch(self.pattern(letters), held):
            return
        match self.holds:
            case Holds.DIGITS | Holds.AMOUNT:
                place, code = _first_not(rb"[0-9]", held), "not_digits"
                if place is None:
                    place, code = 0, "amount_zero"
            case Holds.CHOICE:
                place, code = 0, "value_not_allowed"
            case Holds.CONSTANT:
                place = next(index for index, each in enumerate(held) if each != self.bytes[index])
                code = {b" ": "not_spaces", b"0": "not_zeros"}.get(self.bytes[place : place + 1], "value_not_allowed")
            case Holds.TEXT | Holds.NAME:
                place, code = _first_not(rb"[%b]" % letters, held), "character_not_allowed"
                if place is None:
                    place, code = 0, "not_left_justified" if held.strip() else "name_missing"
        raise ZenginError(line, self.position + place, code, f"{self.name}: {_said(held, place)}")


def _first_not(pattern: bytes, held: bytes) -> int | None:
    return next((index for index in range(len(held)) if not re.match(pattern, held[index : index + 1])), None)


def _said(held: bytes, place: int) -> str:
    """The byte, and not what is around it: a file is full of names."""
    return f"byte 0x{held[place]:02x} cannot stand here."


class Layout:
    """The fields of one type of record."""

    def __init__(self, *fields: Field) -> None:
        self.fields: tuple[Field, ...] = tuple(_placed(fields))
        assert sum(each.length for each in self.fields) == RECORD_BYTES
        self._accepts = {slash: self._compiled(_letters(slash)) for slash in (False, True)}

    def _compiled(self, letters: bytes) -> re.Pattern[bytes]:
        return re.compile(b"".join(each.pattern(letters) for each in self.fields))

    def accepts(self, slash: bool) -> re.Pattern[bytes]:
        """What a whole record of this type looks like."""
        return self._accepts[slash]

    def refuse(self, record: bytes, *, slash: bool, line: int) -> None:
        """Raise ZenginError at the first byte that is wrong."""
        for field in self.fields:
            field.require(record[field.place], slash=slash, line=line)

    def __getitem__(self, name: str) -> Field:
        return next(each for each in self.fields if each.name == name)


def _letters(slash: bool) -> bytes:
    return LETTERS + SLASH if slash else LETTERS


def _placed(fields: Iterable[Field]) -> Iterator[Field]:
    position = 1
    for field in fields:
        yield replace(field, position=position)
        position += field.length


def _digits(name: str, length: int) -> Field:
    return Field(name, length, Holds.DIGITS)


def _text(name: str, length: int) -> Field:
    return Field(name, length, Holds.TEXT)


def _name(name: str, length: int) -> Field:
    return Field(name, length, Holds.NAME)


def _choice(name: str, allowed: bytes) -> Field:
    return Field(name, 1, Holds.CHOICE, allowed)


def _constant(name: str, held: bytes) -> Field:
    return Field(name, len(held), Holds.CONSTANT, held)


def _spaces(length: int) -> Field:
    return _constant("spaces", b" " * length)


def _header(kind: bytes) -> Layout:
    return Layout(
        _constant("record type", b"1"),
        _constant("kind", kind),
        _choice("character code", b"0"),
        _digits("client_code", 10),
        _name("client_name", 40),
        _digits("day", 4),
        _digits("bank_code", 4),
        _text("bank_name", 15),
        _digits("branch_code", 3),
        _text("branch_name", 15),
        _choice("deposit_type", b"129"),
        _digits("account_number", 7),
        _spaces(17),
    )


def _transfer(*middle: Field, flag: bytes) -> Layout:
    return Layout(
        _constant("record type", b"2"),
        _digits("bank_code", 4),
        _text("bank_name", 15),
        _digits("branch_code", 3),
        _text("branch_name", 15),
        _constant("clearing house", b"0000"),
        _choice("deposit_type", b"1249"),
        _digits("account_number", 7),
        _name("name", 30),
        Field("amount", 10, Holds.AMOUNT),
        _choice("new_code", b"012"),
        *middle,
        _choice("delivery", b"78"),
        _choice("EDI flag", flag),
        _spaces(7),
    )


TRANSFER_HEADER: Final = _header(b"21")
DEBIT_HEADER: Final = _header(b"91")
TRANSFER_LINE: Final = _transfer(_digits("customer_code_1", 10), _digits("customer_code_2", 10), flag=b" ")
TRANSFER_LINE_EDI: Final = _transfer(_text("edi", 20), flag=b"Y")
DEBIT_LINE: Final = Layout(
    _constant("record type", b"2"),
    _digits("bank_code", 4),
    _text("bank_name", 15),
    _digits("branch_code", 3),
    _text("branch_name", 15),
    _spaces(4),
    _choice("deposit_type", b"1239"),
    _digits("account_number", 7),
    _name("name", 30),
    Field("amount", 10, Holds.AMOUNT),
    _choice("new_code", b"012"),
    _digits("customer_code_1", 10),
    _digits("customer_code_2", 10),
    _choice("result", b"0123489"),
    _spaces(8),
)
TRANSFER_TRAILER: Final = Layout(
    _constant("record type", b"8"),
    _digits("count", 6),
    _digits("total", 12),
    _spaces(101),
)
DEBIT_TRAILER: Final = Layout(
    _constant("record type", b"8"),
    _digits("count", 6),
    _digits("total", 12),
    _digits("settled_count", 6),
    _digits("settled_total", 12),
    _digits("failed_count", 6),
    _digits("failed_total", 12),
    _spaces(65),
)
END_LAYOUT: Final = Layout(_constant("record type", b"9"), _spaces(119))
