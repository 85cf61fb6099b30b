"""Mandates: journalled before the bank is asked, inquired when its answer is lost; and how often its feed is read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kessai.apps.verify import verify
from kessai.foundation.errors import PaymentError, Unknown
from kessai.foundation.ids import new_id
from kessai.services.bank.api import BankAccount, GetBankAccount, ListBankAccounts, OwnerKind, RegisterBankAccount
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.domain import Patience
from kessai.services.bank.subscribers import BankResults
from kessai.simulators.faults import Fault
from tests.bank.world import PATIENCE_S, World, eventually, registration

LOST: dict[str, Fault] = {
    "never arrived": Fault(verb="agree", effect=False, reply="drop"),
    "answer lost": Fault(verb="agree", reply="drop"),
    "garbage": Fault(verb="agree", reply="garbage"),
    "5xx after": Fault(verb="agree", reply="fail", status=500),
    "refused and lost": Fault(verb="agree", refuse="debits_forbidden", reply="drop"),
}
SILENT = Fault(verb="agree", effect=False, reply="drop", times=0)
SOON = Patience(answer_s=0.2)


async def _code(work: Any) -> str:
    with pytest.raises(PaymentError) as caught:
        await work
    return caught.value.code


async def _listed(world: World) -> list[BankAccount]:
    request = ListBankAccounts(owner_kind=OwnerKind.CUSTOMER, owner_id="cus:1", include_removed=True)
    return (await world.bank.list_accounts(request)).accounts


def _asked(world: World, account_id: str) -> list[str]:
    return [each.verb for each in world.simulator.requests if each.id == account_id]


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_about_a_mandate_is_inquired(world: World, fault: str) -> None:
    world.simulator.faults.program(LOST[fault])
    request = registration(account_id=new_id("bac"))
    account = await world.bank.register_account(request)
    verbs = _asked(world, account.account_id)
    assert verbs[:3] == ["check", "agree", "inquire_mandate"]
    assert verbs.count("agree") == (1 if fault in ("answer lost", "garbage", "5xx after") else 2)
    debit = await world.until(await world.debit(account), S.DONE, S.FAILED)
    assert debit.state is S.DONE
    assert await verify(world.database.dsn) == []


async def _registering(world: World, request: RegisterBankAccount) -> Any:
    service = world.another_process(patience=SOON)
    await service.open()
    with pytest.raises(Unknown, match="mandate_outcome_unknown"):
        await service.register_account(request)
    return service


async def test_while_a_mandate_is_in_doubt_its_account_is_nobodys(world: World) -> None:
    world.simulator.faults.program(SILENT)
    request = registration(account_id=new_id("bac"))
    service = await _registering(world, request)
    assert request.account_id is not None
    assert (
        await _code(world.bank.get_account(GetBankAccount(account_id=request.account_id))) == "bank_account_not_found"
    )
    assert await _listed(world) == []
    assert (await world.bank.doubt()).mandates == 1
    assert await verify(world.database.dsn) == []
    world.simulator.faults.clear()
    account = await world.bank.register_account(request)
    assert await _listed(world) == [account]
    assert (await world.bank.doubt()).mandates == 0
    await service.close()


async def test_a_mandate_that_a_dead_process_asked_for_is_found_out_by_another(world: World) -> None:
    world.simulator.faults.program(SILENT)
    request = registration(account_id=new_id("bac"))
    service = await _registering(world, request)
    await service.crash()
    world.simulator.faults.clear()
    async with asyncio.timeout(PATIENCE_S):
        while not await _listed(world):
            await asyncio.sleep(0.02)
    assert await verify(world.database.dsn) == []


async def test_a_refused_mandate_stays_refused_under_its_id_and_may_be_asked_for_under_another(world: World) -> None:
    world.simulator.faults.program(Fault(verb="agree", refuse="debits_forbidden"))
    request = registration(account_id=new_id("bac"))
    for _ in range(2):
        assert await _code(world.bank.register_account(request)) == "debits_not_possible"
    assert _asked(world, str(request.account_id)).count("agree") == 1
    assert (await world.account()).debits


async def test_an_idle_feed_is_read_seldom_and_a_new_instruction_at_once(world: World) -> None:
    results = BankResults(world.database, world.bank, Patience(poll_s=0.01, idle_poll_s=3_600))
    await results.open()

    def reads() -> int:
        return sum(each.verb == "results" for each in world.simulator.requests)

    await eventually(lambda: reads() > 0)
    transfer = await world.transfer(await world.account())
    async with asyncio.timeout(PATIENCE_S):
        while (await world.now(transfer)).state is not S.DONE:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    quiet = reads()
    await asyncio.sleep(0.4)
    assert reads() == quiet
    await results.close()
