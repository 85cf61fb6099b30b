"""Whether the books have been told all of some days: what comes after its month was closed is booked late."""

from __future__ import annotations

from datetime import date, timedelta

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable
from kessai.foundation.events.standing import is_quiet
from kessai.services.bank.api import TOPIC_DEBIT, TOPIC_TRANSFER
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.statutory.days import end_of, feed_told_all
from kessai.services.books.service.bookkeeping import TOPIC_ACCOUNT, TOPIC_EXCHANGE
from kessai.services.books.store.feed import parked_before
from kessai.services.books.store.statutory_days import read_feed


class Feeds:
    """What the ledger and the bank tell."""

    def __init__(self, database: Database, clock: Clock, books: BooksConfig) -> None:
        self._database = database
        self._clock = clock
        self._lag = timedelta(seconds=books.statutory.feed.quiet_after_s)

    async def require_told(self, day: date) -> None:
        """Raises Unavailable `feed_behind` while something of a day, or of one before it, may still be on its way."""
        now = self._clock.now()
        quiet = await self._is_quiet("ledger", "books.ledger", TOPIC_ACCOUNT, TOPIC_EXCHANGE)
        feed = await read_feed(self._database)
        told = feed_told_all(day, feed.seen_at, now, quiet=quiet, lag=self._lag)
        if not told or not await self._is_quiet("bank", "books.bank", TOPIC_TRANSFER, TOPIC_DEBIT):
            raise Unavailable(
                "feed_behind", f"The events of {day} have not all arrived yet; try again later.", day=day.isoformat()
            )
        if parked := await parked_before(self._database, end_of(day)):
            raise Unavailable(
                "feed_behind", f"{parked} events up to {day} are put aside for an operator.", day=day.isoformat()
            )

    async def _is_quiet(self, source: str, subscription: str, *topics: str) -> bool:
        return await is_quiet(
            self._database, source=source, subscriber="books", subscription=subscription, topics=topics
        )
