"""What was not journalled never will be once it is aborted; what was journalled answers without reading anything."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import KeyReused, PaymentError, Unavailable
from kessai.foundation.ids import new_id
from kessai.services.bank.api import AbortInstruction, BankAccount, DebitIn, FailureCode, TransferOut
from kessai.services.bank.api import InstructionState as S
from tests.bank.world import World


def _transfer(account: BankAccount) -> TransferOut:
    return TransferOut(account_id=account.account_id, amount_minor=1_000, instruction_id=new_id("btr"), reference="r")


def _abort(request: TransferOut | DebitIn) -> AbortInstruction:
    return AbortInstruction(
        instruction_id=str(request.instruction_id),
        account_id=request.account_id,
        amount_minor=request.amount_minor,
        reference=request.reference,
    )


async def test_what_is_aborted_before_it_comes_never_reaches_the_bank(world: World) -> None:
    request = _transfer(await world.account())
    aborted = await world.bank.abort(_abort(request))
    assert (aborted.state, aborted.failure_code) == (S.FAILED, FailureCode.ABORTED)
    assert await world.bank.abort(_abort(request)) == aborted
    assert await world.bank.transfer(request) == aborted
    assert await world.states(aborted) == [S.ACCEPTED, S.FAILED]
    assert world.simulator.books.orders == {}
    assert [each.topic for each in await world.events()] == ["bank.transfer"]
    await world.require_agreement()


async def test_what_is_aborted_after_it_came_is_done_all_the_same(world: World) -> None:
    account = await world.account()
    debit = DebitIn(account_id=account.account_id, amount_minor=1_000, instruction_id=new_id("bdb"))
    made = await world.bank.debit(debit)
    assert (await world.bank.abort(_abort(debit))).failure_code is None
    await world.until(made, S.DONE)
    await world.require_agreement()


async def test_an_abort_of_other_content_is_refused(world: World) -> None:
    request = _transfer(await world.account())
    await world.bank.transfer(request)
    with pytest.raises(KeyReused):
        await world.bank.abort(_abort(TransferOut(
            account_id=request.account_id, amount_minor=2, instruction_id=request.instruction_id
        )))  # fmt: skip


@pytest.mark.parametrize("round_", range(8))
async def test_an_abort_that_meets_its_instruction_ends_one_way_for_both(world: World, round_: int) -> None:
    request, other = _transfer(await world.account()), world.another_process()
    await other.open()

    async def abort() -> Any:
        await asyncio.sleep(round_ * 0.002)
        return await other.abort(_abort(request))

    made, aborted = await asyncio.gather(world.bank.transfer(request), abort())
    assert (made.failure_code is None) is (aborted.failure_code is None)
    ended = await world.until(made, S.DONE, S.FAILED)
    assert (ended.state is S.DONE) is (aborted.failure_code is None)
    assert len(world.simulator.books.orders) == (ended.state is S.DONE)
    await other.close(grace_s=0.1)
    await world.require_agreement()


@pytest.mark.parametrize("transactions", range(8))
async def test_an_instruction_that_was_journalled_is_never_told_as_not_done(
    world: World, monkeypatch: pytest.MonkeyPatch, transactions: int
) -> None:
    """The database is away for half a second after so many of the service's transactions, wherever they are made."""
    request, left = _transfer(await world.account()), [transactions]
    away_until, real = [0.0], Database.transaction

    async def transaction(self: Database, role: Any, work: Any, **more: Any) -> Any:
        if role != role_of("bank"):
            return await real(self, role, work, **more)
        if left[0] == 0:
            away_until[0] = time.monotonic() + 0.5
        left[0] -= 1
        if time.monotonic() < away_until[0]:
            raise Unavailable("database_unavailable", "The database cannot be reached just now.")
        return await real(self, role, work, **more)

    monkeypatch.setattr(Database, "transaction", transaction)
    told = ""
    try:
        await world.bank.transfer(request)
    except PaymentError as error:
        told = error.code
    journalled = await world.database.fetch(None, "SELECT 1 FROM bank.instruction")
    assert told == ("" if journalled else "database_unavailable")


async def test_a_start_that_another_process_won_leaves_nothing_untold(world: World) -> None:
    request, other = _transfer(await world.account()), world.another_process()
    await other.open()
    made = await asyncio.gather(world.bank.transfer(request), other.transfer(request))
    await world.until(made[0], S.DONE)
    for each in (world.bank, other):
        assert each._deps.untold == set()  # pyright: ignore[reportPrivateUsage]
    await other.close(grace_s=0.1)
    await world.require_agreement()
