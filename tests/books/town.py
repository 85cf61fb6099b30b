"""A ledger whose every movement is booked: short words for the tests of the books."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

from kessai.foundation.config import TomlDocument
from kessai.foundation.db import Database
from kessai.foundation.events import Relay, Subscription
from kessai.services.books.domain.configuration import BooksConfig, read_books
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.books.subscribers import bank_events, ledger_events
from kessai.services.ledger.domain.types import load_account_types
from tests.ledger.book import Book, FakeClock, start


def config(chart: str | None = None, rules: str | None = None) -> BooksConfig:
    """The platform's own configuration, or texts in its place."""
    return read_books(
        [each.info() for each in load_account_types()],
        chart=None if chart is None else TomlDocument(chart, "chart.toml"),
        rules=None if rules is None else TomlDocument(rules, "rules.toml"),
    )


class Town:
    """A ledger, a bookkeeper, and what lies between them."""

    def __init__(self, database: Database, clock: FakeClock, book: Book, books: BooksConfig) -> None:
        self.database = database
        self.clock = clock
        self.book = book
        self.bookkeeper = Bookkeeper(database, clock, books)
        self._relays = [Relay(database, source) for source in ("ledger", "bank")]
        self.subscriptions = self.hear_with(self.bookkeeper)

    def hear_with(self, bookkeeper: Bookkeeper) -> list[Subscription]:
        """Subscriptions of another process."""
        return [
            ledger_events(self.database, self.clock, bookkeeper),
            bank_events(self.database, self.clock, bookkeeper),
        ]

    async def heard(self) -> None:
        """Everything that has happened is booked, or stands unposted."""
        await self.relayed()
        for subscription in self.subscriptions:
            while await subscription.deliver():
                pass

    async def relayed(self) -> None:
        """Everything that has happened has its position."""
        for relay in self._relays:
            await relay.assign()

    async def balances(self) -> dict[str, int]:
        """By GL account and asset (unless it is JPY), from the entries: positive on the debit side."""
        rows = await self.database.fetch(
            None, "SELECT account, asset, sum(amount)::bigint AS amount FROM books.entry GROUP BY account, asset"
        )
        return {_named(row["account"], row["asset"]): row["amount"] for row in rows if row["amount"]}

    async def unposted(self) -> dict[str, str]:
        """Reason and detail of what stands, by event."""
        rows = await self.database.fetch(
            None, "SELECT event_id, reason, detail FROM books.unposted_event WHERE posted_at IS NULL"
        )
        return {row["event_id"]: f"{row['reason']} {row['detail']}" for row in rows}

    async def proved(self) -> None:
        """Debits equal credits, totals are their entries, and each account type has the ledger's total."""
        assert await self.broken() == []

    async def broken(self) -> list[str]:
        """What of that does not hold."""
        found: list[str] = []
        for name, query in PROOFS.items():
            found += [f"{name}: {dict(row)}" for row in await self.database.fetch(None, query)]
        return found


def _named(account: str, asset: str) -> str:
    return account if asset == "JPY" else f"{account} {asset}"


PROOFS = {
    "a journal adds up to zero": """
        SELECT journal_id, asset, sum(amount) AS left_over FROM books.entry GROUP BY journal_id, asset
        HAVING sum(amount) <> 0""",
    "a journal has entries, and entries a journal": """
        SELECT coalesce(j.journal_id, e.journal_id) AS journal FROM books.journal AS j
        FULL JOIN (SELECT DISTINCT journal_id, booked_on FROM books.entry) AS e USING (journal_id, booked_on)
        WHERE j.journal_id IS NULL OR e.journal_id IS NULL""",
    "totals are those of the entries": """
        SELECT coalesce(t.account, e.account) AS account, t.debit, e.debit AS entries_debit FROM (
            SELECT account, booked_on, event_on, asset, account_type, kind, tax_code, debit, credit, entries
            FROM books.day_total
        ) AS t
        FULL JOIN (
            SELECT e.account, e.booked_on, j.event_on, e.asset, e.account_type, j.kind, e.tax_code,
                coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0) AS debit,
                coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0) AS credit, count(*) AS entries
            FROM books.entry AS e JOIN books.journal AS j ON j.journal_id = e.journal_id
            GROUP BY 1, 2, 3, 4, 5, 6, 7
        ) AS e USING (account, booked_on, event_on, asset, account_type, kind, tax_code)
        WHERE t.debit IS DISTINCT FROM e.debit OR t.credit IS DISTINCT FROM e.credit
            OR t.entries IS DISTINCT FROM e.entries""",
    "each account type has the ledger's total": """
        SELECT coalesce(b.account_type, l.account_type) AS account_type, b.amount AS books, l.amount AS ledger FROM (
            SELECT account_type, -sum(amount) AS amount FROM books.entry WHERE account_type <> '' GROUP BY account_type
        ) AS b
        FULL JOIN (
            SELECT a.account_type, sum(p.amount) AS amount FROM ledger.account AS a JOIN (
                SELECT account_id, amount FROM ledger.account_log WHERE amount <> 0
                UNION ALL SELECT account_id, amount FROM ledger.hot_log
            ) AS p ON p.account_id = a.account_id
            GROUP BY a.account_type
        ) AS l USING (account_type)
        WHERE coalesce(b.amount, 0) <> coalesce(l.amount, 0)""",
}
"""What always holds, once everything is heard and nothing stands unposted."""


@asynccontextmanager
async def town(
    database: Database, books: BooksConfig | None = None, at: datetime | None = None
) -> AsyncGenerator[Town]:
    """A town on a migrated database; its clock stands still."""
    clock = FakeClock() if at is None else FakeClock(at)
    service, book = await start(database, clock, load_account_types())
    try:
        yield Town(database, clock, book, books or config())
    finally:
        await service.close()
