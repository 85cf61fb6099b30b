"""A process of its own that settles: it takes events in, runs a day, issues fees, makes a month's cycles."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

import msgspec
import uvloop

from kessai.apps.bench.settlement_past import FEE_PPM
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.apps.memory import settle_memory
from kessai.foundation.clock import TOKYO, SandboxClock
from kessai.foundation.config import load_toml
from kessai.foundation.db import Database
from kessai.foundation.telemetry import configure_logging
from kessai.sdk.jobs import JobDone, JobOrder
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from kessai.services.merchant.api import (
    Bearer,
    BelowMinimum,
    Cycle,
    FeeRefund,
    FeeTax,
    FeeTerms,
    FeeUnit,
    Holiday,
    MerchantState,
    PayoutRule,
    ResolveTerms,
    Rounding,
    SettlementTerms,
    SettlementTermsAnswers,
    SettlementTermsOf,
    Terms,
    TermsAnswers,
    TermsQuestion,
)
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from kessai.services.settlement.service import SettlementService
from kessai.services.settlement.subscribers import sales_for_fees, transactions_of_payments
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.daily import daily
from kessai.services.settlement.workflows.feeing import decide_new, issue_due
from kessai.services.tracer.domain.rules import read_rules
from kessai.services.tracer.service import TracerService


@dataclass(frozen=True, slots=True)
class SettleDay:
    """Take everything in, and run a day."""

    day: date


@dataclass(frozen=True, slots=True)
class IssueFees:
    """Hear of the sales of a day, work their fees out, and issue them."""

    day: date


@dataclass(frozen=True, slots=True)
class MakeCycles:
    """A month's cycles, from daily summaries."""

    last_day: date


Order = SettleDay | IssueFees | MakeCycles


class Took(NamedTuple):
    """How long the parts of an order took, in seconds, and how much it did."""

    parts: dict[str, float]
    done: int


def start_settlement(dsn: str) -> Spawned[Order, Took]:
    """A process that settles on a database."""
    return Spawned(_serve, dsn)


def _serve(dsn: str, pipe: Pipe) -> None:
    configure_logging(level="warning", form="text")
    uvloop.run(_work(dsn, pipe))


async def _work(dsn: str, pipe: Pipe) -> None:
    database, clock = Database(dsn), SandboxClock()
    ledger = LedgerService(database, clock, load_account_types())
    payment = PaymentService(database, clock, ledger, load_kinds())
    merchants: Any = Contracted()
    tracer = TracerService(database, read_rules(load_toml("kessai.config", "tracer.toml")))
    settlement = SettlementService(database, clock, merchants=merchants, payment=payment, tracer=tracer)
    for each in (ledger, payment, settlement):
        await each.open()
    settle_memory()
    try:
        await follow_orders(pipe, _Clerk(database, clock, settlement).carry_out)
    finally:
        await settlement.close()
        await payment.close()
        await ledger.close()
        await database.close()


class _Clerk:
    """Carries orders out."""

    def __init__(self, database: Database, clock: SandboxClock, settlement: SettlementService) -> None:
        self._database, self._clock, self._settlement = database, clock, settlement

    async def carry_out(self, order: Order) -> Took:
        """The answer to one order."""
        match order:
            case SettleDay(day):
                return await self._settle(day)
            case IssueFees(day):
                return await self._issue(day)
            case MakeCycles(last_day):
                return await self._cycle(last_day)

    async def _settle(self, day: date) -> Took:
        self._morning_after(day)
        feed, watch = transactions_of_payments(self._database, self._clock, self._settlement), _Watch()
        while await feed.deliver():
            pass
        watch.lap("intake_s")
        done = await self._run(daily, day)
        watch.lap("daily_s")
        return Took(watch.parts, done.done)

    async def _issue(self, day: date) -> Took:
        self._morning_after(day)
        deps = self._settlement.engine.deps
        feed, watch = sales_for_fees(self._database, self._clock, self._settlement), _Watch()
        while await feed.deliver():
            pass
        watch.lap("hear_s")
        await decide_new(deps)
        watch.lap("decide_s")
        issued = await issue_due(deps)
        watch.lap("issue_s")
        return Took(watch.parts, issued)

    async def _cycle(self, last_day: date) -> Took:
        self._morning_after(last_day)
        watch = _Watch()
        done = await self._run(make_cycles, last_day)
        watch.lap("cycle_s")
        return Took(watch.parts, done.done)

    def _morning_after(self, day: date) -> None:
        at = datetime.combine(date.fromordinal(day.toordinal() + 1), time_of_day(9), TOKYO).astimezone(UTC)
        self._clock.restore(at - datetime.now(UTC), None)

    async def _run(self, definition: Any, day: date) -> JobDone:
        order = JobOrder(name=definition.name, day=day)
        handle = await self._settlement.engine.start(definition, order, workflow_id=f"{definition.name}:{day}#1")
        return msgspec.convert(await handle.result(), JobDone, from_attributes=True)


class _Watch:
    """Laps of a stopwatch."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        """What went by since the last one."""
        now = time.perf_counter()
        self.parts[name], self._since = now - self._since, now


class Contracted:
    """The merchant service's door: everybody has the same contract, a month's cycle and 3.24 % on each sale."""

    async def resolve_terms(self, request: ResolveTerms, /) -> TermsAnswers:
        """The same for everybody."""
        return TermsAnswers(answers=[_terms(each) for each in request.questions])

    async def settlement_terms(self, request: SettlementTermsOf, /) -> SettlementTermsAnswers:
        """The same for everybody."""
        return SettlementTermsAnswers(answers=[_settlement_terms(each) for each in request.merchant_ids])


_FEE = FeeTerms(
    rate_ppm=FEE_PPM,
    fixed_minor=0,
    tiers=[],
    rounding=Rounding.FLOOR,
    unit=FeeUnit.TRANSACTION,
    tax=FeeTax.INCLUDED,
    tax_rate_bps=1_000,
    refund=FeeRefund.PROPORTIONAL,
    campaign=None,
)


def _terms(question: TermsQuestion) -> Terms:
    return Terms(
        owner_id=question.owner_id,
        merchant_id=question.owner_id,
        payee_id=question.owner_id,
        state=MerchantState.ACTIVE,
        fee=_FEE,
        reason=None,
        contract_id="ctr_bench",
        contract_version=1,
    )


def _settlement_terms(merchant_id: str) -> SettlementTerms:
    return SettlementTerms(
        merchant_id=merchant_id,
        name=merchant_id,
        state=MerchantState.ACTIVE,
        cycle=Cycle.MONTHLY,
        cycle_day=None,
        payout=PayoutRule(),
        holiday=Holiday.PREVIOUS,
        minimum_minor=0,
        below_minimum=BelowMinimum.CARRY_OVER,
        transfer_fee_minor=0,
        transfer_fee_borne_by=Bearer.PLATFORM,
        instruct_days_before=2,
        bank_account_id="bac_00000000000000000000000000000001",
        registration_number=None,
        closes=True,
        contract_id="ctr_bench",
        contract_version=1,
        payee_id=merchant_id,
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
    )
