"""The issuer's files: the request that is made of a batch, and what of the file that answers it is a card.

Both are of fixed-length records in ASCII, each followed by LF; docs/services/cardnetwork_simulator.md has the layouts.
A file that is not whole (cut, or its trailer disagrees) is taken in no part; of a whole one every good line is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from kessai.foundation.ids import derived_hex
from kessai.sdk.iso8583 import Pan, passes_luhn
from kessai.services.nfc.api import IssueLineError
from kessai.services.nfc.domain.devices import last_day_of

REQUEST_BYTES = 80
ISSUED_BYTES = 128
_HEADER = re.compile(rb"HII[A-Za-z0-9_ -]{32}[0-9]{8}[0-9]{6}(?P<request>[A-Za-z0-9_ -]{32}) {47}")
_DETAIL = re.compile(
    rb"D(?P<line>[0-9]{6})(?P<request>[A-Za-z0-9_ -]{32})(?P<result>[01])(?P<card>[A-Za-z0-9_ -]{16})"
    rb"(?P<pan>[0-9 ]{19})(?P<expiry>[0-9 ]{4})(?P<reason>[A-Z0-9 ]{4}) {45}"
)
_TRAILER = re.compile(rb"T(?P<count>[0-9]{6})(?P<issued>[0-9]{6})(?P<refused>[0-9]{6}) {109}")


class FileWrong(Exception):
    """The file as a whole cannot be taken: `file_unreadable`, `file_of_another_request`, `file_totals_differ`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCard:
    """A card of the issuer's file."""

    line: int
    reference: str
    pan: Pan
    expiry: str
    expires_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCards:
    """What a file comes to."""

    cards: Sequence[IssuedCard]
    errors: Sequence[IssueLineError]


def request_reference(batch_id: str, line: int) -> str:
    """Our own reference of a line; always the same."""
    return derived_hex("nfc.request_reference", batch_id, str(line))


def request_file(batch_id: str, count: int, on: date, sequence: int) -> bytes:
    """The request file of a batch: the same bytes whenever it is made."""
    records = [f"HIR{batch_id:<32}{on:%Y%m%d}{sequence:06d}"]
    records += [f"D{line:06d}{request_reference(batch_id, line):<32}" for line in range(1, count + 1)]
    records.append(f"T{count:06d}")
    return "".join(f"{each:<{REQUEST_BYTES}}\n" for each in records).encode("ascii")


def read_issued(content: bytes, batch_id: str, count: int, today: date) -> IssuedCards:
    """The cards of an issuer's file, and which lines gave none; FileWrong when it is not whole."""
    details = _details(content, batch_id)
    reader = _Reader(batch_id, count, today)
    for place, record in enumerate(details, 2):
        reader.take(place, record)
    return reader.result()


def _details(content: bytes, batch_id: str) -> list[bytes]:
    records = content.split(b"\n")
    if records.pop() != b"" or len(records) < 2 or any(len(each) != ISSUED_BYTES for each in records):
        raise FileWrong("file_unreadable")
    header, *details, trailer = records
    opened, closed = _HEADER.fullmatch(header), _TRAILER.fullmatch(trailer)
    if opened is None or closed is None:
        raise FileWrong("file_unreadable")
    if _text(opened["request"]) != batch_id:
        raise FileWrong("file_of_another_request")
    told = (int(closed["count"]), int(closed["issued"]), int(closed["refused"]))
    refused = sum(each[39:40] == b"1" for each in details)
    if told != (len(details), len(details) - refused, refused):
        raise FileWrong("file_totals_differ")
    return details


class _Reader:
    """Takes details one after the other."""

    def __init__(self, batch_id: str, count: int, today: date) -> None:
        self._references = {request_reference(batch_id, line): line for line in range(1, count + 1)}
        self._today = today
        self._taken: dict[int, IssuedCard | None] = {}
        self._cards: set[str] = set()
        self._pans: set[Pan] = set()
        self._errors: list[IssueLineError] = []

    def take(self, place: int, record: bytes) -> None:
        """One detail; `place` is its record in the file, from 1."""
        detail = _DETAIL.fullmatch(record)
        if detail is None:
            return self._wrong(place, "line_unreadable")
        line = self._references.get(_text(detail["request"]))
        if line is None or line != int(detail["line"]):
            return self._wrong(place, "line_unknown")
        if line in self._taken:
            return self._wrong(line, "line_twice")
        self._taken[line] = None
        if detail["result"] == b"1":
            return self._wrong(line, "issuer_refused", _text(detail["reason"]) or None)
        self._taken[line] = self._card(line, detail)
        return None

    def _card(self, line: int, detail: re.Match[bytes]) -> IssuedCard | None:
        reference, pan, expiry = (_text(detail[name]) for name in ("card", "pan", "expiry"))
        if not reference or " " in reference or passes_luhn(reference):  # a number would be kept in clear
            return self._wrong(line, "line_unreadable")
        if not passes_luhn(pan):
            return self._wrong(line, "number_wrong")
        try:
            expires_on = last_day_of(expiry)
        except ValueError:
            return self._wrong(line, "expiry_wrong")
        if expires_on < self._today:
            return self._wrong(line, "expired")
        number = Pan(pan)
        if reference in self._cards or number in self._pans:
            return self._wrong(line, "card_known")
        self._cards.add(reference)
        self._pans.add(number)
        return IssuedCard(line=line, reference=reference, pan=number, expiry=expiry, expires_on=expires_on)

    def _wrong(self, line: int, code: str, reason: str | None = None) -> None:
        self._errors.append(IssueLineError(line=line, code=code, reason=reason))

    def result(self) -> IssuedCards:
        """All of it; lines of the request that the file does not have are errors too."""
        for line in sorted(set(self._references.values()) - self._taken.keys()):
            self._wrong(line, "line_missing")
        cards = [each for each in self._taken.values() if each is not None]
        return IssuedCards(cards=cards, errors=self._errors)


def _text(value: bytes) -> str:
    return value.decode("ascii").rstrip(" ")
