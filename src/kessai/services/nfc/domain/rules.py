"""The rules that a 0100 must meet, before the payment service is asked: `config/nfc_authorization.toml`. Pure.

Each is a name and the response of field 39. They are looked at in the order of `decline_of`; the first that is broken
answers.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Literal, NamedTuple

import msgspec

from kessai.foundation.config import TomlDocument, load_toml
from kessai.sdk.iso8583 import Message, Processing, Response
from kessai.services.nfc.api.authorizations import AuthorizationKind, Category
from kessai.services.nfc.api.cards import NumberStanding
from kessai.services.nfc.api.words import DeviceState, LockReason, PrepaidCardState
from kessai.services.nfc.domain.authorization import Usage

R = Response
Amount = Annotated[int, msgspec.Meta(ge=1, le=10**10)]
Codes = Annotated[list[Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")]], msgspec.Meta(max_length=1000)]
Modes = Annotated[list[Annotated[str, msgspec.Meta(pattern=r"^[0-9]{2}$")]], msgspec.Meta(max_length=20)]


class _Read(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Window(_Read, frozen=True, kw_only=True):
    """Real time in which an answer must leave us."""

    answer_ms: Annotated[int, msgspec.Meta(ge=50, le=10_000)]
    """From the last byte of the request."""
    journal_ms: Annotated[int, msgspec.Meta(ge=10, le=5_000)]
    """Of it, what is kept for writing the outcome down: the payment service is waited for until then."""
    repair_after_ms: Annotated[int, msgspec.Meta(ge=100, le=600_000)]
    """Whatever is open for so long is taken up by the repairer."""
    repair_every_ms: Annotated[int, msgspec.Meta(ge=50, le=600_000)]


class Limits(_Read, frozen=True, kw_only=True):
    """Of one card, in Japan's calendar."""

    transaction_minor: Amount
    day_minor: Amount
    month_minor: Amount
    day_count: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Velocity(_Read, frozen=True, kw_only=True):
    """So many payments of one card in so many minutes at most."""

    count: Annotated[int, msgspec.Meta(ge=1, le=200)]
    minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)]


class Merchants(_Read, frozen=True, kw_only=True):
    """Where a card pays."""

    denied_mccs: Codes
    countries: Annotated[list[Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]], msgspec.Meta(min_length=1)]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3}$")]


class Entry(_Read, frozen=True, kw_only=True):
    """How a use is told apart, by the first digits of field 22 and by field 18."""

    contactless: Modes
    in_app: Modes
    e_money_mccs: Codes


class StandIn(_Read, frozen=True, kw_only=True):
    """What is done while the payment service cannot be asked."""

    policy: Literal["decline", "approve"]
    floor_minor: Amount
    """Approved up to this; the wallet is charged afterwards, and owes what it lacks."""


class Wire(_Read, frozen=True, kw_only=True):
    """The authorization server's side of the line."""

    in_flight_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    """Requests of one connection that are worked on at once; beyond it nothing is read."""
    unsigned_s: Annotated[float, msgspec.Meta(gt=0, le=3600)]
    """A connection that has not signed on by then is closed."""
    silent_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    """One that has said nothing for so long is closed; echoes keep it."""
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    ready_when_signed_on: bool = False
    """`/readyz` says that a process is ready only while a peer has signed on to it."""


class AuthorizationRules(_Read, frozen=True, kw_only=True):
    """All of it."""

    window: Window
    limits: Limits
    velocity: Velocity
    merchants: Merchants
    entry: Entry
    stand_in: StandIn
    wire: Wire


def read_rules(document: TomlDocument | None = None) -> AuthorizationRules:
    """The rules of a file, or the platform's own; ConfigError names the line of what is wrong."""
    document = document or load_toml("kessai.config", "nfc_authorization.toml")
    rules = document.convert((), AuthorizationRules)
    if rules.window.journal_ms * 2 > rules.window.answer_ms:
        raise document.error(("window", "journal_ms"), "leaves less than half of the window for the payment service")
    return rules


class Decline(NamedTuple):
    """A broken rule."""

    response: Response
    code: str


def category_of(message: Message, rules: AuthorizationRules) -> Category:
    """How the card is used."""
    mode = (message.entry_mode or "")[:2]
    if message.mcc in rules.entry.e_money_mccs:
        return Category.E_MONEY
    if mode in rules.entry.in_app:
        return Category.IN_APP
    return Category.CONTACTLESS if mode in rules.entry.contactless else Category.OTHER


def decline_of(
    message: Message,
    kind: AuthorizationKind,
    standing: NumberStanding | None,
    usage: Usage | None,
    rules: AuthorizationRules,
    now: datetime,
    today: date,
) -> Decline | None:
    """Why a 0100 is declined by rule; None when the payment service is to be asked."""
    return (
        _malformed(message, rules)
        or _of_card(message, standing, today)
        or _of_merchant(message, rules)
        or (None if kind is AuthorizationKind.REFUND else _beyond_limits(message, usage, rules, now))
    )


def _malformed(message: Message, rules: AuthorizationRules) -> Decline | None:
    if message.processing not in (Processing.PURCHASE, Processing.REFUND):
        return Decline(R.INVALID_TRANSACTION, "processing_not_offered")
    if message.currency != rules.merchants.currency:
        return Decline(R.INVALID_TRANSACTION, "currency_not_accepted")
    return Decline(R.INVALID_AMOUNT, "amount_is_zero") if not message.amount else None


_LOCKED = {LockReason.LOST: R.LOST, LockReason.STOLEN: R.STOLEN}


def _of_card(message: Message, standing: NumberStanding | None, today: date) -> Decline | None:
    if standing is None or standing.card_id is None or standing.customer_id is None:
        return Decline(R.NO_SUCH_CARD, "no_such_card")
    if standing.card_state is PrepaidCardState.LOCKED:
        reason = standing.lock_reason or LockReason.RISK
        return Decline(_LOCKED.get(reason, R.RESTRICTED), f"card_locked_{reason.value}")
    if standing.card_state is not PrepaidCardState.ACTIVE or standing.device_state is DeviceState.DELETED:
        return Decline(R.NO_SUCH_CARD, "card_closed")
    if standing.device_id is not None and standing.device_state is not DeviceState.ACTIVE:
        return Decline(R.NOT_PERMITTED, "device_not_active")
    if standing.expires_on < today or message.expiry != standing.expiry:
        return Decline(R.EXPIRED, "card_expired")
    return None


def _of_merchant(message: Message, rules: AuthorizationRules) -> Decline | None:
    if category_of(message, rules) is Category.OTHER:
        return Decline(R.NOT_PERMITTED, "entry_mode_not_offered")
    if message.country not in rules.merchants.countries:
        return Decline(R.RESTRICTED, "country_not_accepted")
    if message.mcc in rules.merchants.denied_mccs:
        return Decline(R.NOT_PERMITTED, "merchant_category_denied")
    return None


def _beyond_limits(message: Message, usage: Usage | None, rules: AuthorizationRules, now: datetime) -> Decline | None:
    amount, limits = message.amount or 0, rules.limits
    if amount > limits.transaction_minor:
        return Decline(R.OVER_AMOUNT_LIMIT, "over_transaction_limit")
    if usage is None:
        return None
    if usage.day_minor + amount > limits.day_minor:
        return Decline(R.OVER_AMOUNT_LIMIT, "over_day_limit")
    if usage.month_minor + amount > limits.month_minor:
        return Decline(R.OVER_AMOUNT_LIMIT, "over_month_limit")
    if usage.day_count >= limits.day_count:
        return Decline(R.OVER_COUNT_LIMIT, "over_day_count")
    since = micros(now - timedelta(minutes=rules.velocity.minutes))
    if sum(each > since for each in usage.recent) >= rules.velocity.count:
        return Decline(R.OVER_COUNT_LIMIT, "over_velocity")
    return None


def micros(at: datetime) -> int:
    """An instant in microseconds since 1970."""
    return int(at.timestamp()) * 1_000_000 + at.microsecond


_BY_CODE = {
    "insufficient_funds": R.INSUFFICIENT_FUNDS,
    "account_not_found": R.INSUFFICIENT_FUNDS,
    "amount_above_limit": R.OVER_AMOUNT_LIMIT,
    "spending_cap_exceeded": R.OVER_AMOUNT_LIMIT,
    "daily_limit_exceeded": R.OVER_AMOUNT_LIMIT,
    "monthly_limit_exceeded": R.OVER_AMOUNT_LIMIT,
    "account_frozen": R.RESTRICTED,
    "account_closed": R.RESTRICTED,
}


def response_of(refusal_code: str) -> Response:
    """Field 39 for what the payment service refused."""
    return _BY_CODE.get(refusal_code, R.DO_NOT_HONOUR)
