"""A payment against a plain model: whatever is asked, in whatever order, both say the same and hold the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_hex
from kessai.services.payment.api import (
    CancelCharge,
    CaptureCharge,
    CreateCharge,
    FundingSource,
    GetPayment,
    PaymentRecord,
    PaymentState,
    RefundCharge,
    TopUp,
    Transfer,
)
from kessai.services.payment.jobs import expire_authorizations
from tests.payment.world import World, key, opened

T = TypeVar("T")
S = PaymentState
amounts = st.integers(1, 1_000)
orders = st.permutations(["free_points", "funds"]).flatmap(lambda names: st.integers(1, 2).map(lambda n: names[:n]))
HOLD_DAYS = 5


@dataclass
class Charge:
    """What the model knows of a charge; amounts by source, in the order of the sources."""

    payment_id: str
    customer: int
    state: PaymentState
    held: dict[str, int]
    days_left: int = HOLD_DAYS
    captured: dict[str, int] = field(default_factory=dict)
    refunded: dict[str, int] = field(default_factory=dict)

    def captured_total(self) -> int:
        return sum(self.captured.values())

    def refunded_total(self) -> int:
        return sum(self.refunded.values())


def take(parts: dict[str, int], amount: int) -> dict[str, int]:
    """An amount out of parts, in their order."""
    taken: dict[str, int] = {}
    for source, there in parts.items():
        taken[source] = min(there, amount)
        amount -= taken[source]
    return taken


class PaymentMachine(RuleBasedStateMachine):
    """Two customers, one merchant, and everything that may happen between them."""

    runner: asyncio.Runner
    world: World
    charges = Bundle("charges")

    @initialize()
    def begin(self) -> None:
        self.world.line.cut_before = self.world.line.cut_after = 0
        self.merchant = f"mer:{new_hex()}"
        self.customers = [self.run(self.world.customer()) for _ in range(2)]
        self.free: list[dict[str, int]] = [{"funds": 0, "free_points": 0} for _ in self.customers]
        self.held: list[dict[str, int]] = [{"funds": 0, "free_points": 0} for _ in self.customers]
        self.sales = 0
        self.open: list[Charge] = []
        self.last: tuple[str, str, object, object] | None = None

    def run(self, work: Awaitable[T]) -> T:
        async def main() -> T:
            return await work

        return self.runner.run(main())

    def ask(self, verb: str, request: object) -> object:
        """A request under a fresh key: its answer, or the code of its refusal."""
        name = new_hex()[16:]
        answer = self.asked(name, verb, request)
        self.last = (name, verb, request, answer)
        return answer

    def asked(self, name: str, verb: str, request: object) -> object:
        async def main() -> object:
            with key(name):
                try:
                    return await getattr(self.world.payments, verb)(request)
                except PaymentError as error:
                    return error.code

        return self.runner.run(main())

    # -- what may happen ----------------------------------------------------------------------------------------

    @rule(customer=st.integers(0, 1), amount=amounts)
    def top_up(self, customer: int, amount: int) -> None:
        answer = self.ask(
            "top_up", TopUp(customer_id=self.customers[customer], source="bank_deposit", amount_minor=amount)
        )
        assert isinstance(answer, PaymentRecord)
        self.free[customer]["funds"] += amount

    @rule(customer=st.integers(0, 1), amount=amounts)
    def grant(self, customer: int, amount: int) -> None:
        self.run(self.world.grant(self.customers[customer], amount))
        self.free[customer]["free_points"] += amount

    @rule(sender=st.integers(0, 1), amount=amounts)
    def transfer(self, sender: int, amount: int) -> None:
        answer = self.ask(
            "transfer",
            Transfer(customer_id=self.customers[sender], recipient_id=self.customers[1 - sender], amount_minor=amount),
        )
        if amount > self.free[sender]["funds"]:
            assert answer == "insufficient_funds"
        else:
            assert isinstance(answer, PaymentRecord)
            self.free[sender]["funds"] -= amount
            self.free[1 - sender]["funds"] += amount

    @rule(
        target=charges,
        customer=st.integers(0, 1),
        amount=amounts,
        sources=orders,
        at_once=st.booleans(),
        most=st.none() | amounts,
    )
    def charge(self, customer: int, amount: int, sources: list[str], most: int | None, *, at_once: bool) -> Charge:
        limits = dict.fromkeys(sources, amount)
        limits[sources[0]] = min(amount, most or amount)
        answer = self.ask(
            "create_charge",
            CreateCharge(
                customer_id=self.customers[customer],
                merchant_id=self.merchant,
                amount_minor=amount,
                sources=[
                    FundingSource(source=each, max_amount_minor=most if each == sources[0] else None)
                    for each in sources
                ],
                capture=at_once,
                expires_at=None if at_once else self.world.clock.now() + timedelta(days=HOLD_DAYS, hours=-1),
            ),
        )
        free = self.free[customer]
        parts = take({each: min(limits[each], free[each]) for each in sources}, amount)
        charge = Charge("", customer, S.REFUSED, {})
        if sum(limits.values()) < amount:
            assert answer == "sources_below_amount"
        elif sum(parts.values()) < amount:
            assert answer in ("insufficient_funds", "account_not_found")  # who never had points has no account
        else:
            assert isinstance(answer, PaymentRecord)
            assert {each.source: each.amount_minor for each in answer.funding} == {s: a for s, a in parts.items() if a}
            charge = Charge(answer.payment_id, customer, S.AUTHORIZED, dict(parts))
            for source, part in parts.items():
                free[source] -= part
                self.held[customer][source] += part
            if at_once:
                self.take_held(charge, parts)
                charge.state = S.CAPTURED
            self.open.append(charge)
        return charge

    @rule(charge=charges, amount=st.none() | amounts, final=st.booleans())
    def capture(self, charge: Charge, amount: int | None, *, final: bool) -> None:
        if not charge.payment_id:
            return
        answer = self.ask(
            "capture_charge", CaptureCharge(charge_id=charge.payment_id, amount_minor=amount, final=final)
        )
        left = sum(charge.held.values())
        if (code := self.not_held(charge)) is not None:
            assert answer == code
        elif amount is not None and amount > left:
            assert answer == "capture_above_authorized"
        else:
            assert isinstance(answer, PaymentRecord)
            self.take_held(charge, take(charge.held, left if amount is None else amount))
            if final or not any(charge.held.values()):
                self.release(charge)
                charge.state = S.CAPTURED
            else:
                charge.state = S.PARTIALLY_CAPTURED

    @rule(charge=charges)
    def cancel(self, charge: Charge) -> None:
        if not charge.payment_id:
            return
        answer = self.ask("cancel_charge", CancelCharge(charge_id=charge.payment_id))
        if charge.state is S.CANCELED:
            assert answer == "already_canceled"
        elif (code := self.not_held(charge)) is not None:
            assert answer == code
        else:
            self.release(charge)
            charge.state = S.CAPTURED if charge.captured_total() else S.CANCELED

    @rule(charge=charges, amount=st.none() | amounts)
    def refund(self, charge: Charge, amount: int | None) -> None:
        if not charge.payment_id:
            return
        answer = self.ask("refund_charge", RefundCharge(charge_id=charge.payment_id, amount_minor=amount))
        left = charge.captured_total() - charge.refunded_total()
        if charge.state is not S.CAPTURED:
            assert answer == "charge_not_captured"
        elif left == 0 or (amount or 0) > left:
            assert answer == "refund_above_captured"
        else:
            assert not isinstance(answer, str)
            given = {source: part - charge.refunded.get(source, 0) for source, part in charge.captured.items()}
            for source, part in take(given, left if amount is None else amount).items():
                charge.refunded[source] = charge.refunded.get(source, 0) + part
                self.free[charge.customer][source] += part
                self.sales -= part

    @rule(days=st.integers(1, 3))
    def time_passes(self, days: int) -> None:
        self.world.pass_days(days)
        for charge in self.open:
            charge.days_left -= days

    @rule()
    def authorizations_lapse(self) -> None:
        self.run(expire_authorizations(self.world.payments))
        for charge in self.open:
            if charge.state in (S.AUTHORIZED, S.PARTIALLY_CAPTURED) and charge.days_left <= 0:
                self.release(charge)
                charge.state = S.CAPTURED if charge.captured_total() else S.EXPIRED

    @rule(times=st.integers(1, 2), before=st.booleans())
    def the_line_breaks(self, times: int, *, before: bool) -> None:
        if before:
            self.world.line.cut_before = times
        else:
            self.world.line.cut_after = times

    @rule()
    def the_last_request_comes_again(self) -> None:
        if self.last is None or isinstance(self.last[3], str):
            return
        name, verb, request, answer = self.last
        assert self.asked(name, verb, request) == answer

    # -- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def accounts_hold_what_the_model_holds(self) -> None:
        for owner, free, held in zip(self.customers, self.free, self.held, strict=True):
            assert self.run(self.world.balance(owner)) == (free["funds"] + held["funds"], free["funds"])
            if free["free_points"] or held["free_points"]:
                points = self.run(self.world.balance(owner, "free_points"))
                assert points == (free["free_points"] + held["free_points"], free["free_points"])
        if self.sales:
            assert self.run(self.world.sales(self.merchant)) == self.sales

    @invariant()
    def payments_say_what_the_model_says(self) -> None:
        for charge in self.open[-3:]:
            found = self.run(self.world.payments.get_payment(GetPayment(payment_id=charge.payment_id)))
            assert found.state is charge.state
            assert found.captured_minor == charge.captured_total()
            assert found.refunded_minor == charge.refunded_total()

    # -- the model's own steps ----------------------------------------------------------------------------------

    def not_held(self, charge: Charge) -> str | None:
        if charge.state is S.CAPTURED:
            return "already_captured"
        if charge.state is S.EXPIRED:
            return "authorization_expired"
        if charge.state not in (S.AUTHORIZED, S.PARTIALLY_CAPTURED):
            return "charge_not_authorized"
        return "authorization_expired" if charge.days_left <= 0 else None

    def take_held(self, charge: Charge, parts: dict[str, int]) -> None:
        for source, part in parts.items():
            charge.held[source] -= part
            charge.captured[source] = charge.captured.get(source, 0) + part
            self.held[charge.customer][source] -= part
            self.sales += part

    def release(self, charge: Charge) -> None:
        for source, part in charge.held.items():
            self.held[charge.customer][source] -= part
            self.free[charge.customer][source] += part
        charge.held = dict.fromkeys(charge.held, 0)


def test_a_payment_never_differs_from_the_plain_model(database_url: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        database = Database(database_url)
        running = opened(database)
        PaymentMachine.runner, PaymentMachine.world = runner, runner.run(running.__aenter__())
        try:
            run_state_machine_as_test(
                PaymentMachine,
                settings=settings(
                    max_examples=50,
                    stateful_step_count=25,
                    deadline=None,
                    database=None,
                ),
            )
        finally:
            runner.run(running.__aexit__(None, None, None))
            runner.run(database.close())
