"""The words of the nfc door: ids, states, platforms, reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

CardId = Annotated[str, msgspec.Meta(pattern=r"^vpc_[0-9a-f]{32}$")]
"""A virtual prepaid card in a customer's hands; never its number."""
DeviceId = Annotated[str, msgspec.Meta(pattern=r"^dev_[0-9a-f]{32}$")]
BatchId = Annotated[str, msgspec.Meta(pattern=r"^isb_[0-9a-f]{32}$")]
CustomerId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
PhoneNumber = Annotated[str, msgspec.Meta(pattern=r"^\+[1-9][0-9]{7,14}$", description="E.164")]
SmsCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}$")]
Opaque = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/=_-]{1,4096}$", description="base64, as the wallet gave it")
]
Cursor = Annotated[str, msgspec.Meta(max_length=512)]
Cause = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""Why, for whoever reads the history."""


class PrepaidCardState(StrEnum):
    """Where a customer's card stands. Only an active one pays."""

    PENDING = "PENDING"
    """The phone is not verified yet; there is no card number."""
    ACTIVE = "ACTIVE"
    LOCKED = "LOCKED"
    """Pays nothing, and may come back."""
    CLOSED = "CLOSED"
    """Final."""


class LockReason(StrEnum):
    """Why a card is locked; the authorization server answers accordingly."""

    CUSTOMER = "customer"
    """By the customer, in the app."""
    LOST = "lost"
    STOLEN = "stolen"
    """Is not unlocked; it is reissued or closed."""
    RISK = "risk"
    """By the platform."""


class DeviceState(StrEnum):
    """Where a phone with a number of its own (Device-PAN) stands. Only an active one pays."""

    REQUESTED = "REQUESTED"
    AUTHENTICATED = "AUTHENTICATED"
    """We vouched for the customer."""
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    DELETED = "DELETED"
    """Final."""


class Platform(StrEnum):
    """Whose wallet is on the phone."""

    APPLE = "apple"
    ANDROID = "android"


class SuspendedBy(StrEnum):
    """Who suspended a device: who may have it resumed."""

    CUSTOMER = "customer"
    WALLET = "wallet"
    """On the phone, or by the wallet's maker."""
    LOCK = "lock"
    """Its card is locked; unlocking resumes it."""


class DeviceAsk(StrEnum):
    """What the token service has yet to be asked of a device, or to confirm."""

    PROVISION = "provision"
    AUTHENTICATE = "authenticate"
    SUSPEND = "suspend"
    RESUME = "resume"
    DELETE = "delete"


class CodeDelivery(StrEnum):
    """What became of the text message with the code."""

    SENDING = "sending"
    SENT = "sent"
    """The sender took it."""
    REFUSED = "refused"
    """The number cannot be reached."""
    NOT_SENT = "not_sent"
    """The sender could not be reached; ask for another one."""
    UNKNOWN = "unknown"
    """The sender's answer was lost; it may arrive."""


class BatchState(StrEnum):
    """Where a batch of cards stands."""

    REQUESTED = "REQUESTED"
    """発行依頼: the request file is made, and on its way."""
    ISSUED = "ISSUED"
    """発行済: the issuer's file is there."""
    IMPORTED = "IMPORTED"
    """取込済: its cards are in the pool."""
    REFUSED = "REFUSED"
    """The issuer did not take the request file, or an operator gave the batch up."""


class AuthenticationMethod(StrEnum):
    """How the calling app authenticated the customer (本人認証)."""

    PASSCODE = "passcode"
    BIOMETRIC = "biometric"
    PASSKEY = "passkey"


class StepKind(StrEnum):
    """What was done to a card, its phone number or a device."""

    REGISTERED = "registered"
    CODE_SENT = "code_sent"
    CODE_DELIVERY = "code_delivery"
    CODE_TRIED = "code_tried"
    ASSIGNED = "assigned"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    CLOSED = "closed"
    REISSUED = "reissued"
    DEVICE = "device"
    """A device changed, by our will or the token service's word."""
