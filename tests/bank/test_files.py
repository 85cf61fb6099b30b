"""Instructions of a day: into a file, approved by two persons, sent once, and heard of line by line."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import date
from typing import Any

import pytest

from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_id
from kessai.sdk import zengin
from kessai.sdk.jobs import RunState
from kessai.sdk.processing.api import ListEffects
from kessai.services.bank.api import (
    FailureCode,
    GetInstruction,
    InstructionChanged,
    ListUnmatched,
    RecallInstruction,
    RejectFile,
    TransferOut,
)
from kessai.services.bank.api import FileState as F
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.api import LineState as L
from kessai.services.bank.effects import PARTNER
from kessai.simulators.bank import FileFate, LineFate
from tests.bank.filing import FRIDAY, MONDAY, NEXT_MONDAY, PERSONS, THURSDAY, TUESDAY, WEDNESDAY, FilesWorld


async def _code(work: Any) -> str:
    with pytest.raises(PaymentError) as caught:
        await work
    return caught.value.code


async def test_an_instruction_of_a_day_goes_with_its_file_to_its_end(filing: FilesWorld) -> None:
    account = await filing.world.account()
    waiting = await filing.transfer(account, 30_000)
    assert (waiting.state, waiting.transfer_on, waiting.file_id) == (S.ACCEPTED, TUESDAY, None)
    file = await filing.send()
    assert (file.lines, file.total_minor, file.approved) == (1, 30_000, 2)
    await filing.hear(MONDAY, "15:10")
    assert (await filing.world.now(waiting)).state is S.SENT
    await filing.hear(TUESDAY)
    done = await filing.world.now(waiting)
    assert (done.state, done.bank_reference) == (S.DONE, f"{file.file_id}-000001")
    told = [each.decode(InstructionChanged) for each in await filing.world.events()]
    assert [(each.state, each.booked_on) for each in told] == [(S.SENT, None), (S.DONE, TUESDAY)]
    (line,) = await filing.lines(file.file_id)
    assert (line.state, line.booked_on) == (L.DONE, TUESDAY)
    closed = await filing.file(file.file_id)
    assert [each.state for each in closed.steps] == [
        F.MADE,
        F.MADE,
        F.APPROVED,
        F.SENDING,
        F.SENT,
        F.ACCEPTED,
        F.CLOSED,
    ]
    await filing.world.require_agreement()


async def test_the_bank_gets_the_very_bytes_that_were_approved(filing: FilesWorld) -> None:
    account = await filing.world.account()
    made = [await filing.transfer(account, amount) for amount in (100, 2_000, 30_000)]
    file = await filing.send()
    filed = filing.simulator.books.files.find(file.file_id)
    assert filed.sha256 == file.content_sha256
    assert filed.said is not None
    header, lines = filed.said.header, filed.said.lines
    assert (header.day, header.client_code, header.bank_name) == (TUESDAY, "0000012345", "ﾐｽﾞﾎ")
    assert [each.amount for each in lines] == [
        each.amount_minor for each in sorted(made, key=lambda i: i.instruction_id)
    ]
    assert {each.name for each in lines} == {"ﾔﾏﾀﾞ ﾀﾛｳ"}
    content = zengin.write(header, lines)
    assert hashlib.sha256(content).hexdigest() == file.content_sha256


async def test_nothing_of_a_file_lies_in_the_clear(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    await filing.send()
    rows = await filing.world.database.fetch(None, "SELECT content_sealed FROM bank.transfer_file")
    assert "ﾔﾏﾀﾞ".encode("cp932") not in rows[0]["content_sealed"]
    assert b"1234567" not in rows[0]["content_sealed"]


async def test_a_debit_file_comes_back_with_a_result_in_each_line(filing: FilesWorld) -> None:
    account = await filing.world.account()
    poor = await filing.world.account(account_number="9000003", owner_id="cus:2")
    paid, unpaid = await filing.debit(account, 5_000), await filing.debit(poor, 7_000)
    file = await filing.send()
    await filing.hear(THURSDAY)
    assert (await filing.world.now(paid)).state is S.DONE
    failed = await filing.world.now(unpaid)
    assert (failed.state, failed.failure_code) == (S.FAILED, FailureCode.INSUFFICIENT_FUNDS)
    file = await filing.file(file.file_id)
    assert (file.paid_lines, file.paid_minor, file.unpaid_lines, file.unpaid_minor) == (1, 5_000, 1, 7_000)
    assert file.state is F.CLOSED
    await filing.world.require_agreement()


# -- days and hours ---------------------------------------------------------------------------------------------


async def test_a_day_on_which_banks_are_closed_is_refused(filing: FilesWorld) -> None:
    account = await filing.world.account()
    for day in (date(2030, 4, 13), date(2030, 4, 29), date(2030, 12, 31)):
        assert await _code(filing.transfer(account, on=day)) == "not_a_business_day"


async def test_after_the_cut_off_an_instruction_goes_with_the_next_business_day(filing: FilesWorld) -> None:
    account = await filing.world.account()
    filing.be(MONDAY, "15:00")
    assert (await filing.transfer(account)).transfer_on == TUESDAY
    filing.be(MONDAY, "15:01")
    late = await filing.transfer(account)
    assert (late.transfer_on, late.asked_on) == (WEDNESDAY, TUESDAY)
    filing.be(THURSDAY, "15:01")
    assert (await filing.transfer(account, on=FRIDAY)).transfer_on == NEXT_MONDAY
    assert (await filing.debit(account, on=FRIDAY)).transfer_on == date(2030, 4, 17)


async def test_the_run_of_a_day_makes_the_files_that_are_cut_off_on_it_and_no_others(filing: FilesWorld) -> None:
    account = await filing.world.account()
    await filing.transfer(account, on=WEDNESDAY)
    filing.be(MONDAY, "15:05")
    assert (await filing.run("bank.send", MONDAY)).done == 0
    filing.be(TUESDAY, "14:59")
    assert (await filing.run("bank.send", TUESDAY)).done == 0
    filing.be(TUESDAY, "15:05")
    assert (await filing.run("bank.send", TUESDAY, dry_run=True)).done == 1
    assert await filing.files() == []
    assert (await filing.run("bank.send", TUESDAY)).done == 1
    assert (await filing.run("bank.send", TUESDAY)).done == 0
    assert len(await filing.files()) == 1


async def test_what_a_missed_run_left_goes_with_the_next_one(filing: FilesWorld) -> None:
    missed = await filing.transfer(await filing.world.account())
    file = await filing.send(TUESDAY)
    assert (file.transfer_on, (await filing.world.now(missed)).transfer_on) == (WEDNESDAY, WEDNESDAY)


async def test_the_same_id_with_another_day_is_another_content(filing: FilesWorld) -> None:
    account = await filing.world.account()
    request = TransferOut(
        account_id=account.account_id, amount_minor=5, instruction_id=new_id("btr"), transfer_on=TUESDAY
    )
    made = await filing.bank.transfer(request)
    assert await filing.bank.transfer(request) == made
    other = TransferOut(account_id=account.account_id, amount_minor=5, instruction_id=request.instruction_id)
    assert await _code(filing.bank.transfer(other)) == "idempotency_key_reused"


async def test_an_instruction_that_comes_many_times_at_once_is_one(filing: FilesWorld) -> None:
    account = await filing.world.account()
    request = TransferOut(
        account_id=account.account_id, amount_minor=5, instruction_id=new_id("btr"), transfer_on=TUESDAY
    )
    told = await asyncio.gather(*(filing.bank.transfer(request) for _ in range(8)))
    assert {each.instruction_id for each in told} == {request.instruction_id}
    assert (await filing.send()).lines == 1


# -- approvals --------------------------------------------------------------------------------------------------


async def test_two_different_persons_must_approve(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    assert await _code(filing.approve(file, by="payment")) == "approver_not_a_key"
    assert await _code(filing.approve(file, by="key_sato", sha256="0" * 64)) == "other_file_content"
    for _ in range(2):  # the same person twice is one person
        file = await filing.approve(file, by="key_sato")
        assert (file.state, file.approved) == (F.MADE, 1)
    file = await filing.approve(file, by="key_suzuki")
    assert file.approved == 2
    assert [each.approver for each in file.approvals] == list(PERSONS)
    await filing.until(file, F.SENT)
    assert await _code(filing.approve(file, by="key_tanaka")) == "file_not_approvable"
    assert filing.asked("file") == ["file"]


async def test_two_who_approve_at_the_same_moment_are_both_counted(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    await asyncio.gather(*(filing.approve(file, by=f"key_{n}") for n in range(2)))
    assert (await filing.until(file, F.SENT)).approved == 2


async def test_a_rejected_file_is_never_sent_and_its_instructions_go_with_the_next(filing: FilesWorld) -> None:
    waiting = await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    await filing.approve(file, by="key_sato")
    for _ in range(2):
        rejected = await filing.bank.reject_file(RejectFile(file_id=file.file_id))
        assert rejected.state is F.DISCARDED
    assert await _code(filing.approve(file, by="key_suzuki")) == "file_not_approvable"
    again = await filing.send(TUESDAY)
    assert again.file_id != file.file_id
    now = await filing.world.now(waiting)
    assert (now.file_id, now.transfer_on, now.attempts) == (again.file_id, WEDNESDAY, 1)
    assert await _code(filing.bank.reject_file(RejectFile(file_id=again.file_id))) == "file_not_rejectable"
    assert [each.state for each in await filing.lines(file.file_id)] == [L.DISCARDED]


async def test_a_file_that_nobody_approved_in_time_gives_way_to_the_next_one(filing: FilesWorld) -> None:
    waiting = await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (stale,) = await filing.files()
    file = await filing.send(TUESDAY)
    assert (await filing.file(stale.file_id)).state is F.DISCARDED
    assert (await filing.world.now(waiting)).file_id == file.file_id
    await filing.hear(WEDNESDAY)
    assert [line.amount for line in filing.simulator.books.statement()] == [-1_000]


# -- what the bank does not take --------------------------------------------------------------------------------


async def test_a_line_that_is_refused_for_a_passing_reason_goes_with_the_next_file(filing: FilesWorld) -> None:
    account = await filing.world.account()
    good, refused = await filing.transfer(account, 100), await filing.transfer(account, 200)
    at = sorted((good.instruction_id, refused.instruction_id)).index(refused.instruction_id) + 1
    filing.simulator.books.files.foresee_line(LineFate(line=at, state="refused", code="limit_exceeded"))
    first = await filing.send()
    await filing.hear(MONDAY, "15:10")
    waiting = await filing.world.now(refused)
    assert (waiting.state, waiting.transfer_on, waiting.file_id) == (S.ACCEPTED, WEDNESDAY, None)
    second = await filing.send(TUESDAY)
    await filing.hear(WEDNESDAY)
    assert {(await filing.world.now(each)).state for each in (good, refused)} == {S.DONE}
    assert [each.state for each in await filing.lines(first.file_id)].count(L.REFUSED) == 1
    assert [each.attempt for each in await filing.lines(second.file_id)] == [2]
    await filing.world.require_agreement()


async def test_a_line_that_is_refused_for_good_fails_as_the_reason_says(filing: FilesWorld) -> None:
    account = await filing.world.account()
    waiting = await filing.transfer(account)
    filing.simulator.books.files.foresee_line(LineFate(state="refused", code="no_account"))
    file = await filing.send()
    await filing.hear(MONDAY, "15:10")
    failed = await filing.world.now(waiting)
    assert (failed.state, failed.failure_code) == (S.FAILED, FailureCode.NO_ACCOUNT)
    assert (await filing.file(file.file_id)).state is F.CLOSED


async def test_a_line_is_not_tried_for_ever(filing: FilesWorld) -> None:
    waiting = await filing.transfer(await filing.world.account())
    filing.simulator.books.files.foresee_line(LineFate(state="refused", code="limit_exceeded", times=0))
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        assert (await filing.world.now(waiting)).state is S.ACCEPTED
        await filing.send(day)
        await filing.hear(day, "15:10")
    failed = await filing.world.now(waiting)
    assert (failed.state, failed.failure_code, failed.attempts) == (S.FAILED, FailureCode.LIMIT_EXCEEDED, 3)


async def test_a_whole_file_that_is_refused_goes_again(filing: FilesWorld) -> None:
    waiting = await filing.transfer(await filing.world.account())
    filing.simulator.books.files.foresee_file(FileFate(refuse="too_late"))
    file = await filing.send()
    await filing.hear(MONDAY, "15:10")
    refused = await filing.file(file.file_id)
    assert (refused.state, refused.code, refused.open_lines) == (F.REFUSED, "too_late", 0)
    await filing.send(TUESDAY)
    await filing.hear(WEDNESDAY)
    assert (await filing.world.now(waiting)).state is S.DONE
    assert [line.amount for line in filing.simulator.books.statement()] == [-1_000]


async def test_what_cannot_be_written_fails_and_holds_up_no_other(filing: FilesWorld) -> None:
    savings = await filing.world.account(deposit_type="savings", account_number="7654321")
    plain = await filing.world.account()
    bad, good = await filing.debit(savings), await filing.debit(plain)
    file = await filing.send()
    assert file.lines == 1
    failed = await filing.world.now(bad)
    assert (failed.state, failed.failure_code) == (S.FAILED, FailureCode.NOT_WRITABLE)
    assert (await filing.world.now(good)).file_id == file.file_id


# -- afterwards -------------------------------------------------------------------------------------------------


async def test_a_transfer_that_was_done_comes_back_days_later(filing: FilesWorld) -> None:
    back = await filing.transfer(await filing.world.account())
    fate = LineFate(state="returned", code="account_closed", return_after_days=2)
    filing.simulator.books.files.foresee_line(fate)
    await filing.send()
    await filing.hear(TUESDAY)
    assert (await filing.world.now(back)).state is S.DONE
    await filing.hear(THURSDAY)
    returned = await filing.world.now(back)
    assert (returned.state, returned.failure_code) == (S.RETURNED, FailureCode.ACCOUNT_CLOSED)
    await filing.world.require_agreement()


async def test_a_result_told_again_changes_nothing(filing: FilesWorld) -> None:
    done = await filing.transfer(await filing.world.account())
    file = await filing.send()
    await filing.hear(TUESDAY)
    before = await filing.world.now(done)
    filing.simulator.books.files.say_again(file.file_id, 1)
    assert (await filing.hear(TUESDAY)).done == 1
    assert (await filing.world.now(done)) == before
    assert (await filing.bank.list_unmatched(ListUnmatched())).results == []


async def test_results_of_a_day_are_counted_before_they_are_read(filing: FilesWorld) -> None:
    waiting = await filing.transfer(await filing.world.account())
    await filing.send()
    filing.be(TUESDAY)
    dry = await filing.run("bank.results", TUESDAY, dry_run=True)
    assert (dry.state, dry.done) == (RunState.DONE, 3)
    assert (await filing.world.now(waiting)).state is S.ACCEPTED


# -- recalls ----------------------------------------------------------------------------------------------------


async def test_a_transfer_that_waits_is_called_back_at_once(filing: FilesWorld) -> None:
    waiting = await filing.transfer(await filing.world.account())
    for _ in range(2):
        back = await filing.bank.recall(RecallInstruction(instruction_id=waiting.instruction_id))
        assert (back.state, back.failure_code) == (S.FAILED, FailureCode.RECALLED)
    filing.be(MONDAY, "15:05")
    assert (await filing.run("bank.send", MONDAY)).done == 0


async def test_a_transfer_in_a_file_that_was_not_sent_is_not_called_back_alone(filing: FilesWorld) -> None:
    waiting = await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    recall = RecallInstruction(instruction_id=waiting.instruction_id)
    assert await _code(filing.bank.recall(recall)) == "instruction_not_sent"


@pytest.mark.parametrize("outcome", ["done", "refused"])
async def test_of_a_transfer_that_was_sent_the_bank_decides(filing: FilesWorld, outcome: Any) -> None:
    done = await filing.transfer(await filing.world.account())
    filing.simulator.books.files.foresee_line(LineFate(recall=outcome))
    await filing.send()
    await filing.hear(TUESDAY)
    recall = RecallInstruction(instruction_id=done.instruction_id)
    for _ in range(2):
        assert (await filing.bank.recall(recall)).state is S.DONE
    async with asyncio.timeout(30):
        while not filing.asked("recall"):
            await asyncio.sleep(0.02)
    await filing.hear(TUESDAY)
    after = await filing.world.now(done)
    assert (after.state, after.failure_code) == (
        (S.RETURNED, FailureCode.RECALLED) if outcome == "done" else (S.DONE, None)
    )
    if outcome == "refused":
        assert await _code(filing.bank.recall(recall)) == "recall_not_possible"
    assert filing.asked("recall") == ["recall"]
    await filing.world.require_agreement()


async def test_an_online_transfer_is_not_called_back(filing: FilesWorld) -> None:
    done = await filing.world.until(await filing.world.transfer(await filing.world.account()), S.DONE)
    recall = RecallInstruction(instruction_id=done.instruction_id)
    assert await _code(filing.bank.recall(recall)) == "recall_not_possible"
    missing = RecallInstruction(instruction_id=new_id("btr"))
    assert await _code(filing.bank.recall(missing)) == "instruction_not_found"
    assert await filing.bank.get_instruction(GetInstruction(instruction_id=done.instruction_id)) == done


# -- in the Processing Tracer -----------------------------------------------------------------------------------


async def test_the_bank_has_on_record_what_we_say_of_files(filing: FilesWorld) -> None:
    account = await filing.world.account()
    made = [await filing.transfer(account), await filing.debit(account), await filing.transfer(account)]
    recalled = await filing.bank.recall(RecallInstruction(instruction_id=made[2].instruction_id))
    filing.simulator.books.files.foresee_line(LineFate(state="returned", return_after_days=1))
    await filing.send()
    await filing.hear(THURSDAY)
    states = [(await filing.world.now(each)).state for each in made]
    assert sorted(states) == [S.DONE, S.FAILED, S.RETURNED]
    ids = [each.processing_id for each in made]
    own = await filing.bank.effects.own_view(ids)
    assert [each.within for each in own.values()] == [[], [], []]
    ours = {claim.effect_id: claim for each in own.values() for claim in each.claims.get(PARTNER, [])}
    assert recalled.instruction_id not in ours
    theirs = await filing.bank.outside[PARTNER].list_effects(ListEffects(processing_ids=ids))
    assert {each.effect_id: each for one in theirs.processings for each in one.effects} == ours
