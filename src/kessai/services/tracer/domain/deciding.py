"""What a report changes, and when a processing has its verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from kessai.sdk.processing.api import Outcome
from kessai.services.tracer.api import Verdict


class Told(NamedTuple):
    """A report, as far as a verdict depends on it."""

    outcome: str
    digest: bytes
    dependencies: Collection[str]
    callers: Collection[str]

    @property
    def final(self) -> bool:
        """Whether its participant is done with the revision."""
        return self.outcome != Outcome.IN_FLIGHT


@dataclass(slots=True, kw_only=True)
class Standing:
    """A processing at its present revision, while a batch of reports is being taken."""

    processing_id: str
    entry: str | None
    participants: frozenset[str]
    revision: int
    verdict: str
    found: bool
    due_at: datetime
    reports: dict[str, Told] = field(default_factory=dict)
    """The last of each participant at this revision."""

    @property
    def in_flight(self) -> bool:
        """Somebody told that something is under way."""
        return any(not each.final for each in self.reports.values())


class Taking(Enum):
    """What becomes of a report."""

    TAKEN = auto()
    STALE = auto()
    """About another revision, told before, or after the verdict."""
    CONTRADICTS = auto()
    """Its participant has told something else about the same revision."""


class Ruling(NamedTuple):
    """A verdict and what it rests on, besides the reports."""

    verdict: Verdict
    late: tuple[str, ...] = ()
    undeclared: tuple[tuple[str, str], ...] = ()
    """(caller, callee) where the callee was called by a participant that does not name it."""


def judge(standing: Standing | None, participant: str, revision: int, told: Told) -> Taking:
    """What becomes of a report; changes nothing."""
    if standing is None or revision != standing.revision:
        return Taking.STALE
    before = standing.reports.get(participant)
    if before is not None and before.final:
        return Taking.STALE if before.digest == told.digest or not told.final else Taking.CONTRADICTS
    if before is not None and not told.final:
        return Taking.STALE
    open_still = standing.verdict in (Verdict.PENDING, Verdict.INCOMPLETE)
    return Taking.TAKEN if open_still else Taking.STALE


def closure(standing: Standing, silent: Collection[str]) -> frozenset[str]:
    """Who takes part: those known, whoever they depend on and whichever services called them; the silent left out."""
    named = set(standing.participants)
    for each in standing.reports.values():
        named.update(each.dependencies)
        named.update(caller for caller in each.callers if is_service(caller))
    return frozenset(named.difference(silent))


def is_service(caller: str) -> bool:
    """Whether a caller is a participant's name rather than an API key."""
    return not caller.startswith("key_")


def ruling_of(standing: Standing, silent: Collection[str], *, overdue: bool = False) -> Ruling | None:
    """The verdict that the reports at hand allow; None while it has to wait.

    Past the deadline it need not wait: records that differ make it INCONSISTENT, otherwise it is INCOMPLETE.
    """
    final = {name for name, told in standing.reports.items() if told.final}
    late = tuple(sorted(closure(standing, silent) - final))
    if late and not overdue:
        return None
    undeclared = undeclared_calls(standing.reports, silent)
    if undeclared or any(told.outcome == Outcome.DIFFERENT for told in standing.reports.values()):
        return Ruling(Verdict.INCONSISTENT, late, undeclared)
    return Ruling(Verdict.INCOMPLETE, late) if late else Ruling(Verdict.CONSISTENT)


def undeclared_calls(reports: Mapping[str, Told], silent: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Calls that only the callee tells of, where the caller has told all it depends on."""
    found = {
        (caller, callee)
        for callee, told in reports.items()
        for caller in told.callers
        if caller != callee and caller not in silent and (of := reports.get(caller)) is not None and of.final
        if callee not in of.dependencies
    }
    return tuple(sorted(found))
