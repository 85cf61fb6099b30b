"""Batches of cards and the pool that they fill."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from kessai.foundation.contract import Message, PageLimit
from kessai.services.nfc.api.words import BatchId, BatchState, Cursor

CARDS_MAX = 10_000
"""Cards of one batch."""
LINE_ERRORS_SHOWN_MAX = 200


class RequestCards(Message):
    """A batch of cards for the pool."""

    count: Annotated[int, msgspec.Meta(ge=1, le=CARDS_MAX)]


class ImportCards(Message):
    """Which batch's cards to take into the pool now."""

    batch_id: BatchId


class GiveUpBatch(Message):
    """Which batch nobody waits for any more, and why."""

    batch_id: BatchId
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class GetIssueBatch(Message):
    """Which batch."""

    batch_id: BatchId


class ListIssueBatches(Message):
    """A page of batches, newest first; `cursor` comes from the page before."""

    state: BatchState | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class GetPool(Message):
    """How full the pool is."""


class IssueLineError(Message):
    """A line of the issuer's file that gave no card. What stood there is never shown: it may be a card's number."""

    line: int
    """The line of the request, or, where it is none of those, the record of the file from 1."""
    code: str
    """`issuer_refused`, `line_unreadable`, `line_unknown`, `line_twice`, `line_missing`, `number_wrong`,
    `expiry_wrong`, `expired`, `card_known`."""
    reason: str | None = None
    """The issuer's own, of `issuer_refused`."""


class IssueBatch(Message):
    """A batch as it stands."""

    batch_id: str
    state: BatchState
    count: int
    """Cards asked for."""
    imported: int
    """Cards that went into the pool."""
    wrong: int
    """Lines that gave none."""
    code: str | None
    """Of a refused one: the issuer's reason, or `given_up`. Of an issued one: why its file could not be imported as a
    whole."""
    errors: list[IssueLineError]
    """The first of them; a page of batches leaves them out."""
    sent_at: datetime | None
    """When the issuer was known to have the request file."""
    requested_at: datetime
    imported_at: datetime | None
    requested_by: str


class IssueBatchPage(Message):
    """A page; `next_cursor` is None on the last one."""

    batches: list[IssueBatch]
    next_cursor: str | None


class PoolStanding(Message):
    """The pool as it stands."""

    free: int
    """Cards that can be assigned now."""
    assigned: int
    stale: int
    """Free, but too near their expiry to be given to anybody."""
    on_order: int
    """Cards of batches that are not imported yet, and are still counted on."""
    overdue: int
    """Cards of batches that were asked for `order_days_max` days ago, and have not come: nobody counts on them."""
    low_water: int
    low: bool
    """Whether fewer are free than the low-water mark says."""
