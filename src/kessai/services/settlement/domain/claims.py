"""Claims (請求): what a payee still owes, what is on its way to settle it, and what has. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Literal

from kessai.services.settlement.domain.offset import Owed

PartKind = Literal["offset", "collected"]


class ClaimState(StrEnum):
    """Where a claim stands."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim as it is stored; of one cycle's shortfall (赤残)."""

    payee_id: str
    claim_id: str
    """32 hexadecimal digits, as `cycle_id`."""
    cycle_id: str
    amount_minor: int
    offset_minor: int = 0
    collected_minor: int = 0
    pending_minor: int = 0
    state: ClaimState = ClaimState.OPEN
    due_on: date
    version: int = 1
    made_at: datetime

    @property
    def owed_minor(self) -> int:
        """What is still owed."""
        return self.amount_minor - self.offset_minor - self.collected_minor

    @property
    def free_minor(self) -> int:
        """Of what is owed, what nothing under way will settle."""
        return self.owed_minor - self.pending_minor

    @property
    def open_part(self) -> Owed:
        """What an offset may take."""
        return Owed(self.claim_id, self.free_minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPart:
    """What an offset or a repayment under way takes of a claim."""

    payee_id: str
    claim_id: str
    payment_id: str
    kind: PartKind
    amount_minor: int


def spoken_for(claim: Claim, amount_minor: int) -> Claim:
    """So much of it is about to be settled."""
    assert 0 < amount_minor <= claim.free_minor, "no more is taken of a claim than it has"
    return replace(claim, pending_minor=claim.pending_minor + amount_minor, version=claim.version + 1)


def settled_by(claim: Claim, part: ClaimPart, *, done: bool) -> Claim:
    """A part has come to its end: done, or refused (then it is free again)."""
    gain = part.amount_minor if done else 0
    offset = claim.offset_minor + (gain if part.kind == "offset" else 0)
    collected = claim.collected_minor + (gain if part.kind == "collected" else 0)
    return replace(
        claim,
        offset_minor=offset,
        collected_minor=collected,
        pending_minor=claim.pending_minor - part.amount_minor,
        state=ClaimState.SETTLED if offset + collected == claim.amount_minor else ClaimState.OPEN,
        version=claim.version + 1,
    )
