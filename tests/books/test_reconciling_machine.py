"""Whatever is done on the platform, in whatever order: debits equal credits, the books equal the ledger, days close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from kessai.apps.demo.outside import COMES_BACK
from kessai.apps.verify import verify
from kessai.services.books.api.reconciling import Reconcile, ReconciliationName
from tests.journeys.town import Town, opened

T = TypeVar("T")
AT_REST_S = 180.0
"""How long the books may take to come to rest, also beside other work; what is wrong stays wrong all that time."""
DAY_S = 86_400
_BOOKED = "SELECT DISTINCT kind, action FROM books.journal"
_MUST = {("charge", "created"), ("charge", "reversed"), ("withdrawal", "captured"), ("withdrawal", "reversed")}
amounts = st.integers(1, 3_000)


class PlatformMachine(RuleBasedStateMachine):
    """Two customers, one merchant, a bank that returns what it is given, and a clock that goes on."""

    runner: asyncio.Runner
    town: Town
    charges = Bundle("charges")

    @initialize()
    def begin(self) -> None:
        self.customers = [f"cus:{uuid4().hex}" for _ in range(2)]
        self.merchant = f"mer:{uuid4().hex}"
        self.accounts: list[str] = []
        for customer in self.customers:
            self.post("/v1/ledger/accounts", {"owner": customer, "account_type": "funds"})
            self.post("/v1/top-ups", {"customer_id": customer, "source": "bank_deposit", "amount_minor": 5_000})
            found = self.post(
                "/v1/bank/accounts",
                {
                    "owner_kind": "customer", "owner_id": customer, "bank_code": "0001", "branch_code": "001",
                    "account_number": COMES_BACK, "holder_name": "スズキ タロウ", "debits": False,
                },
            )  # fmt: skip
            self.accounts.append(found.get("account_id", ""))
        self.cancel(self.held_by_the_first())

    def held_by_the_first(self) -> str:
        """A hold: each history has one that is let go of, whatever else it draws."""
        wanted = {"customer_id": self.customers[0], "merchant_id": self.merchant, "amount_minor": 10}
        return str(
            self.post("/v1/charges", wanted | {"sources": [{"source": "funds"}], "capture": False})["payment_id"]
        )

    def run(self, work: Awaitable[T]) -> T:
        async def main() -> T:
            return await work

        return self.runner.run(main())

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What came back: a result, or a refusal, but never a failure."""
        response = self.run(self.town.http.post(path, json=body, headers={"Idempotency-Key": uuid4().hex}))
        assert response.status_code < 500, response.text
        return response.json()

    # -- what may happen ------------------------------------------------------------------------------------------

    @rule(customer=st.integers(0, 1), amount=amounts)
    def top_up(self, customer: int, amount: int) -> None:
        self.post(
            "/v1/top-ups",
            {"customer_id": self.customers[customer], "source": "convenience_store", "amount_minor": amount},
        )

    @rule(customer=st.integers(0, 1), amount=amounts)
    def grant(self, customer: int, amount: int) -> None:
        self.post("/v1/incentives", {"customer_id": self.customers[customer], "amount_minor": amount})

    @rule(customer=st.integers(0, 1), amount=amounts)
    def sell_points(self, customer: int, amount: int) -> None:
        owner = self.customers[customer]
        self.post(
            "/v1/ledger/exchanges",
            {
                "kind": "point_sale",
                "sources": [_leg(owner, "funds", amount)],
                "targets": [_leg(owner, "paid_points", amount)],
            },
        )

    @rule(customer=st.integers(0, 1), amount=amounts)
    def transfer(self, customer: int, amount: int) -> None:
        sender, recipient = self.customers[customer], self.customers[1 - customer]
        self.post("/v1/transfers", {"customer_id": sender, "recipient_id": recipient, "amount_minor": amount})

    @rule(target=charges, customer=st.integers(0, 1), amount=amounts, at_once=st.booleans(), points=st.booleans())
    def charge(self, customer: int, amount: int, *, at_once: bool, points: bool) -> str | MultipleResults[str]:
        sources = ["free_points", "paid_points", "funds"] if points else ["funds"]
        done = self.post(
            "/v1/charges",
            {
                "customer_id": self.customers[customer],
                "merchant_id": self.merchant,
                "amount_minor": amount,
                "sources": [{"source": source} for source in sources],
                "capture": at_once,
            },
        )
        return done["payment_id"] if "payment_id" in done else multiple()

    @rule(charge=charges, amount=amounts, final=st.booleans())
    def capture(self, charge: str, amount: int, *, final: bool) -> None:
        self.post(f"/v1/charges/{charge}/capture", {"amount_minor": amount, "final": final})

    @rule(charge=charges)
    def cancel(self, charge: str) -> None:
        self.post(f"/v1/charges/{charge}/cancel", {})

    @rule(charge=charges, amount=st.integers(1, 20))
    def refund(self, charge: str, amount: int) -> None:
        self.post(f"/v1/charges/{charge}/refunds", {"amount_minor": amount})

    @rule(customer=st.integers(0, 1), amount=amounts)
    def withdraw(self, customer: int, amount: int) -> None:
        self.post(
            "/v1/withdrawals",
            {
                "customer_id": self.customers[customer],
                "bank_account_id": self.accounts[customer],
                "amount_minor": amount,
            },
        )

    @rule(days=st.sampled_from([1, 4, 190]))
    def advance(self, days: int) -> None:
        """Holds lapse, points expire, the bank returns what it could not pay out, and days are made."""
        self.post("/v1/sandbox/clock/advance", {"seconds": days * DAY_S})

    # -- what always holds ----------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if hasattr(self, "customers"):
            self.run(self.at_zero())

    async def at_zero(self) -> None:
        desk, left = self.town.platform.books.reconciling, dict[str, tuple[int, int, int]]()
        until = asyncio.get_running_loop().time() + AT_REST_S
        while True:
            for name in ReconciliationName:
                told = await desk.reconcile(Reconcile(name=name))
                left[name] = (told.differences, told.explained, told.in_flight)
            findings = await verify(self.town.dsn, self.town.settings)
            if not findings and set(left.values()) == {(0, 0, 0)}:
                return
            assert asyncio.get_running_loop().time() < until, (left, findings)
            await asyncio.sleep(0.2)


def _leg(owner: str, account_type: str, amount: int) -> dict[str, Any]:
    return {"owner": owner, "account_type": account_type, "amount_minor": amount, "asset": "JPY"}


def test_whatever_is_done_the_books_are_at_zero(database_url: str, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        running = opened(database_url, tmp_path)
        PlatformMachine.runner, PlatformMachine.town = runner, runner.run(running.__aenter__())
        try:
            run_state_machine_as_test(
                PlatformMachine,
                settings=settings(
                    max_examples=10,
                    stateful_step_count=18,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    phases=[Phase.generate],  # a step takes a second: to shrink what failed would take the day
                    suppress_health_check=[
                        HealthCheck.too_slow,
                        HealthCheck.data_too_large,
                        HealthCheck.filter_too_much,
                    ],
                ),
            )
            rows = runner.run(PlatformMachine.town.platform.database.fetch(None, _BOOKED))
            booked = {(row["kind"], row["action"]) for row in rows}
            assert booked >= _MUST, sorted(booked)
        finally:
            runner.run(running.__aexit__(None, None, None))
