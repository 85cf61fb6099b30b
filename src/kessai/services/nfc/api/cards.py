"""Customers' cards and the phones they are on."""

from __future__ import annotations

from datetime import date, datetime

from kessai.foundation.contract import Instant, Message, PageLimit
from kessai.services.nfc.api.words import (
    AuthenticationMethod,
    CardId,
    Cause,
    CodeDelivery,
    Cursor,
    CustomerId,
    DeviceAsk,
    DeviceId,
    DeviceState,
    LockReason,
    Opaque,
    PhoneNumber,
    Platform,
    PrepaidCardState,
    SmsCode,
    StepKind,
    SuspendedBy,
)


class Authentication(Message):
    """The calling app vouches that it authenticated the customer, and when."""

    method: AuthenticationMethod
    authenticated_at: Instant


# -- cards --------------------------------------------------------------------------------------------------------


class RegisterPrepaidCard(Message):
    """A card for a customer; a code goes to the phone number."""

    customer_id: CustomerId
    phone_number: PhoneNumber
    authentication: Authentication


class SendCode(Message):
    """Another code to the same number; the one before is void."""

    card_id: CardId


class VerifyPhone(Message):
    """The code that the customer read."""

    card_id: CardId
    code: SmsCode


class LockCard(Message):
    """Stop a card. One that is locked already takes the new reason."""

    card_id: CardId
    reason: LockReason
    note: Cause


class UnlockCard(Message):
    """Let a locked card pay again."""

    card_id: CardId
    authentication: Authentication
    note: Cause


class ReissueCard(Message):
    """Another card in place of one, which is closed."""

    card_id: CardId
    authentication: Authentication
    note: Cause


class CloseCard(Message):
    """End a card, with its devices."""

    card_id: CardId
    note: Cause


class GetPrepaidCard(Message):
    """Which card."""

    card_id: CardId


class ListPrepaidCards(Message):
    """A customer's cards, newest first."""

    customer_id: CustomerId
    include_closed: bool = False


class GetCardHistory(Message):
    """A page of a card's steps, newest first; `cursor` comes from the page before."""

    card_id: CardId
    limit: PageLimit = 100
    cursor: Cursor | None = None


class PhoneCheck(Message):
    """How the verification of the phone number stands."""

    phone: str
    """Masked but for its last four digits."""
    verified_at: datetime | None
    delivery: CodeDelivery
    """Of the last code."""
    expires_at: datetime
    """Of the last code."""
    attempts_left: int
    sends_left: int
    next_send_at: datetime


class PrepaidCard(Message):
    """A customer's card as it stands."""

    card_id: str
    customer_id: str
    state: PrepaidCardState
    lock_reason: LockReason | None
    last_four: str | None
    """None until it has a number."""
    reference: str | None
    """By which the issuer, the card network and clearing files speak of it; no card's number."""
    expires_on: date | None
    """The last day on which it pays."""
    phone: PhoneCheck
    replaces: str | None
    """The card that it was reissued for."""
    replaced_by: str | None
    version: int
    """Grows with every step of the card or its devices."""
    created_at: datetime
    updated_at: datetime


class PrepaidCards(Message):
    """Cards, newest first."""

    cards: list[PrepaidCard]


class CardStep(Message):
    """One entry of a history: never edited, never removed."""

    version: int
    kind: StepKind
    card_state: PrepaidCardState
    """After it."""
    device_id: str | None
    device_state: DeviceState | None
    """After it."""
    detail: str
    """JSON: what else there is to know."""
    note: str
    caller: str
    recorded_at: datetime


class CardHistory(Message):
    """A page, newest first; `next_cursor` is None on the last one."""

    steps: list[CardStep]
    next_cursor: str | None


# -- devices ------------------------------------------------------------------------------------------------------


class AppleWallet(Message):
    """What an Apple-like wallet gave the app."""

    certificates: list[Opaque]
    nonce: Opaque
    nonce_signature: Opaque


class AndroidWallet(Message):
    """What an Android-like wallet gave the app."""

    client_wallet_account_id: Opaque
    stable_hardware_id: Opaque


class ProvisionDevice(Message):
    """Put a card on a phone; exactly one of `apple` and `android`."""

    card_id: CardId
    authentication: Authentication
    apple: AppleWallet | None = None
    android: AndroidWallet | None = None


class AuthenticateDevice(Message):
    """Vouch for the customer with the token service."""

    card_id: CardId
    device_id: DeviceId
    authentication: Authentication


class SuspendDevice(Message):
    """Stop a device; it pays nothing from now on."""

    card_id: CardId
    device_id: DeviceId
    note: Cause


class ResumeDevice(Message):
    """Let a suspended device pay again, once the token service has said so."""

    card_id: CardId
    device_id: DeviceId
    authentication: Authentication
    note: Cause


class DeleteDevice(Message):
    """Take a card off a phone; it pays nothing from now on."""

    card_id: CardId
    device_id: DeviceId
    note: Cause


class InquireDevice(Message):
    """Ask the token service how a device stands: when the phone has taken the number up, or an answer was lost."""

    card_id: CardId
    device_id: DeviceId


class ListDevices(Message):
    """A card's devices, oldest first."""

    card_id: CardId
    include_deleted: bool = False


class WalletPayload(Message):
    """What the app hands over to the wallet; opaque."""

    name: str
    value: str


class Device(Message):
    """A device as it stands."""

    device_id: str
    card_id: str
    platform: Platform
    state: DeviceState
    pending: DeviceAsk | None
    """What the token service has not confirmed yet; it is inquired and asked until it has."""
    suspended_by: SuspendedBy | None
    last_four: str | None
    """Of the Device-PAN; None until the phone took it up."""
    expires_on: date | None
    refusal_code: str | None
    """Why the token service did not take it."""
    payload: list[WalletPayload]
    """Of an answer to `provision_device` and `inquire_device`, as the token service told it."""
    created_at: datetime
    updated_at: datetime


class Devices(Message):
    """A card's devices."""

    devices: list[Device]


# -- what the authorization server asks ---------------------------------------------------------------------------


class NumberStanding(Message):
    """Whose a card number is: what the authorization server decides on. Never crosses a door."""

    token: str
    """`tok_` and 32 digits: the number's name everywhere but in the vault."""
    last_four: str
    expiry: str
    """YYMM, to be compared with field 14."""
    expires_on: date
    card_id: str | None
    """None: it lies in the pool, nobody's."""
    customer_id: str | None
    card_state: PrepaidCardState | None
    lock_reason: LockReason | None
    device_id: str | None
    """None: it is the card's own number."""
    platform: Platform | None
    device_state: DeviceState | None
    version: int
    """Of the card: any later step has a higher one."""
