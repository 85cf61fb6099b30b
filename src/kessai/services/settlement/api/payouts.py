"""Payouts (入金): what a payee is paid for a cycle, how it stands, and an operator's hand on it."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, PageLimit, verb
from kessai.services.settlement.api.words import Cursor, OwnerId, PayoutId

READ, WRITE = "settlement:read", "settlement:write"

Cause = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class PayoutStanding(StrEnum):
    """Where a payout stands."""

    MADE = "MADE"
    """Its cycle is summed; the ledger has not followed yet."""
    CLEARED = "CLEARED"
    """It waits for the day on which the bank is instructed."""
    HELD = "HELD"
    """It cannot be paid, or an operator holds it: see its reason."""
    CARRIED_OVER = "CARRIED_OVER"
    """繰越: it goes into a later payout."""
    NOTHING = "NOTHING"
    """There is nothing to pay."""
    INSTRUCTED = "INSTRUCTED"
    PAID = "PAID"
    FAILED = "FAILED"
    """The transfer did not go out: it goes into the next payout."""
    RETURNED = "RETURNED"
    """組戻: the money came back, and goes into the next payout."""


class GetPayout(Message):
    """Which payout."""

    payout_id: PayoutId


class ListPayouts(Message):
    """A page of payouts, newest first; every condition that is given must hold."""

    payee_id: OwnerId | None = None
    state: PayoutStanding | None = None
    pay_on: date | None = None
    limit: PageLimit = 50
    cursor: Cursor | None = None


class HoldPayout(Message):
    """Keep a payout from being paid until somebody lets it go."""

    payout_id: PayoutId
    reason: Cause


class ReleasePayout(Message):
    """Let go a payout that an operator held."""

    payout_id: PayoutId
    reason: Cause


class PayoutRecord(Message):
    """A payout: cleared + carried over + failed before − offset = payable; less the transfer fee, what is paid."""

    payout_id: str
    payee_id: str
    cycle_id: str
    state: PayoutStanding
    reason: str | None
    """Why it is held, carried over, failed or returned."""
    cleared_minor: int
    carried_minor: int
    """Of earlier payouts that were carried over (繰越)."""
    failed_minor: int
    """Of earlier payouts whose transfer failed or came back."""
    offset_minor: int
    """相殺: what went to claims."""
    payable_minor: int
    transfer_fee_minor: int
    """Borne by the payee."""
    amount_minor: int
    """What is transferred."""
    claim_minor: int
    """What the payee still owed after the offset."""
    last_day: date
    """Of its cycle."""
    instruct_on: date
    pay_on: date
    bank_account_id: str | None
    payment_id: str | None
    """The payment that transfers it."""
    taken_by: str | None
    """The later payout that took it over."""
    paid_on: date | None
    """The day on which the bank booked the transfer; where it names none, on which its result was heard."""
    version: int
    made_at: datetime
    updated_at: datetime


class PayoutStep(Message):
    """One state that a payout came to."""

    sequence: int
    state: PayoutStanding
    reason: str | None
    recorded_at: datetime


class PayoutHistory(Message):
    """A payout with every step, oldest first."""

    payout: PayoutRecord
    steps: list[PayoutStep]


class PayoutPage(Message):
    """A page; `next_cursor` is None on the last one."""

    payouts: list[PayoutRecord]
    next_cursor: str | None


class Payouts(Protocol):
    """入金."""

    @verb("GET /v1/settlement/payouts", scope=READ, errors=("bad_cursor",))
    async def list_payouts(self, request: ListPayouts, /) -> PayoutPage:
        """Payouts by payee, state or day."""
        ...

    @verb("GET /v1/settlement/payouts/{payout_id}", scope=READ, errors=("payout_not_found",))
    async def get_payout(self, request: GetPayout, /) -> PayoutHistory:
        """A payout with its steps and their reasons."""
        ...

    @verb("POST /v1/settlement/payouts/{payout_id}/hold", scope=WRITE,
          errors=("payout_not_found", "payout_not_holdable", "contention"))  # fmt: skip
    async def hold_payout(self, request: HoldPayout, /) -> PayoutRecord:
        """Hold a payout back until it is released; the bank must not have been instructed."""
        ...

    @verb("POST /v1/settlement/payouts/{payout_id}/release", scope=WRITE,
          errors=("payout_not_found", "payout_not_held", "contention"))  # fmt: skip
    async def release_payout(self, request: ReleasePayout, /) -> PayoutRecord:
        """Let a payout go that an operator held: the next run of settlement.payout pays it."""
        ...
