"""The accounting desk (会計): its verbs, each handed to who does it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.config import TomlDocument, load_toml
from kessai.foundation.contract import Instant
from kessai.foundation.db import Connection, Database, plan_by_index
from kessai.foundation.errors import Invalid, NotFound
from kessai.services.books.api.accounting import (
    REPOST_MAX,
    Accrued,
    AccruePeriod,
    BookedPayments,
    ClosePeriod,
    GetJournal,
    GetPeriod,
    Journal,
    JournalPage,
    JournalsOfPayments,
    ListJournals,
    ListPeriods,
    ListUnposted,
    LockPeriod,
    Period,
    Periods,
    PostJournal,
    ReopenPeriod,
    Repost,
    Reposted,
    ReverseJournal,
    UnpostedEvent,
    UnpostedPage,
)
from kessai.services.books.api.statements import (
    AccountLedger,
    BalanceSheet,
    ConsumptionTax,
    GetAccountLedger,
    GetBalanceSheet,
    GetConsumptionTax,
    GetIncomeStatement,
    GetTrialBalance,
    IncomeStatement,
    LedgerLine,
    TrialBalance,
)
from kessai.services.books.domain import sheets
from kessai.services.books.domain.accruals import Closing, read_closing
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.service.accounting_reports import AccountingReports, against_of
from kessai.services.books.service.asked import Offers
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.books.service.closing import AccrualDesk
from kessai.services.books.service.journals import JournalDesk
from kessai.services.books.service.periods import Approvals, PeriodDesk, Told
from kessai.services.books.service.statements import StatementDesk, require_days
from kessai.services.books.store import ROLE, reading, waiting
from kessai.services.books.store.unposted import unposted_standing

T = TypeVar("T")
_LineNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Standing = tuple[Instant, Annotated[str, msgspec.Meta(pattern=r"^[ -~]{0,200}$")]]
"""When an event was put aside, and which."""
_Place = tuple[date, UUID, _LineNumber, int]
"""An entry, and the balance after it."""


def closing_of(books: BooksConfig, document: TomlDocument | None = None) -> Closing:
    """The rules of closing of a file, or the platform's own; ConfigError names the line of what is wrong."""
    accounts = books.chart.accounts
    controls = {code for code, account in accounts.items() if account.control}
    read = load_toml("kessai.config", "accruals.toml") if document is None else document
    return read_closing(read, accounts.keys(), controls)


class AccountingDesk:
    """Implements the door's part `Accounting`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        books: BooksConfig,
        *,
        bookkeeper: Bookkeeper,
        closing: Closing | None = None,
        approvals: Approvals | None = None,
        require_told: Told | None = None,
    ) -> None:
        """`closing`: rules of an operator's own; `approvals`: whom locking asks where two persons stand for it.

        `require_told` raises while events of a day may still be on their way; without it nobody waits for them.
        """
        rules = closing_of(books) if closing is None else closing
        self.fiscal_year = rules.fiscal_year
        self._database = database
        self._bookkeeper = bookkeeper
        self.accruals = AccrualDesk(database, clock, rules, sheets.yearly(books.chart.accounts))
        self.periods = PeriodDesk(
            database,
            clock,
            before_closing=self.accruals.book,
            require_told=require_told,
            needs_approval=rules.locking.needs_approval,
            approvals=approvals,
        )
        self._journals = JournalDesk(database, clock, books)
        self._statements = StatementDesk(database, books, rules)
        self._reports = AccountingReports(database, books, rules, self._statements)

    def offers(self) -> Offers:
        """The reports that this desk makes."""
        return self._reports.offers()

    # -- periods --------------------------------------------------------------------------------------------------

    async def get_period(self, request: GetPeriod, /) -> Period:
        """A month's state, and its history."""
        return await self.periods.get(request)

    async def list_periods(self, request: ListPeriods, /) -> Periods:
        """Months and their states."""
        return await self.periods.list(request)

    async def accrue_period(self, request: AccruePeriod, /) -> Accrued:
        """Book a month's accruals, as far as they are not booked yet."""
        return await self.accruals.accrue(request)

    async def close_period(self, request: ClosePeriod, /) -> Period:
        """Close a month."""
        return await self.periods.close(request)

    async def lock_period(self, request: LockPeriod, /) -> Period:
        """Lock a closed month for good."""
        return await self.periods.lock(request)

    async def reopen_period(self, request: ReopenPeriod, /) -> Period:
        """Open a closed month again."""
        return await self.periods.reopen(request)

    # -- journals -------------------------------------------------------------------------------------------------

    async def post_journal(self, request: PostJournal, /) -> Journal:
        """Book a journal by hand."""
        return await self._journals.post(request)

    async def reverse_journal(self, request: ReverseJournal, /) -> Journal:
        """Take a journal back by its opposite, once."""
        return await self._journals.reverse(request)

    async def get_journal(self, request: GetJournal, /) -> Journal:
        """A journal with its lines."""
        return await self._journals.get(request)

    async def list_journals(self, request: ListJournals, /) -> JournalPage:
        """The journal of some days."""
        require_days(request.since, request.until)
        day, after = _position(request.cursor, tuple[date, UUID], (request.since, reading.BEFORE_ALL))

        async def read(connection: Connection) -> list[Journal]:
            return await reading.journals_by_day(connection, day, request.until, after=after, limit=request.limit + 1)

        found = await self._database.transaction(ROLE, read)
        page = found[: request.limit]
        more = len(found) > request.limit
        return JournalPage(
            journals=page, next_cursor=_cursor((page[-1].booked_on, page[-1].journal_id[4:])) if more else None
        )

    async def list_journals_of_payments(self, request: JournalsOfPayments, /) -> BookedPayments:
        """What is booked of some payments."""

        async def read(connection: Connection) -> list[Journal]:
            await plan_by_index(connection)
            return await reading.journals_of_payments(connection, request.payment_ids)

        return BookedPayments(journals=await self._database.transaction(ROLE, read))

    # -- what no rule booked --------------------------------------------------------------------------------------

    async def list_unposted(self, request: ListUnposted, /) -> UnpostedPage:
        """Events that no rule booked."""
        at, after = _position(request.cursor, _Standing, (waiting.EARLIEST, ""))

        async def read(connection: Connection) -> list[UnpostedEvent]:
            return await waiting.standing_after(connection, at, after, request.limit + 1)

        found = await self._database.transaction(ROLE, read)
        page = found[: request.limit]
        more = len(found) > request.limit
        return UnpostedPage(events=page, next_cursor=_cursor((page[-1].parked_at, page[-1].event_id)) if more else None)

    async def repost(self, request: Repost, /) -> Reposted:
        """Try unposted events again; what is booked already is not booked twice."""
        named, following = list(dict.fromkeys(request.event_ids)), None
        if not named:
            named, following = await self._standing(request)
        done = await self._bookkeeper.repost(named)
        still = [event_id for event_id, _, _ in done.standing]
        standing = await self._database.transaction(ROLE, lambda connection: waiting.standing_named(connection, still))
        return Reposted(posted=len(done.posted), standing=standing, next_cursor=following)

    async def _standing(self, request: Repost) -> tuple[list[str], str | None]:
        """The next events that stand, and where to go on, if there are more."""
        after = _position(request.cursor, _Standing, (waiting.EARLIEST, ""))

        async def read(connection: Connection) -> list[tuple[datetime, str]]:
            return await unposted_standing(
                connection, after, REPOST_MAX + 1, reason=request.reason, detail=request.detail
            )

        found = await self._database.transaction(ROLE, read)
        page = found[:REPOST_MAX]
        return [event_id for _, event_id in page], _cursor(page[-1]) if len(found) > REPOST_MAX else None

    # -- what the totals say --------------------------------------------------------------------------------------

    async def get_trial_balance(self, request: GetTrialBalance, /) -> TrialBalance:
        """The trial balance of a month or of some days."""
        return await self._statements.trial_balance(request)

    async def get_balance_sheet(self, request: GetBalanceSheet, /) -> BalanceSheet:
        """Balance sheets at months' ends."""
        return await self._statements.balance_sheet(request)

    async def get_income_statement(self, request: GetIncomeStatement, /) -> IncomeStatement:
        """Income by month."""
        return await self._statements.income_statement(request)

    async def get_consumption_tax(self, request: GetConsumptionTax, /) -> ConsumptionTax:
        """Consumption tax by code and rate."""
        return await self._statements.consumption_tax(request)

    async def get_account_ledger(self, request: GetAccountLedger, /) -> AccountLedger:
        """The general ledger of an account, with its running balance; a page goes on from the balance of the last."""
        if self._statements.account(request.account) is None:
            raise NotFound("account_not_found", f"There is no account {request.account} in the chart.")
        require_days(request.since, request.until)
        start = _position(request.cursor, _Place, None)

        async def read(connection: Connection) -> AccountLedger:
            return await self._page(connection, request, start)

        return await self._database.transaction(ROLE, read, isolation="repeatable_read")

    async def _page(self, connection: Connection, request: GetAccountLedger, start: _Place | None) -> AccountLedger:
        account, asset = request.account, request.asset
        opening, closing = await self._statements.ends(connection, account, asset, request.since, request.until)
        day, journal_id, line, balance = start or (request.since, reading.BEFORE_ALL, 0, opening)
        found = await reading.entries_of_account(
            connection, account, asset, day, request.until, after=(journal_id, line), limit=request.limit + 1
        )
        page = found[: request.limit]
        others = await reading.lines_of(connection, list({each.journal_id for each in page}))
        lines: list[LedgerLine] = []
        for each in page:
            balance += each.amount
            lines.append(_ledger_line(each, against_of(each, others[each.journal_id]), balance))
        name, name_ja, section = self._statements.named(account)
        more = len(found) > request.limit
        return AccountLedger(
            account=account,
            name=name,
            name_ja=name_ja,
            section=section,
            asset=asset,
            opening_minor=opening,
            closing_minor=closing,
            lines=lines,
            next_cursor=_cursor((page[-1].booked_on, page[-1].journal_id.hex, page[-1].line, balance))
            if more
            else None,
        )


def _ledger_line(entry: reading.EntryRow, against: str, balance: int) -> LedgerLine:
    return LedgerLine(
        journal_id=f"jnl_{entry.journal_id.hex}",
        line=entry.line,
        booked_on=entry.booked_on,
        event_on=entry.event_on,
        source=entry.source,
        kind=entry.kind,
        description=entry.description,
        against=against,
        tax_code=entry.tax_code,
        debit_minor=max(0, entry.amount),
        credit_minor=max(0, -entry.amount),
        balance_minor=balance,
    )


def _cursor(position: tuple[object, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode()


def _position(cursor: str | None, kind: Callable[..., T] | type[T], first: T) -> T:
    if cursor is None:
        return first
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=kind)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Invalid("bad_cursor", "The cursor does not come from an earlier page.") from error
