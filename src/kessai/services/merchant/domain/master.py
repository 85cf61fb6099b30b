"""The merchant master: where a mapping may stand, and what becomes of those that end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kessai.foundation.errors import Conflict, Invalid, PaymentError, Refused
from kessai.services.merchant.domain.timeline import Stretch, before

Key = tuple[str, str]
"""A payment method, and its id of a shop."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """What an id means from when on, until when (not included)."""

    key: Key
    sequence: int
    merchant_id: str
    valid_from: datetime
    valid_until: datetime | None
    import_id: str | None
    recorded_at: datetime

    @property
    def stretch(self) -> Stretch[str]:
        """When it holds."""
        return Stretch(self.valid_from, self.valid_until, self.merchant_id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A mapping that is asked for; without a beginning: from now on."""

    key: Key
    merchant_id: str
    valid_from: datetime | None
    valid_until: datetime | None


def place(wanted: Wanted, standing: Sequence[Mapping], now: datetime) -> Stretch[str] | PaymentError | None:
    """Where a mapping is to stand among those of its id, or why it may not; None: that is what the id means already."""
    since = wanted.valid_from or now
    stretch = Stretch(since, wanted.valid_until, wanted.merchant_id)
    if not before(since, wanted.valid_until):
        return Invalid("validity_reversed", "The validity ends before it begins.", field="$.valid_until")
    if any(each.merchant_id == wanted.merchant_id and _covers(each.stretch, stretch) for each in standing):
        return None
    overlapping = [each for each in standing if each.stretch.overlaps(stretch)]
    for each in overlapping:
        if each.merchant_id != wanted.merchant_id:
            return Conflict(
                "master_id_conflict",
                f"This id means {each.merchant_id} from {each.valid_from.isoformat()} on.",
                merchant_id=each.merchant_id,
            )
    if overlapping:
        return Conflict("validity_overlaps", "This id means this merchant already for a part of that time.")
    if since < now:
        return Refused("in_the_past", "A mapping is valid from now on at the earliest.", field="$.valid_from")
    return stretch


def _covers(outer: Stretch[str], inner: Stretch[str]) -> bool:
    if outer.since > inner.since:
        return False
    return outer.until is None or (inner.until is not None and inner.until <= outer.until)


def ended(standing: Sequence[Mapping], until: datetime) -> list[Mapping]:
    """Those of an id's mappings that end at an instant or never come to be, as they are then."""
    return [
        replace(each, valid_until=max(each.valid_from, until)) for each in standing if before(until, each.valid_until)
    ]
