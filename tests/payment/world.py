"""A small world for the payment's tests: the real ledger and payment service, with time and lost answers to hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.ids import new_hex
from kessai.foundation.vault import Vault, VaultKey
from kessai.services.ledger.api import CreateExchange, GetAccount, Leg, OpenAccount, account_id_of
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from kessai.services.payment.api import CreateCharge, FundingSource, PaymentRecord, TopUp
from kessai.services.payment.domain.kinds import PaymentKinds, load_kinds
from kessai.services.payment.service import PaymentService
from tests.payment.outside import Cards, Secretary, Teller

VAULT = Vault([VaultKey(bytes(range(32)))])


class Line:
    """The line to the ledger. It can be cut before a call arrives, or after it took effect."""

    def __init__(self, ledger: LedgerService) -> None:
        self._ledger = ledger
        self.cut_before = 0
        """So many calls do not arrive."""
        self.cut_after = 0
        """So many answers are lost, though the call took effect."""
        self.calls = 0

    def __getattr__(self, verb: str) -> Callable[[Any], Awaitable[Any]]:
        async def call(request: Any) -> Any:
            self.calls += 1
            if self.cut_before > 0:
                self.cut_before -= 1
                raise Unavailable("ledger_unavailable", "The ledger cannot be reached.")
            answer = await getattr(self._ledger, verb)(request)
            if self.cut_after > 0:
                self.cut_after -= 1
                raise Unknown("answer_lost", "The ledger's answer was lost.")
            return answer

        return call


class World:
    """One ledger, any number of payment services on one database."""

    def __init__(self, database: Database, clock: SandboxClock, ledger: LedgerService, kinds: PaymentKinds) -> None:
        self.database = database
        self.clock = clock
        self.ledger = ledger
        self.line = Line(ledger)
        self.cards = Cards()
        self.bank = Teller()
        self.approvals = Secretary()
        self.kinds = kinds
        self.payments = self.another_process()

    def another_process(self) -> PaymentService:
        """A payment service that shares nothing with the first but the database and the ledger."""
        line: Any = self.line
        cards: Any = self.cards
        bank: Any = self.bank
        return PaymentService(
            self.database, self.clock, line, self.kinds, cards=cards, bank=bank, approvals=self.approvals, vault=VAULT
        )

    async def customer(self, *, funds: int = 0, free_points: int = 0) -> str:
        """A new customer with that much."""
        customer_id = f"cus:{new_hex()}"
        await self.ledger.open_account(OpenAccount(owner=customer_id, account_type="funds"))
        if funds:
            await self.payments.top_up(TopUp(customer_id=customer_id, source="bank_deposit", amount_minor=funds))
        if free_points:
            await self.grant(customer_id, free_points)
        return customer_id

    async def grant(self, customer_id: str, amount: int) -> None:
        """Give free points."""
        await self.ledger.create_exchange(
            CreateExchange(
                exchange_id=f"exc_{new_hex()}",
                kind="grant",
                sources=[Leg(owner="internal:campaign", account_type="point_cost", amount_minor=amount, asset="JPY")],
                targets=[Leg(owner=customer_id, account_type="free_points", amount_minor=amount, asset="JPY")],
            )
        )

    async def charge(
        self, customer_id: str, amount: int, *sources: str, merchant_id: str = "mer:shop", **more: Any
    ) -> PaymentRecord:
        """A charge from these sources (funds, when none is named)."""
        named = [FundingSource(source=source) for source in sources or ("funds",)]
        return await self.payments.create_charge(
            CreateCharge(customer_id=customer_id, merchant_id=merchant_id, amount_minor=amount, sources=named, **more)
        )

    async def credit_line(self, customer_id: str, limit: int) -> None:
        """Open a customer's credit line (与信)."""
        await self.ledger.open_account(
            OpenAccount(owner=customer_id, account_type="credit", overdraft_limit_minor=limit)
        )

    async def balance(self, owner: str, account_type: str = "funds") -> tuple[int, int]:
        """What an account has, and how much of it is available."""
        account = await self.ledger.get_account(GetAccount(account_id=account_id_of(owner, account_type)))
        return account.balance_minor, account.available_minor

    async def sales(self, merchant_id: str = "mer:shop") -> int:
        """A merchant's unsettled sales."""
        return (await self.balance(merchant_id, "unsettled_sales"))[0]

    def pass_days(self, days: float) -> None:
        """Let business time go by."""
        self.clock.advance(timedelta(days=days))


@contextmanager
def key(text: str) -> Generator[Call]:
    """A request with an idempotency key."""
    call = Call(caller="key_test", request_key=text.encode().hex().ljust(32, "0")[:32])
    token = enter_call(call)
    try:
        yield call
    finally:
        leave_call(token)


@asynccontextmanager
async def opened(database: Database, *, kinds: PaymentKinds | None = None) -> AsyncGenerator[World]:
    """A world that is running, with the platform's own kinds or others."""
    clock = SandboxClock()
    ledger = LedgerService(database, clock, load_account_types())
    await ledger.open()
    world = World(database, clock, ledger, kinds or load_kinds())
    await world.payments.open()
    try:
        yield world
    finally:
        await world.payments.close()
        await ledger.close()
