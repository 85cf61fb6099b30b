"""What cards go by: `config/nfc.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from kessai.foundation.config import TomlDocument
from kessai.foundation.errors import Refused
from kessai.services.nfc.api import Authentication

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]


class PoolTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How full the pool is kept."""

    low_water: NotNegative
    order_up_to: Positive
    order_days_max: Positive = 7
    valid_days_min: NotNegative


class PhoneTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a phone number is verified."""

    code_valid_s: Positive
    attempts_max: Positive
    sends_max: Positive
    send_every_s: NotNegative
    sends_a_day_max: Positive


class AuthenticationTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long a customer counts as authenticated."""

    valid_s: Positive
    ahead_s: NotNegative

    def require(self, told: Authentication, now: datetime) -> None:
        """Refused `authentication_stale` unless the customer was authenticated just now."""
        age = now - told.authenticated_at
        if not -timedelta(seconds=self.ahead_s) <= age <= timedelta(seconds=self.valid_s):
            raise Refused("authentication_stale", "The customer must be authenticated again.")


class DeviceTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many devices a card has, and how long one is waited for."""

    per_card_max: Positive
    arrives_within_s: NotNegative


class LookupTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of whose a number is."""

    kept_ms: NotNegative
    kept_max: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTerms:
    """All that cards go by."""

    pool: PoolTerms
    phone: PhoneTerms
    authentication: AuthenticationTerms
    devices: DeviceTerms
    lookup: LookupTerms


def read_card_terms(document: TomlDocument) -> CardTerms:
    """The terms of a file, of which other tables are read elsewhere; ConfigError names the line of what is wrong."""
    return CardTerms(
        pool=document.convert(("pool",), PoolTerms),
        phone=document.convert(("phone",), PhoneTerms),
        authentication=document.convert(("authentication",), AuthenticationTerms),
        devices=document.convert(("devices",), DeviceTerms),
        lookup=document.convert(("lookup",), LookupTerms),
    )
