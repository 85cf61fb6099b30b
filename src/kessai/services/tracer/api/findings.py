"""Findings: what is wrong with a processing, and what people do about it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from kessai.foundation.contract import Label, Message, PageLimit, Reference
from kessai.services.tracer.api.processings import Cursor

FindingId = Annotated[str, msgspec.Meta(pattern=r"^fnd_[0-9a-f]{32}$")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class FindingKind(StrEnum):
    """What was found."""

    INCONSISTENT = "INCONSISTENT"
    INCOMPLETE = "INCOMPLETE"
    CONTRADICTION = "CONTRADICTION"
    """A participant told two things about one revision."""


class FindingState(StrEnum):
    """Where the work on it stands. Found wrong again, a repaired or closed one is OPEN again."""

    OPEN = "OPEN"
    ASSIGNED = "ASSIGNED"
    EXPLAINED = "EXPLAINED"
    REPAIRED = "REPAIRED"
    """What repairs it is linked; the processing is proved anew by its own effects."""
    CLOSED = "CLOSED"


class RepairKind(StrEnum):
    """What a repair is."""

    PAYMENT = "payment"
    """A payment, such as an adjustment."""
    WORKFLOW = "workflow"
    """An action on a workflow."""
    INSTRUCTION = "instruction"
    """What a rule had a service do: its own id of that."""


class GetFinding(Message):
    """Which finding."""

    finding_id: FindingId


class ListFindings(Message):
    """Findings in one state, oldest first; `cursor` comes from the page before."""

    state: FindingState = FindingState.OPEN
    limit: PageLimit = 50
    cursor: Cursor | None = None


class AssignFinding(Message):
    """Give it to somebody."""

    finding_id: FindingId
    assignee: Label
    reason: Reason = "Assigned."


class ExplainFinding(Message):
    """Say what happened."""

    finding_id: FindingId
    reason: Reason


class LinkRepair(Message):
    """Name what repairs it."""

    finding_id: FindingId
    repair_kind: RepairKind
    repair_id: Reference
    """The payment's or the workflow's id."""
    reason: Reason


class CloseFinding(Message):
    """Be done with it."""

    finding_id: FindingId
    reason: Reason


class FindingStep(Message):
    """One line of the audit trail."""

    sequence: int
    state: FindingState
    by: str
    """The API key that did it, `rule:` and the name of the rule, or `tracer` where it came of itself."""
    reason: str
    assignee: str | None
    repair_kind: RepairKind | None
    repair_id: str | None
    recorded_at: datetime


class Finding(Message):
    """A finding with its audit trail. There is at most one a processing."""

    finding_id: str
    processing_id: str
    kind: FindingKind
    state: FindingState
    revision: int
    """Of the processing, when it was last found wrong."""
    assignee: str | None
    opened_at: datetime
    changed_at: datetime
    steps: list[FindingStep]


class FindingPage(Message):
    """One page."""

    findings: list[Finding]
    next_cursor: str | None = None
