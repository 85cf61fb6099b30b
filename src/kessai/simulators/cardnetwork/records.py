"""What the simulated card network writes down, and the words it is written in. Pure."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

TOKYO = ZoneInfo("Asia/Tokyo")
AMOUNT_MAX = 999_999_999_999

DeviceState = Literal["requested", "authenticated", "active", "suspended", "deleted"]
AuthorizationState = Literal["sent", "approved", "declined", "given_up", "reversed", "advised"]
DetailKind = Literal["S", "R", "V"]
Spoil = Literal["bad_pan", "bad_expiry", "twice", "missing", "count", "cut"]
ClearingSpoil = Literal["count", "total", "cut", "bad_line", "resend"]


class Declined(Exception):
    """The processor says no: a stable code, and the HTTP status it goes with."""

    def __init__(self, code: str, status: int = 422, *, line: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.line = line
        """The record of a file, from 1."""


def day_of(at: datetime) -> date:
    """The business day of an instant."""
    return at.astimezone(TOKYO).date()


# -- cards and devices ------------------------------------------------------------------------------------------


class IssueFate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become of lines of a request, or of the file that answers it."""

    about: str | None = None
    """The request's file id; None is any."""
    reference: str | None = None
    """The request reference of one line; None is any."""
    refuse: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{1,4}$")] | None = None
    """Refuse the line for this reason."""
    spoil: Spoil | None = None
    after_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Until the file is issued."""
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many lines (or files, without `refuse` and for `count` and `cut`) have this fate; 0 is all."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A card that was issued; its number is made from its place, see `numbers`."""

    reference: str
    place: int
    expiry: str
    """YYMM."""


class IssuedLine(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one line of a request."""

    line: int
    reference: str
    card: Card | None
    reason: str = ""
    spoil: Spoil | None = None


class Issued(msgspec.Struct, frozen=True, kw_only=True, tag="issued"):
    """A request file that was taken, and what comes of it at its time."""

    id: str
    at: datetime
    ready_at: datetime
    sha256: str
    sequence: int
    lines: list[IssuedLine]
    spoil: Spoil | None = None
    code: str | None = None
    """Why the file was refused."""
    line: int | None = None


class CardMade(msgspec.Struct, frozen=True, kw_only=True, tag="card"):
    """A card without a file."""

    at: datetime
    card: Card


class DeviceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the wallet on the phone gave."""

    card: str
    platform: Literal["apple", "android"]
    certificates: list[str] = []
    nonce: str = ""
    nonce_signature: str = ""
    client_wallet_account_id: str = ""
    stable_hardware_id: str = ""


class DeviceChanged(msgspec.Struct, frozen=True, kw_only=True, tag="device"):
    """A device came to be, or came into another state."""

    id: str
    at: datetime
    state: DeviceState
    body: DeviceBody | None = None
    authenticated_by: str | None = None


class Device(msgspec.Struct, kw_only=True):
    """A device as it stands."""

    id: str
    place: int
    body: DeviceBody
    state: DeviceState
    authenticated_by: str | None = None
    expiry: str


class DeviceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a device, as the client hears of it."""

    position: int
    id: str
    state: DeviceState
    at: datetime


# -- terminals --------------------------------------------------------------------------------------------------


class Tap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens at a terminal (or in an app): a card or a device, and an amount."""

    amount: Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]
    card: str | None = None
    """A card's reference."""
    device: str | None = None
    """A device's id, in place of the card."""
    pan: str | None = None
    """A number that need not be anybody's, in place of both; it is not written down."""
    expiry: str | None = None
    """In place of the card's own."""
    mcc: str = "5812"
    entry: Literal["contactless", "in_app"] = "contactless"
    merchant: str = "SHOP00000000001"
    name: str = "KISSA KESSAI"
    city: str = "TOKYO"
    country: str = "JP"
    currency: str = "392"
    processing: Literal["purchase", "refund", "balance"] = "purchase"
    terminal: str = "T0000001"
    acquirer: str = "10000000001"
    authorization: str | None = None
    """Of an advice: which authorization it is about."""
    wait: bool = True
    """Until the outcome is known."""


class Reversal(msgspec.Struct, kw_only=True):
    """A reversal that was sent."""

    stan: str
    transmitted: str
    amount: int
    """What it takes back."""
    stands: int
    """What is left after it."""
    advice: bool
    response: str | None = None
    answered_at: datetime | None = None


class Authorization(msgspec.Struct, kw_only=True):
    """What the processor knows of one request."""

    id: str
    kind: Literal["tap", "advice"]
    card: str
    device: str | None
    expiry: str
    processing: Literal["purchase", "refund", "balance"]
    amount: int
    currency: str
    at: datetime
    acquirer: str
    transmitted: str
    stan: str
    rrn: str
    merchant: str
    name: str
    city: str
    country: str
    terminal: str
    mcc: str
    entry: Literal["contactless", "in_app"]
    about: str | None = None
    """Of an advice: the authorization it is about."""
    state: AuthorizationState = "sent"
    response: str | None = None
    approval_code: str | None = None
    reversed: int = 0
    cleared: int = 0
    refunded: int = 0
    filed: bool = False
    """A clearing file had it."""
    never: bool = False
    """It is left out of every clearing file."""
    reversals: list[Reversal] = []
    late: int = 0
    """Answers that came after it was given up."""

    @property
    def approved(self) -> bool:
        """Whether we said 00 in time."""
        return self.response == "00"

    @property
    def stands(self) -> int:
        """What of an approved amount was not taken back."""
        return self.amount - self.reversed if self.approved else 0

    @property
    def key(self) -> str:
        """What a repeat of it is known by."""
        return f"{self.acquirer:0>11}-{self.transmitted}-{self.stan}-{self.rrn}"


class Sent(msgspec.Struct, frozen=True, kw_only=True, tag="sent"):
    """A request is about to be sent."""

    authorization: Authorization


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answered"):
    """It was answered in time."""

    id: str
    response: str
    approval_code: str | None = None


class GivenUp(msgspec.Struct, frozen=True, kw_only=True, tag="given_up"):
    """It was not answered in time."""

    id: str


class Late(msgspec.Struct, frozen=True, kw_only=True, tag="late"):
    """An answer came after it was given up."""

    id: str


class ReversalSent(msgspec.Struct, frozen=True, kw_only=True, tag="reversal"):
    """A reversal is about to be sent."""

    id: str
    reversal: Reversal


class ReversalAnswered(msgspec.Struct, frozen=True, kw_only=True, tag="reversal_answered"):
    """A reversal was answered."""

    id: str
    stan: str
    response: str
    at: datetime


# -- clearing ---------------------------------------------------------------------------------------------------


class ClearingFate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of an authorization in the next file."""

    case: Literal[
        "match",
        "other_amount",
        "omit",
        "never",
        "duplicate",
        "wrong_card",
        "wrong_approval_code",
        "wrong_currency",
    ]
    about: str | None = None
    """The authorization's id; None is any."""
    amount: int | None = None
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many authorizations have this fate; 0 is all."""


class ClearingLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that is asked for."""

    case: Literal["no_authorization", "late", "refund", "reversal", "again"]
    authorization: str = ""
    card: str = ""
    amount: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)] | None = None
    file: str = ""
    line: int = 0


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a clearing file."""

    kind: DetailKind
    card: str
    amount: int
    currency: str
    authorized_on: date
    approval_code: str
    rrn: str
    merchant: str
    mcc: str
    acquirer: str
    reference: str
    authorization: str = ""
    """Whose it is in these books; not in the file."""


class Cleared(msgspec.Struct, frozen=True, kw_only=True, tag="cleared"):
    """A clearing file was made."""

    id: str
    on: date
    sequence: int
    details: list[Detail]
    never: list[str] = []
    spoil: ClearingSpoil | None = None


Entry = Issued | CardMade | DeviceChanged | Sent | Answered | GivenUp | Late | ReversalSent | ReversalAnswered | Cleared
"""A line of the journal."""
