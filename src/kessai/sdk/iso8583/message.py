"""A message: its type, and its fields by name. Absent fields are None."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from kessai.sdk.iso8583.numbers import Pan

PLACE_CHARACTERS: Final = 40
_NAME, _CITY = 25, 13


class Mti(StrEnum):
    """A message's type (message type indicator)."""

    AUTHORIZATION = "0100"
    AUTHORIZATION_ANSWER = "0110"
    ADVICE = "0120"
    ADVICE_ANSWER = "0130"
    REVERSAL = "0400"
    REVERSAL_REPEAT = "0401"
    REVERSAL_ANSWER = "0410"
    REVERSAL_ADVICE = "0420"
    REVERSAL_ADVICE_REPEAT = "0421"
    REVERSAL_ADVICE_ANSWER = "0430"
    NETWORK = "0800"
    NETWORK_ANSWER = "0810"


ANSWERS: Final = {
    Mti.AUTHORIZATION: Mti.AUTHORIZATION_ANSWER,
    Mti.ADVICE: Mti.ADVICE_ANSWER,
    Mti.REVERSAL: Mti.REVERSAL_ANSWER,
    Mti.REVERSAL_REPEAT: Mti.REVERSAL_ANSWER,
    Mti.REVERSAL_ADVICE: Mti.REVERSAL_ADVICE_ANSWER,
    Mti.REVERSAL_ADVICE_REPEAT: Mti.REVERSAL_ADVICE_ANSWER,
    Mti.NETWORK: Mti.NETWORK_ANSWER,
}
"""The type that answers each request."""
REVERSALS: Final = frozenset(
    (Mti.REVERSAL, Mti.REVERSAL_REPEAT, Mti.REVERSAL_ADVICE, Mti.REVERSAL_ADVICE_REPEAT),
)


class Response(StrEnum):
    """A response code (field 39)."""

    APPROVED = "00"
    DO_NOT_HONOUR = "05"
    INVALID_TRANSACTION = "12"
    INVALID_AMOUNT = "13"
    NO_SUCH_CARD = "14"
    ORIGINAL_NOT_FOUND = "25"
    FORMAT_ERROR = "30"
    LOST = "41"
    STOLEN = "43"
    INSUFFICIENT_FUNDS = "51"
    EXPIRED = "54"
    NOT_PERMITTED = "57"
    OVER_AMOUNT_LIMIT = "61"
    RESTRICTED = "62"
    OVER_COUNT_LIMIT = "65"
    ISSUER_UNAVAILABLE = "91"
    DUPLICATE = "94"
    MALFUNCTION = "96"


class Processing(StrEnum):
    """What is asked for: the first two digits of field 3."""

    PURCHASE = "00"
    REFUND = "20"
    BALANCE = "31"


class Network(StrEnum):
    """What a network message is about (field 70)."""

    SIGN_ON = "001"
    SIGN_OFF = "002"
    ECHO = "301"


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """Which message a reversal takes back (field 90)."""

    mti: Mti
    stan: str
    transmitted: str
    acquirer: str
    """Eleven digits, zeros in front."""
    forwarder: str = "0" * 11


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Digits stay text where they are no quantity; its text shows neither PAN nor expiry."""

    mti: Mti
    pan: Pan | None = None
    """Field 2."""
    processing_code: str | None = None
    """Field 3, six digits."""
    amount: int | None = None
    """Field 4, in the currency's minor unit."""
    transmitted: str | None = None
    """Field 7, MMDDhhmmss in UTC."""
    stan: str | None = None
    """Field 11, the system trace audit number."""
    local_time: str | None = None
    """Field 12, hhmmss at the terminal."""
    local_date: str | None = None
    """Field 13, MMDD at the terminal."""
    expiry: str | None = None
    """Field 14, YYMM."""
    settlement_date: str | None = None
    """Field 15, MMDD."""
    mcc: str | None = None
    """Field 18, the merchant category code."""
    entry_mode: str | None = None
    """Field 22; `07…` is contactless, `81…` an app."""
    condition: str | None = None
    """Field 25."""
    acquirer: str | None = None
    """Field 32, up to eleven digits."""
    rrn: str | None = None
    """Field 37, the retrieval reference number; a reversal has its original's."""
    approval_code: str | None = None
    """Field 38."""
    response: str | None = None
    """Field 39, see `Response`."""
    terminal: str | None = None
    """Field 41, without the spaces that fill it."""
    merchant: str | None = None
    """Field 42, without the spaces that fill it."""
    place: str | None = None
    """Field 43, see `name_and_location`."""
    currency: str | None = None
    """Field 49, three digits (ISO 4217); 392 is the yen."""
    network: Network | None = None
    """Field 70."""
    original: Original | None = None
    """Field 90."""
    replacement_amount: int | None = None
    """Field 95: what stands after a partial reversal."""

    @property
    def processing(self) -> str | None:
        """What is asked for, see `Processing`; another code is not a format error, but an invalid transaction."""
        return None if self.processing_code is None else self.processing_code[:2]

    @property
    def country(self) -> str | None:
        """The merchant's country (ISO 3166-1, two letters)."""
        return None if self.place is None else self.place[-2:]

    @property
    def key(self) -> str:
        """What a repeat is known by: fields 32, 7, 11 and 37. Only of a message that has them."""
        assert self.acquirer is not None
        return _key(self.acquirer, self.transmitted, self.stan, self.rrn)

    @property
    def original_key(self) -> str:
        """The key of the message that this reversal takes back."""
        assert self.original is not None
        return _key(self.original.acquirer, self.original.transmitted, self.original.stan, self.rrn)

    def answer(self, response: str, *, approval_code: str | None = None, settlement_date: str | None = None) -> Message:
        """The answer to this request. It has no PAN, so that it can be kept as it is."""
        return Message(
            mti=ANSWERS[self.mti],
            processing_code=self.processing_code,
            amount=self.amount,
            transmitted=self.transmitted,
            stan=self.stan,
            settlement_date=settlement_date,
            acquirer=self.acquirer,
            rrn=self.rrn,
            approval_code=approval_code,
            response=response,
            terminal=self.terminal,
            currency=self.currency,
            network=self.network,
        )

    def __repr__(self) -> str:
        shown = ((name, getattr(self, name)) for name in self.__struct_fields__ if name != "expiry")
        return f"Message({', '.join(f'{name}={value!r}' for name, value in shown if value is not None)})"

    __str__ = __repr__


def _key(acquirer: str, transmitted: str | None, stan: str | None, rrn: str | None) -> str:
    assert transmitted is not None
    assert stan is not None
    assert rrn is not None
    return f"{acquirer:0>11}-{transmitted}-{stan}-{rrn}"


def name_and_location(name: str, city: str, country: str) -> str:
    """Field 43: the name in 25 characters, the city in 13, the country in 2; what is too long is cut."""
    return f"{name[:_NAME]:<{_NAME}}{city[:_CITY]:<{_CITY}}{country:<2}"


def transmitted_at(at: datetime) -> str:
    """Field 7 of an instant."""
    return at.astimezone(UTC).strftime("%m%d%H%M%S")


def instant_of(transmitted: str, near: datetime) -> datetime:
    """The instant that field 7 means: it has no year, so that of the three years around `near` which is nearest.

    29 February is a day in leap years only; in a year around none it is 28 February.
    """
    month, day = int(transmitted[:2]), int(transmitted[2:4])
    time = timedelta(
        hours=int(transmitted[4:6]),
        minutes=int(transmitted[6:8]),
        seconds=int(transmitted[8:]),
    )
    years = (near.year - 1, near.year, near.year + 1)
    found = [each for year in years if (each := _day(year, month, day)) is not None]
    found = found or [datetime(near.year, 2, 28, tzinfo=UTC)]
    return min((each + time for each in found), key=lambda each: abs(each - near))


def _day(year: int, month: int, day: int) -> datetime | None:
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
