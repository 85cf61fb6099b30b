"""The accounting desk (会計): periods, journals, what no rule booked, and what is read from the running totals.

Amounts are whole minor units of their asset; a balance is positive on the debit side (借方) unless it says otherwise.
Days are days in Asia/Tokyo, ranges include both ends.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Label, Message, PageLimit, verb
from kessai.services.books.api.statements import (
    AccountCode,
    AccountLedger,
    BalanceSheet,
    ConsumptionTax,
    Cursor,
    GetAccountLedger,
    GetBalanceSheet,
    GetConsumptionTax,
    GetIncomeStatement,
    GetTrialBalance,
    IncomeStatement,
    Month,
    TrialBalance,
)

JOURNAL_LINES_MAX = 500
REPOST_MAX = 1_000
PAYMENTS_MAX = 1_000

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
JournalId = Annotated[str, msgspec.Meta(pattern=r"^jnl_[0-9a-f]{32}$")]
OwnJournalId = Annotated[str, msgspec.Meta(pattern=r"^jnl_(?![0-9a-f]{12}80008000)[0-9a-f]{32}$")]
"""One that a caller may choose: not of the form that the ids of events' journals have."""
ApprovalId = Annotated[str, msgspec.Meta(pattern=r"^apv_[0-9a-f]{32}$")]
TaxCode = Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[A-Za-z0-9_.-]*$")]


# -- periods ------------------------------------------------------------------------------------------------------


class PeriodState(StrEnum):
    """Where a period stands. A month before one that is closed is closed, before one that is locked is locked."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"
    """Nothing is booked into it; it may be reopened while no later one is closed."""
    LOCKED = "LOCKED"
    """For good."""


class ClosePeriod(Message):
    """Close a month: its accruals are booked, then nothing more is."""

    month: Month
    reason: Reason = "Closed."


class LockPeriod(Message):
    """Lock a closed month, and all before it, for good."""

    month: Month
    reason: Reason = "Locked."
    approval_id: ApprovalId | None = None
    """Where a second person is asked for: an approval of `books.lock_period` of this content, less `approval_id`."""


class ReopenPeriod(Message):
    """Open the last closed month again."""

    month: Month
    reason: Reason


class AccruePeriod(Message):
    """Book a month's accruals now; closing it does so, too."""

    month: Month


class GetPeriod(Message):
    """Which month."""

    month: Month


class ListPeriods(Message):
    """Months from one to another; None: from the first entry's to the present one."""

    since: Month | None = None
    until: Month | None = None


class PeriodStep(Message):
    """One line of a period's history."""

    version: int
    state: PeriodState
    reason: str
    by: str
    """The API key."""
    recorded_at: datetime


class Period(Message):
    """A month, and who opened, closed and locked it by name, oldest first."""

    month: str
    state: PeriodState
    steps: list[PeriodStep] = []


class Periods(Message):
    """Months, oldest first."""

    periods: list[Period]


class Accrued(Message):
    """What was booked, one journal an accrual that had something to book."""

    journal_ids: list[str]


# -- journals -----------------------------------------------------------------------------------------------------


class Side(StrEnum):
    """Of a line."""

    DEBIT = "DEBIT"
    CREDIT = "CREDIT"


class NewLine(Message):
    """A line of a journal that somebody writes."""

    account: AccountCode
    side: Side
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    tax_code: TaxCode = ""
    """What this line is to the consumption tax; on the account of the tax itself: whose tax it is."""
    tax_included: bool = False
    """The amount holds its tax (内税): it is split, and the tax becomes a line of its own."""


class PostJournal(Message):
    """A journal by hand (振替伝票). Sent again with the same Idempotency-Key or `journal_id` it is booked once."""

    booked_on: date
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    lines: Annotated[list[NewLine], msgspec.Meta(min_length=2, max_length=JOURNAL_LINES_MAX)]
    journal_id: OwnJournalId | None = None
    merchant: Label | None = None
    product: Label | None = None


class ReverseJournal(Message):
    """Correct a journal by its opposite (赤伝); the right one is then posted as another."""

    journal_id: JournalId
    reason: Reason
    booked_on: date | None = None
    """None: the journal's own day, or the first of the first open month after it."""


class GetJournal(Message):
    """Which journal."""

    journal_id: JournalId


class ListJournals(Message):
    """Journals booked on some days, in order of day and id; `cursor` comes from the page before."""

    since: date
    until: date
    limit: PageLimit = 100
    cursor: Cursor | None = None


class JournalsOfPayments(Message):
    """All journals of some payments, whenever they were booked."""

    payment_ids: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]],
        msgspec.Meta(min_length=1, max_length=PAYMENTS_MAX),
    ]


class JournalLine(Message):
    """A line of a journal."""

    line: int
    account: str
    side: Side
    amount_minor: int
    asset: str
    tax_code: str
    account_type: str
    """Of the ledger account whose posting this books; empty where it books none."""
    owner: str


class Journal(Message):
    """A booked journal (仕訳). It is never changed; what was wrong is reversed."""

    journal_id: str
    source: str
    """ledger, bank, manual, accrual or correction."""
    event_id: str
    kind: str
    action: str
    rule: str
    rule_version: int
    booked_on: date
    event_on: date
    """The event's own day, where that lay in a closed period."""
    occurred_at: datetime
    recorded_at: datetime
    exchange_id: str | None
    payment_id: str | None
    processing_id: str | None
    merchant: str | None
    product: str | None
    reverses: str | None
    """The journal that this one takes back."""
    description: str
    posted_by: str
    lines: list[JournalLine]


class JournalPage(Message):
    """A page; `next_cursor` is None on the last one."""

    journals: list[Journal]
    next_cursor: str | None = None


class BookedPayments(Message):
    """In order of payment, day and id; a payment of which nothing is booked is left out."""

    journals: list[Journal]


# -- what no rule booked ------------------------------------------------------------------------------------------


class ListUnposted(Message):
    """Events that stand unposted, oldest first; `cursor` comes from the page before."""

    limit: PageLimit = 100
    cursor: Cursor | None = None


class UnpostedEvent(Message):
    """An event that no rule booked, and why."""

    event_id: str
    topic: str
    reason: str
    """no_rule, leg_not_taken, account_unknown, future_date, unbalanced …"""
    detail: str
    attempts: int
    occurred_at: datetime
    parked_at: datetime


class UnpostedPage(Message):
    """A page; `next_cursor` is None on the last one."""

    events: list[UnpostedEvent]
    next_cursor: str | None = None


class Repost(Message):
    """Try events again that stand unposted, after the rules were mended.

    None named: a thousand at a time, those put aside first first; `cursor` comes from the thousand before. `reason` and
    `detail` (of `no_rule` the payment kind) choose among those that are not named.
    """

    event_ids: Annotated[list[str], msgspec.Meta(max_length=REPOST_MAX)] = []
    reason: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    detail: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    cursor: Cursor | None = None


class Reposted(Message):
    """How many were booked now, and those that stand still; `next_cursor` where there are more to be tried."""

    posted: int
    standing: list[UnpostedEvent]
    next_cursor: str | None = None


_DAYS = ("range_reversed",)
_MONTHS = ("range_reversed", "range_too_long")
_BOOKING = ("future_date", "period_locked", "period_closed")


class Accounting(Protocol):
    """会計帳簿."""

    @verb("GET /v1/books/periods/{month}", scope="books:read")
    async def get_period(self, request: GetPeriod, /) -> Period:
        """A month's state, and its history."""
        ...

    @verb("GET /v1/books/periods", scope="books:read", errors=_MONTHS)
    async def list_periods(self, request: ListPeriods, /) -> Periods:
        """Months and their states."""
        ...

    @verb("POST /v1/books/periods/{month}/accrue", scope="books:close",
          errors=("period_not_ended", "period_locked", "period_closed", "period_before_books"))  # fmt: skip
    async def accrue_period(self, request: AccruePeriod, /) -> Accrued:
        """Book a month's accruals (引当金 …), as far as they are not booked yet."""
        ...

    @verb("POST /v1/books/periods/{month}/close", scope="books:close",
          errors=("period_locked", "period_not_ended", "feed_behind", "earlier_period_open",
                  "unposted_events", "period_before_books"))  # fmt: skip
    async def close_period(self, request: ClosePeriod, /) -> Period:
        """Close a month; one that is closed stays as it is."""
        ...

    @verb("POST /v1/books/periods/{month}/lock", scope="books:close",
          errors=("period_open", "approval_required", "approvals_not_available", "approval_not_found",
                  "approval_content_differs", "approval_consumed", "approval_not_approved",
                  "approval_expired"))  # fmt: skip
    async def lock_period(self, request: LockPeriod, /) -> Period:
        """Lock a closed month for good; one that is locked stays as it is."""
        ...

    @verb("POST /v1/books/periods/{month}/reopen", scope="books:close",
          errors=("period_locked", "later_period_closed"))  # fmt: skip
    async def reopen_period(self, request: ReopenPeriod, /) -> Period:
        """Open a closed month again; one that is open stays as it is."""
        ...

    @verb("POST /v1/books/journals", scope="books:write", moves_value=True, status=201,
          errors=("unknown_asset", "account_unknown", "control_account", "tax_code_unknown", "tax_not_in_yen",
                  "tax_code_required", "unbalanced", *_BOOKING))  # fmt: skip
    async def post_journal(self, request: PostJournal, /) -> Journal:
        """Book a journal by hand."""
        ...

    @verb("POST /v1/books/journals/{journal_id}/reverse", scope="books:write", moves_value=True, status=201,
          errors=("journal_not_found", "journal_already_reversed", "journal_of_event", "journal_of_accrual",
                  "before_the_journal", *_BOOKING))  # fmt: skip
    async def reverse_journal(self, request: ReverseJournal, /) -> Journal:
        """Take a journal back by its opposite, once; a reversing accrual together with what takes it back."""
        ...

    @verb("GET /v1/books/journals/{journal_id}", scope="books:read", errors=("journal_not_found",))
    async def get_journal(self, request: GetJournal, /) -> Journal:
        """A journal with its lines."""
        ...

    @verb("GET /v1/books/journals", scope="books:read", errors=(*_DAYS, "bad_cursor"))
    async def list_journals(self, request: ListJournals, /) -> JournalPage:
        """The journal (仕訳帳) of some days."""
        ...

    @verb("POST /v1/books/journals/of-payments", scope="books:read", batch=True)
    async def list_journals_of_payments(self, request: JournalsOfPayments, /) -> BookedPayments:
        """What is booked of some payments."""
        ...

    @verb("GET /v1/books/unposted-events", scope="books:read", errors=("bad_cursor",))
    async def list_unposted(self, request: ListUnposted, /) -> UnpostedPage:
        """Events that no rule booked."""
        ...

    @verb("POST /v1/books/unposted-events/repost", scope="books:write", errors=("bad_cursor",))
    async def repost(self, request: Repost, /) -> Reposted:
        """Try unposted events again; what is booked already is not booked twice."""
        ...

    @verb("GET /v1/books/trial-balance", scope="books:read", errors=("range_required", *_DAYS))
    async def get_trial_balance(self, request: GetTrialBalance, /) -> TrialBalance:
        """The trial balance of a month or of some days."""
        ...

    @verb("GET /v1/books/accounts/{account}/entries", scope="books:read",
          errors=("account_not_found", *_DAYS, "bad_cursor"))  # fmt: skip
    async def get_account_ledger(self, request: GetAccountLedger, /) -> AccountLedger:
        """The general ledger of an account, with its running balance."""
        ...

    @verb("GET /v1/books/balance-sheet", scope="books:read", errors=_MONTHS)
    async def get_balance_sheet(self, request: GetBalanceSheet, /) -> BalanceSheet:
        """Balance sheets at months' ends."""
        ...

    @verb("GET /v1/books/income-statement", scope="books:read", errors=_MONTHS)
    async def get_income_statement(self, request: GetIncomeStatement, /) -> IncomeStatement:
        """Income by month."""
        ...

    @verb("GET /v1/books/consumption-tax", scope="books:read", errors=_DAYS)
    async def get_consumption_tax(self, request: GetConsumptionTax, /) -> ConsumptionTax:
        """Consumption tax by code and rate."""
        ...
