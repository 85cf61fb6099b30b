"""What is kept of one processing, as it is shown."""

from __future__ import annotations

from datetime import datetime

import msgspec

from kessai.services.tracer.api import Finding, Processing


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was written down: a step, an operation, an event."""

    at: datetime | None
    what: str
    state: str = ""
    amount_minor: int | None = None
    detail: str = ""


class LotTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A lot that an exchange took value from, held, or made."""

    owner: str
    account_type: str
    lot: int
    amount_minor: int
    """Positive into the lot, negative out of it; zero where it was only held or let go."""
    held_minor: int
    expires_at: datetime | None


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A posting of an exchange or of an action on it."""

    owner: str
    account_type: str
    asset: str
    amount_minor: int
    held_minor: int
    lots: list[LotTaken] = []


class ExchangeLife(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange, or what was done to one."""

    exchange_id: str
    what: str
    kind: str
    state: str
    caller: str
    at: datetime
    movements: list[Movement]


class EffectLife(msgspec.Struct, frozen=True, kw_only=True):
    """A payment, a card authorization or a bank instruction, with its steps."""

    effect_id: str
    kind: str
    state: str
    party: str
    asset: str
    amount_minor: int
    caller: str
    created_at: datetime
    detail: str
    steps: list[Happening]


class WorkflowLife(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow of the processing, with its journalled steps: an intent where one can be undone, and each outcome."""

    service: str
    workflow_id: str
    name: str
    state: str
    since: datetime
    steps: list[Happening]
    notes: list[str]
    """Where it stands still, what was sent to it, and who did what to it."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept of one processing."""

    processing_id: str
    payments: list[EffectLife]
    exchanges: list[ExchangeLife]
    cards: list[EffectLife]
    taps: list[EffectLife]
    """The card network's authorizations, with what took them back."""
    bank: list[EffectLife]
    workflows: list[WorkflowLife]
    events: list[Happening]
    tracer: Processing | None
    """None where the tracer has not heard of it yet."""
    finding: Finding | None
