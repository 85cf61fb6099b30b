"""What becomes of an authorization with each thing that happens to it. Pure: a command changes a page in memory, and
the page is what one flush writes.

Whatever was told to the network stays told: an answer is stored before it leaves, and a repeat gets it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TypeAlias

from msgspec.structs import replace

from kessai.foundation.clock import business_date
from kessai.sdk.iso8583 import Message, Processing, Response
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.api.cards import NumberStanding
from kessai.services.nfc.api.clearing import FindingKind
from kessai.services.nfc.domain.authorization import Authorization, Plan, Usage, Work, approval_code_of, kind_of
from kessai.services.nfc.domain.carrying import Done, Lapse, Planned, done, lapse, plan
from kessai.services.nfc.domain.clearing import FoundThing, Line
from kessai.services.nfc.domain.clearing_claims import Claim, claim
from kessai.services.nfc.domain.forcing import Miss, Relinquish, miss, relinquish
from kessai.services.nfc.domain.page import Page, Seen, answer_to, known_row, new_row, release
from kessai.services.nfc.domain.reversing import Reverse, Reversed, reverse
from kessai.services.nfc.domain.rules import decline_of, micros, response_of

S, K, R = AuthorizationState, AuthorizationKind, Response


# -- a new request ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open(Seen):
    """A 0100 or a 0120."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The row, and whether it began with this message."""

    row: Authorization
    fresh: bool
    answer: bytes | None
    """None: the payment service is to be asked."""


def open_(page: Page, command: Open) -> Opened:
    """Begin an authorization, or find what its key stands for already."""
    known = page.rows.get(command.authorization_id)
    if known is not None:
        return Opened(known, fresh=False, answer=_again(page, known, command))
    standing = page.standing_of(command.marks)
    row = new_row(command, standing, page.rules)
    row = _advised(page, command, row, standing) if row.kind is K.ADVICE else _requested(page, command, row, standing)
    if row.plan is not None:
        page.began.append(row.processing_id)
        if row.card_id is not None and row.kind is K.PURCHASE:
            page.use(_raised(page, row))
    row = page.put(row, command.now)
    return Opened(row, fresh=True, answer=row.answer)


def _again(page: Page, known: Authorization, command: Open) -> bytes | None:
    """The stored answer; 94 for another content under a key that is taken; None while there is no answer yet."""
    if known.kind is K.TOMBSTONE:
        if kind_of(command.message) is K.ADVICE:  # never declined; of what was taken back there is nothing to charge
            return _advice_answer(command.message)
        return answer_to(command.message, R.INVALID_TRANSACTION)
    if known.digest != command.digest:
        if (
            kind_of(command.message) is K.ADVICE
        ):  # never declined; what it tells of is charged if the clearing claims it
            page.found.append(_told_otherwise(known, command))
            return _advice_answer(command.message)
        return answer_to(command.message, R.DUPLICATE)
    if known.answer is None and known.state is not S.INSTRUCTED:
        return answer_to(command.message, R.INVALID_TRANSACTION)  # it was reversed before it was answered
    return known.answer


def _told_otherwise(known: Authorization, command: Open) -> FoundThing:
    return FoundThing(
        kind=FindingKind.ADVICE_DIFFERS.value,
        about=f"{known.message_key} {command.digest.hex()[:16]}",
        day=business_date(command.now),
        authorization_id=known.authorization_id,
        customer_id=known.customer_id,
        ours_minor=known.amount_minor,
        theirs_minor=command.message.amount or 0,
        detail=f"an advice under the key of a {known.kind.value} that says otherwise; answered 00, not charged",
    )


def _advised(page: Page, command: Open, row: Authorization, standing: NumberStanding | None) -> Authorization:
    """Never declined. Of nobody's card, or in another currency, nothing is charged: it stays as a finding."""
    code = command.message.approval_code
    row = replace(
        row, state=S.APPROVED, response=R.APPROVED, approval_code=code, answer=_advice_answer(command.message)
    )
    if standing is None or standing.customer_id is None:
        return replace(row, refusal_code="no_such_card")
    if command.message.processing != Processing.PURCHASE:  # a refund's money comes with the clearing
        refund = command.message.processing == Processing.REFUND
        return row if refund else replace(row, refusal_code="processing_not_offered")
    if row.currency != page.rules.merchants.currency:
        return replace(row, refusal_code="currency_not_accepted")
    if not row.amount_minor:
        return row
    return replace(row, plan=Plan.FORCED, work=Work.CHARGE, work_since=command.real_now)


def _requested(page: Page, command: Open, row: Authorization, standing: NumberStanding | None) -> Authorization:
    message, today = command.message, business_date(command.now)
    usage = None if row.card_id is None else page.usage_of(row.card_id, today)
    decline = decline_of(message, row.kind, standing, usage, page.rules, command.now, today)
    if decline is not None:
        return _declined(row, message, decline.response, decline.code)
    if row.kind is K.REFUND:
        return _approved(row, message)
    return replace(row, plan=Plan.CHARGE, work=Work.ASK, work_since=command.real_now)


def _raised(page: Page, row: Authorization) -> Usage:
    assert row.card_id is not None
    usage = page.usage_of(row.card_id, business_date(row.received_at))
    return usage.raised(row.amount_minor, micros(row.received_at), page.rules.velocity.count)


# -- what the payment service said --------------------------------------------------------------------------------


class Heard(Enum):
    """What is known of a payment that was asked for."""

    HELD = auto()
    REFUSED = auto()
    DOWN = auto()
    """It cannot be asked: nothing was done."""
    FAILED = auto()
    """It does not take what it is asked, which is an error of ours: nothing was done."""
    LOST = auto()
    """Not in time, or the answer was lost: it may have been done."""


@dataclass(frozen=True, slots=True)
class Conclude:
    """The end of an authorization that was INSTRUCTED."""

    authorization_id: str
    message: Message
    heard: Heard
    now: datetime
    real_now: datetime
    payment_id: str | None = None
    payment_state: str | None = None
    code: str | None = None


def conclude(page: Page, command: Conclude) -> Authorization:
    """Approve or decline what still waits for it. What was reversed or given up meanwhile stays so."""
    row = known_row(page, command.authorization_id)
    if row.state is S.DECLINED and (command.heard is Heard.HELD or (command.heard is Heard.LOST and _unasked(row))):
        return page.put(_held_in_vain(row, command), command.now)
    if row.state is not S.INSTRUCTED:
        return row
    message = command.message
    match command.heard:
        case Heard.HELD:
            held = replace(row, payment_id=command.payment_id, payment_state=command.payment_state, work=None)
            after = _approved(held, message)
        case Heard.REFUSED:
            release(page, row, row.stands_minor, whole=True)
            code = command.code or "refused"
            after = _declined(row, message, response_of(code), code)
            after = replace(after, payment_id=command.payment_id, payment_state=command.payment_state)
        case Heard.DOWN:
            after = _stood_in(page, row, message, command)
        case Heard.FAILED:
            release(page, row, row.stands_minor, whole=True)
            after = _declined(row, message, R.MALFUNCTION, command.code or "payment_failed")
        case Heard.LOST:
            after = _late(page, row, message, command.real_now)
    return page.put(after, command.now)


def _unasked(row: Authorization) -> bool:
    told = row.response in (R.ISSUER_UNAVAILABLE, R.MALFUNCTION)
    return told and row.plan is not None and row.payment_id is None


def _held_in_vain(row: Authorization, command: Conclude) -> Authorization:
    """Declined as nobody had asked for it, while a repeat of it was (or may have been) held: that is undone."""
    held = replace(row, payment_id=command.payment_id, payment_state=command.payment_state)
    return replace(held, state=S.LATE, work=Work.UNDO, work_since=command.real_now)


def _stood_in(page: Page, row: Authorization, message: Message, command: Conclude) -> Authorization:
    policy = page.rules.stand_in
    if policy.policy == "approve" and row.amount_minor <= policy.floor_minor:
        after = replace(_approved(row, message), stood_in=True)
        return replace(after, work=Work.CHARGE, work_since=command.real_now)
    release(page, row, row.stands_minor, whole=True)
    return _declined(row, message, R.ISSUER_UNAVAILABLE, command.code or "payment_unavailable")


@dataclass(frozen=True, slots=True)
class Abandon:
    """The network was told 91, or nobody answered it: whatever was held is let go."""

    authorization_id: str
    message: Message | None
    """None: found open by the repairer, which needs no answer any more."""
    now: datetime
    real_now: datetime
    told: bool
    """The network was told 91 though 00 may be written down by now."""
    asked: bool = True
    """The payment service may have been asked."""


def abandon(page: Page, command: Abandon) -> Authorization:
    """Journal that whatever comes of it is undone."""
    row = known_row(page, command.authorization_id)
    if row.state is not S.INSTRUCTED and not (command.told and row.state is S.APPROVED):
        return row
    if not command.asked and row.state is S.INSTRUCTED and command.message is not None:
        release(page, row, row.stands_minor, whole=True)
        return page.put(_declined(row, command.message, R.ISSUER_UNAVAILABLE, "no_answer_in_time"), command.now)
    if row.plan is None:  # nothing moves for it before the clearing
        told = None if command.message is None else answer_to(command.message, R.ISSUER_UNAVAILABLE)
        after = replace(row, state=S.REVERSED, stands_minor=0, response=R.ISSUER_UNAVAILABLE, answer=told)
        after = replace(after, approval_code=None)
        return page.put(after, command.now)
    return page.put(_late(page, row, command.message, command.real_now), command.now)


def _late(page: Page, row: Authorization, message: Message | None, real_now: datetime) -> Authorization:
    release(page, row, row.stands_minor, whole=True)
    answer = None if message is None else answer_to(message, R.ISSUER_UNAVAILABLE)
    return replace(
        row,
        state=S.LATE,
        work=Work.UNDO,
        work_since=real_now,
        stands_minor=0,
        response=R.ISSUER_UNAVAILABLE,
        approval_code=None,
        answer=answer,
        refusal_code=row.refusal_code or "no_answer_in_time",
    )


# -- all of them ------------------------------------------------------------------------------------------------

Command: TypeAlias = Open | Conclude | Abandon | Reverse | Planned | Done | Lapse | Claim | Miss | Relinquish
Result: TypeAlias = Opened | Reversed | Authorization | Line


def apply(page: Page, command: Command) -> Result:
    """Whatever the command says."""
    match command:
        case Open():
            return open_(page, command)
        case Conclude():
            return conclude(page, command)
        case Abandon():
            return abandon(page, command)
        case Reverse():
            return reverse(page, command)
        case Planned():
            return plan(page, command)
        case Done():
            return done(page, command)
        case Lapse():
            return lapse(page, command)
        case Claim():
            return claim(page, command)
        case Miss():
            return miss(page, command)
        case Relinquish():
            return relinquish(page, command)


def _approved(row: Authorization, message: Message) -> Authorization:
    code = approval_code_of(row.authorization_id)
    answer = answer_to(message, R.APPROVED, code)
    return replace(
        row, state=S.APPROVED, work=None, work_since=None, response=R.APPROVED, approval_code=code, answer=answer
    )


def _declined(row: Authorization, message: Message, response: Response, code: str) -> Authorization:
    return replace(
        row,
        state=S.DECLINED,
        work=None,
        work_since=None,
        stands_minor=0,
        response=response,
        refusal_code=code,
        answer=answer_to(message, response),
    )


def _advice_answer(message: Message) -> bytes:
    return answer_to(message, R.APPROVED, message.approval_code)
