"""What a verification tells: which invariant is broken, in which row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

FINDINGS_MAX = 1_000
"""Where looking further for what is broken tells nobody more."""


class Finding(msgspec.Struct, frozen=True):
    """One row that breaks an invariant."""

    invariant: str
    table: str
    """With its schema, as in `ledger.lot`."""
    key: str
    """The row's key as the doors write it, parts joined by `/`; several rows by `, ` where one of them is meant."""
    sentence: str


class TooMany(Exception):
    """Enough findings were made to stop."""


def _untold(_: Report) -> None:
    return


@dataclass(slots=True)
class Report:
    """Findings as they are made, and how far the verification has come."""

    progress: Callable[[Report], None] = _untold
    """Told each time that effects were verified."""
    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])
    """What breaks nothing, and somebody should know all the same."""
    effects: int = 0
    """Effects verified."""
    total: int = 0
    """Effects there are."""

    def add(self, invariant: str, table: str, key: object, sentence: str) -> None:
        """Note a finding; raises TooMany past FINDINGS_MAX."""
        self.findings.append(Finding(invariant, table, str(key), sentence))
        if len(self.findings) >= FINDINGS_MAX:
            raise TooMany

    def note(self, sentence: str) -> None:
        """Note what breaks nothing."""
        self.notes.append(sentence)

    def passed(self, effects: int) -> None:
        """Note that so many more effects were verified."""
        self.effects += effects
        self.progress(self)


Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Projection:
    """A table whose rows follow from what was recorded: its columns, the first `keys` of which name the row."""

    invariant: str
    table: str
    columns: tuple[str, ...]
    keys: int

    def compare(self, report: Report, told: Sequence[Row], found: Iterable[Row]) -> list[Row]:
        """Report rows that differ from what the records tell and rows that no record tells of; gives the missing ones.

        Missing rows are left to the caller, who may know why they are.
        """
        wanted, there = set(told), set(found)
        if wanted == there and len(wanted) == len(told):
            return []
        strays = {row[: self.keys]: row for row in there - wanted}
        missing: list[Row] = []
        for row in wanted - there:
            stray = strays.pop(row[: self.keys], None)
            if stray is None:
                missing.append(row)
            else:
                report.add(self.invariant, self.table, self.key(row), self._difference(row, stray))
        for row in strays.values():
            report.add(self.invariant, self.table, self.key(row), "no record tells of it")
        if len(wanted) != len(told):
            report.add(self.invariant, self.table, self.key(told[0]), "its flush tells of one row twice")
        return missing

    def key(self, row: Row) -> str:
        """A row's key as text."""
        return "/".join(str(part) for part in row[: self.keys])

    def missed(self, report: Report, rows: Iterable[Row]) -> None:
        """Report rows that are missing."""
        for row in rows:
            report.add(self.invariant, self.table, self.key(row), "it is missing, though it was recorded")

    def _difference(self, told: Row, found: Row) -> str:
        parts = [
            f"{name} is {there}, recorded was {wanted}"
            for name, wanted, there in zip(self.columns, told, found, strict=True)
            if wanted != there
        ]
        return "; ".join(parts)
