"""The whole verification, on one connection and in one unchanging view of the database."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from kessai.apps.verify import checks, events
from kessai.apps.verify.accounts import check_accounts
from kessai.apps.verify.bank import check_bank
from kessai.apps.verify.bank_files import check_bank_files
from kessai.apps.verify.books import check_books
from kessai.apps.verify.cards import check_cards
from kessai.apps.verify.checkout import check_checkout
from kessai.apps.verify.courses import check_courses
from kessai.apps.verify.finding import Report, Row, TooMany
from kessai.apps.verify.gains import check_gains
from kessai.apps.verify.merchants import check_merchants
from kessai.apps.verify.nfc import check_nfc
from kessai.apps.verify.pages import LOTS, Page, strays, strays_published
from kessai.apps.verify.payments import business_now, check_payments
from kessai.apps.verify.processings import check_processings
from kessai.apps.verify.seals import Chains, check_anchors
from kessai.apps.verify.settlement import check_settlement
from kessai.apps.verify.streams import END, Stream, Windows
from kessai.foundation.config import load_toml
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.ledger.domain.state import SLOT_BITS, micros
from kessai.services.ledger.domain.types import AccountTypes
from kessai.services.nfc.domain.terms import PhoneTerms, read_card_terms
from kessai.services.payment.domain.kinds import PaymentKinds
from kessai.services.settlement.domain.configuration import SettlementConfig

PACKAGE = "kessai.apps.verify"
BOOKS = {"books.journal", "ledger.flush", "bank.instruction", "payment.payment"}
"""Schemas that the books are proved with."""
PARTS = ("exchanges", "actions", "events", "logs", "hot_logs", "lot_logs", "lots", "references")
EFFECTS_BETWEEN_TURNS = 256
"""After so many effects the loop gets its turn, so that the next window comes in meanwhile."""
LOTLESS_MAX = 200_000
SETTINGS = (
    "SET LOCAL work_mem = '64MB'; SET LOCAL statement_timeout = 0; SET LOCAL jit = off;"
    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL enable_nestloop = off"
)
"""Whole tables are read: a plan that looks rows up one by one would come from statistics that are behind."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the platform was told about accounts, payments, how they are booked, what is settled, and phones."""

    types: AccountTypes
    kinds: PaymentKinds
    books: BooksConfig
    settlement: SettlementConfig
    phones: PhoneTerms = field(default_factory=lambda: read_card_terms(load_toml("kessai.config", "nfc.toml")).phone)

    def lists(self) -> dict[str, list[str]]:
        """Account types by what they may do, and the prefixes of payments' ids."""
        return {
            "lots": [each.code for each in self.types if each.has_lots],
            "log_only": [each.code for each in self.types if each.log_only],
            "overdraft": [each.code for each in self.types if each.overdraft_limit_minor is not None],
            "prefixes": [f"{prefix}_" for prefix in self.kinds.prefixes.values()],
        }


async def audit(
    connection: Connection, configuration: Configuration, report: Report, *, beside: Connection | None = None
) -> None:
    """Verify every schema that is there; the connection is in a transaction whose view does not change.

    `beside` is a second one with the same view, on which the database's own checks run meanwhile.
    What cannot even be computed (a number that overflows, a text that is none) is a finding as well, and the last.
    """
    collecting = gc.isenabled()
    gc.disable()  # nothing here is cyclic, and there is much of it
    try:
        for each in (connection, beside):
            if each is not None:
                await each.execute(SETTINGS)
        await _Audit(connection, configuration, report, beside).run()
    except TooMany:
        return
    except asyncpg.DataError as error:
        report.add("every row can be computed with", "database", "", f"a check failed: {error}")
    finally:
        if collecting:
            gc.enable()


class _Audit:
    def __init__(
        self, connection: Connection, configuration: Configuration, report: Report, beside: Connection | None
    ) -> None:
        self._connection = connection
        self._beside = beside
        self._configuration = configuration
        self._report = report
        self._ledger = load_queries(PACKAGE, file="sql/ledger.sql")
        self._lists = configuration.lists()
        self._lotless: set[str] = set()
        self._unmade: list[Row] = []
        self._instant = -1
        self._published: list[asyncpg.Record] = []

    async def run(self) -> None:
        tables = await self._tables()
        shared = {
            schema: load_queries(PACKAGE, schema=schema, file="sql/shared.sql")
            for schema in sorted({table.split(".")[0] for table in tables if table.endswith(".outbox")})
        }
        if "ledger.flush" in tables:
            await self._verify_ledger()
        for schema in shared:
            await self._verify_shared(schema, shared, tables)
        if "bank.instruction" in tables:
            await check_bank(self._connection, self._report)
        if "bank.transfer_file" in tables:
            await check_bank_files(self._connection, self._report)
        if "cardgateway.card_authorization" in tables:
            await check_cards(self._connection, self._report)
        if "tracer.processing" in tables:
            await check_processings(self._connection, self._report)
        if {"ledger.flush", "payment.payment"} <= tables:
            payment = load_queries(PACKAGE, file="sql/payment.sql")
            for check in checks.PAYMENT:
                await self._check(payment, check, "ledger" if check.query.startswith("exchanges") else "payment")
            await check_payments(
                self._connection,
                payment,
                self._report,
                kinds=self._configuration.kinds,
                sandbox="sandbox.clock" in tables,
            )
            now = await business_now(self._connection, payment, sandbox="sandbox.clock" in tables)
            await check_checkout(self._connection, self._report, now)
        if "merchant.merchant" in tables:
            await check_merchants(self._connection, self._report)
        if "settlement.transaction_data" in tables:
            await check_settlement(self._connection, self._configuration.settlement, self._report, tables=tables)
        if "nfc.id_authorization" in tables:
            clock = load_queries(PACKAGE, file="sql/payment.sql")
            now = await business_now(self._connection, clock, sandbox="sandbox.clock" in tables)
            await check_nfc(self._connection, self._configuration.phones, self._report, now, tables=tables)
        if tables >= BOOKS:
            await check_books(self._connection, self._configuration.books, self._report)

    async def _tables(self) -> set[str]:
        rows = await self._connection.fetch(load_queries(PACKAGE, file="sql/shared.sql")["tables"])
        return {row["name"] for row in rows}

    async def _check(
        self, sql: Queries, check: checks.Check, schema: str, connection: Connection | None = None
    ) -> None:
        await checks.run_check(
            connection or self._connection, sql, check, self._report, schema=schema, types=self._lists
        )

    async def _verify_shared(self, schema: str, shared: Mapping[str, Queries], tables: set[str]) -> None:
        counted = () if schema == "ledger" else checks.COUNTED_EVENTS
        workflows = checks.WORKFLOWS if f"{schema}.workflow_open" in tables else ()
        for check in (*checks.EVENTS, *counted, *workflows):
            await self._check(shared[schema], check, schema)
        await events.check_subscriptions(self._connection, schema, shared, self._report)

    # -- the ledger ---------------------------------------------------------------------------------------------

    async def _verify_ledger(self) -> None:
        connection, sql, report = self._connection, self._ledger, self._report
        size = await connection.fetchrow(sql["size"])
        assert size is not None
        report.total = size["effects"]
        chains = Chains(report)
        if self._beside is None:
            await self._verify_pages(chains)
            await self._verify_rows(connection)
        else:
            await _together(self._verify_pages(chains), self._verify_rows(self._beside))
        await chains.check_writers(connection, sql)
        await check_anchors(connection, sql, report)
        incoming = await check_courses(connection, sql, report)
        await check_accounts(connection, sql, self._configuration.types, report, incoming)
        await check_gains(connection, sql, self._configuration.types, report)

    async def _verify_rows(self, connection: Connection) -> None:
        for check in checks.LEDGER:
            await self._check(self._ledger, check, "ledger", connection)

    async def _verify_pages(self, chains: Chains) -> None:
        streams = {name: Stream(self._ledger[f"{name}_by_flush"]) for name in PARTS}
        outbox = Stream(self._ledger["outbox_by_instant"], lambda row: micros(row["recorded_at"]) << SLOT_BITS)
        # A page's arrays are built from rows in order; a hash would hold all pages at once.
        await self._connection.execute("SET LOCAL enable_hashagg = off")
        windows = Windows(self._connection, self._ledger["flushes"], [*streams.values(), outbox])
        async for flushes in windows.each(self._find_lots):
            turn = 0
            for flush in flushes:
                flush_id: int = flush["flush_id"]
                parts = {name: self._part(name, stream, flush_id) for name, stream in streams.items()}
                page = Page(self._report, flush, parts)
                self._verify_page(page, chains, self._published_at(outbox, flush_id))
                self._report.passed(len(page.records))
                turn += len(page.records)
                if turn > EFFECTS_BETWEEN_TURNS:
                    turn = 0
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        for name, stream in streams.items():
            strays(self._report, name, stream.before(END + 1))
        strays_published(self._report, [*self._published, *outbox.before(END + 1)])
        await self._connection.execute("SET LOCAL enable_hashagg = on")

    def _part(self, name: str, stream: Stream, flush_id: int) -> asyncpg.Record | None:
        if earlier := stream.before(flush_id):
            strays(self._report, name, earlier)
        return stream.at(flush_id)

    def _published_at(self, outbox: Stream, flush_id: int) -> list[asyncpg.Record]:
        """What was published at a flush's instant and no flush has claimed yet (two writers may share an instant)."""
        instant = flush_id >> SLOT_BITS
        if instant != self._instant:
            strays_published(self._report, [*self._published, *outbox.before(instant << SLOT_BITS)])
            self._instant, self._published = instant, outbox.before((instant + 1) << SLOT_BITS)
        return self._published

    def _verify_page(self, page: Page, chains: Chains, published: list[asyncpg.Record]) -> None:
        page.check_seal(chains, published)
        effects = page.effects()
        page.check_owners(effects)
        self._unmade += [row for row in page.check_entries(effects) if row[0] not in self._lotless]
        page.check_published(effects, published)

    async def _find_lots(self) -> None:
        """A credit without a lot is right in an account whose type has none, and wrong in any other."""
        unmade, self._unmade = self._unmade, []
        if not unmade:
            return
        accounts = {str(row[0]) for row in unmade}
        rows = await self._connection.fetch(
            self._ledger["lotted_accounts"], [account[4:] for account in accounts], self._lists["lots"]
        )
        lotted = {row["account_id"] for row in rows}
        LOTS.missed(self._report, [row for row in unmade if row[0] in lotted])
        if len(self._lotless) > LOTLESS_MAX:
            self._lotless.clear()
        self._lotless |= accounts - lotted


async def _together(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Both at once; the failure of one ends the other."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
