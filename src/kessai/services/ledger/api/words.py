"""Words that all parts of the ledger's door share: ids, labels, states."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Annotated

import msgspec

from kessai.foundation.contract import Label
from kessai.foundation.ids import AccountId, derived_hex

LEGS_MAX = 64
BATCH_EXCHANGES_MAX = 8_000
METADATA_MAX = 16

Metadata = Annotated[dict[Label, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=METADATA_MAX)]
Owner = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{3}_[0-9a-f]{32}$")]


class ExchangeState(StrEnum):
    """AUTHORIZED (仮売上) holds the sources; CAPTURED is final; what was never captured ends VOIDED or EXPIRED."""

    AUTHORIZED = "AUTHORIZED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    EXPIRED = "EXPIRED"


class Freeze(StrEnum):
    """Which way an account is frozen. Voluntary credits are stopped by IN and BOTH; returns and refunds still land."""

    NONE = "NONE"
    IN = "IN"
    OUT = "OUT"
    BOTH = "BOTH"


@lru_cache(maxsize=65_536)
def account_id_of(owner: str, account_type: str) -> AccountId:
    """The id of an owner's account of a type: derived, so that callers need no look-up and none can exist twice."""
    return AccountId("acc_" + derived_hex("account", owner, account_type))
