"""The statement of our own account: imported once a day, and our own rows beside it, to the yen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.api import ListStatementDays
from kessai.simulators.bank import LineFate
from kessai.simulators.bank.books import CLIENT_BALANCE
from tests.bank.filing import FRIDAY, MONDAY, THURSDAY, TUESDAY, WEDNESDAY, FilesWorld

ONE_DAY = timedelta(days=1)


async def test_each_day_ends_with_the_balance_that_our_own_rows_have(filing: FilesWorld) -> None:
    account = await filing.world.account()
    await filing.transfer(account, 3_000)
    await filing.world.until(await filing.world.transfer(account, 500), S.DONE)
    filing.simulator.books.files.foresee_line(LineFate(state="returned", code="account_closed", return_after_days=2))
    await filing.send()
    balances: list[int] = []
    for day in (MONDAY, TUESDAY, WEDNESDAY, THURSDAY):
        if day is not MONDAY:
            await filing.hear(day)
        filing.be(day + ONE_DAY, "07:00")
        found = await filing.statement(day)
        assert (found.agrees, found.differences) == (True, [])
        assert found.opening_minor + found.moved_minor == found.closing_minor == found.ours_minor
        balances.append(found.closing_minor - CLIENT_BALANCE)
    assert balances == [-500, -3_500, -3_500, -500]


async def test_a_day_is_imported_once_however_often_the_job_is_run(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    await filing.send()
    await filing.hear(TUESDAY)
    filing.be(WEDNESDAY, "07:00")
    first = await filing.statement(TUESDAY)
    again = await filing.statement(TUESDAY)
    assert (again.lines, again.closing_minor, again.agrees) == (first.lines, first.closing_minor, True)
    assert len((await filing.bank.list_statement_days(ListStatementDays())).days) == 1


async def test_days_without_a_statement_are_made_good(filing: FilesWorld) -> None:
    filing.be(TUESDAY, "07:00")
    assert (await filing.statement(MONDAY)).agrees
    filing.be(FRIDAY, "07:00")
    await filing.statement(THURSDAY)
    days = (await filing.bank.list_statement_days(ListStatementDays())).days
    assert [each.day for each in days] == [THURSDAY, WEDNESDAY, TUESDAY, MONDAY]


async def test_a_day_that_is_not_over_there_is_waited_for(filing: FilesWorld) -> None:
    run = await filing.run("bank.statement", MONDAY)
    assert (run.done, "no statement" in run.note) == (0, True)
    assert (await filing.run("bank.statement", MONDAY, dry_run=True)).done == 1
    assert (await filing.bank.list_statement_days(ListStatementDays())).days == []


async def test_what_was_done_after_the_days_end_is_no_difference(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    await filing.send()
    await filing.hear(TUESDAY, "08:00")  # before the bank books it
    filing.be(WEDNESDAY, "07:00")
    found = await filing.statement(TUESDAY)
    assert (found.agrees, found.moved_minor) == (True, -1_000)
    await filing.hear(WEDNESDAY)
    assert (await filing.statement(TUESDAY)).agrees


async def test_a_line_that_is_nothing_of_ours_is_listed_and_resolved_by_nobody(filing: FilesWorld) -> None:
    filing.simulator.books.book("somebody-else", -777, "transfer", filing.clock.now())
    filing.be(TUESDAY, "07:00")
    found = await filing.statement(MONDAY)
    assert not found.agrees
    told = {each.about: (each.reason, each.ours_minor, each.theirs_minor) for each in found.differences}
    assert told["somebody-else"] == ("unknown_line", 0, -777)
    assert told["closing"] == ("not_ours", CLIENT_BALANCE, CLIENT_BALANCE - 777)


async def test_what_we_believe_and_the_bank_does_not_is_found_and_resolved_when_it_is_mended(
    filing: FilesWorld,
) -> None:
    account = await filing.world.account()
    done = await filing.transfer(account, 4_000)
    filing.simulator.books.files.foresee_line(LineFate(state="failed", code="other"))
    await filing.send()
    await filing.hear(TUESDAY)
    assert (await filing.world.now(done)).state is S.FAILED
    spoiled: Any = "UPDATE bank.instruction SET state = 'DONE', failure_code = NULL WHERE instruction_id = $1::uuid"
    await filing.world.database.fetch(None, spoiled, done.instruction_id[4:])
    filing.be(WEDNESDAY, "07:00")
    found = await filing.statement(TUESDAY)
    told = {each.about: (each.reason, each.ours_minor, each.theirs_minor) for each in found.differences}
    assert told[done.instruction_id] == ("missing_there", -4_000, 0)
    mended = "UPDATE bank.instruction SET state = 'FAILED', failure_code = 'other' WHERE instruction_id = $1::uuid"
    await filing.world.database.fetch(None, mended, done.instruction_id[4:])
    again = await filing.statement(TUESDAY)
    assert again.agrees
    assert all(each.resolved_at is not None for each in again.differences)


async def test_a_transfer_under_way_that_the_bank_credits_does_not_agree(filing: FilesWorld) -> None:
    sent = await filing.transfer(await filing.world.account())
    filing.simulator.books.files.foresee_line(LineFate(after_s=7 * 24 * 3600))
    file = await filing.send()
    line = f"{file.file_id}-000001"
    filing.simulator.books.book(line, 1_000, "file transfer", filing.clock.now(), file_id=file.file_id, line=1)
    filing.be(TUESDAY, "07:00")
    found = await filing.statement(MONDAY)
    told = {each.about: (each.reason, each.ours_minor, each.theirs_minor) for each in found.differences}
    assert told[sent.instruction_id] == ("missing_here", 0, 1_000)


async def test_money_that_came_back_and_is_heard_of_a_day_later_agrees_by_itself_then(filing: FilesWorld) -> None:
    filing.simulator.books.files.foresee_line(LineFate(state="returned", code="account_closed", return_after_days=1))
    await filing.transfer(await filing.world.account(), 3_000)
    await filing.send()
    await filing.hear(TUESDAY)
    filing.be(THURSDAY, "07:00")
    await filing.statement(TUESDAY)
    came_back = await filing.statement(WEDNESDAY)
    assert (came_back.agrees, {each.reason for each in came_back.differences}) == (False, {"missing_there", "not_ours"})
    await filing.hear(THURSDAY)
    filing.be(FRIDAY, "07:00")
    await filing.statement(THURSDAY)
    days = (await filing.bank.list_statement_days(ListStatementDays())).days
    assert {each.day: each.agrees for each in days} == dict.fromkeys((TUESDAY, WEDNESDAY, THURSDAY), True)
