"""Mappings as CSV: lines read, lines that are wrong, and what is to be written. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import date, datetime, time

from kessai.foundation.clock import TOKYO
from kessai.foundation.errors import Invalid, NotFound, PaymentError, Refused
from kessai.services.merchant.api import LINES_MAX, ImportMode, LineError, MerchantState
from kessai.services.merchant.domain.master import Key, Mapping, Wanted, place

HEADER = ("payment_method", "methods_id", "merchant_id", "valid_from", "valid_until")
_LABEL = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_FORMS = {
    "payment_method": _LABEL,
    "methods_id": re.compile(r"[!-~]{1,128}"),
    "merchant_id": re.compile(r"[A-Za-z0-9_.:-]{1,128}"),
}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Clash:
    """A line that wants an id of somebody else's."""

    line: int
    wanted: Wanted


@dataclass(slots=True)
class Sheet:
    """A file as it was read: what each good line wants, and what is wrong with the others."""

    wanted: dict[int, Wanted] = field(default_factory=dict[int, Wanted])
    errors: list[LineError] = field(default_factory=list[LineError])

    @property
    def lines(self) -> int:
        """How many there are, without the header and empty ones."""
        return len(self.wanted) + len(self.errors)

    def keys(self) -> set[Key]:
        """All ids that it names."""
        return {each.key for each in self.wanted.values()}

    def named(self) -> set[str]:
        """Whatever might be a merchant's id in it."""
        return {name for each in self.wanted.values() for name in (each.merchant_id, each.key[1])}


def read_sheet(text: str) -> Sheet:
    """Raises Invalid `csv_malformed`, `csv_header_wrong`, `too_many_lines`; what is wrong with a line is listed."""
    sheet = Sheet()
    for line, cells in _rows(text):
        if sheet.lines >= LINES_MAX:
            raise Invalid("too_many_lines", f"At most {LINES_MAX} lines are imported at once.", lines_max=LINES_MAX)
        found = _read_line(line, cells)
        if isinstance(found, LineError):
            sheet.errors.append(found)
        else:
            sheet.wanted[line] = found
    return sheet


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each line under the header that is not empty, with its number."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        if tuple(each.strip() for each in next(reader, list[str]())) != HEADER:
            raise Invalid("csv_header_wrong", f"The first line must be {','.join(HEADER)}.", field="$.csv")
        for cells in reader:
            if any(each.strip() for each in cells):
                yield reader.line_num, [each.strip() for each in cells]
    except csv.Error as error:
        raise Invalid("csv_malformed", f"Line {reader.line_num} is not CSV: {error}.", line=reader.line_num) from error


def _read_line(line: int, cells: Sequence[str]) -> Wanted | LineError:
    if len(cells) != len(HEADER):
        return LineError(line=line, field=None, code="columns_wrong", detail=f"There are {len(cells)} columns, not 5.")
    named: dict[str, str] = dict(zip(HEADER, cells, strict=True))
    for name, form in _FORMS.items():
        if not form.fullmatch(named[name]):
            return _malformed(line, name, "It is empty, too long, or has characters that such an id never has.")
    instants: list[datetime | None] = []
    for name in ("valid_from", "valid_until"):
        try:
            instants.append(_instant(named[name]))
        except ValueError:
            return _malformed(line, name, "It is no day and no ISO 8601 time with an offset.")
    return Wanted((named["payment_method"], named["methods_id"]), named["merchant_id"], *instants)


def _malformed(line: int, name: str, detail: str) -> LineError:
    return LineError(line=line, field=name, code="field_malformed", detail=detail)


def _instant(text: str) -> datetime | None:
    """Raises ValueError."""
    if not text:
        return None
    if _DAY.fullmatch(text):
        return datetime.combine(date.fromisoformat(text), time(), TOKYO)
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("no offset")
    return instant


# -- what is to be written ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Plan:
    """What an import would do."""

    mode: ImportMode
    lines: int
    mappings: list[Mapping]
    unchanged: int
    errors: list[LineError]
    """By line."""
    clashes: list[Clash]

    @property
    def taken(self) -> list[Mapping]:
        """What is written: nothing, where all is asked for and a line is wrong."""
        return [] if self.errors and self.mode is ImportMode.ALL_OR_NOTHING else self.mappings


def plan(
    sheet: Sheet,
    mode: ImportMode,
    standing: MappingOf[Key, Sequence[Mapping]],
    heads: MappingOf[Key, int],
    states: MappingOf[str, MerchantState],
    now: datetime,
) -> Plan:
    """Line by line, each after what the lines before it want. `states`: of merchants that exist, by id."""
    made = Plan(mode, sheet.lines, [], 0, list(sheet.errors), [])
    known = {key: list(each) for key, each in standing.items()}
    versions = dict(heads)
    for line, wanted in sheet.wanted.items():
        there = known.setdefault(wanted.key, [])
        found = refuse_ids(wanted, states) or place(wanted, there, now)
        if isinstance(found, PaymentError):
            made.errors.append(_wrong(line, found))
            if found.code == "master_id_conflict":
                made.clashes.append(Clash(line, wanted))
        elif found is None:
            made.unchanged += 1
        else:
            versions[wanted.key] = versions.get(wanted.key, 0) + 1
            new = Mapping(
                wanted.key, versions[wanted.key], wanted.merchant_id, found.since, found.until, None, recorded_at=now
            )
            there.append(new)
            made.mappings.append(new)
    made.errors.sort(key=lambda each: each.line)
    return made


def refuse_ids(wanted: Wanted, states: MappingOf[str, MerchantState]) -> PaymentError | None:
    """Why such an id is not mapped to such a merchant, whenever."""
    if wanted.merchant_id not in states:
        return NotFound("merchant_not_found", f"There is no merchant {wanted.merchant_id}.", field="$.merchant_id")
    if states[wanted.merchant_id] is MerchantState.CLOSED:
        return Refused("merchant_closed", "This merchant is closed.", field="$.merchant_id")
    if wanted.key[1] in states:
        return Refused("id_is_a_merchants", "This is a merchant's own id.", field="$.methods_id")
    return None


def _wrong(line: int, error: PaymentError) -> LineError:
    place_of = error.details.get("field")
    name = str(place_of).removeprefix("$.") if place_of else None
    return LineError(line=line, field=name, code=error.code, detail=error.message)


def steps_of(mappings: Collection[Mapping]) -> dict[Key, int]:
    """How many mappings each id gets."""
    found: dict[Key, int] = {}
    for each in mappings:
        found[each.key] = found.get(each.key, 0) + 1
    return found
