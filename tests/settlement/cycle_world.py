"""A small world for cycles: the real ledger, payment service and jobs; daily summaries and terms are put there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from msgspec.structs import replace

from kessai.foundation.clock import TOKYO, SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound
from kessai.foundation.events import Relay, Subscription
from kessai.foundation.ids import new_hex
from kessai.sdk.jobs import JobDone, JobOrder
from kessai.sdk.workflow import Definition, Engine
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.ledger.api import (
    CreateExchange,
    GetAccount,
    Leg,
    account_id_of,
)
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from kessai.services.merchant.api import (
    Bearer,
    BelowMinimum,
    Cycle,
    Holiday,
    MerchantState,
    PayoutRule,
    SettlementTerms,
    SettlementTermsAnswers,
    SettlementTermsOf,
)
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from kessai.services.settlement.api.claims import ClaimRecord, ListClaims
from kessai.services.settlement.api.payouts import ListPayouts, PayoutRecord
from kessai.services.settlement.domain.configuration import read_settlement
from kessai.services.settlement.service.cycles import CycleDesk
from kessai.services.settlement.service.results import payout_results, value_dates
from kessai.services.settlement.store import ROLE
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.clear import clear_cycles
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.payout import pay_cycles
from tests.payment.outside import Teller
from tests.payment.world import VAULT

START = date(2025, 10, 1)
SHOPPER = "internal:test_sales"

_CLOSE = """
UPDATE settlement.standing SET closed_through = $1 WHERE name = 'days'
"""
_SUMMARY = """
INSERT INTO settlement.daily_summary (payee_id, day, merchant_id, owner_id, method, sales_minor, refunds_minor,
    fees_minor, fee_refunds_minor, added_minor, taken_minor, net_minor, transactions, late)
VALUES ($1, $2, $3::text, $3::text, $4, $5::bigint, $6::bigint, $7::bigint, 0, $8::bigint, $9::bigint,
    $5::bigint - $6::bigint - $7::bigint + $8::bigint - $9::bigint, 1, 0)
ON CONFLICT (payee_id, day, merchant_id, owner_id, method) DO UPDATE SET
    sales_minor = daily_summary.sales_minor + excluded.sales_minor,
    refunds_minor = daily_summary.refunds_minor + excluded.refunds_minor,
    fees_minor = daily_summary.fees_minor + excluded.fees_minor,
    added_minor = daily_summary.added_minor + excluded.added_minor,
    taken_minor = daily_summary.taken_minor + excluded.taken_minor,
    net_minor = daily_summary.net_minor + excluded.net_minor,
    transactions = daily_summary.transactions + 1
"""


def terms(merchant_id: str, **other: Any) -> SettlementTerms:
    """A merchant that is paid once a month, at the next month's end."""
    plain: dict[str, Any] = {
        "name": f"店 {merchant_id}",
        "state": MerchantState.ACTIVE,
        "cycle": Cycle.MONTHLY,
        "cycle_day": None,
        "payout": PayoutRule(),
        "holiday": Holiday.PREVIOUS,
        "minimum_minor": 0,
        "below_minimum": BelowMinimum.CARRY_OVER,
        "transfer_fee_minor": 0,
        "transfer_fee_borne_by": Bearer.PLATFORM,
        "instruct_days_before": 2,
        "bank_account_id": None,
        "registration_number": None,
        "closes": False,
        "contract_id": "ctr_1",
        "contract_version": 1,
        "payee_id": merchant_id,
        "as_of": datetime(2025, 1, 1, tzinfo=UTC),
    }
    return SettlementTerms(merchant_id=merchant_id, **(plain | other))


@dataclass
class Merchants:
    """The merchant service's door, as far as cycles use it."""

    known: dict[str, SettlementTerms] = field(default_factory=dict[str, SettlementTerms])

    async def settlement_terms(self, request: SettlementTermsOf, /) -> SettlementTermsAnswers:
        """What is known, as of whatever day."""
        found = (self.known.get(each) for each in request.merchant_ids)
        return SettlementTermsAnswers(answers=[each for each in found if each is not None])


class Desk(CycleDesk):
    """The cycle desk by itself."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps


class World:
    """One ledger, one payment service, one engine of settlement; sales are put straight into ledger and summaries."""

    def __init__(self, database: Database, clock: SandboxClock, ledger: LedgerService) -> None:
        self.database, self.clock, self.ledger = database, clock, ledger
        self.bank, self.merchants = Teller(), Merchants()
        bank: Any = self.bank
        self.payments = PaymentService(database, clock, ledger, load_kinds(), bank=bank, vault=VAULT)
        self.engine = self.another_engine()
        self.desk = Desk(self.engine.deps)
        self.sold: defaultdict[str, int] = defaultdict(int)
        """What each payee sold, less refunds, by what was put there."""
        self.fees: defaultdict[str, int] = defaultdict(int)
        self.collected: defaultdict[str, int] = defaultdict(int)

    def another_engine(self, **options: Any) -> Engine[Deps]:
        """An executor that shares nothing with the first but the database."""
        fake: Any = self.merchants
        nobody: Any = None
        deps = Deps(self.database, self.clock, fake, self.payments, nobody, None, read_settlement())
        engine = Engine(self.database, service="settlement", deps=deps, clock=self.clock, **options)
        deps.running = engine
        return engine

    def agree(self, merchant_id: str, **other: Any) -> SettlementTerms:
        """A merchant with its terms; it has a bank account unless told otherwise."""
        other.setdefault("bank_account_id", self.bank.account_of(merchant_id))
        self.merchants.known[merchant_id] = terms(merchant_id, **other)
        return self.merchants.known[merchant_id]

    def change(self, merchant_id: str, **other: Any) -> None:
        """Other terms from now on."""
        self.merchants.known[merchant_id] = replace(self.merchants.known[merchant_id], **other)

    def until(self, day: date) -> None:
        """Let time go by until a day has begun in Tokyo."""
        self.clock.restore(timedelta(0), datetime.combine(day, time(9), TOKYO).astimezone(UTC))

    # -- what came before -----------------------------------------------------------------------------------------

    async def sell(self, day: date, merchant_id: str, amount: int, *, payee: str | None = None, fee: int = 0) -> None:
        """A day's sales (negative: refunds) with their fee: in the ledger, and in the daily summary."""
        await self._post(merchant_id, amount - fee)
        sales, refunds = max(amount, 0), max(-amount, 0)
        row = (payee or merchant_id, day, merchant_id, "code", sales, refunds, fee, 0, 0)
        await self.database.fetch(None, _SUMMARY, *row)
        self.sold[payee or merchant_id] += amount
        self.fees[payee or merchant_id] += fee

    async def adjust(self, day: date, merchant_id: str, amount: int, *, payee: str | None = None) -> None:
        """An operator's correction of what is not settled yet."""
        await self._post(merchant_id, amount)
        added, taken = max(amount, 0), max(-amount, 0)
        row = (payee or merchant_id, day, merchant_id, "adjustment", 0, 0, 0, added, taken)
        await self.database.fetch(None, _SUMMARY, *row)
        self.sold[payee or merchant_id] += amount

    async def take(self, owner: str, account_type: str, amount: int) -> None:
        """Somebody takes what an account holds."""
        source = Leg(owner=owner, account_type=account_type, amount_minor=amount, asset="JPY")
        target = Leg(owner=SHOPPER, account_type="deposit", amount_minor=amount, asset="JPY")
        exchange_id = f"exc_{new_hex()}"
        await self.ledger.create_exchange(
            CreateExchange(exchange_id=exchange_id, kind="test_take", sources=[source], targets=[target])
        )

    async def _post(self, owner: str, amount: int) -> None:
        if not amount:
            return
        mine = Leg(owner=owner, account_type="unsettled_sales", amount_minor=abs(amount), asset="JPY")
        other = Leg(owner=SHOPPER, account_type="deposit", amount_minor=abs(amount), asset="JPY")
        sources, targets = ([other], [mine]) if amount > 0 else ([mine], [other])
        request = CreateExchange(exchange_id=f"exc_{new_hex()}", kind="test_sale", sources=sources, targets=targets)
        await self.ledger.create_exchange(request)

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def close(self, day: date) -> None:
        """Settlement of every day up to this one is closed."""
        await self.database.fetch(None, _CLOSE, day)

    async def run(
        self, definition: Definition[Deps, JobOrder, JobDone], day: date, *, attempt: int | None = None,
        dry_run: bool = False, engine: Engine[Deps] | None = None,
    ) -> JobDone:  # fmt: skip
        """A run of a job for a day."""
        turn = new_hex() if attempt is None else str(attempt)
        order = JobOrder(name=definition.name, day=day, attempt=attempt or 1, dry_run=dry_run)
        handle = await (engine or self.engine).start(
            definition, order, workflow_id=f"{definition.name}:{day}#{turn}", content=turn
        )
        return await handle.result()

    async def settle(self, day: date) -> None:
        """Close a day, and run its cycles and clearings."""
        await self.close(day)
        await self.run(make_cycles, day)
        await self.run(clear_cycles, day)

    async def pay(self, day: date) -> JobDone:
        """Instruct what is due on a day."""
        return await self.run(pay_cycles, day)

    async def bank_says(self, state: InstructionState, code: FailureCode | None = None) -> None:
        """The bank answers about everything that is under way, and all hear of it."""
        self.bank.answers(state, code)
        for each in list(self.bank.books.values()):
            if each.reference:
                await self.payments.hear_from_bank(each.reference)
        await self.hear()

    async def bank_says_of(self, payment_id: str, state: InstructionState, code: FailureCode | None = None) -> None:
        """The bank answers about one payment alone."""
        for key, each in self.bank.books.items():
            if each.reference == payment_id:
                self.bank.books[key] = replace(each, state=state, failure_code=code)
        await self.payments.hear_from_bank(payment_id)
        await self.hear()

    async def hear(self) -> None:
        """Whatever the payment service has told is heard."""
        await self._deliver("payment", payout_results(self.database, self.clock))

    async def hear_of_the_bank(self) -> None:
        """Whatever the bank service has told is heard."""
        await self._deliver("bank", value_dates(self.database, self.clock))

    async def _deliver(self, source: str, subscription: Subscription) -> None:
        relay = Relay(self.database, source)
        await relay.open()
        try:
            waiting = f"SELECT count(*) FROM {source}.outbox WHERE position IS NULL"
            while (await self.database.fetch(None, waiting))[0][0]:
                await asyncio.sleep(0.01)
        finally:
            await relay.close()
        while await subscription.deliver():
            pass

    # -- what came of it ------------------------------------------------------------------------------------------

    async def balance(self, owner: str, account_type: str) -> int:
        """What an account of the ledger holds."""
        try:
            account = await self.ledger.get_account(GetAccount(account_id=account_id_of(owner, account_type)))
        except NotFound:
            return 0
        return account.balance_minor

    async def payouts(self, payee_id: str | None = None) -> list[PayoutRecord]:
        """A payee's payouts, oldest first."""
        page = await self.desk.list_payouts(ListPayouts(payee_id=payee_id, limit=1000))
        return sorted(page.payouts, key=lambda each: (each.last_day, each.payee_id))

    async def claims(self, payee_id: str | None = None) -> list[ClaimRecord]:
        """A payee's claims, oldest first."""
        page = await self.desk.list_claims(ListClaims(payee_id=payee_id, limit=1000))
        return sorted(page.claims, key=lambda each: each.due_on)

    async def summaries_without_cycle(self) -> int:
        """What is in no cycle yet."""
        query = "SELECT coalesce(sum(net_minor), 0)::bigint FROM settlement.daily_summary WHERE cycle_id IS NULL"
        return (await self.database.fetch(ROLE, query))[0][0]

    async def require_every_yen(self, merchants: Iterable[str], payees: Iterable[str]) -> None:
        """Every yen sold = paid out + fees + what is carried or on its way + what is claimed − what was collected."""
        for payee in payees:
            await self._require_payee(payee)
        for merchant in merchants:
            open_net = await self.database.fetch(
                ROLE,
                "SELECT coalesce(sum(net_minor), 0)::bigint FROM settlement.daily_summary"
                " WHERE owner_id = $1 AND cycle_id IS NULL",
                merchant,
            )
            assert await self.balance(merchant, "unsettled_sales") == open_net[0][0]

    async def _require_payee(self, payee: str) -> None:
        payouts, claims = await self.payouts(payee), await self.claims(payee)
        paid = sum(each.amount_minor for each in payouts if each.state.value in ("PAID", "INSTRUCTED"))
        kept = sum(each.transfer_fee_minor for each in payouts if each.state.value in ("PAID", "INSTRUCTED"))
        settled = ("PAID", "INSTRUCTED", "NOTHING")
        waits = sum(e.payable_minor for e in payouts if e.state.value not in settled and e.taken_by is None)
        owed = sum(each.owed_minor for each in claims)
        collected = sum(each.collected_minor for each in claims)
        open_net = await self.database.fetch(
            ROLE,
            "SELECT coalesce(sum(net_minor), 0)::bigint FROM settlement.daily_summary"
            " WHERE payee_id = $1 AND cycle_id IS NULL",
            payee,
        )
        sold = self.sold[payee]
        assert sold == paid + kept + self.fees[payee] + waits + open_net[0][0] - owed - collected
        held = sum(each.amount_minor for each in payouts if each.state.value == "INSTRUCTED")
        assert await self.balance(payee, "settled_sales") == waits + held
        assert await self.balance(payee, "settled_claims") == -owed


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[World]:
    """A world that is running, on the first of October 2025."""
    clock = SandboxClock()
    ledger = LedgerService(database, clock, load_account_types())
    await ledger.open()
    world = World(database, clock, ledger)
    world.until(START)
    await world.payments.open()
    await world.engine.open()
    try:
        yield world
    finally:
        await world.engine.close(grace_s=0.1)
        await world.payments.close()
        await ledger.close()
