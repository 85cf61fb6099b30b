"""Payouts: transfers that fail or come back, minimum and carry-over, fees, holds; and the bank's day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import msgspec
import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unavailable
from kessai.foundation.events.outbox import outbox_insert, outbox_row
from kessai.foundation.ids import new_id
from kessai.sdk.processing.api import ListEffects, Outcome, ProcessingTouched
from kessai.sdk.processing.participant import Own, report_on
from kessai.services.bank.api import (
    TOPIC_TRANSFER,
    FailureCode,
    InstructionChanged,
    InstructionKind,
    InstructionState,
    OwnerKind,
)
from kessai.services.ledger.api import Freeze, FreezeAccount, account_id_of
from kessai.services.merchant.api import Bearer, BelowMinimum, Cycle, MerchantState, PayoutRule
from kessai.services.payment.api import Action, PaymentState, PaymentStateChanged
from kessai.services.settlement.api.cycles import ListPayeesWithoutTerms
from kessai.services.settlement.api.payouts import GetPayout, HoldPayout, ListPayouts, PayoutStanding, ReleasePayout
from kessai.services.settlement.effects import PAYMENT, SettlementEffects
from kessai.services.settlement.store import ROLE
from kessai.services.settlement.store.movements import ASKED, in_state
from kessai.services.settlement.workflows import charging
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.idle import first_to_pay
from kessai.services.settlement.workflows.payout import pay_cycles
from kessai.services.settlement.workflows.results import hear
from tests.settlement.cycle_world import World, opened

S = PayoutStanding
OCTOBER_END, NOVEMBER_END = date(2025, 10, 31), date(2025, 11, 30)
FIRST_DAY, SECOND_DAY = date(2025, 11, 26), date(2025, 12, 26)
"""On which October's and November's payouts are instructed: two business days before the month's last."""


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


async def sold(world: World, amount: int, day: date = date(2025, 10, 10), *, last: date = OCTOBER_END) -> None:
    """A month of mer:x, cleared."""
    await world.sell(day, "mer:x", amount)
    await world.settle(last)


async def states(world: World) -> list[PayoutStanding]:
    return [each.state for each in await world.payouts("mer:x")]


async def test_a_failed_transfer_goes_into_the_next_payout_with_its_fee(world: World) -> None:
    world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    assert await world.balance("internal:transfer_fee", "fee_income") == 250
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    assert await states(world) == [S.FAILED]
    await sold(world, 5_000, date(2025, 11, 5), last=NOVEMBER_END)
    first, second = await world.payouts("mer:x")
    assert (first.reason, first.taken_by) == ("account_closed", second.payout_id)
    assert (second.failed_minor, second.cleared_minor, second.amount_minor) == (10_000, 5_000, 14_750)
    assert await world.balance("internal:transfer_fee", "fee_income") == 0
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_a_transfer_that_comes_back_after_it_was_paid_goes_into_the_next_payout(world: World) -> None:
    world.agree("mer:x")
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.DONE)
    assert await states(world) == [S.PAID]
    await world.bank_says(InstructionState.RETURNED, FailureCode.ACCOUNT_CLOSED)
    assert await states(world) == [S.RETURNED]
    await world.settle(NOVEMBER_END)
    await world.pay(SECOND_DAY)
    await world.bank_says(InstructionState.DONE)
    first, second = await world.payouts("mer:x")
    assert (first.taken_by, second.failed_minor, second.state) == (second.payout_id, 10_000, S.PAID)
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_a_transfer_that_payment_refuses_is_failed_and_its_fee_goes_back(world: World) -> None:
    terms = world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await sold(world, 10_000)
    world.bank.accounts[str(terms.bank_account_id)] = "mer:other"
    await world.pay(FIRST_DAY)
    (payout,) = await world.payouts("mer:x")
    assert (payout.state, payout.reason) == (S.FAILED, "bank_account_of_another")
    await world.pay(FIRST_DAY)
    assert await world.balance("internal:transfer_fee", "fee_income") == 0
    assert await world.balance("mer:x", "settled_sales") == 10_000


async def _captured(world: World, payment_id: str | None) -> None:
    """The payment service tells that a payout's payment was captured."""
    await _told(world, payment_id, Action.CAPTURE, PaymentState.CAPTURED)


async def _returned(world: World, payment_id: str | None) -> None:
    """The payment service tells that a payout's payment came back."""
    await _told(world, payment_id, Action.RETURN, PaymentState.RETURNED)


async def _told(world: World, payment_id: str | None, action: Action, state: PaymentState) -> None:
    event = PaymentStateChanged(
        type=f"payment.payout.{state.value.lower()}", event_id=f"{payment_id}:{state}", payment_id=str(payment_id),
        kind="payout", action=action, state=state, amount_minor=10_000, asset="JPY", payer_id="mer:x",
        payee_id="internal:bank", captured_minor=10_000, refunded_minor=0, exchange_id="exc_1", refund_id=None,
        code=None, processing_id="prc_x", version=9, occurred_at=world.clock.now(),
    )  # fmt: skip
    now = world.clock.now()
    await world.database.transaction(ROLE, lambda connection: hear(connection, [event], now))


async def test_a_failed_payout_that_was_paid_after_all_is_paid_and_not_taken_over(world: World) -> None:
    world.agree("mer:x")
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    (failed,) = await world.payouts("mer:x")
    await _captured(world, failed.payment_id)
    (paid,) = await world.payouts("mer:x")
    assert (paid.state, paid.reason, paid.paid_on) == (S.PAID, "paid_after_all", date(2025, 10, 1))
    await sold(world, 5_000, date(2025, 11, 5), last=NOVEMBER_END)
    assert [each.payable_minor for each in await world.payouts("mer:x")] == [10_000, 5_000]


async def _booked(world: World, payment_id: str | None, day: date | None) -> None:
    """The bank tells of the day on which it booked a transfer."""
    event = InstructionChanged(
        event_id=new_id("evt"), instruction_id=new_id("btr"), kind=InstructionKind.TRANSFER,
        state=InstructionState.DONE, account_id="bac_x", owner_kind=OwnerKind.MERCHANT, owner_id="mer:x",
        amount_minor=1, failure_code=None,
        bank_reference=None, reference=payment_id, processing_id="prc_x", version=2, occurred_at=world.clock.now(),
        booked_on=day,
    )  # fmt: skip
    row = outbox_row(TOPIC_TRANSFER, [event], world.clock.now())
    columns = [[value] for value in row]
    await world.database.transaction("kessai_bank", lambda c: c.execute(outbox_insert("bank"), *columns))
    await world.hear_of_the_bank()


@pytest.mark.parametrize("first", ["bank", "payment"])
async def test_a_payout_was_paid_on_the_day_of_the_bank_whenever_it_is_heard_of(world: World, first: str) -> None:
    world.agree("mer:x")
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    world.until(date(2025, 12, 3))
    (payout,) = await world.payouts("mer:x")
    if first == "bank":
        await _booked(world, payout.payment_id, date(2025, 11, 28))
        assert [each.paid_on for each in await world.payouts("mer:x")] == [None]
    await world.bank_says(InstructionState.DONE)
    if first == "payment":
        await _booked(world, payout.payment_id, None)
        assert [each.paid_on for each in await world.payouts("mer:x")] == [date(2025, 12, 3)]
        await _booked(world, payout.payment_id, date(2025, 11, 28))
    assert [(each.state, each.paid_on) for each in await world.payouts("mer:x")] == [(S.PAID, date(2025, 11, 28))]
    await world.bank_says(InstructionState.RETURNED, FailureCode.ACCOUNT_CLOSED)
    assert [(each.state, each.paid_on) for each in await world.payouts("mer:x")] == [(S.RETURNED, date(2025, 11, 28))]


async def test_a_transfer_fee_that_went_back_is_charged_again_once_when_the_payout_was_paid_after_all(
    world: World,
) -> None:
    world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    (failed,) = await world.payouts("mer:x")
    await world.pay(FIRST_DAY)
    assert await world.balance("internal:transfer_fee", "fee_income") == 0
    await _captured(world, failed.payment_id)
    (paid,) = await world.payouts("mer:x")
    assert (paid.state, paid.reason) == (S.PAID, "paid_after_all:transfer_fee_given_back")
    assert await first_to_pay(world.engine.deps, FIRST_DAY, FIRST_DAY) == FIRST_DAY
    for _ in range(2):
        await world.pay(FIRST_DAY)
    (paid,) = await world.payouts("mer:x")
    assert (paid.state, paid.reason, paid.amount_minor, paid.transfer_fee_minor) == (
        S.PAID,
        "paid_after_all",
        9_750,
        250,
    )
    assert await world.balance("internal:transfer_fee", "fee_income") == 250
    assert await first_to_pay(world.engine.deps, FIRST_DAY, FIRST_DAY) is None


async def test_a_payout_that_comes_back_while_its_fee_is_charged_again_has_it_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    (failed,) = await world.payouts("mer:x")
    await world.pay(FIRST_DAY)
    await _captured(world, failed.payment_id)

    async def away(*_: object) -> None:
        monkeypatch.undo()
        await _returned(world, failed.payment_id)
        raise Unavailable("payment_away", "It cannot be reached.")

    monkeypatch.setattr(charging, "ask", away)
    await world.pay(FIRST_DAY)
    (returned,) = await world.payouts("mer:x")
    assert returned.state is S.RETURNED
    await world.pay(FIRST_DAY)
    assert await world.balance("internal:transfer_fee", "fee_income") == 0
    assert await world.database.fetch(None, "SELECT 1 FROM settlement.movement WHERE state = 'ASKED'") == []
    assert await first_to_pay(world.engine.deps, FIRST_DAY, FIRST_DAY) is None


async def test_a_transfer_fee_that_cannot_be_charged_again_is_told_with_its_payout(world: World) -> None:
    world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    (failed,) = await world.payouts("mer:x")
    await world.pay(FIRST_DAY)
    await _captured(world, failed.payment_id)
    await world.take("mer:x", "settled_sales", 10_000)
    for _ in range(2):
        await world.pay(FIRST_DAY)
    (paid,) = await world.payouts("mer:x")
    assert (paid.state, paid.reason) == (S.PAID, "paid_after_all:transfer_fee_refused:insufficient_funds")
    assert await world.balance("internal:transfer_fee", "fee_income") == 0


async def test_a_payout_whose_predecessor_was_paid_after_all_is_held_for_an_operator(world: World) -> None:
    world.agree("mer:x")
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    await sold(world, 5_000, date(2025, 11, 5), last=NOVEMBER_END)
    await _captured(world, (await world.payouts("mer:x"))[0].payment_id)
    first, second = await world.payouts("mer:x")
    assert (first.state, first.reason) == (S.FAILED, "paid_after_all")
    assert (second.state, second.reason) == (S.HELD, f"operator:paid_after_all:{first.payout_id}")
    await _captured(world, first.payment_id)
    assert await world.payouts("mer:x") == [first, second]


async def test_a_day_with_nothing_but_a_transfer_fee_to_give_back_needs_a_run(world: World) -> None:
    world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await sold(world, 10_000)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    since, until = date(2025, 11, 27), date(2026, 3, 31)
    assert await first_to_pay(world.engine.deps, since, until) == since
    await world.pay(since)
    assert await world.balance("internal:transfer_fee", "fee_income") == 0
    assert await first_to_pay(world.engine.deps, since, until) is None


async def test_payees_that_have_money_and_no_contract_are_listed(world: World) -> None:
    world.agree("mer:with")
    for merchant, payee in (("mer:child", "mer:parent"), ("mer:with", "mer:with"), ("mer:z", "mer:z")):
        await world.sell(date(2025, 9, 10), merchant, 3_000, payee=payee)
    await world.sell(date(2025, 9, 20), "mer:child", 2_000, payee="mer:parent")
    first = await world.desk.list_payees_without_terms(ListPayeesWithoutTerms(limit=1))
    (parent,) = first.payees
    told = (parent.payee_id, parent.since, parent.net_minor, parent.transactions)
    assert told == ("mer:parent", date(2025, 9, 10), 5_000, 2)
    last = await world.desk.list_payees_without_terms(ListPayeesWithoutTerms(limit=1, cursor=first.next_cursor))
    assert ([each.payee_id for each in last.payees], last.next_cursor) == (["mer:z"], None)


async def test_what_is_below_the_minimum_is_carried_over_until_there_is_enough(world: World) -> None:
    world.agree("mer:x", minimum_minor=10_000)
    await sold(world, 6_000)
    assert await states(world) == [S.CARRIED_OVER]
    await sold(world, 5_000, date(2025, 11, 5), last=NOVEMBER_END)
    first, second = await world.payouts("mer:x")
    assert (second.carried_minor, second.amount_minor, second.state) == (6_000, 11_000, S.CLEARED)
    assert first.taken_by == second.payout_id
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_carry_over_ends_after_a_year_though_nothing_more_is_sold(world: World) -> None:
    world.agree("mer:x", minimum_minor=10_000)
    await sold(world, 6_000)
    for month in range(11, 13):
        await world.settle(date(2025, month, 30))
    await world.settle(date(2026, 9, 30))
    assert await states(world) == [S.CARRIED_OVER]
    await world.settle(date(2026, 10, 31))
    assert await states(world) == [S.CARRIED_OVER, S.CLEARED]
    assert (await world.payouts("mer:x"))[-1].amount_minor == 6_000


async def test_by_contract_a_payout_below_the_minimum_bears_the_transfer_fee(world: World) -> None:
    world.agree("mer:x", minimum_minor=10_000, below_minimum=BelowMinimum.BEAR_FEE, transfer_fee_minor=200)
    await sold(world, 6_000)
    (payout,) = await world.payouts("mer:x")
    assert (payout.state, payout.transfer_fee_minor, payout.amount_minor) == (S.CLEARED, 200, 5_800)


async def test_a_suspended_merchant_is_not_paid_until_it_is_active_again(world: World) -> None:
    world.agree("mer:x")
    await sold(world, 10_000)
    world.change("mer:x", state=MerchantState.SUSPENDED)
    await world.pay(FIRST_DAY)
    (payout,) = await world.payouts("mer:x")
    assert (payout.state, payout.reason, payout.amount_minor) == (S.HELD, "merchant_suspended", 0)
    world.change("mer:x", state=MerchantState.ACTIVE)
    await world.pay(date(2025, 12, 1))
    (payout,) = await world.payouts("mer:x")
    assert (payout.state, payout.amount_minor, payout.pay_on) == (S.INSTRUCTED, 10_000, date(2025, 12, 3))


async def test_a_payout_without_a_bank_account_is_held_until_there_is_one(world: World) -> None:
    world.agree("mer:x", bank_account_id=None)
    await sold(world, 10_000)
    assert [each.reason for each in await world.payouts("mer:x")] == ["no_bank_account"]
    world.change("mer:x", bank_account_id=world.bank.account_of("mer:x"))
    await world.pay(FIRST_DAY)
    assert await states(world) == [S.INSTRUCTED]


@pytest.mark.parametrize("bearer", Bearer)
async def test_a_payout_from_a_frozen_account_is_held_and_paid_once_it_is_free(world: World, bearer: Bearer) -> None:
    world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=bearer)
    await sold(world, 10_000)
    account_id = account_id_of("mer:x", "settled_sales")
    await world.ledger.freeze_account(FreezeAccount(account_id=account_id, freeze=Freeze.OUT))
    await world.pay(FIRST_DAY)
    await world.hear()
    assert [(each.state, each.reason) for each in await world.payouts("mer:x")] == [(S.HELD, "account_frozen")]
    await world.ledger.freeze_account(FreezeAccount(account_id=account_id, freeze=Freeze.NONE))
    await world.pay(date(2025, 11, 27))
    await world.bank_says(InstructionState.DONE)
    assert await states(world) == [S.PAID]
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_an_operator_holds_a_payout_and_lets_it_go(world: World) -> None:
    world.agree("mer:x")
    await sold(world, 10_000)
    (payout,) = await world.payouts("mer:x")
    await world.desk.hold_payout(HoldPayout(payout_id=payout.payout_id, reason="a complaint"))
    assert (await world.pay(FIRST_DAY)).done == 0
    assert await states(world) == [S.HELD]
    await world.desk.release_payout(ReleasePayout(payout_id=payout.payout_id, reason="settled"))
    await world.pay(FIRST_DAY)
    history = await world.desk.get_payout(GetPayout(payout_id=payout.payout_id))
    assert [each.state for each in history.steps] == [S.MADE, S.CLEARED, S.HELD, S.CLEARED, S.INSTRUCTED]
    assert "a complaint" in str(history.steps[2].reason)
    with pytest.raises(PaymentError) as late:
        await world.desk.hold_payout(HoldPayout(payout_id=payout.payout_id, reason="too late"))
    assert late.value.code == "payout_not_holdable"


async def test_what_no_operator_holds_is_not_released(world: World) -> None:
    world.agree("mer:x")
    await sold(world, 10_000)
    (payout,) = await world.payouts("mer:x")
    with pytest.raises(PaymentError) as refused:
        await world.desk.release_payout(ReleasePayout(payout_id=payout.payout_id, reason="please"))
    assert refused.value.code == "payout_not_held"
    missing = GetPayout(payout_id="spo_" + "0" * 32)
    with pytest.raises(PaymentError) as unknown:
        await world.desk.get_payout(missing)
    assert unknown.value.code == "payout_not_found"


async def test_weekly_and_daily_cycles_are_paid_days_after_they_close(world: World) -> None:
    world.agree("mer:w", cycle=Cycle.WEEKLY, cycle_day=6, payout=PayoutRule(days_after=3))
    world.agree("mer:d", cycle=Cycle.DAILY, payout=PayoutRule(days_after=1))
    sunday = date(2025, 10, 5)
    await world.sell(date(2025, 10, 2), "mer:w", 1_000)
    await world.sell(sunday, "mer:d", 500)
    await world.settle(sunday)
    (weekly,), (daily,) = await world.payouts("mer:w"), await world.payouts("mer:d")
    assert (weekly.pay_on, weekly.last_day) == (date(2025, 10, 8), sunday)
    assert daily.pay_on == date(2025, 10, 6)


async def test_a_cycle_is_not_made_before_its_last_day_is_closed(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", 1_000)
    await world.close(date(2025, 10, 30))
    with pytest.raises(PaymentError) as refused:
        await world.run(make_cycles, OCTOBER_END)
    assert refused.value.code == "day_not_closed"


async def test_payouts_are_listed_newest_first_by_the_page(world: World) -> None:
    for merchant in ("mer:a", "mer:b", "mer:c"):
        world.agree(merchant)
        await world.sell(date(2025, 10, 10), merchant, 1_000)
    await world.settle(OCTOBER_END)
    first = await world.desk.list_payouts(ListPayouts(limit=2))
    assert first.next_cursor is not None
    second = await world.desk.list_payouts(ListPayouts(limit=2, cursor=first.next_cursor))
    found = [each.payee_id for each in (*first.payouts, *second.payouts)]
    assert (sorted(found), second.next_cursor) == (["mer:a", "mer:b", "mer:c"], None)
    with pytest.raises(PaymentError) as bad:
        await world.desk.list_payouts(ListPayouts(cursor="nonsense"))
    assert bad.value.code == "bad_cursor"


# -- transfer fees that go back ---------------------------------------------------------------------------------------


class Together:
    """The payment service, which gives nothing back before so many have asked it to."""

    def __init__(self, world: World, asking: int) -> None:
        self.asking, self.asked, self.all = asking, 0, asyncio.Event()
        self.world, self.real = world, world.payments.refund_payment

    async def answer(self, request: Any, /) -> Any:
        self.asked += 1
        if self.asked == self.asking:
            self.all.set()
        await asyncio.wait_for(self.all.wait(), 10)
        return await self.real(request)

    def __enter__(self) -> None:
        setattr(self.world.payments, "refund_payment", self.answer)  # noqa: B010 - a method

    def __exit__(self, *_: object) -> None:
        setattr(self.world.payments, "refund_payment", self.real)  # noqa: B010 - a method


async def failed_with_its_fee(world: World, *merchants: str) -> None:
    """Payouts whose fee was taken and whose transfer failed."""
    for merchant in merchants:
        world.agree(merchant, transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
        await world.sell(date(2025, 10, 10), merchant, 10_000)
    await world.settle(OCTOBER_END)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)


async def differences(world: World) -> list[str]:
    """What settlement and the payment service say otherwise of the processings of either."""
    rows = await world.database.fetch(
        None,
        "SELECT processing_id FROM settlement.movement UNION SELECT processing_id FROM payment.refund"
        " WHERE caller = 'settlement'",
    )
    ids = [row["processing_id"] for row in rows]
    own = await SettlementEffects(world.database).own_view(ids)
    page = await world.payments.list_effects(ListEffects(processing_ids=ids, caller="settlement"))
    theirs = {each.processing_id: each for each in page.processings}
    outcomes = [report_on(one, 1, own.get(one, Own()), {PAYMENT: theirs}) for one in ids]
    return [str(each) for each in outcomes if each.outcome is not Outcome.MATCHED]


async def test_two_jobs_that_give_the_same_transfer_fee_back_count_it_once(world: World) -> None:
    await failed_with_its_fee(world, "mer:x")
    await world.close(NOVEMBER_END)
    with Together(world, 2):
        await asyncio.gather(world.run(make_cycles, NOVEMBER_END), world.run(pay_cycles, date(2025, 12, 1)))
    fees = "SELECT returned_minor FROM settlement.movement WHERE kind = 'transfer_fee'"
    assert [row["returned_minor"] for row in await world.database.fetch(None, fees)] == [250]
    await world.settle(date(2025, 12, 31))
    first, second = await world.payouts("mer:x")
    assert (first.taken_by, second.failed_minor) == (second.payout_id, 10_000)
    await world.require_every_yen(["mer:x"], ["mer:x"])
    assert await differences(world) == []


async def test_a_transfer_fee_goes_back_in_the_processing_of_its_own_payment(world: World) -> None:
    await failed_with_its_fee(world, "mer:x", "mer:y")
    await world.settle(NOVEMBER_END)
    rows = await world.database.fetch(
        None,
        "SELECT f.processing_id AS fee, r.processing_id AS refund, r.state FROM settlement.movement AS r"
        " JOIN settlement.movement AS f ON f.payment_id = r.refund_of",
    )
    assert [(row["refund"] == row["fee"], row["state"]) for row in rows] == [(True, "SUCCEEDED")] * 2
    assert await differences(world) == []
    told = await world.database.fetch(None, "SELECT payload FROM settlement.outbox WHERE topic = 'processing.touched'")
    touched = [each for row in told for each in msgspec.json.decode(row["payload"], type=list[ProcessingTouched])]
    began = [each for one in touched if one.entry for each in one.processing_ids]
    assert len(began) == len(set(began))


async def test_a_refund_under_way_is_not_moved_with_the_page_that_its_fee_was_taken_in(world: World) -> None:
    await failed_with_its_fee(world, "mer:x")
    fees = "SELECT processing_id FROM settlement.movement WHERE kind = 'transfer_fee'"
    ((processing_id,),) = await world.database.fetch(None, fees)
    with Together(world, 2):
        run = asyncio.create_task(world.pay(date(2025, 11, 27)))
        refunds = "SELECT 1 FROM settlement.movement WHERE kind = 'refund'"
        while not await world.database.fetch(None, refunds):
            await asyncio.sleep(0.01)
        assert await in_state(world.database, processing_id, ASKED, "", 10) == []
        await world.run(make_cycles, date(2025, 10, 31))
        await run
    assert await world.balance("internal:transfer_fee", "fee_income") == 0
