"""What was done for an authorization after it was answered: charged, undone, lapsed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from kessai.services.nfc.api.authorizations import AuthorizationState
from kessai.services.nfc.domain.authorization import Authorization, Plan, Work
from kessai.services.nfc.domain.page import GivenBack, Page, known_row, release

S = AuthorizationState


@dataclass(frozen=True, slots=True)
class Standing:
    """A payment as the payment service has it."""

    payment_id: str | None
    state: str | None
    captured_minor: int = 0
    refunded_minor: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """The payment service is going to be asked under another plan."""

    authorization_id: str
    plan: Plan
    refused_payment_id: str | None
    """The payment of the plan before it."""
    now: datetime


def plan(page: Page, command: Planned) -> Authorization:
    """Journal it before it is done; what is to be undone meanwhile is not planned any more."""
    row = known_row(page, command.authorization_id)
    if row.work is not Work.CHARGE or row.plan is None:
        return row
    if command.refused_payment_id is not None:
        page.refused.append((row.authorization_id, command.refused_payment_id, row.plan))
    return page.put(replace(row, plan=command.plan), command.now)


@dataclass(frozen=True, slots=True)
class Done:
    """Work that came to its end, and how the payment stands."""

    authorization_id: str
    work: Work
    stands_minor: int
    """What stood when it was done."""
    payment: Standing
    now: datetime
    code: str | None = None
    """Why nobody could bear it."""
    refunds: tuple[GivenBack, ...] = ()
    """What was given back for it by now."""


def done(page: Page, command: Done) -> Authorization:
    """Charged, or undone; another work that was begun meanwhile stays to be done."""
    row = known_row(page, command.authorization_id)
    paid = command.payment
    after = replace(
        row,
        payment_id=paid.payment_id or row.payment_id,
        payment_state=paid.state or row.payment_state,
        captured_minor=paid.captured_minor,
        refunded_minor=paid.refunded_minor,
        refusal_code=command.code or row.refusal_code,
    )
    if row.work is command.work and row.stands_minor == command.stands_minor:
        after = replace(after, work=None, work_since=None)
        if row.state in (S.LATE, S.REVERSING):
            after = replace(after, state=S.REVERSED)
        elif row.state is S.CLEARED and command.work is Work.CHARGE and command.code is None:
            after = replace(after, work=Work.CAPTURE, work_since=row.work_since)  # claimed before it was charged
        elif row.state is S.CLEARED and not row.stands_minor and not paid.captured_minor:
            after = replace(after, state=S.REVERSED)  # all of it was given back before it was captured
    page.refunds += [(row.authorization_id, each, command.now) for each in command.refunds]
    return row if after == row else page.put(after, command.now)


@dataclass(frozen=True, slots=True)
class Lapse:
    """The payment behind it has lapsed: no clearing claimed it in time."""

    authorization_id: str
    payment: Standing
    now: datetime


def lapse(page: Page, command: Lapse) -> Authorization:
    """Expired; what is being taken back came to its end by that, too."""
    row = known_row(page, command.authorization_id)
    after = replace(row, payment_id=command.payment.payment_id, payment_state=command.payment.state)
    if row.state is S.APPROVED:
        release(page, row, row.stands_minor, whole=True)
        after = replace(after, state=S.EXPIRED, stands_minor=0)
    return row if after == row else page.put(after, command.now)
