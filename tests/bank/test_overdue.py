"""What the bank does not answer: recalls of lines that it does not know, and instructions that have no end for days."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import structlog

from kessai.foundation.errors import Refused
from kessai.services.bank.api import FileLine, FileState, Instruction, LineState, RecallInstruction, RecallState
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.gateways import FolderFiles
from kessai.services.bank.workflows import FileOrder, recall_id, recall_line, send_file
from kessai.simulators.bank import BankSimulator, FileFate, LineFate
from kessai.simulators.bank.lines import Declined
from tests.bank.filing import MONDAY, NEXT_MONDAY, THURSDAY, TUESDAY, WEDNESDAY, FilesWorld
from tests.bank.world import PATIENCE_S

ONE_DAY = timedelta(days=1)
LAST_DAY = NEXT_MONDAY + ONE_DAY
"""Five business days after the file's."""


def _forget_lines(filing: FilesWorld, patched: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> Any:
        raise Declined("line_not_found", 404)

    patched.setattr(filing.simulator.books.files, "line", gone)


async def _line(filing: FilesWorld, instruction: Instruction) -> FileLine:
    now = await filing.world.now(instruction)
    assert now.file_id is not None
    (line,) = await filing.lines(now.file_id)
    return line


async def _call_back(filing: FilesWorld, instruction: Instruction) -> bool:
    """Ask for it; whether the bank knows it."""
    await filing.bank.recall(RecallInstruction(instruction_id=instruction.instruction_id))
    line = await _line(filing, instruction)
    handle = await filing.bank.engine.attach(recall_line, recall_id(line.file_id, line.line))
    assert handle is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await handle.result()).known


# -- recalls ----------------------------------------------------------------------------------------------------


async def test_a_line_that_the_bank_does_not_know_is_not_called_back(
    filing: FilesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await filing.transfer(await filing.world.account())
    await filing.send()
    with monkeypatch.context() as patched:
        _forget_lines(filing, patched)
        assert not await _call_back(filing, sent)
    assert (await _line(filing, sent)).recall is RecallState.REFUSED
    with pytest.raises(Refused, match="recall_not_possible"):
        await filing.bank.recall(RecallInstruction(instruction_id=sent.instruction_id))


async def test_while_the_file_is_on_its_way_the_bank_is_asked_again_later(
    filing: FilesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await filing.transfer(await filing.world.account())
    file = await filing.send()
    state = "UPDATE bank.transfer_file SET state = $2 WHERE file_id = $1::uuid"
    await filing.world.database.fetch(None, state, file.file_id[4:], "SENDING")
    with monkeypatch.context() as patched:
        _forget_lines(filing, patched)
        assert not await _call_back(filing, sent)
    assert (await _line(filing, sent)).recall is RecallState.ASKED
    await filing.hear(MONDAY, "15:10")  # it asks again
    await filing.hear(MONDAY, "15:15")
    line = await _line(filing, sent)
    assert (line.state, line.recall) == (LineState.RECALLED, RecallState.DONE)


async def test_what_was_called_back_goes_into_no_other_file(filing: FilesWorld) -> None:
    sent = await filing.transfer(await filing.world.account())
    filing.simulator.books.files.foresee_file(FileFate(refuse="late", after_s=60))
    await filing.send()
    assert await _call_back(filing, sent)
    await filing.hear(MONDAY, "15:10")
    now = await filing.world.now(sent)
    assert (now.state, (await _line(filing, sent)).state) == (S.FAILED, LineState.REFUSED)


async def test_in_a_drop_folder_a_recall_that_the_bank_does_not_understand_is_heard_of(
    filing: FilesWorld, tmp_path: Any
) -> None:
    sent = await filing.transfer(await filing.world.account())
    await filing.send()
    simulator = BankSimulator(folder=tmp_path, now=filing.clock.now)
    folder, line = FolderFiles(tmp_path), await _line(filing, sent)
    assert await folder.recall(line)
    simulator.sweep()  # this bank has never had the file
    assert not await folder.recall(line)
    simulator.books.close()


# -- days -------------------------------------------------------------------------------------------------------


async def _stuck(filing: FilesWorld) -> Instruction:
    """A transfer of Tuesday's file that is still under way a month later."""
    sent = await filing.transfer(await filing.world.account())
    filing.simulator.books.files.foresee_line(LineFate(after_s=30 * 24 * 3600))
    await filing.send()
    await filing.hear(TUESDAY)
    return sent


async def test_what_is_under_way_too_long_is_a_difference_until_it_ends(filing: FilesWorld) -> None:
    sent = await _stuck(filing)
    filing.be(LAST_DAY + ONE_DAY, "07:00")
    assert (await filing.statement(LAST_DAY)).agrees
    filing.be(LAST_DAY + 2 * ONE_DAY, "07:00")
    found = await filing.statement(LAST_DAY + ONE_DAY)
    told = [(each.about, each.reason, each.ours_minor, each.theirs_minor) for each in found.differences]
    assert (found.agrees, told) == (False, [(sent.instruction_id, "overdue", 0, 0)])
    await filing.hear(TUESDAY + 31 * ONE_DAY)
    again = await filing.statement(LAST_DAY + ONE_DAY)
    assert (again.agrees, [each.resolved_at is not None for each in again.differences]) == (True, [True])


async def test_file_lines_that_are_open_too_long_are_an_alarm_and_a_figure(filing: FilesWorld) -> None:
    assert (await filing.bank.files_doubt()).instructions == 0
    await _stuck(filing)
    logged: dict[str, list[str]] = {}
    for day in (LAST_DAY, LAST_DAY + ONE_DAY):
        filing.be(day)
        with structlog.testing.capture_logs() as lines:
            found = await filing.bank.files_doubt()
        assert (found.instructions, found.oldest_on) == (1, TUESDAY)
        logged[day.isoformat()] = [each["event"] for each in lines]
    assert list(logged.values()) == [[], ["bank_file_lines_open_too_long"]]


async def test_an_approved_file_whose_day_is_over_is_not_sent_and_gives_way(filing: FilesWorld) -> None:
    waits = await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    approved = "UPDATE bank.transfer_file SET state = 'APPROVED', approvals = 2 WHERE file_id = $1::uuid"
    await filing.world.database.fetch(None, approved, file.file_id[4:])
    filing.be(WEDNESDAY)
    order = FileOrder(file_id=file.file_id, content_sha256=file.content_sha256)
    handle = await filing.bank.engine.start(send_file, order, workflow_id=file.file_id)
    assert (await handle.result()).state is FileState.APPROVED
    filing.be(WEDNESDAY, "15:05")
    await filing.run("bank.send", WEDNESDAY)
    assert (await filing.file(file.file_id)).state is FileState.DISCARDED
    assert (await filing.world.now(waits)).transfer_on == THURSDAY
    assert filing.asked("file") == []


async def test_what_waits_for_a_day_to_come_is_no_doubt(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    assert (await filing.bank.files_doubt()).instructions == 0
    filing.be(TUESDAY)
    assert (await filing.bank.files_doubt()).instructions == 1
