"""Differences between the books and other services, and how what was found of them moves. Pure.

A difference is named by what it is about, so that the next run knows it again. What people have explained stays
explained while it stays what it is; what is not seen any more closes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from kessai.foundation.config import TomlDocument, load_toml
from kessai.foundation.errors import Refused
from kessai.foundation.ids import derived_hex
from kessai.services.books.api.reconciling import (
    DifferenceKind,
    DifferenceState,
    ReconciliationFindingState,
    ReconciliationName,
)

BOOKS = "books"
"""Who acts where nobody does."""
S = ReconciliationFindingState
Seconds = Annotated[int, msgspec.Meta(ge=0, le=31 * 86_400)]


class ToleranceSeconds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an event may be on its way, by reconciliation."""

    ledger: Seconds
    payment: Seconds
    statutory: Seconds
    bank: Seconds
    tracer: Seconds


class ReconcilingRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`config/reconciliation.toml`."""

    tolerance_s: ToleranceSeconds

    def tolerance(self, name: ReconciliationName) -> timedelta:
        """Of one reconciliation."""
        return timedelta(seconds=getattr(self.tolerance_s, name.value))


def read_reconciling(document: TomlDocument | None = None) -> ReconcilingRules:
    """The settings, or the platform's own; ConfigError names the line of what is wrong."""
    return (document or load_toml("kessai.config", "reconciliation.toml")).convert((), ReconcilingRules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One record on which the two sides do not agree."""

    kind: DifferenceKind
    state: DifferenceState
    subject: str
    asset: str
    theirs: int
    ours: int
    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A finding without its audit trail; the version is the number of its last step."""

    finding_id: str
    """32 digits, derived from what it is about."""
    name: ReconciliationName
    kind: DifferenceKind
    subject: str
    asset: str
    theirs: int
    ours: int
    state: ReconciliationFindingState
    version: int
    text: str
    at: datetime
    opened_at: datetime
    changed_at: datetime
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the audit trail, and the finding after it."""

    case: Case
    by: str
    reason: str


def finding_hex(name: ReconciliationName, difference: Difference) -> str:
    """The 32 digits of a difference's finding."""
    return derived_hex("reconciliation", name.value, difference.subject, difference.asset)


def seen(case: Case | None, name: ReconciliationName, found: Difference, run_id: str, now: datetime) -> Step | None:
    """What a run that sees a difference makes of its finding; None: nothing has changed."""
    state = S.EXPLAINED if found.state is DifferenceState.EXPLAINED else S.OPEN
    if case is None:
        return Step(case=_opened(name, found, state, run_id, now), by=BOOKS, reason=found.text)
    same = (case.kind, case.theirs, case.ours) == (found.kind, found.theirs, found.ours)
    if same and case.state is S.EXPLAINED:
        state = S.EXPLAINED  # whoever explained it explained exactly this
    if same and case.state is state:
        return None
    told = replace(case, kind=found.kind, theirs=found.theirs, ours=found.ours, text=found.text, run_id=run_id)
    return Step(case=_next(told, state, now), by=BOOKS, reason=found.text)


def unseen(case: Case, run_id: str, now: datetime) -> Step:
    """A run that would have seen it does not: it closes."""
    return Step(case=_next(replace(case, run_id=run_id), S.CLOSED, now), by=BOOKS, reason="Not seen any more.")


def explained(case: Case, *, by: str, reason: str, now: datetime) -> Step:
    """Somebody says why it is there. Refuses a closed one."""
    _require_standing(case)
    return Step(case=_next(case, S.EXPLAINED, now), by=by, reason=reason)


def closed(case: Case, *, by: str, reason: str, now: datetime) -> Step:
    """Somebody is done with it. Refuses a closed one."""
    _require_standing(case)
    return Step(case=_next(case, S.CLOSED, now), by=by, reason=reason)


def _opened(
    name: ReconciliationName, found: Difference, state: ReconciliationFindingState, run_id: str, now: datetime
) -> Case:
    return Case(
        finding_id=finding_hex(name, found),
        name=name,
        kind=found.kind,
        subject=found.subject,
        asset=found.asset,
        theirs=found.theirs,
        ours=found.ours,
        state=state,
        version=1,
        text=found.text,
        at=found.at,
        opened_at=now,
        changed_at=now,
        run_id=run_id,
    )


def _next(case: Case, state: ReconciliationFindingState, now: datetime) -> Case:
    return replace(case, state=state, version=case.version + 1, changed_at=now)


def _require_standing(case: Case) -> None:
    if case.state is S.CLOSED:
        raise Refused("finding_closed", "The finding is closed; it opens again when the difference is seen again.")
