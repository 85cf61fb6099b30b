"""An authorization as the journal has it, and what a message, a card's standing and a card's usage say. Pure."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from enum import StrEnum

import msgspec

from kessai.foundation.ids import derived_hex
from kessai.sdk.iso8583 import Message, Mti, Processing
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState, Category

ASSET = "JPY"
CODE_ALPHABET = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
CODE_CHARACTERS = 6
S = AuthorizationState


class Work(StrEnum):
    """What is still to be done for an authorization; the repairer does what nobody else did."""

    ASK = "ask"
    """The payment service is being asked, or was when a process died."""
    CHARGE = "charge"
    """It was approved without the payment service, which must bear it now."""
    CAPTURE = "capture"
    """A clearing file claimed it: what stands is to be captured, and the rest let go of."""
    UNDO = "undo"
    """The payment is to shrink to what stands."""


class Plan(StrEnum):
    """Which payment bears an authorization. Each plan has a payment id of its own, so none is made twice."""

    CHARGE = "charge"
    """`id_charge`: what the wallet has, or nothing."""
    FORCED = "forced"
    """`id_forced`: what the wallet has, and the rest is owed."""
    OWED = "owed"
    """`id_forced`: all of it is owed, for the wallet's accounts cannot be used."""

    @property
    def payment_kind(self) -> str:
        """The payment's kind."""
        return "id_charge" if self is Plan.CHARGE else "id_forced"


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the journal. It never holds a card's number."""

    authorization_id: str
    """32 digits."""
    message_key: str
    kind: AuthorizationKind
    state: AuthorizationState
    work: Work | None
    work_since: datetime | None
    """In real time."""
    caller: str
    """The peer that asked first."""
    digest: bytes
    """Of what was asked: another content under the same key is a duplicate."""
    token: str | None
    last_four: str
    card_id: str | None
    customer_id: str | None
    device_id: str | None
    amount_minor: int
    stands_minor: int
    currency: str
    mcc: str
    entry_mode: str
    category: Category
    merchant: str
    terminal: str
    place: str
    acquirer: str
    rrn: str
    stan: str
    transmitted: str
    processing_code: str
    approval_code: str | None
    response: str | None
    answer: bytes | None
    refusal_code: str | None
    stood_in: bool
    plan: Plan | None
    payment_id: str | None
    payment_state: str | None
    captured_minor: int
    refunded_minor: int
    processing_id: str
    received_at: datetime
    updated_at: datetime
    version: int

    @property
    def told_approved(self) -> bool:
        """Whether the network was told 00, and nothing has taken that back."""
        return self.state in (S.APPROVED, S.CLEARED)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a card has paid on a day and in a month, and when last; `version` 0: nothing is stored yet."""

    card_id: str
    day: date
    day_minor: int = 0
    day_count: int = 0
    month_minor: int = 0
    recent: tuple[int, ...] = ()
    """Instants of the last payments, in microseconds, oldest first."""
    version: int = 0

    def on(self, day: date) -> Usage:
        """The same, looked at on a day: what is of an earlier day or month does not count any more."""
        if day <= self.day:
            return self
        same_month = (day.year, day.month) == (self.day.year, self.day.month)
        return msgspec.structs.replace(
            self, day=day, day_minor=0, day_count=0, month_minor=self.month_minor if same_month else 0
        )

    def raised(self, amount_minor: int, at_us: int, keep: int) -> Usage:
        """One payment more."""
        return msgspec.structs.replace(
            self,
            day_minor=self.day_minor + amount_minor,
            day_count=self.day_count + 1,
            month_minor=self.month_minor + amount_minor,
            recent=(*self.recent, at_us)[-keep:],
        )

    def released(self, amount_minor: int, day: date, *, whole: bool) -> Usage:
        """Of a payment of that day, so much came to nothing. Its instant stays: it was a try."""
        same_month = (day.year, day.month) == (self.day.year, self.day.month)
        same_day = day == self.day
        return msgspec.structs.replace(
            self,
            day_minor=max(0, self.day_minor - amount_minor) if same_day else self.day_minor,
            day_count=max(0, self.day_count - 1) if same_day and whole else self.day_count,
            month_minor=max(0, self.month_minor - amount_minor) if same_month else self.month_minor,
        )


# -- names --------------------------------------------------------------------------------------------------------


def authorization_id_of(message_key: str) -> str:
    """The 32 digits of an authorization: the same for every repeat of its message."""
    return derived_hex("nfc", "authorization", message_key)


def reversal_id_of(message: Message) -> str:
    """The 32 digits of a reversal's message, a 0400 and its 0401, a 0420 and its 0421."""
    return derived_hex("nfc", "reversal", message.key)


def request_key_of(authorization_id: str, plan: Plan, step: str = "create") -> str:
    """Under which key the payment service is asked: every repeat asks for the same payment."""
    return derived_hex("nfc", plan.value, step, authorization_id)


def approval_code_of(authorization_id: str) -> str:
    """Field 38, derived: whoever answers gives the same."""
    number = int(hashlib.sha256(b"approval" + authorization_id.encode()).hexdigest(), 16)
    characters = ""
    for _ in range(CODE_CHARACTERS):
        number, place = divmod(number, len(CODE_ALPHABET))
        characters += CODE_ALPHABET[place]
    return characters


def digest_of(message: Message, number: bytes) -> bytes:
    """Of what a request asks for; `number` stands for the card (its keyed digest, never itself)."""
    parts = (
        str(message.mti), message.processing_code, message.amount, message.currency, message.mcc, message.merchant,
        message.terminal,
    )  # fmt: skip
    return hashlib.sha256("\x1f".join(map(str, parts)).encode() + number).digest()


def kind_of(message: Message) -> AuthorizationKind:
    """What a 0100 or a 0120 asks for."""
    if message.mti is Mti.ADVICE:
        return AuthorizationKind.ADVICE
    return AuthorizationKind.REFUND if message.processing == Processing.REFUND else AuthorizationKind.PURCHASE
