"""What is charged by force: the network claims it, and nothing that we hold bears it. Pure.

Also what was not there any more when it was to be captured, and what is let go of because the processor does not
have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from kessai.foundation.clock import business_date
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState, Category
from kessai.services.nfc.api.clearing import LineOutcome
from kessai.services.nfc.domain.authorization import Authorization, Plan, Work
from kessai.services.nfc.domain.carrying import Standing
from kessai.services.nfc.domain.clearing import ClearingCard, FoundThing, Line, missed_id_of
from kessai.services.nfc.domain.page import Page, known_row, release
from kessai.services.nfc.domain.rules import AuthorizationRules

S, K = AuthorizationState, AuthorizationKind
CALLER = "clearing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """What is to be charged."""

    authorization_id: str
    name: str
    """Of what claims it; the row's message key is made of it."""
    amount_minor: int
    processing_id: str
    now: datetime
    real_now: datetime


def forced_row(
    order: Forced, line: Line, card: ClearingCard, like: Authorization | None, rules: AuthorizationRules
) -> Authorization:
    """A row of the journal that a line makes; `like`: the authorization that does not bear (all of) it."""
    category = Category.E_MONEY if line.mcc in rules.entry.e_money_mccs else Category.OTHER
    return Authorization(
        authorization_id=order.authorization_id,
        message_key=f"clr-{order.name}",
        kind=K.CLEARING,
        state=S.CLEARED,
        work=Work.CHARGE,
        work_since=order.real_now,
        caller=CALLER,
        digest=b"",
        token=card.token,
        last_four=card.last_four or "----",
        card_id=card.card_id,
        customer_id=card.customer_id,
        device_id=None if like is None else like.device_id,
        amount_minor=order.amount_minor,
        stands_minor=order.amount_minor,
        currency=line.currency,
        mcc=line.mcc,
        entry_mode="" if like is None else like.entry_mode,
        category=category if like is None else like.category,
        merchant=line.merchant,
        terminal="" if like is None else like.terminal,
        place="" if like is None else like.place,
        acquirer=line.acquirer,
        rrn=line.rrn,
        stan="",
        transmitted="",
        processing_code="",
        approval_code=line.approval_code,
        response=None,
        answer=None,
        refusal_code=None,
        stood_in=False,
        plan=Plan.FORCED,
        payment_id=None,
        payment_state=None,
        captured_minor=0,
        refunded_minor=0,
        processing_id=order.processing_id,
        received_at=order.now,
        updated_at=order.now,
        version=0,
    )


# -- a hold that had lapsed -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Miss:
    """What a line claimed could not be captured any more: its hold has lapsed."""

    authorization_id: str
    payment: Standing
    processing_id: str
    now: datetime
    real_now: datetime

    @property
    def forced_id(self) -> str:
        """What is charged in its place."""
        return missed_id_of(self.authorization_id)


def miss(page: Page, command: Miss) -> Authorization:
    """It has expired; what the line claims of it is charged by force."""
    row = known_row(page, command.authorization_id)
    if row.state is not S.CLEARED or row.work not in (Work.CAPTURE, Work.UNDO) or not row.stands_minor:
        return row
    assert page.clearing is not None, "the page knows clearing's rows"
    made = replace(
        row,
        authorization_id=command.forced_id,
        message_key=f"clr-{row.authorization_id}",
        kind=K.CLEARING,
        work=Work.CHARGE,
        work_since=command.real_now,
        caller=CALLER,
        digest=b"",
        amount_minor=row.stands_minor,
        response=None,
        answer=None,
        refusal_code=None,
        stood_in=False,
        plan=Plan.FORCED,
        payment_id=None,
        payment_state=None,
        captured_minor=0,
        refunded_minor=0,
        processing_id=command.processing_id,
        received_at=command.now,
        version=0,
    )
    page.began.append(made.processing_id)
    page.put(made, command.now)
    page.clearing.found.append(_lapsed(row, command))
    after = replace(
        row,
        state=S.EXPIRED,
        stands_minor=0,
        work=None,
        work_since=None,
        payment_id=command.payment.payment_id or row.payment_id,
        payment_state=command.payment.state,
    )
    return page.put(after, command.now)


def _lapsed(row: Authorization, command: Miss) -> FoundThing:
    return FoundThing(
        kind=LineOutcome.EXPIRED.value,
        about=f"ath_{row.authorization_id}",
        day=business_date(command.now),
        authorization_id=row.authorization_id,
        customer_id=row.customer_id,
        ours_minor=row.stands_minor,
        theirs_minor=row.stands_minor,
        detail=f"its payment was {command.payment.state} when it was to be captured",
    )


# -- what the processor does not have ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Relinquish:
    """The processor has less of an authorization than we: what it does not have is let go of."""

    authorization_id: str
    stands_minor: int
    """What stands of it there."""
    now: datetime
    real_now: datetime


def relinquish(page: Page, command: Relinquish) -> Authorization:
    """Let go of it; what was cleared is left alone, for the clearing is what the network claims."""
    row = known_row(page, command.authorization_id)
    if row.state is not S.APPROVED or command.stands_minor >= row.stands_minor:
        return row
    if row.plan is not None:
        release(page, row, row.stands_minor - command.stands_minor, whole=not command.stands_minor)
    after = replace(row, stands_minor=command.stands_minor)
    if not command.stands_minor:
        after = replace(after, state=S.REVERSED) if row.plan is None else _undone(after, command)
    return page.put(after, command.now)


def _undone(row: Authorization, command: Relinquish) -> Authorization:
    return replace(row, state=S.REVERSING, work=Work.UNDO, work_since=command.real_now)
