"""Which of many days need a run of the bank's jobs."""

from __future__ import annotations

from datetime import date, timedelta

from kessai.services.bank.workflows.idle import first_to_hear, first_to_send, first_to_state
from kessai.services.bank.workflows.stating import DAYS_MAX
from tests.bank.filing import MONDAY, THURSDAY, TUESDAY, WEDNESDAY, FilesWorld

LAST = date(2035, 4, 8)
"""Years later."""


async def test_days_without_an_instruction_need_no_run(filing: FilesWorld) -> None:
    deps = filing.bank.engine.deps
    assert await first_to_send(deps, MONDAY, LAST) is None
    assert await first_to_hear(deps, MONDAY, LAST) is None


async def test_file_is_made_on_the_day_on_which_it_is_cut_off(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account(), on=THURSDAY)
    assert await first_to_send(filing.bank.engine.deps, MONDAY, LAST) == WEDNESDAY


async def test_file_that_nobody_approves_is_made_anew_for_the_last_of_many_days(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account(), on=TUESDAY)
    filing.be(MONDAY, "16:00")
    await filing.run("bank.send", MONDAY)
    assert await first_to_send(filing.bank.engine.deps, TUESDAY, LAST) == LAST


async def test_day_is_heard_when_the_bank_has_told_something(filing: FilesWorld) -> None:
    deps = filing.bank.engine.deps
    await filing.transfer(await filing.world.account())
    await filing.send()
    filing.be(WEDNESDAY)
    assert await first_to_hear(deps, TUESDAY, LAST) == TUESDAY
    await filing.run("bank.results", TUESDAY)
    assert await first_to_hear(deps, WEDNESDAY, LAST) is None


async def test_one_run_makes_good_the_statements_of_all_days_that_are_missing(filing: FilesWorld) -> None:
    deps = filing.bank.engine.deps
    filing.be(TUESDAY, "07:00")
    assert await first_to_state(deps, MONDAY, LAST) == MONDAY  # with the first one the account begins
    await filing.statement(MONDAY)
    last = MONDAY + timedelta(days=DAYS_MAX - 1)
    assert await first_to_state(deps, TUESDAY, last) == last


async def test_years_of_statements_are_passed_over_where_the_balance_stands(filing: FilesWorld) -> None:
    deps = filing.bank.engine.deps
    filing.be(TUESDAY, "07:00")
    await filing.statement(MONDAY)
    filing.be(LAST + timedelta(days=1), "07:00")
    assert await first_to_state(deps, TUESDAY, LAST) == LAST
