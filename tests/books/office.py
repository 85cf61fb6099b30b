"""The accounting desk of a town: short words for journals, periods and what the totals say."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.config import TomlDocument
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.services.books.api.accounting import ClosePeriod, Journal, NewLine, Period, PostJournal, Side
from kessai.services.books.api.statements import GetTrialBalance
from kessai.services.books.service.accounting import AccountingDesk, closing_of
from kessai.services.books.service.feeds import Feeds
from kessai.services.books.service.periods import Approvals
from tests.books.town import Town, config, town

MAY_10 = datetime(2026, 5, 10, 3, 0, tzinfo=UTC)
"""Noon in Tokyo."""
PLATFORMS = """version = 7
[fiscal_year]
starts_in = 4
retained_earnings = "3210"
[locking]
needs_approval = {needs_approval}
[points]
account_types = ["free_points", "paid_points"]
"""


class Office:
    """A town, and the desk that keeps its accounts."""

    def __init__(self, town: Town, desk: AccountingDesk) -> None:
        self.town = town
        self.desk = desk

    async def post(self, day: date, *lines: str, **more: Any) -> Journal:
        """A journal by hand: `1110 500 | 4910 500 out10`, debits before the bar; `incl` after a tax code splits it.

        `1110 500 BTC` is in another asset.
        """
        debits, credits_ = " + ".join(lines).split(" | ")
        new = [_line(text, Side.DEBIT) for text in debits.split(" + ")]
        new += [_line(text, Side.CREDIT) for text in credits_.split(" + ")]
        return await self.desk.post_journal(PostJournal(booked_on=day, description="by hand", lines=new, **more))

    async def close(self, month: str) -> Period:
        """Close a month."""
        return await self.desk.close_period(ClosePeriod(month=month, reason="the month is over"))

    async def closing(self, month: str) -> dict[str, int]:
        """Closing balances of a month by account, debit positive; none that is zero."""
        lines = (await self.desk.get_trial_balance(GetTrialBalance(month=month))).lines
        return {line.account: line.closing_minor for line in lines if line.closing_minor}

    async def topped_up(self, amount: int, *, customer: str = "cus:1") -> None:
        """A customer's money, booked."""
        await self.town.book.open(f"{customer}/funds")
        await self.town.book.move(f"internal:bank_deposit/deposit {amount} > {customer}/funds {amount}", kind="top_up")
        await self.town.heard()


def _line(text: str, side: Side) -> NewLine:
    account, amount, *more = text.split()
    asset = more.pop(0) if more and more[0].isupper() else "JPY"
    return NewLine(
        account=account,
        side=side,
        amount_minor=int(amount),
        asset=asset,
        tax_code=more[0] if more else "",
        tax_included="incl" in more,
    )


@contextmanager
def asked(key: str, caller: str = "key_clerk") -> Generator[Call]:
    """A request with an idempotency key."""
    call = Call(caller=caller, request_key=key.encode().hex().ljust(32, "0")[:32])
    token = enter_call(call)
    try:
        yield call
    finally:
        leave_call(token)


@contextmanager
def require_refusal(code: str) -> Generator[list[PaymentError]]:
    """Assert that what is asked is refused with this code."""
    told: list[PaymentError] = []
    with pytest.raises(PaymentError) as caught:
        yield told
    told.append(caught.value)
    assert caught.value.code == code, str(caught.value)


@asynccontextmanager
async def office(
    database: Database,
    *,
    at: datetime = MAY_10,
    closing: str | None = None,
    approvals: Approvals | None = None,
    needs_approval: bool = False,
    waits: bool = False,
) -> AsyncGenerator[Office]:
    """An office of a town whose clock stands still; `closing`: accruals of its own; `waits`: for feeds."""
    books = config()
    text = None
    if closing is not None or needs_approval:
        text = PLATFORMS.format(needs_approval=str(needs_approval).lower()) + (closing or "")
    rules = closing_of(books, None if text is None else TomlDocument(text, "accruals.toml"))
    async with town(database, books, at) as t:
        yield Office(
            t,
            AccountingDesk(
                database,
                t.clock,
                books,
                bookkeeper=t.bookkeeper,
                closing=rules,
                approvals=approvals,
                require_told=Feeds(database, t.clock, books).require_told if waits else None,
            ),
        )
