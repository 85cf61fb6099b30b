"""Offset (相殺): what a payee has against what it owes, the oldest claim first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owed:
    """What is left of a claim."""

    claim_id: str
    owed_minor: int


def offset(available_minor: int, owed: Sequence[Owed]) -> list[Owed]:
    """How much of which claim is offset: as far as both have, in the order of the claims; those with nothing left out.

    5,000 against a claim of 2,000 leaves 3,000, as in the public talk on merchants' settlement at Merpay.
    """
    taken: list[Owed] = []
    for each in owed:
        part = min(available_minor, each.owed_minor)
        if part > 0:
            taken.append(Owed(each.claim_id, part))
            available_minor -= part
    return taken


def offset_total(taken: Sequence[Owed]) -> int:
    """What is offset in all."""
    return sum(each.owed_minor for each in taken)
