"""Killed at each boundary of its journal, or told nothing by the payment service: no yen is moved twice or left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date
from typing import Any

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.sdk.jobs import JobOrder
from kessai.sdk.workflow.testing import CrashAt
from kessai.services.bank.api import InstructionState
from kessai.services.ledger.api import Freeze, FreezeAccount, OpenAccount
from kessai.services.merchant.api import Bearer
from kessai.services.settlement.api.payouts import PayoutStanding
from kessai.services.settlement.workflows.clear import clear_cycles
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.payout import pay_cycles
from tests.settlement.cycle_world import World, opened

OCTOBER_END, FIRST_DAY = date(2025, 10, 31), date(2025, 11, 26)
MERCHANTS = ("mer:a", "mer:b", "mer:c")


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


async def october(world: World) -> None:
    """Two merchants that sold and one that owes, with a parent whose shop is negative."""
    for merchant in MERCHANTS:
        world.agree(merchant, transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await world.sell(date(2025, 10, 3), "mer:a", 5_000)
    await world.sell(date(2025, 10, 3), "mer:b", 9_000)
    await world.sell(date(2025, 10, 4), "mer:b/shop", -1_000, payee="mer:b")
    await world.sell(date(2025, 10, 4), "mer:c", -2_000)
    await world.close(OCTOBER_END)


class Line:
    """The line to the payment service: it is cut before a call arrives, or after it took effect."""

    def __init__(self, payments: Any, verb: str, *, before: int = 0, after: int = 0) -> None:
        self._payments, self._verb, self._before, self._after = payments, verb, before, after

    def __getattr__(self, verb: str) -> Any:
        async def call(request: Any) -> Any:
            if verb == self._verb and self._before > 0:
                self._before -= 1
                raise Unavailable("payment_unavailable", "The payment service cannot be reached.")
            answer = await getattr(self._payments, verb)(request)
            if verb == self._verb and self._after > 0:
                self._after -= 1
                raise Unknown("answer_lost", "The answer was lost.")
            return answer

        return call


class Stumbling:
    """The database, of which one answer is lost: what was asked was done."""

    def __init__(self, database: Database, at: int) -> None:
        self._database, self._left = database, at

    async def transaction(self, *asked: Any, **options: Any) -> Any:
        """As the database's, but for one."""
        answer = await self._database.transaction(*asked, **options)
        self._left -= 1
        if self._left == 0:
            raise Unavailable("contention", "The answer was lost.")
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


async def freeze(world: World, wanted: Freeze) -> None:
    """Freeze what mer:c owes, or let it go."""
    account = await world.ledger.open_account(OpenAccount(owner="mer:c", account_type="settled_claims"))
    await world.ledger.freeze_account(FreezeAccount(account_id=account.account_id, freeze=wanted))


async def require_settled(world: World) -> None:
    """October is settled, and paid or claimed, each yen once."""
    await world.bank_says(InstructionState.DONE)
    paid = {each.payee_id: (each.state, each.amount_minor) for each in await world.payouts()}
    assert paid == {
        "mer:a": (PayoutStanding.PAID, 4_750),
        "mer:b": (PayoutStanding.PAID, 7_750),
        "mer:c": (PayoutStanding.NOTHING, 0),
    }
    assert await world.balance("internal:transfer_fee", "fee_income") == 500
    assert len(world.bank.books) == 2
    await world.require_every_yen([*MERCHANTS, "mer:b/shop"], MERCHANTS)


@pytest.mark.parametrize("job", [make_cycles, clear_cycles, pay_cycles], ids=lambda job: job.name)
@pytest.mark.parametrize("flush", range(1, 3))
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_job_killed_at_a_boundary_is_gone_on_with(world: World, job: Any, flush: int, when: Any) -> None:
    await october(world)
    days = {make_cycles: OCTOBER_END, clear_cycles: OCTOBER_END, pay_cycles: FIRST_DAY}
    dying = world.another_engine(hook=CrashAt(flush, when), lease_s=0.4)
    await dying.open()
    for each, day in days.items():
        if each is job:
            order = JobOrder(name=job.name, day=day)
            await start_and_die(dying, job, order)
            handle = await world.engine.start(job, order, workflow_id=f"{job.name}:{day}#1", content="")
            await handle.result()
        else:
            await world.run(each, day)
    await require_settled(world)


async def start_and_die(dying: Any, job: Any, order: JobOrder) -> None:
    """Begin a run in a process that dies at its boundary, or ends before it comes to that."""
    with suppress(PaymentError):
        handle = await dying.start(job, order, workflow_id=f"{job.name}:{order.day}#1", content="")
        await handle.result()
    await dying.crash()


@pytest.mark.parametrize("verb", ["move_merchants", "pay_out"])
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_id(world: World, verb: str, cut: str) -> None:
    await october(world)
    deps = world.engine.deps
    line: Any = Line(world.payments, verb, **{cut: 2})
    deps.payment = line
    await world.run(make_cycles, OCTOBER_END)
    await world.run(clear_cycles, OCTOBER_END)
    await world.run(pay_cycles, FIRST_DAY)
    deps.payment = world.payments
    await world.run(pay_cycles, FIRST_DAY)
    await require_settled(world)


@pytest.mark.parametrize("at", range(1, 14))
async def test_what_was_written_before_an_activity_was_cut_off_is_not_written_twice(world: World, at: int) -> None:
    await october(world)
    stumbling: Any = Stumbling(world.database, at)
    world.engine.deps.database = stumbling
    for job, day in ((make_cycles, OCTOBER_END), (clear_cycles, OCTOBER_END), (pay_cycles, FIRST_DAY)):
        await world.run(job, day)
    world.engine.deps.database = world.database
    await require_settled(world)


async def test_what_is_refused_leaves_its_payout_made_and_is_asked_anew_by_the_next_run(world: World) -> None:
    await october(world)
    await world.run(make_cycles, OCTOBER_END)
    await freeze(world, Freeze.BOTH)
    done = await world.run(clear_cycles, OCTOBER_END)
    assert done.note == "2 payouts, 14000 yen cleared; 1 left, see their reasons"
    (payout,) = await world.payouts("mer:c")
    assert (payout.state, payout.reason) == (PayoutStanding.MADE, "shortfall_refused:account_frozen")
    await freeze(world, Freeze.NONE)
    assert (await world.run(clear_cycles, OCTOBER_END)).done == 1
    await world.run(pay_cycles, FIRST_DAY)
    await require_settled(world)
