"""Messages about exchanges, and the event that each effect on one is published as."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Instant, Label, Message, Reference
from kessai.services.ledger.api.words import (
    BATCH_EXCHANGES_MAX,
    LEGS_MAX,
    ExchangeState,
    Id,
    Metadata,
    Owner,
)

Legs = Annotated[list["Leg"], msgspec.Meta(min_length=1, max_length=LEGS_MAX)]
RememberRefusal = Annotated[bool, msgspec.Meta(description="a refusal is final under this id, in every process")]
"""Without it a refused request leaves no trace, and the same id may be tried again."""


class Leg(Message):
    """One side's part of an exchange: by `account_id`, or by `owner` and `account_type` (auto-created where so set)."""

    amount_minor: AmountMinor
    asset: Asset
    account_id: Id | None = None
    owner: Owner | None = None
    account_type: Label | None = None
    balancing: bool = False
    """Source: as much as there is, up to `amount_minor`. Target: whatever the sources gave (one a side and asset)."""
    expires_at: Instant | None = None
    """Target: when the new lot expires; None takes the type's own lifetime."""
    balance_at_least_minor: int | None = None
    """Condition: the balance before this exchange."""
    version_equals: int | None = None
    """Condition: the account's version before this exchange."""
    returning: bool = False
    """Target: value coming back to its owner (a return, a refund): caps and freezes do not stop it."""


class CreateExchange(Message):
    """Move value from sources to targets; per asset both sides must be equal, or carry `rate` between two assets."""

    sources: Legs
    targets: Legs
    exchange_id: Id | None = None
    """`exc_…` chosen by the caller makes the call idempotent; None: derived from the idempotency key, or fresh."""
    reference: Reference | None = None
    """The caller's own name for it, unique in this ledger."""
    kind: Label = "transfer"
    capture: bool = True
    """False: only hold the sources (仮売上) until capture, void or `expires_at`."""
    expires_at: Instant | None = None
    """When an uncaptured exchange lapses; None: seven days."""
    rate: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}(\.[0-9]{1,12})?$")] | None = None
    """Units of the price asset (JPY) per one unit of the other (BTC), for an exchange of two assets."""
    metadata: Metadata = {}
    linked: bool = False
    """In a batch: stands or falls together with the next exchange. On the last one it says nothing: chains end."""
    remember_refusal: RememberRefusal = False


class LotTaking(Message):
    """How much of which lot a leg consumed (negative) or gave back (positive)."""

    lot_id: str
    amount_minor: int


class ExchangeLeg(Message):
    """One account's part. Numbers run over sources, targets, then the position accounts of a cross-asset exchange."""

    leg: int
    account_id: str
    asset: str
    amount_minor: int
    captured_minor: int
    reversed_minor: int
    balance_after_minor: int | None
    """Right after the movement that this answer tells of; None for log-only accounts and in look-ups."""
    realised_gain_minor: int | None
    """Where acquisition rates are tracked: proceeds less cost, in the price asset. A reversal takes it back."""
    lots: list[LotTaking]


class Exchange(Message):
    """An exchange and how far it has come."""

    exchange_id: str
    kind: str
    state: ExchangeState
    legs: list[ExchangeLeg]
    recorded_at: Instant
    reference: str | None
    expires_at: Instant | None
    reverses: str | None
    """The exchange that this one undoes, wholly or in part."""
    rate: str | None
    metadata: Metadata
    processing_id: str | None


class CreateExchanges(Message):
    """Up to 8,000 exchanges in one flush: all or none, or each alone (and linked chains together)."""

    exchanges: Annotated[list[CreateExchange], msgspec.Meta(min_length=1, max_length=BATCH_EXCHANGES_MAX)]
    all_or_nothing: bool = False


class Failure(Message):
    """Why one of a batch was not done."""

    code: str
    message: str
    retryable: bool


class ExchangeOutcome(Message):
    """Exactly one of the two is set."""

    exchange: Exchange | None
    failure: Failure | None


class ExchangeOutcomes(Message):
    """One outcome an exchange, in the order of the request."""

    outcomes: list[ExchangeOutcome]


class LegAmount(Message):
    """An amount of one leg of an exchange."""

    leg: int
    amount_minor: AmountMinor


class CaptureExchange(Message):
    """Make a held exchange final: all of it, an amount of it, or named amounts of its legs (both sides equal)."""

    exchange_id: Id
    amount_minor: AmountMinor | None = None
    """Of a one-asset exchange: taken from the sources in order and given to the targets in order."""
    legs: list[LegAmount] = []
    final: bool = True
    """Release what is left uncaptured; False keeps holding it for a further capture."""
    action_id: Id | None = None
    """`act_…` makes the call idempotent; None: derived from the idempotency key, or fresh."""
    remember_refusal: RememberRefusal = False


class VoidExchange(Message):
    """Release what an exchange still holds."""

    exchange_id: Id
    action_id: Id | None = None
    remember_refusal: RememberRefusal = False


class ReverseExchange(Message):
    """Undo captured value by a new exchange the other way: lots that it made are taken back, consumed ones return."""

    exchange_id: Id
    amount_minor: AmountMinor | None = None
    """Of a one-asset exchange, taken over its legs in order; None with no `legs`: all that is left."""
    legs: list[LegAmount] = []
    reversal_id: Id | None = None
    """`exc_…` of the reversing exchange; makes the call idempotent."""
    reference: Reference | None = None
    kind: Label = "reversal"
    metadata: Metadata = {}
    remember_refusal: RememberRefusal = False


class GetExchange(Message):
    """Which exchange."""

    exchange_id: Id


class GetExchangeByReference(Message):
    """By the caller's own reference."""

    reference: Reference


class ExchangeRecorded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Published as `ledger.exchange` (and `ledger.expiry`): one effect on an exchange, with everything it posted.

    `postings` are arrays `[leg, account_id, asset, amount, held_change, balance_after, held_after, sequence,
    [[lot_sequence, amount, held_change] …], new_lot_expires_at, new_lot_rate, realised_gain]`, instants in whole
    microseconds since 2020-01-01 UTC; in log-only accounts balance and held are null. The text of this message is
    what the ledger's seal covers.
    """

    exchange_id: str
    action: str
    """created (captured at once), authorized, captured, voided, expired, or reversed (of the reversing exchange)."""
    kind: str
    state: ExchangeState
    caller: str
    postings: list[list[object]] = []
    legs: list[list[object]] = []
    """Of `authorized`: `[account_id, asset, signed amount, lot expiry]` a leg; of actions `[captured, reversed]`."""
    action_id: str | None = None
    content: str | None = None
    """Digest of what the action was asked with."""
    reference: str | None = None
    expires: int | None = None
    reverses: str | None = None
    rate: str | None = None
    metadata: dict[str, str] = {}
    processing_id: str | None = None
    undoes: list[int] = []
    """Of `reversed`: the leg of the reversed exchange that each posting undoes."""
