"""How long is waited for what, and what is not known just now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class AccountState(StrEnum):
    """Where a bank account stands. PENDING: it is not known yet whether the bank agrees to debits; nobody sees it."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    REFUSED = "REFUSED"


class Patience(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long is waited for what: in real time but for `repair_after_s`."""

    answer_s: Seconds = 5.0
    """Then whoever registers an account is told that the bank has not answered yet."""
    poll_s: Seconds = 1.0
    """Between two looks at the bank's results while it has something to answer."""
    idle_poll_s: Seconds = 10.0
    """The same while it has not: only returned transfers can come then."""
    away_s: Seconds = 5.0
    """The same while the bank cannot be asked."""
    repair_after_s: Seconds = 30.0
    """An instruction that has stood without an end so long, in business time, is asked about."""
    converge_within_s: Seconds = 86_400.0
    """The bound: an instruction without an end for longer, in business time, is an alarm."""


@dataclass(frozen=True, slots=True)
class FilesDoubt:
    """Instructions by file whose day has come, and which have no end."""

    instructions: int
    oldest_on: date | None
    """The first of their days."""
    oldest_s: float
    """Since that day's beginning, in business time."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the bank has still to answer."""

    instructions: int
    oldest_s: float
    """Since the oldest was given, in business time."""
    mandates: int
    """Accounts whose mandate it has not answered about."""
