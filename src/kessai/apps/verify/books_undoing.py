"""Reversals posted anew: their tax depends on what was given back of their exchange before them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import asyncpg

from kessai.apps.verify.finding import Row
from kessai.services.books.domain.given_back import Legs, note
from kessai.services.books.domain.posting import Batch, Book, Happening, Original, journal_id_of
from kessai.services.ledger.api import ExchangeRecorded

Taxed: TypeAlias = "Sequence[asyncpg.Record]"
"""Entries under tax codes."""


class Undoing:
    """What is booked of the exchanges that some events reverse."""

    def __init__(self, originals: Mapping[str, Original], taxed: Taxed, accounts: Mapping[str, frozenset[str]]) -> None:
        """`accounts`: where the tax of a code stands."""
        self._originals = originals
        self._accounts = accounts
        self._taxed: defaultdict[str, list[asyncpg.Record]] = defaultdict(list)
        for row in taxed:
            self._taxed[row["root"]].append(row)

    def post(self, book: Book, event: Happening, booked: tuple[Row | None, list[Row]], recorded_at: datetime) -> Batch:
        """Post one, after what was booked before it; `booked`: its journal with the entries, where it has one.

        Instants of two processes do not tell for certain which of two was booked first: any order that explains what
        is booked will do.
        """
        first: Batch | None = None
        for taxed in self._before(event, recorded_at):
            batch = Batch(recorded_at, originals=dict(self._originals), taxed=taxed)
            book.book(batch, [event])
            if batch.journals == [booked[0]] and batch.entries == booked[1]:
                return batch
            first = first or batch
        assert first is not None, "there is an order"
        return first

    def _before(self, event: Happening, recorded_at: datetime) -> Iterator[dict[str, Legs]]:
        told = event.told
        original = self._originals.get(told.reverses or "") if isinstance(told, ExchangeRecorded) else None
        journal_id = journal_id_of(event)
        others = [row for row in self._taxed[original.root] if row["journal_id"] != journal_id] if original else []
        if original is None or not others:
            yield {}
            return
        root, mine = original.root, (recorded_at, journal_id)
        yield self._legs(root, [row for row in others if (row["recorded_at"], row["journal_id"]) < mine])
        yield self._legs(root, [row for row in others if row["journal_id"] < journal_id])
        yield self._legs(root, others)

    def _legs(self, root: str, rows: Taxed) -> dict[str, Legs]:
        legs: Legs = {}
        for row in rows:
            key = (row["account_type"], row["owner"], row["asset"], row["tax_code"])
            note(legs, [(key, row["account"], row["amount"])], self._accounts, is_back=row["is_back"])
        return {root: legs}
