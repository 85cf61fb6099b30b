"""Card issuing: request files in, issuer's files out. docs/services/cardnetwork_simulator.md has both layouts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from kessai.simulators.cardnetwork.numbers import number_of, reference_of
from kessai.simulators.cardnetwork.records import (
    Card,
    CardMade,
    Declined,
    Entry,
    Issued,
    IssuedLine,
    IssueFate,
    day_of,
)

REQUEST_BYTES = 80
ISSUED_BYTES = 128
CARD_YEARS = 5
FATES_MAX = 10_000
_HEADER = re.compile(rb"HIR(?P<id>[A-Za-z0-9_ -]{32})(?P<date>[0-9]{8})[0-9]{6} {31}")
_DETAIL = re.compile(rb"D(?P<line>[0-9]{6})(?P<reference>[A-Za-z0-9_ -]{32}) {41}")
_TRAILER = re.compile(rb"T(?P<count>[0-9]{6}) {73}")
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,32}")


class IssueDesk:
    """Cards, and the files they were asked for with."""

    def __init__(self, write: Callable[[Entry], None], *, seed: int) -> None:
        self.cards: dict[str, Card] = {}
        """By reference."""
        self.files: dict[str, Issued] = {}
        """By the request's file id."""
        self._write = write
        self._seed = seed
        self._fates: list[IssueFate] = []

    def foresee(self, fate: IssueFate) -> None:
        """What is to become of the next lines or files that match; raises ValueError when there are too many."""
        if len(self._fates) >= FATES_MAX:
            raise ValueError("too many fates")
        self._fates.append(fate)

    def pan_of(self, card: Card) -> str:
        """A card's number."""
        return number_of(card.place, seed=self._seed)

    def issue(self, count: int, now: datetime) -> list[Card]:
        """Cards without a file."""
        made = [self._card(offset, now) for offset in range(1, count + 1)]
        for card in made:
            self._write(CardMade(at=now, card=card))
        return made

    def _card(self, offset: int, now: datetime) -> Card:
        place, day = len(self.cards) + offset, day_of(now)
        return Card(reference=reference_of(place), place=place, expiry=f"{(day.year + CARD_YEARS) % 100:02d}{day:%m}")

    # -- request files ------------------------------------------------------------------------------------------

    def take(self, file_id: str, content: bytes, now: datetime) -> Issued:
        """Take a request file; the same id with other content is Declined (`id_reused`)."""
        sha256 = hashlib.sha256(content).hexdigest()
        known = self.files.get(file_id)
        if known is not None:
            if known.sha256 != sha256:
                raise Declined("id_reused", 409)
            return known
        try:
            references = _references(file_id, content)
        except Declined as no:
            self._put(file_id, sha256, now, [], code=no.code, line=no.line)
        else:
            self._put(file_id, sha256, now, self._lines(file_id, references, now))
        return self.files[file_id]

    def _put(
        self,
        file_id: str,
        sha256: str,
        now: datetime,
        lines: list[IssuedLine],
        *,
        code: str | None = None,
        line: int | None = None,
    ) -> None:
        fate = self._file_fate(file_id) if code is None else None
        self._write(
            Issued(
                id=file_id,
                at=now,
                ready_at=now + timedelta(seconds=fate.after_s if fate else 0),
                sha256=sha256,
                sequence=len(self.files) + 1,
                lines=lines,
                spoil=fate.spoil if fate else None,
                code=code,
                line=line,
            )
        )

    def _lines(self, file_id: str, references: list[str], now: datetime) -> list[IssuedLine]:
        found: list[IssuedLine] = []
        issued = 0
        for line, reference in enumerate(references, 1):
            fate = self._line_fate(file_id, reference)
            refuse = fate.refuse if fate else None
            issued += refuse is None
            card = self._card(issued, now) if refuse is None else None
            spoil = fate.spoil if fate else None
            found.append(IssuedLine(line=line, reference=reference, card=card, reason=refuse or "", spoil=spoil))
        return found

    def _line_fate(self, file_id: str, reference: str) -> IssueFate | None:
        return self._fate(
            lambda each: (
                each.about in (None, file_id)
                and each.reference in (None, reference)
                and (each.refuse is not None or each.spoil in ("bad_pan", "bad_expiry", "twice", "missing"))
            )
        )

    def _file_fate(self, file_id: str) -> IssueFate | None:
        return self._fate(
            lambda each: (
                each.about in (None, file_id)
                and each.refuse is None
                and (each.spoil in ("count", "cut") or (each.spoil is None and each.after_s > 0))
            )
        )

    def _fate(self, meets: Callable[[IssueFate], bool]) -> IssueFate | None:
        for index, fate in enumerate(self._fates):
            if meets(fate):
                if fate.times == 1:
                    del self._fates[index]
                elif fate.times > 1:
                    self._fates[index] = msgspec.structs.replace(fate, times=fate.times - 1)
                return fate
        return None

    # -- what the client may know -------------------------------------------------------------------------------

    def standing(self, file_id: str, now: datetime) -> dict[str, Any]:
        """How a request stands; Declined `file_not_found`."""
        file = self._found(file_id)
        issued = sum(each.card is not None for each in file.lines)
        state = "refused" if file.code else "issued" if now >= file.ready_at else "received"
        return {
            "id": file.id,
            "state": state,
            "lines": len(file.lines),
            "issued": issued,
            "refused": len(file.lines) - issued,
            "code": file.code,
            "line": file.line,
        }

    def issued_file(self, file_id: str, now: datetime) -> bytes:
        """The issuer's file; Declined `file_not_found`, `file_not_ready`."""
        file = self._found(file_id)
        if file.code is not None or now < file.ready_at:
            raise Declined("file_not_ready", 404)
        return _issued(file, self.pan_of)

    def _found(self, file_id: str) -> Issued:
        if file_id not in self.files:
            raise Declined("file_not_found", 404)
        return self.files[file_id]

    def apply(self, entry: Issued | CardMade) -> None:
        """Take a step that was written."""
        if isinstance(entry, CardMade):
            self.cards[entry.card.reference] = entry.card
            return
        self.files[entry.id] = entry
        self.cards |= {each.card.reference: each.card for each in entry.lines if each.card is not None}


def _references(file_id: str, content: bytes) -> list[str]:
    """The request references of a file, in order; raises Declined with the record."""
    header, *details, trailer = _records(content)
    opened = _HEADER.fullmatch(header)
    if opened is None or _text(opened["id"]) != file_id or not _is_date(_text(opened["date"])):
        raise Declined("unreadable", line=1)
    found: list[str] = []
    for line, record in enumerate(details, 1):
        matched = _DETAIL.fullmatch(record)
        if matched is None or int(matched["line"]) != line or not _REFERENCE.fullmatch(_text(matched["reference"])):
            raise Declined("unreadable", line=line + 1)
        if _text(matched["reference"]) in found:
            raise Declined("duplicate_reference", line=line + 1)
        found.append(_text(matched["reference"]))
    closed = _TRAILER.fullmatch(trailer)
    if closed is None:
        raise Declined("unreadable", line=len(details) + 2)
    if int(closed["count"]) != len(details):
        raise Declined("count_differs", line=len(details) + 2)
    return found


def _records(content: bytes) -> list[bytes]:
    records = content.split(b"\n")
    if records.pop() != b"" or len(records) < 2:
        raise Declined("unreadable", line=len(records) + 1)
    for line, record in enumerate(records, 1):
        if len(record) != REQUEST_BYTES:
            raise Declined("unreadable", line=line)
    return records


def _text(value: bytes) -> str:
    return value.decode("ascii").rstrip(" ")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _issued(file: Issued, pan_of: Callable[[Card], str]) -> bytes:
    """An issuer's file, spoiled where its fate says so."""
    kept = [each for each in file.lines if each.spoil != "missing"]
    lines = [each for line in kept for each in ([line, line] if line.spoil == "twice" else [line])]
    issued = sum(each.card is not None for each in lines)
    count = len(lines) + (file.spoil == "count")
    records = [f"HII{f'issued-{file.sequence:06d}':<32}{day_of(file.at):%Y%m%d}{file.sequence:06d}{file.id:<32}"]
    records += [_detail(each, pan_of) for each in lines]
    records.append(f"T{count:06d}{issued:06d}{len(lines) - issued:06d}")
    content = "".join(f"{each:<{ISSUED_BYTES}}\n" for each in records).encode("ascii")
    return content[: len(content) // 2] if file.spoil == "cut" else content


def _detail(line: IssuedLine, pan_of: Callable[[Card], str]) -> str:
    if line.card is None:
        return f"D{line.line:06d}{line.reference:<32}1{'':<39}{line.reason:<4}"
    pan = pan_of(line.card)
    if line.spoil == "bad_pan":
        pan = pan[:-1] + str((int(pan[-1]) + 1) % 10)
    expiry = line.card.expiry[:2] + "13" if line.spoil == "bad_expiry" else line.card.expiry
    return f"D{line.line:06d}{line.reference:<32}0{line.card.reference:<16}{pan:<19}{expiry}{'':<4}"
