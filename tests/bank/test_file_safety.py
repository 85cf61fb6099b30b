"""Files of which something is not as it should be: unanswered, another's, late, or approved by one person twice."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path

import pytest
from msgspec.structs import replace

from kessai.foundation.clock import TOKYO
from kessai.foundation.errors import Refused
from kessai.foundation.ids import new_hex
from kessai.sdk import zengin
from kessai.services.bank.api import BankFile, FileState, InstructionKind, LineState, ListUnmatched
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.domain import misfit_of_file
from kessai.services.bank.gateways import FolderFiles
from kessai.services.identity.api import SharedHands, ShareHands
from kessai.simulators.bank import LineFate
from tests.bank.filing import FRIDAY, MONDAY, PERSONS, THURSDAY, TUESDAY, WEDNESDAY, FilesWorld

# -- what comes back ----------------------------------------------------------------------------------------------


def _always(content: bytes) -> Callable[[str], bytes]:
    return lambda _: content


async def test_our_own_bytes_that_come_back_unanswered_are_no_results(
    filing: FilesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = await filing.debit(await filing.world.account(), 5_000)
    file = await filing.send()
    books = filing.simulator.books.files
    said = books.find(file.file_id).said
    assert said is not None
    echo = zengin.write(said.header, said.lines)
    with monkeypatch.context() as patched:
        patched.setattr(books, "result_file", _always(echo))
        await filing.hear(THURSDAY)
    assert LineState.FAILED not in [each.state for each in await filing.lines(file.file_id)]
    unmatched = (await filing.bank.list_unmatched(ListUnmatched())).results
    assert {each.reason for each in unmatched} == {"result_file_unanswered"}
    await filing.run("bank.results", WEDNESDAY)  # asked for again, there is an answer
    await filing.run("bank.results", THURSDAY)
    assert (await filing.world.now(paid)).state is S.DONE
    await filing.world.require_agreement()


def _header(**other: object) -> zengin.Header:
    header = zengin.Header(
        kind=zengin.Kind.DEBIT,
        client_code="0000012345",
        client_name="ABC",
        day=THURSDAY,
        bank_code="0001",
        bank_name="",
        branch_code="001",
        branch_name="",
        deposit_type=zengin.DepositType.ORDINARY,
        account_number="7654321",
    )
    return replace(header, **other)


def _line(amount: int, result: int | None) -> zengin.Line:
    return zengin.Line(
        bank_code="0001",
        bank_name="",
        branch_code="001",
        branch_name="",
        deposit_type=zengin.DepositType.ORDINARY,
        account_number="1234567",
        name="ABC",
        amount=amount,
        result=result,
    )


def _file(lines: int, total: int) -> BankFile:
    told = {"state": FileState.ACCEPTED, "version": 3, "content_sha256": "", "approvals_needed": 0, "approved": 0}
    counted = dict.fromkeys(("paid_lines", "paid_minor", "unpaid_lines", "unpaid_minor"), 0)
    return BankFile(
        file_id=f"btf_{new_hex()}",
        kind=InstructionKind.DEBIT,
        transfer_on=THURSDAY,
        lines=lines,
        total_minor=total,
        open_lines=lines,
        code=None,
        maker="bank",
        made_at=datetime.combine(MONDAY, time(12), TOKYO),
        sent_at=None,
        approvals=[],
        steps=[],
        **told,  # pyright: ignore[reportArgumentType]
        **counted,
    )


@pytest.mark.parametrize(
    ("header", "results", "reason"),
    [
        ({}, [0, 1], None),
        ({}, [None, None], "result_file_unanswered"),
        ({}, [0], "result_file_of_another"),
        ({"day": WEDNESDAY}, [0, 1], "result_file_of_another"),
        ({"kind": zengin.Kind.TRANSFER}, [None, None], "result_file_of_another"),
    ],
    ids=["ours", "unanswered", "a line short", "another day", "another kind"],
)
def test_a_result_file_is_the_answer_to_ours_or_it_is_set_aside(
    header: dict[str, object], results: list[int | None], reason: str | None
) -> None:
    file = _file(2, 1_000)
    told = zengin.read(zengin.write(_header(**header), [_line(500, each) for each in results]), near=THURSDAY)
    assert misfit_of_file(file, told) == reason


# -- days and attempts --------------------------------------------------------------------------------------------


async def test_a_run_that_comes_late_makes_a_file_of_a_day_that_is_to_come(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    filing.be(THURSDAY, "10:00")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    assert file.transfer_on == FRIDAY


async def test_a_file_whose_day_is_over_is_not_approved(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    filing.be(WEDNESDAY)
    with pytest.raises(Refused, match="file_too_late"):
        await filing.approve(file, by=PERSONS[0])


async def test_files_that_were_never_sent_are_no_attempts(filing: FilesWorld) -> None:
    waits = await filing.transfer(await filing.world.account())
    for day in (MONDAY, TUESDAY, WEDNESDAY):  # nobody approves
        filing.be(day, "15:05")
        await filing.run("bank.send", day)
    assert (await filing.world.now(waits)).attempts == 1
    filing.simulator.books.files.foresee_line(LineFate(state="refused", code="late"))
    file = (await filing.files())[-1]
    for person in PERSONS:
        await filing.approve(file, by=person)
    await filing.until(file, FileState.SENT)
    await filing.hear(THURSDAY)
    assert (await filing.world.now(waits)).state is S.ACCEPTED


# -- who approves -------------------------------------------------------------------------------------------------


@dataclass
class _Persons:
    """Which keys each person holds."""

    held: list[set[str]]
    asked: list[str] = field(default_factory=list[str])

    async def share_hands(self, request: ShareHands, /) -> SharedHands:
        self.asked.append(request.key_id)
        mine = {key for keys in self.held if request.key_id in keys for key in keys}
        return SharedHands(key_ids=[each for each in request.others if each in mine])


async def test_two_keys_that_one_person_may_hold_are_one_person(filing: FilesWorld) -> None:
    one, other, third = (f"key_{new_hex()}" for _ in range(3))
    await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    await filing.bank.close()
    filing.world.bank = filing.world.another_process(persons=_Persons([{one, other}]))
    await filing.world.bank.open()
    await filing.approve(file, by=one)
    with pytest.raises(Refused, match="approver_not_independent"):
        await filing.approve(file, by=other)
    assert (await filing.approve(file, by=one)).approved == 1  # again, which changes nothing
    assert (await filing.approve(file, by=third)).approved == 2
    await filing.until(file, FileState.SENT)


# -- the way ------------------------------------------------------------------------------------------------------


async def test_a_file_is_sent_with_the_platforms_business_time(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    file = await filing.send()
    assert filing.simulator.books.files.find(file.file_id).received_at >= file.made_at


@pytest.mark.parametrize(("group", "others"), [(False, 0o077), (True, 0o007)])
async def test_a_file_in_the_drop_folder_is_for_nobody_else(tmp_path: Path, group: bool, others: int) -> None:
    await FolderFiles(tmp_path, group=group).send("btf_x", b"names", datetime.combine(MONDAY, time(12), TOKYO))
    for each in (tmp_path / "in", tmp_path / "in" / "btf_x.txt"):
        assert stat.S_IMODE(each.stat().st_mode) & others == 0
    assert bool((tmp_path / "in" / "btf_x.txt").stat().st_mode & stat.S_IRGRP) is group
