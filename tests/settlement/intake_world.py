"""A small world for what comes in: the real ledger and payment service; merchants' terms and verdicts to hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec

from kessai.foundation.clock import TOKYO, SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.errors import Refused
from kessai.foundation.events import Relay, Subscription, parked
from kessai.foundation.ids import new_hex
from kessai.sdk.jobs import JobDone, JobOrder
from kessai.services.books.api import BookedPayments, Journal, JournalLine, JournalsOfPayments, Side
from kessai.services.ledger.api import GetAccount, OpenAccount, account_id_of
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from kessai.services.merchant.api import (
    FeeRefund,
    FeeTax,
    FeeTerms,
    FeeUnit,
    MerchantState,
    NoTerms,
    ResolveTerms,
    Rounding,
    SettlementTermsAnswers,
    SettlementTermsOf,
    Terms,
    TermsAnswers,
    TermsQuestion,
)
from kessai.services.payment.api import (
    CreateCharge,
    FundingSource,
    MovedMerchants,
    MovementOutcome,
    MoveMerchants,
    PaymentRecord,
    PaymentState,
    Refund,
    RefundCharge,
    RefundPayment,
    TopUp,
)
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from kessai.services.settlement.api import DailySummary, ListDailySummaries, ListTransactions, Transaction
from kessai.services.settlement.domain.configuration import SettlementConfig, read_settlement
from kessai.services.settlement.service import SettlementService
from kessai.services.settlement.store import ROLE
from kessai.services.settlement.subscribers import sales_for_fees, transactions_of_payments
from kessai.services.settlement.workflows.daily import daily
from kessai.services.tracer.api import ListVerdicts, ProcessingVerdict, Verdict, Verdicts
from tests.payment.outside import Secretary
from tests.payment.world import VAULT
from tests.settlement.cycle_world import terms as settlement_terms_of

SHOP = "mer:shop"


def fee_terms(**other: Any) -> FeeTerms:
    """3.24 %, rounded down on each sale, tax included, given back in proportion."""
    plain: dict[str, Any] = {
        "rate_ppm": 32_400,
        "fixed_minor": 0,
        "tiers": [],
        "rounding": Rounding.FLOOR,
        "unit": FeeUnit.TRANSACTION,
        "tax": FeeTax.INCLUDED,
        "tax_rate_bps": 1_000,
        "refund": FeeRefund.PROPORTIONAL,
        "campaign": None,
    }
    return FeeTerms(**(plain | other))


@dataclass
class Registry:
    """The merchant service's door, as far as intake uses it."""

    fees: dict[str, FeeTerms] = field(default_factory=dict[str, FeeTerms])
    """By owner; who is not in it is unknown."""
    payees: dict[str, str] = field(default_factory=dict[str, str])
    reasons: dict[tuple[str, str], NoTerms] = field(default_factory=dict[tuple[str, str], NoTerms])
    """By owner and method."""
    closes: set[tuple[str, date]] = field(default_factory=set[tuple[str, date]])
    asked: int = 0

    async def resolve_terms(self, request: ResolveTerms, /) -> TermsAnswers:
        """What is known now, whatever instant is asked about."""
        self.asked += len(request.questions)
        return TermsAnswers(answers=[self._answer(each) for each in request.questions])

    def _answer(self, question: TermsQuestion) -> Terms:
        owner = question.owner_id
        known, reason = owner in self.fees, self.reasons.get((owner, question.method))
        if not known:
            reason = NoTerms.MERCHANT_UNKNOWN
        return Terms(
            owner_id=owner,
            merchant_id=owner if known else None,
            payee_id=self.payees.get(owner, owner) if known else None,
            state=MerchantState.ACTIVE if known else None,
            fee=self.fees[owner] if reason is None else None,
            reason=reason,
            contract_id="ctr_1" if known else None,
            contract_version=1 if known else None,
        )

    async def settlement_terms(self, request: SettlementTermsOf, /) -> SettlementTermsAnswers:
        """Whether a cycle ends on the day."""
        return SettlementTermsAnswers(
            answers=[
                settlement_terms_of(each, closes=(each, request.on) in self.closes) for each in request.merchant_ids
            ]
        )


@dataclass
class Judge:
    """The tracer's door: everything is consistent as of now, unless told otherwise."""

    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    decided_at: datetime | None = None
    """None: just now."""
    unknown: set[str] = field(default_factory=set[str])
    asked: int = 0

    async def list_verdicts(self, request: ListVerdicts, /) -> Verdicts:
        """The verdicts, in order of id."""
        self.asked += 1
        now = self.decided_at or datetime.now(UTC)
        return Verdicts(
            verdicts=[
                ProcessingVerdict(
                    processing_id=each,
                    verdict=self.verdicts.get(each, Verdict.CONSISTENT),
                    revision=1,
                    decided_at=now,
                )
                for each in sorted(request.processing_ids)
                if each not in self.unknown
            ]
        )


@dataclass
class Bookkeeper:
    """The books' door: what is booked of a payment, as lines of owner and signed amount on unsettled sales."""

    booked: dict[str, list[tuple[str, int]]] = field(default_factory=dict[str, list[tuple[str, int]]])
    asked: list[str] = field(default_factory=list[str])

    async def list_journals_of_payments(self, request: JournalsOfPayments, /) -> BookedPayments:
        """One journal a line."""
        self.asked += request.payment_ids
        return BookedPayments(
            journals=[
                _journal(payment_id, owner, signed)
                for payment_id in request.payment_ids
                for owner, signed in self.booked.get(payment_id, ())
            ]
        )


def _journal(payment_id: str, owner: str, signed: int) -> Journal:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    line = JournalLine(
        line=1, account="2110", side=Side.CREDIT if signed > 0 else Side.DEBIT, amount_minor=abs(signed), asset="JPY",
        tax_code="", account_type="unsettled_sales", owner=owner,
    )  # fmt: skip
    return Journal(
        journal_id=f"jnl_{new_hex()}", source="ledger", event_id="e", kind="charge", action="capture", rule="charge",
        rule_version=1, booked_on=at.date(), event_on=at.date(), occurred_at=at, recorded_at=at, exchange_id=None,
        payment_id=payment_id, processing_id=None, merchant=None, product=None, reverses=None, description="",
        posted_by="books", lines=[line],
    )  # fmt: skip


class Refusing:
    """The payment service's door, which refuses all movements, or all refunds, while it is told to."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._world.payments, verb)

    async def refund_payment(self, request: RefundPayment, /) -> Refund:
        """As the payment service does, or refused."""
        if self._world.refuse_refunds is not None:
            raise Refused(self._world.refuse_refunds, "No.")
        return await self._world.payments.refund_payment(request)

    async def move_merchants(self, request: MoveMerchants, /) -> MovedMerchants:
        """As the payment service does, or refused."""
        code = self._world.refuse_movements
        if code is None:
            return await self._world.payments.move_merchants(request)
        state = PaymentState.REFUSED
        return MovedMerchants(
            outcomes=[MovementOutcome(payment_id=each.payment_id, state=state, code=code) for each in request.movements]
        )


class World:
    """One ledger, one payment service, one settlement service on one database."""

    def __init__(
        self, database: Database, clock: SandboxClock, ledger: LedgerService, config: SettlementConfig
    ) -> None:
        self.database, self.clock, self.ledger, self.config = database, clock, ledger, config
        self.refuse_movements: str | None = None
        """Why the payment service refuses fees, while it does."""
        self.refuse_refunds: str | None = None
        self.books = Bookkeeper()
        self.registry, self.judge, self.approvals = Registry({SHOP: fee_terms()}), Judge(), Secretary()
        self.payments = PaymentService(database, clock, ledger, load_kinds(), approvals=self.approvals, vault=VAULT)
        self.settlement = self.another_process()
        self.relay = Relay(database, "payment")
        self._feeds = self.another_feeds()

    def another_feeds(self) -> list[Subscription]:
        """Both flows, as another process would have them."""
        return [
            transactions_of_payments(self.database, self.clock, self.settlement),
            sales_for_fees(self.database, self.clock, self.settlement),
        ]

    def another_process(self, **options: Any) -> SettlementService:
        """A settlement service that shares nothing with the first but the database."""
        merchants: Any = self.registry
        tracer: Any = self.judge
        payment: Any = Refusing(self)
        books: Any = self.books
        return SettlementService(
            self.database,
            self.clock,
            merchants=merchants,
            payment=payment,
            tracer=tracer,
            books=books,
            config=self.config,
            **options,
        )

    # -- what customers do ------------------------------------------------------------------------------------------

    async def customer(self, *, funds: int = 1_000_000) -> str:
        """A new customer with that much."""
        customer_id = f"cus:{new_hex()}"
        await self.ledger.open_account(OpenAccount(owner=customer_id, account_type="funds"))
        await self.payments.top_up(TopUp(customer_id=customer_id, source="bank_deposit", amount_minor=funds))
        return customer_id

    async def sell(self, amount: int, merchant_id: str = SHOP, *, capture: bool = True, **more: Any) -> PaymentRecord:
        """A sale to a new customer."""
        charge = await self.payments.create_charge(
            CreateCharge(
                customer_id=await self.customer(funds=amount),
                merchant_id=merchant_id,
                amount_minor=amount,
                sources=[FundingSource(source="funds")],
                capture=capture,
                **more,
            )
        )
        assert charge.state in (PaymentState.CAPTURED, PaymentState.AUTHORIZED)
        return charge

    async def refund(self, charge: PaymentRecord, amount: int) -> Refund:
        """A part of it goes back."""
        return await self.payments.refund_charge(RefundCharge(charge_id=charge.payment_id, amount_minor=amount))

    # -- what settlement does ---------------------------------------------------------------------------------------

    async def hear(self) -> None:
        """Deliver everything that payments have told so far, to both flows."""
        await self.relay.assign()
        for feed in self._feeds:
            while await feed.deliver():
                pass
        assert [each.error for each in await parked(self.database, "settlement")] == []

    async def hear_transactions_alone(self) -> None:
        """Deliver to the flow of transactions only."""
        await self.relay.assign()
        while await self._feeds[0].deliver():
            pass

    async def issue(self) -> int:
        """Hear, issue what fees are due, and hear of them."""
        await self.hear()
        issued = await self.settlement.issue_fees()
        await self.hear()
        return issued

    @property
    def today(self) -> date:
        """The business date."""
        return self.clock.now().astimezone(TOKYO).date()

    def until(self, day: date, hour: int = 9) -> None:
        """Let time go by until a day in Tokyo."""
        at = datetime.combine(day, time(hour), TOKYO).astimezone(UTC)
        self.clock.restore(timedelta(0), at)

    async def settle(self, day: date, *, attempt: int = 1, dry_run: bool = False) -> JobDone:
        """The day's run, on the morning after it unless it is later already; what it issues is heard meanwhile."""
        if self.today <= day:
            self.until(day + timedelta(days=1), hour=1)
        return await self.run(day, attempt=attempt, dry_run=dry_run)

    async def run(
        self, day: date, *, attempt: int = 1, dry_run: bool = False, settlement: SettlementService | None = None
    ) -> JobDone:
        """The day's run; relay and feeds go on beside it."""
        for each in (self.relay, *self._feeds):
            await each.open()
        order = JobOrder(name="settlement.daily", day=day, attempt=attempt, dry_run=dry_run)
        try:
            engine = (settlement or self.settlement).engine
            handle = await engine.start(daily, order, workflow_id=f"settlement.daily:{day}#{attempt}{dry_run}")
            return await handle.result()
        finally:
            for each in (*self._feeds, self.relay):
                await each.close()

    # -- what is there afterwards -----------------------------------------------------------------------------------

    async def transactions(self, owner: str = SHOP) -> list[Transaction]:
        """An owner's transactions, in the order in which they occurred."""
        page = await self.settlement.list_transactions(ListTransactions(owner_id=owner, limit=1000))
        return sorted(page.transactions, key=lambda each: (each.occurred_at, each.kind))

    async def summaries(self, payee: str = SHOP, *, since: date, until: date | None = None) -> list[DailySummary]:
        """A payee's summaries."""
        request = ListDailySummaries(payee_id=payee, since=since, until=until or since)
        return (await self.settlement.list_daily_summaries(request)).summaries

    async def unsettled(self, owner: str = SHOP) -> int:
        """An owner's unsettled sales, as the ledger has them."""
        found = await self.ledger.get_account(GetAccount(account_id=account_id_of(owner, "unsettled_sales")))
        return found.balance_minor

    async def rows(self, query: str, *arguments: object) -> Sequence[Any]:
        """Rows of settlement's schema."""
        return await self.database.fetch(ROLE, query, *arguments)


def net_of(transactions: Sequence[Transaction]) -> int:
    """What an owner got, less what it gave."""
    return sum(each.amount_minor if each.to_id == each.owner_id else -each.amount_minor for each in transactions)


def quick(config: SettlementConfig | None = None, **pages: int) -> SettlementConfig:
    """The platform's own configuration, that waits for no verdict, with other sizes of pages."""
    config = config or read_settlement()
    waiting = msgspec.structs.replace(config.waiting, proofs_s=0, margin_s=0)
    return msgspec.structs.replace(config, waiting=waiting, pages=msgspec.structs.replace(config.pages, **pages))


@asynccontextmanager
async def opened(database: Database, config: SettlementConfig | None = None) -> AsyncGenerator[World]:
    """A world that is running, on a morning."""
    clock = SandboxClock()
    ledger = LedgerService(database, clock, load_account_types())
    await ledger.open()
    world = World(database, clock, ledger, config or quick())
    world.until(date(2026, 12, 1))
    await world.payments.open()
    await world.settlement.open()
    try:
        yield world
    finally:
        await world.settlement.close()
        await world.payments.close()
        await ledger.close()
