"""Accruals at work (決算整理): what a month's end asks for, booked as far as it is not booked yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import PaymentError
from kessai.services.books.api.accounting import Accrued, AccruePeriod
from kessai.services.books.domain import manual
from kessai.services.books.domain.accruals import Accrual, Closing
from kessai.services.books.domain.periods import month_end, month_of, refuse_before_books, refuse_early
from kessai.services.books.domain.posting import YEN
from kessai.services.books.service.periods import month_named
from kessai.services.books.store import ROLE, periods, reading, totals
from kessai.services.books.store.journals import write_journals
from kessai.services.books.store.seals import Chain, seal

TIMES_MAX = 256
"""Journals of one accrual in one month."""


class AccrualDesk:
    """Books accruals, one month at a time; the gate keeps two from doing it at once."""

    def __init__(self, database: Database, clock: Clock, closing: Closing, yearly: Sequence[str]) -> None:
        """`yearly`: accounts that begin each fiscal year at zero."""
        self._yearly = yearly
        self._database = database
        self._clock = clock
        self._closing = closing

    async def accrue(self, request: AccruePeriod) -> Accrued:
        """Book a month's accruals as far as they are not booked yet."""
        month, now = month_named(request.month), self._clock.now()
        if (early := refuse_early(month, business_date(now))) is not None:
            raise early

        async def write(connection: Connection) -> list[str]:
            standing = await periods.move_gate(connection, now)
            refusal = standing.refusal_of(month) or await _before_books(connection, month)
            if refusal is not None:
                raise refusal
            return await self.book(connection, month, now)

        return Accrued(journal_ids=await self._database.transaction(ROLE, write))

    async def accrue_last_month(self) -> int:
        """Book the accruals of the month that ended last, unless it is closed; gives how many journals."""
        now = self._clock.now()
        month = month_of(month_of(business_date(now)) - timedelta(days=1))
        standing = await self._database.transaction(ROLE, periods.standing)
        if standing.refusal_of(month) is not None:
            return 0

        async def write(connection: Connection) -> list[str]:
            standing = await periods.move_gate(connection, now)
            if standing.refusal_of(month) or await _before_books(connection, month):
                return []
            return await self.book(connection, month, now)

        return len(await self._database.transaction(ROLE, write))

    async def book(self, connection: Connection, month: date, now: datetime) -> list[str]:
        """The same within a transaction that has moved the gate; gives the journals."""
        asked = [each for each in self._closing.accruals if each.applies_to(month)]
        accounts = {code for each in asked for code in (each.account, each.counter, *each.of)}
        year_start = self._closing.fiscal_year.start_of(month)
        found = await totals.balances_of(connection, sorted(accounts), month_end(month), year_start, self._yearly)
        balances = {account: balance for (account, asset), balance in found.items() if asset == YEN}
        written: list[str] = []
        for each in asked:
            written += await self._book_one(connection, each, month, balances, now)
        return written

    async def _book_one(
        self, connection: Connection, accrual: Accrual, month: date, balances: dict[str, int], now: datetime
    ) -> list[str]:
        ids = [manual.accrual_id(accrual, month, number) for number in range(TIMES_MAX)]
        before = await reading.journals_named(connection, ids)
        corrections = await reading.journals_named(connection, [manual.correction_id(each) for each in before])
        booked = manual.booked_of(accrual, [*before, *corrections], month_end(month))
        due = accrual.due(balances, booked)
        if due == 0:
            return []
        assert len(before) < TIMES_MAX, f"{accrual.name} was booked {TIMES_MAX} times for {month:%Y-%m}"
        journal_id, batch = manual.accrued(
            accrual,
            month,
            due,
            number=len(before),
            version=self._closing.version,
            by=current_call().caller,
            now=now,
        )
        await write_journals(connection, batch.journals, batch.entries, batch.totals)
        await seal(connection, Chain.JOURNAL, [each.journal_id for each in batch.journals])
        for account, amount in ((accrual.account, due), (accrual.counter, -due)):
            balances[account] = balances.get(account, 0) + amount
        return [f"jnl_{journal_id}"]


async def _before_books(connection: Connection, month: date) -> PaymentError | None:
    return refuse_before_books(month, await periods.first_booked_on(connection))
