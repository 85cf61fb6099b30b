"""How findings move: opened and reopened by verdicts, worked by people, closed by a proof after a repair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from kessai.foundation.errors import Refused
from kessai.foundation.ids import derived_hex
from kessai.services.tracer.api import FindingKind, FindingState, RepairKind

TRACER = "tracer"
"""Who acts where nobody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A finding without its audit trail; the version is the number of its last step."""

    finding_id: str
    """32 digits, derived from the processing's id."""
    processing_id: str
    kind: FindingKind
    state: FindingState
    version: int
    revision: int
    assignee: str | None
    opened_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the audit trail, and the finding after it."""

    case: Case
    by: str
    reason: str
    assignee: str | None = None
    repair_kind: RepairKind | None = None
    repair_id: str | None = None


def finding_hex(processing_id: str) -> str:
    """The 32 digits of a processing's finding."""
    return derived_hex("finding", processing_id)


def found_wrong(
    case: Case | None, processing_id: str, revision: int, kind: FindingKind, reason: str, now: datetime
) -> Step:
    """A processing was found wrong: its finding is opened; one that was thought repaired or closed is open again."""
    if case is None:
        new = Case(
            finding_id=finding_hex(processing_id),
            processing_id=processing_id,
            kind=kind,
            state=FindingState.OPEN,
            version=1,
            revision=revision,
            assignee=None,
            opened_at=now,
            changed_at=now,
        )
        return Step(case=new, by=TRACER, reason=reason)
    done = case.state in (FindingState.REPAIRED, FindingState.CLOSED)
    state = FindingState.OPEN if done else case.state
    return Step(case=_next(case, state=state, kind=kind, revision=revision, now=now), by=TRACER, reason=reason)


def found_right(case: Case, revision: int, now: datetime) -> Step | None:
    """A processing with a finding is consistent now: closed when it was repaired or only waited; else it is noted.

    What differed and agrees again without a linked repair stays with the people who look after it.
    """
    if case.state is FindingState.CLOSED:
        return None
    if case.state is FindingState.REPAIRED or case.kind is not FindingKind.INCONSISTENT:
        reason = f"Closed: revision {revision} is consistent."
        return Step(case=_next(case, state=FindingState.CLOSED, now=now), by=TRACER, reason=reason)
    reason = f"Revision {revision} is consistent, without a linked repair."
    return Step(case=_next(case, now=now), by=TRACER, reason=reason)


def assigned(case: Case, assignee: str, *, by: str, reason: str, now: datetime) -> Step:
    """Somebody has it; one that is explained or repaired already stays so. Refuses a closed one."""
    _require_open(case)
    state = FindingState.ASSIGNED if case.state is FindingState.OPEN else case.state
    return Step(case=_next(case, state=state, assignee=assignee, now=now), by=by, reason=reason, assignee=assignee)


def explained(case: Case, *, by: str, reason: str, now: datetime) -> Step:
    """What happened is known. Refuses a closed one."""
    _require_open(case)
    state = case.state if case.state is FindingState.REPAIRED else FindingState.EXPLAINED
    return Step(case=_next(case, state=state, now=now), by=by, reason=reason)


def repaired(case: Case, kind: RepairKind, repair_id: str, *, by: str, reason: str, now: datetime) -> Step:
    """What repairs it is known; its proof comes with the processing's next revision. Refuses a closed one."""
    _require_open(case)
    after = _next(case, state=FindingState.REPAIRED, now=now)
    return Step(case=after, by=by, reason=reason, repair_kind=kind, repair_id=repair_id)


def noted(case: Case, *, by: str, reason: str, now: datetime) -> Step:
    """Something to remember; nothing else changes."""
    return Step(case=_next(case, now=now), by=by, reason=reason)


def closed(case: Case, *, by: str, reason: str, now: datetime) -> Step:
    """Somebody is done with it. Refuses a closed one."""
    _require_open(case)
    return Step(case=_next(case, state=FindingState.CLOSED, now=now), by=by, reason=reason)


def _require_open(case: Case) -> None:
    if case.state is FindingState.CLOSED:
        raise Refused("finding_closed", "The finding is closed; it opens again when the processing is found wrong.")


def _next(
    case: Case,
    *,
    now: datetime,
    state: FindingState | None = None,
    kind: FindingKind | None = None,
    revision: int | None = None,
    assignee: str | None = None,
) -> Case:
    return replace(
        case,
        version=case.version + 1,
        state=state or case.state,
        kind=kind or case.kind,
        revision=revision or case.revision,
        assignee=assignee or case.assignee,
        changed_at=now,
    )
