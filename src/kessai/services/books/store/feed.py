"""What the feed writes into the statutory books: lines and trades, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.books.domain.posting import AHEAD_MAX, Happening, Unposted
from kessai.services.books.domain.statutory.lines import Statement, StatementLine
from kessai.services.books.domain.statutory.trades import Trade
from kessai.services.books.store import ROLE
from kessai.services.books.store.statutory_lines import write_statements

_sql = load_queries("kessai.services.books")
_LINES = (*StatementLine._fields, "book_on")
_TRADES = (*Trade._fields, "book_on")
FEEDS = ["books.ledger", "books.bank"]
UNWRITTEN = [Unposted.ACCOUNT_UNKNOWN, Unposted.UNREADABLE]
"""Why an event that stands unposted has no lines in the statutory books either."""


class Feed:
    """One batch's writing, by COPY; `careful`: what is there already is left, which takes longer."""

    def __init__(self, connection: Connection, *, careful: bool) -> None:
        self._connection = connection
        self._seen_at: datetime | None = None
        """How far the feed has come; None where nothing of the batch is the ledger's."""
        self._careful = careful
        self._known_first: date | None = None
        self._first: date | None = None
        self._open_from = date.min

    @classmethod
    async def of(
        cls, connection: Connection, told: Sequence[Happening], *, careful: bool, heard_at: datetime | None
    ) -> Feed:
        """Begin: no day is cut from here on until the caller's transaction ends.

        `heard_at`: the present, where the feed tells these events now; None for those that it told before. Only by what
        it tells now, and what is not of the future, is the feed known to have come so far.
        """
        feed = cls(connection, careful=careful)
        instants = [each.at for each in told if each.source == "ledger"]
        if instants:
            seen_at = None if heard_at is None else _seen(instants, heard_at)
            row = await connection.fetchrow(_sql["move_feed"], seen_at, business_date(min(instants)))
            assert row is not None, "the migration made it"
            feed._seen_at = row["seen_at"]
            feed._known_first = row["first_on"]
            if row["cut_on"] is not None:
                feed._open_from = row["cut_on"] + timedelta(days=1)
        return feed

    async def write(self, statements: Sequence[Statement]) -> None:
        """Write lines and trades; what belongs to a day that was cut goes to the first open one.

        Raises asyncpg's UniqueViolationError, unless it is careful, for one that is there.
        """
        if not statements or self._seen_at is None:
            return
        if self._careful:
            await write_statements(self._connection, statements, seen_at=self._seen_at)
            return
        first = self._open_from
        lines = [(*line, max(line.event_on, first)) for statement in statements for line in statement.lines]
        begins = min(line[-1] for line in lines)
        self._first = begins if self._first is None else min(begins, self._first)
        await self._connection.copy_records_to_table(
            "statement_line", schema_name="books", columns=_LINES, records=lines, timeout=None
        )
        trades = [(*trade, max(trade.event_on, first)) for statement in statements for trade in statement.trades]
        if trades:
            await self._connection.copy_records_to_table(
                "crypto_trade", schema_name="books", columns=_TRADES, records=trades, timeout=None
            )

    async def end(self) -> None:
        """Tell of the first day that a line stands in, where it is earlier than was known."""
        if self._first is not None and (self._known_first is None or self._first < self._known_first):
            await self._connection.fetchrow(_sql["move_feed"], self._seen_at, self._first)


def _seen(instants: Sequence[datetime], now: datetime) -> datetime | None:
    """How far events tell that the feed has come: never further than the present."""
    latest = max((each for each in instants if each <= now + AHEAD_MAX), default=None)
    return None if latest is None else min(latest, now)


async def parked_before(database: Database, before: datetime) -> int:
    """Events up to an instant that the books' feeds put aside for an operator: nothing of them is booked or written."""
    (row,) = await database.fetch(ROLE, _sql["parked_before"], FEEDS, before)
    return row["events"]


async def unwritten_before(database: Database, before: datetime) -> int:
    """Events of the ledger up to an instant whose lines are not written, whether parked or unposted."""
    (row,) = await database.fetch(ROLE, _sql["unwritten_before"], UNWRITTEN, before)
    return row["events"] + await parked_before(database, before)
