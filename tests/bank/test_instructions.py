"""Transfers and debits: journalled, told to the bank once, and heard of until their end."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import role_of
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_id
from kessai.services.bank.api import (
    TOPIC_DEBIT,
    TOPIC_TRANSFER,
    DebitIn,
    FailureCode,
    GetInstruction,
    InquireInstruction,
    InstructionChanged,
    InstructionKind,
    ListInstructions,
    OwnerKind,
    RemoveBankAccount,
    TransferOut,
)
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.domain import Difference, Patience, Side
from kessai.services.bank.subscribers import BankResults
from kessai.simulators.bank import Fate
from kessai.simulators.faults import Fault
from tests.bank.world import World, eventually


async def _code(work: Any) -> str:
    with pytest.raises(PaymentError) as caught:
        await work
    return caught.value.code


async def test_a_transfer_is_accepted_at_once_and_done_later(world: World) -> None:
    account = await world.account()
    accepted = await world.transfer(account, 30_000)
    assert accepted.state in (S.ACCEPTED, S.SENT)
    done = await world.until(accepted, S.DONE)
    assert done.bank_reference is not None
    (deposit,) = world.simulator.books.deposits.values()
    assert deposit.balance == 1_030_000
    assert (await world.states(accepted))[0] is S.ACCEPTED
    await world.require_agreement()


async def test_a_debit_brings_money_in(world: World) -> None:
    account = await world.account()
    await world.until(await world.debit(account, 400_000), S.DONE)
    (deposit,) = world.simulator.books.deposits.values()
    assert deposit.balance == 600_000
    await world.require_agreement()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("9000003", FailureCode.INSUFFICIENT_FUNDS),
        ("9000004", FailureCode.STOPPED_BY_HOLDER),
        ("9000005", FailureCode.NO_MANDATE),
        ("9000007", FailureCode.ACCOUNT_CLOSED),
        ("9000008", FailureCode.OTHER),
    ],
)
async def test_a_debit_that_fails_says_why_and_moves_nothing(world: World, number: str, code: FailureCode) -> None:
    failed = await world.until(await world.debit(await world.account(account_number=number)), S.FAILED)
    assert failed.failure_code is code
    assert world.simulator.books.statement() == []
    await world.require_agreement()


async def test_a_debit_above_the_holders_balance_fails(world: World) -> None:
    failed = await world.until(await world.debit(await world.account(), 1_000_001), S.FAILED)
    assert failed.failure_code is FailureCode.INSUFFICIENT_FUNDS
    await world.require_agreement()


async def test_a_transfer_to_an_account_closed_since_fails_and_the_money_is_back(world: World) -> None:
    account = await world.account()
    (deposit,) = world.simulator.books.deposits.values()
    world.simulator.books.close_account(deposit.account)
    failed = await world.until(await world.transfer(account), S.FAILED)
    assert failed.failure_code is FailureCode.ACCOUNT_CLOSED
    assert [line.amount for line in world.simulator.books.statement()] == [-1_000, 1_000]
    await world.require_agreement()


async def test_an_instruction_that_the_bank_refuses_at_once_failed(world: World) -> None:
    world.simulator.faults.program(Fault(verb="transfer", refuse="limit_exceeded"))
    failed = await world.until(await world.transfer(await world.account()), S.FAILED)
    assert failed.failure_code is FailureCode.LIMIT_EXCEEDED
    await world.require_agreement()


async def test_a_transfer_done_comes_back_days_later(world: World) -> None:
    account = await world.account(account_number="9000006")
    done = await world.until(await world.transfer(account), S.DONE)
    world.pass_days(2.9)
    await world.listen()
    assert (await world.now(done)).state is S.DONE
    world.pass_days(0.2)
    await world.listen()
    returned = await world.now(done)
    assert (returned.state, returned.failure_code) == (S.RETURNED, FailureCode.ACCOUNT_CLOSED)
    assert [line.words for line in world.simulator.books.statement()] == ["transfer", "returned transfer"]
    await world.require_agreement()


async def test_a_transfer_waits_at_the_bank_until_its_time(world: World) -> None:
    account = await world.account()
    world.simulator.books.foresee(Fate(after_s=3600))
    sent = await world.until(await world.transfer(account), S.SENT)
    await world.listen()
    assert (await world.now(sent)).state is S.SENT
    await world.require_agreement()
    world.pass_days(0.1)
    await world.until(sent, S.DONE)


# -- idempotency and refusals -----------------------------------------------------------------------------------


async def test_a_repeated_instruction_is_the_same_one(world: World) -> None:
    account = await world.account()
    request = TransferOut(account_id=account.account_id, amount_minor=500, instruction_id=new_id("btr"))
    answers = await asyncio.gather(*(world.bank.transfer(request) for _ in range(8)))
    assert len({each.instruction_id for each in answers}) == 1
    done = await world.until(answers[0], S.DONE)
    assert await world.bank.transfer(request) == done
    assert [line.amount for line in world.simulator.books.statement()] == [-500]


async def test_the_same_id_with_other_content_is_refused(world: World) -> None:
    account = await world.account()
    first = await world.transfer(account, 500)
    other = TransferOut(account_id=account.account_id, amount_minor=501, instruction_id=first.instruction_id)
    assert await _code(world.bank.transfer(other)) == "idempotency_key_reused"


async def test_without_an_id_the_idempotency_key_makes_it(world: World) -> None:
    request = DebitIn(account_id=(await world.account()).account_id, amount_minor=500)
    token = enter_call(Call(request_key="a" * 32, processing_id="prc_1"))
    first, second = await world.bank.debit(request), await world.bank.debit(request)
    leave_call(token)
    assert first.instruction_id == second.instruction_id
    assert second.processing_id == "prc_1"


async def test_a_transfer_and_a_debit_of_the_same_digits_are_two_instructions(world: World) -> None:
    account = (await world.account()).account_id
    digits = new_id("btr")[4:]
    out = await world.bank.transfer(TransferOut(account_id=account, amount_minor=1, instruction_id=f"btr_{digits}"))
    back = await world.bank.debit(DebitIn(account_id=account, amount_minor=2, instruction_id=f"bdb_{digits}"))
    assert (await world.until(out, S.DONE)).amount_minor == 1
    assert (await world.until(back, S.DONE)).amount_minor == 2
    await world.require_agreement()


async def test_a_removed_account_takes_no_new_instruction_but_repeats_old_ones(world: World) -> None:
    account = await world.account()
    request = TransferOut(account_id=account.account_id, amount_minor=500, instruction_id=new_id("btr"))
    first = await world.bank.transfer(request)
    await world.bank.remove_account(RemoveBankAccount(account_id=account.account_id))
    assert (await world.bank.transfer(request)).instruction_id == first.instruction_id
    assert await _code(world.transfer(account)) == "bank_account_removed"
    await world.until(first, S.DONE)


async def test_an_account_of_another_owner_is_not_found(world: World) -> None:
    account = (await world.account()).account_id
    request = TransferOut(account_id=account, amount_minor=1, owner_id="cus:2")
    assert await _code(world.bank.transfer(request)) == "bank_account_not_found"
    mine = TransferOut(account_id=account, amount_minor=1, owner_id="cus:1")
    await world.until(await world.bank.transfer(mine), S.DONE)


async def test_an_account_without_a_mandate_is_not_debited(world: World) -> None:
    account = await world.account(debits=False)
    assert await _code(world.debit(account)) == "debits_not_agreed"
    await world.until(await world.transfer(account), S.DONE)


async def test_an_unknown_account_or_instruction_is_not_found(world: World) -> None:
    request = TransferOut(account_id="bac_" + "0" * 32, amount_minor=1, instruction_id=new_id("btr"))
    assert await _code(world.bank.transfer(request)) == "bank_account_not_found"
    missing = "btr_" + "0" * 32
    assert await _code(world.bank.get_instruction(GetInstruction(instruction_id=missing))) == "instruction_not_found"
    assert await _code(world.bank.inquire(InquireInstruction(instruction_id=missing))) == "instruction_not_found"


# -- what is read, and what is heard ----------------------------------------------------------------------------


async def test_instructions_are_listed_newest_first_page_by_page(world: World) -> None:
    account = await world.account()
    made = [(await world.transfer(account, amount)).instruction_id for amount in (1, 2, 3)]
    debit = await world.debit(account)

    async def ids(kind: InstructionKind | None) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            request = ListInstructions(
                owner_kind=OwnerKind.CUSTOMER, owner_id="cus:1", kind=kind, limit=2, cursor=cursor
            )
            page = await world.bank.list_instructions(request)
            found += [each.instruction_id for each in page.instructions]
            cursor = page.next_cursor
            if cursor is None:
                return found

    assert await ids(None) == [debit.instruction_id, *made[::-1]]
    assert await ids(InstructionKind.TRANSFER) == made[::-1]
    bad = ListInstructions(owner_kind=OwnerKind.CUSTOMER, owner_id="cus:1", cursor="made-up")
    assert await _code(world.bank.list_instructions(bad)) == "bad_cursor"


async def test_every_step_is_published_once_in_the_topic_of_its_kind(world: World) -> None:
    account = await world.account()
    transfer = await world.until(await world.transfer(account), S.DONE)
    debit = await world.until(await world.debit(account, 2_000_000), S.FAILED)
    events = [(event.topic, event.decode(InstructionChanged)) for event in await world.events()]
    for topic, instruction in ((TOPIC_TRANSFER, transfer), (TOPIC_DEBIT, debit)):
        mine = [each for name, each in events if name == topic]
        assert {each.instruction_id for each in mine} == {instruction.instruction_id}
        assert [each.version for each in mine] == list(range(1, instruction.version + 1))
        assert [S.ACCEPTED, *(each.state for each in mine)] == await world.states(instruction)
        assert (mine[-1].failure_code, mine[-1].amount_minor) == (instruction.failure_code, instruction.amount_minor)


async def test_a_result_told_twice_takes_effect_once(world: World) -> None:
    done = await world.until(await world.transfer(await world.account()), S.DONE)
    for _ in range(3):
        world.simulator.books.say_again(done.instruction_id)
    assert await world.bank.collect() == 3
    assert await world.now(done) == done
    await world.require_agreement()


async def test_two_processes_that_read_the_feed_at_once_hear_everything_once(world: World) -> None:
    account = await world.account()
    made = [await world.transfer(account, amount) for amount in range(1, 21)]
    await eventually(lambda: len(world.simulator.books.orders) == 20)
    other = world.another_process()
    await asyncio.gather(*(process.collect() for process in (world.bank, other) for _ in range(3)))
    for each in made:
        await world.until(each, S.DONE)
    events = [event.decode(InstructionChanged).event_id for event in await world.events()]
    assert len(events) == len(set(events))
    await world.require_agreement()
    await other.close()


async def test_the_feed_is_read_by_itself(world: World) -> None:
    results = BankResults(world.database, world.bank, Patience(poll_s=0.02))
    await results.open()
    transfer = await world.transfer(await world.account())
    async with asyncio.timeout(20):
        while (await world.now(transfer)).state is not S.DONE:
            await asyncio.sleep(0.02)
    await results.close()
    assert (await world.now(transfer)).state is S.DONE


async def test_inquiring_tells_what_the_feed_has_not_told_yet(world: World) -> None:
    account = await world.account()
    transfer = await world.transfer(account)
    await eventually(lambda: len(world.simulator.books.orders) == 1)
    found = await world.bank.inquire(InquireInstruction(instruction_id=transfer.instruction_id))
    assert found.state is S.DONE
    await world.require_agreement()


async def test_while_the_bank_is_away_inquiring_says_so(world: World) -> None:
    done = await world.until(await world.transfer(await world.account()), S.DONE)
    world.simulator.faults.down = True
    request = InquireInstruction(instruction_id=done.instruction_id)
    assert await _code(world.bank.inquire(request)) == "bank_unavailable"


# -- reconciliation ---------------------------------------------------------------------------------------------


async def test_what_the_bank_did_on_its_own_is_found(world: World) -> None:
    account = await world.account()
    done = await world.until(await world.transfer(account, 700), S.DONE)
    (deposit,) = world.simulator.books.deposits.values()
    stray = new_id("btr")
    world.simulator.books.take("transfer", stray, deposit.account, 99, None)
    assert await world.bank.reconcile() == [Difference(stray, Side.THEIRS, 0, -99)]
    await world.database.fetch(None, "UPDATE bank.instruction SET amount_minor = 701")
    assert Difference(done.instruction_id, Side.BOTH, -701, -700) in await world.bank.reconcile()


async def test_a_long_statement_is_read_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kessai.services.bank.gateways.http.STATEMENT_AT_ONCE", 3)
    monkeypatch.setattr("kessai.services.bank.service.verbs.PAGE", 3)
    account = await world.account()
    made = [await world.transfer(account, amount) for amount in range(1, 11)]
    for each in made:
        await world.until(each, S.DONE)
    world.simulator.requests.clear()
    await world.require_agreement()
    assert sum(each.verb == "statement" for each in world.simulator.requests) >= 4


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bank.instruction SET amount_minor = 1",
        "DELETE FROM bank.instruction",
        "UPDATE bank.instruction_step SET state = 'DONE'",
        "UPDATE bank.account SET owner_id = 'x'",
    ],
)
async def test_the_service_may_do_no_more_than_it_needs(world: World, statement: str) -> None:
    pool = await world.database.pool(role_of("bank"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)
