"""Comparing our authorizations and days with the processor's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.api.clearing import FindingKind
from kessai.services.nfc.domain.authorization import Authorization
from kessai.services.nfc.domain.clearing import FoundThing

S, F = AuthorizationState, FindingKind
FIGURES = ("authorized", "declined", "reversed", "sales", "refunds", "reversals", "net")
LET_GO = "let_go"
_UNDER_WAY = "sent"
_NOT_APPROVED = ("declined", "given_up")
_TOLD = (S.APPROVED, S.CLEARED)


@dataclass(frozen=True, slots=True)
class TheirFigure:
    """So many, and what they come to."""

    count: int
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirTotals:
    """A day by the processor's books."""

    closed: bool
    """Whether there is a clearing file of it."""
    figures: Mapping[str, TheirFigure]


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirRecord:
    """An authorization by the processor's books."""

    key: str
    """What a repeat of it is known by."""
    state: str
    approved: bool
    """Whether it had our 00 in time."""
    purchase: bool
    amount_minor: int
    stands_minor: int
    """What of an approved one was not taken back."""
    at: datetime


def difference_of(row: Authorization, theirs: TheirRecord | None, day: date) -> FoundThing | None:
    """On what an authorization of ours and the processor's record of it do not agree; None: on nothing, or it is still
    under way there."""
    if theirs is None:
        return _found(row, F.UNKNOWN_THERE, day, 0, remedied=True) if _told(row) else None
    if theirs.state == _UNDER_WAY:
        return None
    if theirs.amount_minor != row.amount_minor and row.kind is not AuthorizationKind.TOMBSTONE:
        return _found(row, F.AMOUNT_DIFFERS, day, theirs.amount_minor, ours=row.amount_minor)
    if _told(row):
        return _of_approved(row, theirs, day)
    if theirs.stands_minor and row.state is not S.EXPIRED and row.work is None:
        return _found(row, F.APPROVED_THERE, day, theirs.stands_minor)
    return None


def _told(row: Authorization) -> bool:
    return row.state in _TOLD and row.stands_minor > 0


def _of_approved(row: Authorization, theirs: TheirRecord, day: date) -> FoundThing | None:
    if row.state is S.CLEARED:  # a clearing file claimed it: its lines say what it comes to
        return None if theirs.approved else _found(row, F.DECLINED_THERE, day, 0)
    if theirs.state in _NOT_APPROVED or not theirs.approved:
        return _found(row, F.DECLINED_THERE, day, 0, remedied=True)
    if theirs.stands_minor < row.stands_minor:
        return _found(row, F.REVERSED_THERE, day, theirs.stands_minor, remedied=True)
    if theirs.stands_minor > row.stands_minor:
        return _found(row, F.STANDS_DIFFER, day, theirs.stands_minor)
    return None


def _found(
    row: Authorization, kind: FindingKind, day: date, theirs: int, *, ours: int | None = None, remedied: bool = False
) -> FoundThing:
    return FoundThing(
        kind=kind.value,
        about=row.message_key,
        day=day,
        authorization_id=row.authorization_id,
        customer_id=row.customer_id,
        ours_minor=row.stands_minor if ours is None else ours,
        theirs_minor=theirs,
        detail=f"{row.state.value} here, answered {row.response or 'nothing'}",
        remedy=LET_GO if remedied and row.state is S.APPROVED else None,
    )


def unknown_here(theirs: TheirRecord, day: date) -> FoundThing:
    """The processor has an approved authorization that we have no row of."""
    return FoundThing(
        kind=F.UNKNOWN_HERE.value,
        about=theirs.key,
        day=day,
        theirs_minor=theirs.stands_minor,
        detail="charged by force if a clearing file claims it",
    )


def stands_there(theirs: TheirRecord | None) -> int:
    """What the repair leaves of an authorization that the processor has so."""
    if theirs is None or theirs.state in _NOT_APPROVED:
        return 0
    return theirs.stands_minor


def not_borne(row: Authorization, day: date) -> FoundThing:
    """What was cleared is not what the payment service has taken."""
    return FoundThing(
        kind=F.NOT_BORNE.value,
        about=row.message_key,
        day=day,
        authorization_id=row.authorization_id,
        customer_id=row.customer_id,
        ours_minor=row.captured_minor - row.refunded_minor,
        theirs_minor=row.stands_minor,
        detail=f"payment {row.payment_id} is {row.payment_state}, {row.refusal_code or 'no refusal'}",
    )
