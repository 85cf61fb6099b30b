"""Every fault of the bank, and crashes of ours: each instruction takes effect once, and both sides' books agree."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_id
from kessai.foundation.outbound import Outbound, Unanswered
from kessai.sdk.workflow.testing import CrashAt
from kessai.services.bank.api import BankAccount, DebitIn, InquireInstruction, Instruction, TransferOut
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.gateways import HttpBank
from kessai.services.bank.workflows import instructing
from kessai.simulators.bank import Fate
from kessai.simulators.faults import PRESETS, Fault
from tests.bank.world import World, eventually

VERBS = ("transfer", "debit")
FAULTS = {**PRESETS, "refuse": Fault(refuse="limit_exceeded")}
FINAL = (S.DONE, S.FAILED, S.RETURNED)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(instructing, "ANSWER_S", 1.0)
    monkeypatch.setattr(instructing, "PAUSE_S", 0.05)
    monkeypatch.setattr(instructing, "PAUSE_S_MAX", 0.2)


async def _instructed(world: World, account: BankAccount, verb: str) -> Instruction:
    return await (world.transfer(account) if verb == "transfer" else world.debit(account))


def _moved(verb: str) -> int:
    return -1_000 if verb == "transfer" else 1_000


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", VERBS)
async def test_whatever_happens_to_the_call_it_takes_effect_once(world: World, verb: str, fault: str) -> None:
    account = await world.account()
    world.simulator.faults.program(replace(FAULTS[fault], verb=verb))
    ended = await world.until(await _instructed(world, account, verb), *FINAL)
    assert ended.state is (S.FAILED if fault == "refuse" else S.DONE)
    amounts = [line.amount for line in world.simulator.books.statement()]
    assert amounts == ([] if fault == "refuse" else [_moved(verb)])
    await world.require_agreement()


@pytest.mark.parametrize("fault", PRESETS)
async def test_whatever_happens_to_the_inquiry_the_lost_reply_is_found_out(world: World, fault: str) -> None:
    account = await world.account()
    world.simulator.faults.program(replace(PRESETS["drop_after"], verb="transfer"))
    world.simulator.faults.program(replace(PRESETS[fault], verb="inquire"))
    await world.until(await world.transfer(account), S.DONE)
    assert [line.amount for line in world.simulator.books.statement()] == [-1_000]
    await world.require_agreement()


@pytest.mark.parametrize("fault", PRESETS)
async def test_whatever_happens_to_the_feed_nothing_is_missed(world: World, fault: str) -> None:
    account = await world.account()
    world.simulator.faults.program(replace(PRESETS[fault], verb="results", times=2))
    for verb in VERBS:
        await world.until(await _instructed(world, account, verb), S.DONE)
    await eventually(lambda: sum(each.verb == "results" for each in world.simulator.requests) > 2)  # both faults met
    await world.require_agreement()


async def test_an_answer_to_another_question_is_no_answer(world: World) -> None:
    account = await world.account()
    for verb in ("inquire", "results", "statement", "transfer", "check"):
        world.simulator.faults.program(replace(PRESETS["twice"], verb=verb, times=3))
    world.simulator.faults.program(Fault(verb="debit", refuse="no_mandate", reply="twice", times=3))
    for _ in range(3):
        failed = await world.until(await world.debit(account), *FINAL)
        done = await world.until(await world.transfer(account), *FINAL)
        assert (failed.state, done.state) == (S.FAILED, S.DONE)
        await world.bank.inquire(InquireInstruction(instruction_id=done.instruction_id))
        with pytest.raises(PaymentError, match="holder_name_mismatch"):
            await world.account(owner_id="cus:2", holder_name="ダレカ")
    await world.require_agreement()


async def test_a_lost_reply_is_inquired_and_not_sent_again(world: World) -> None:
    account = await world.account()
    world.simulator.faults.program(replace(PRESETS["drop_after"], verb="transfer"))
    transfer = await world.transfer(account)
    await eventually(lambda: world.bank.open_workflows == 0)
    assert (await world.now(transfer)).state is S.DONE
    asked = [each.verb for each in world.simulator.requests if each.id == transfer.instruction_id]
    assert asked == ["transfer", "inquire"]


async def test_an_instruction_that_never_arrived_is_sent_again_under_its_id(world: World) -> None:
    account = await world.account()
    world.simulator.faults.program(replace(PRESETS["drop_before"], verb="transfer"))
    transfer = await world.until(await world.transfer(account), S.DONE)
    asked = [each.verb for each in world.simulator.requests if each.id == transfer.instruction_id]
    assert asked == ["transfer", "inquire", "transfer"]


async def test_while_nothing_is_known_the_instruction_says_so(world: World) -> None:
    account = await world.account()
    world.simulator.faults.program(replace(PRESETS["drop_after"], verb="transfer"))
    world.simulator.faults.program(replace(PRESETS["fail_before"], verb="inquire", times=0))
    world.simulator.faults.program(replace(PRESETS["fail_before"], verb="results", times=0))
    transfer = await world.transfer(account)
    await world.until(transfer, S.UNKNOWN)
    world.simulator.faults.clear()
    await world.until(transfer, S.DONE)
    states = await world.states(transfer)
    assert states[:2] == [S.ACCEPTED, S.UNKNOWN]
    await world.require_agreement()


async def test_what_is_instructed_while_the_bank_is_away_goes_out_when_it_is_back(world: World) -> None:
    account = await world.account()
    await world.simulator.go_away()
    made = [await _instructed(world, account, verb) for verb in VERBS for _ in range(3)]
    for each in made:
        assert (await world.now(each)).state is S.ACCEPTED
    await world.simulator.start()
    for each in made:
        await world.until(each, S.DONE)
    assert len(world.simulator.books.orders) == 6
    await world.require_agreement()


async def test_a_result_that_is_faster_than_the_reply_is_not_undone_by_it(world: World) -> None:
    account = await world.account()
    world.simulator.faults.program(Fault(verb="transfer", reply_delay_ms=400))
    transfer = await world.transfer(account)
    await world.until(transfer, S.DONE)
    await eventually(lambda: world.bank.open_workflows == 0)
    assert (await world.states(transfer)) == [S.ACCEPTED, S.DONE]
    assert await world.bank.parked_workflows() == []


async def test_the_repair_asks_about_what_the_feed_never_told(world: World) -> None:
    account = await world.account()
    world.simulator.books.foresee(Fate(after_s=60))
    transfer = await world.until(await world.transfer(account), S.SENT)
    world.pass_days(1)
    assert await world.bank.repair() == 1
    assert (await world.now(transfer)).state is S.DONE
    assert await world.bank.repair() == 0
    await world.require_agreement()


async def test_an_id_that_the_bank_knows_with_other_content_waits_for_an_operator(world: World) -> None:
    account = await world.account()
    (deposit,) = world.simulator.books.deposits.values()
    request = TransferOut(account_id=account.account_id, amount_minor=5, instruction_id=new_id("btr"))
    assert request.instruction_id is not None
    world.simulator.books.take("transfer", request.instruction_id, deposit.account, 6, None)
    await world.bank.transfer(request)
    await eventually(lambda: world.bank.workflows.parked == 1)
    assert [each.workflow_id for each in await world.bank.parked_workflows()] == [request.instruction_id]


# -- crashes ----------------------------------------------------------------------------------------------------


async def _crashed_at(world: World, account: BankAccount, verb: str, crash: CrashAt) -> Instruction | None:
    """Instruct from a process that dies at a boundary; the request is then sent again to another one."""
    doomed = world.another_process(crash=crash)
    await doomed.open()
    instruction_id = new_id("btr" if verb == "transfer" else "bdb")
    out = TransferOut(account_id=account.account_id, amount_minor=1_000, instruction_id=instruction_id)
    back = DebitIn(account_id=account.account_id, amount_minor=1_000, instruction_id=instruction_id)
    try:
        await (doomed.transfer(out) if verb == "transfer" else doomed.debit(back))
        await eventually(lambda: crash.crashed or doomed.open_workflows == 0)
    except PaymentError as error:
        if not error.retryable:
            raise
    await doomed.crash()
    return await (world.bank.transfer(out) if verb == "transfer" else world.bank.debit(back))


@pytest.mark.parametrize("fault", [None, "drop_before", "drop_after", "garbage_after", "refuse"])
@pytest.mark.parametrize("verb", VERBS)
async def test_a_crash_at_every_boundary_comes_to_the_same_end(world: World, verb: str, fault: str | None) -> None:
    account = await world.account()
    amounts: list[int] = []
    for when in ("before", "after"):
        for flush in (1, 2, 3):
            if fault is not None:
                world.simulator.faults.program(replace(FAULTS[fault], verb=verb))
            instruction = await _crashed_at(world, account, verb, CrashAt(flush, when))
            assert instruction is not None
            ended = await world.until(instruction, *FINAL)
            assert ended.state is (S.FAILED if fault == "refuse" else S.DONE)
            world.simulator.faults.clear()
            amounts += [] if fault == "refuse" else [_moved(verb)]
    assert [line.amount for line in world.simulator.books.statement()] == amounts
    await world.require_agreement()


# -- words that we do not know ----------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [{"state": "held_for_review"}, {"number": None}, {"state": 7}])
async def test_an_entry_of_the_feed_that_cannot_be_read_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, entry: dict[str, object]
) -> None:
    account = await world.account()
    strange, plain = await world.transfer(account), await world.transfer(account)
    for each in (strange, plain):
        await world.until(each, S.SENT, S.DONE)
    exchange, speaks_strangely = Outbound._exchange, [True]  # pyright: ignore[reportPrivateUsage]

    async def strangely(self: Outbound, method: str, path: str, *more: Any) -> tuple[int, bytes]:
        status, body = await exchange(self, method, path, *more)
        told: Any = msgspec.json.decode(body)
        if not speaks_strangely[0]:
            return status, body
        if path.startswith("/v1/results"):
            told["entries"] = [
                each | entry if each["id"] == strange.instruction_id else each for each in told["entries"]
            ]
        elif path.endswith(strange.instruction_id):
            told |= entry
        return status, msgspec.json.encode(told)

    monkeypatch.setattr(Outbound, "_exchange", strangely)
    await world.until(plain, S.DONE)
    world.pass_days(1)
    assert await world.bank.repair() == 0
    assert (await world.now(strange)).state in (S.SENT, S.DONE)
    speaks_strangely[0] = False
    await world.bank.repair()
    assert (await world.now(strange)).state is S.DONE
    assert await world.database.fetch(None, "SELECT 1 FROM bank.unread_result") == []
    await world.require_agreement()


async def test_one_instruction_whose_inquiry_fails_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await world.account()
    made = [await world.transfer(account) for _ in range(3)]
    for each in made:
        await world.until(each, S.SENT, S.DONE)
    inquire = HttpBank.inquire

    async def fail_for_the_first(self: HttpBank, kind: Any, instruction_id: str) -> Any:
        if instruction_id == made[0].instruction_id:
            raise Unanswered("answer_unreadable", "What is that?")
        return await inquire(self, kind, instruction_id)

    monkeypatch.setattr(HttpBank, "inquire", fail_for_the_first)
    world.pass_days(1)
    await world.bank.repair()
    assert [(await world.now(each)).state for each in made[1:]] == [S.DONE, S.DONE]


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("status", [408, 425, 429, 403, 404])
async def test_an_answer_by_somebody_between_says_nothing_of_what_the_bank_did(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int, *, arrives: bool
) -> None:
    account, left = await world.account(), [2]
    exchange = Outbound._exchange  # pyright: ignore[reportPrivateUsage]

    async def answered_by_another(self: Outbound, method: str, path: str, *more: Any) -> tuple[int, bytes]:
        if method != "PUT" or "/transfers/" not in path or not left[0]:
            return await exchange(self, method, path, *more)
        left[0] -= 1
        if arrives:
            await exchange(self, method, path, *more)
        return status, b"<html>no</html>"

    monkeypatch.setattr(Outbound, "_exchange", answered_by_another)
    await world.until(await world.transfer(account), S.DONE)
    assert [line.amount for line in world.simulator.books.statement()] == [-1_000]
    await world.require_agreement()
