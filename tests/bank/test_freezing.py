"""Accounts on which instruction after instruction fails are frozen, visibly, until somebody thaws them."""

from __future__ import annotations

from typing import Any

import pytest

from kessai.foundation.errors import PaymentError
from kessai.services.bank.api import BankAccount, GetBankAccount, Instruction, ThawBankAccount
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.domain import load_terms
from kessai.simulators.bank import Fate
from tests.bank.filing import TUESDAY, FilesWorld
from tests.bank.world import World

AFTER = load_terms().freeze.after


async def _code(work: Any) -> str:
    with pytest.raises(PaymentError) as caught:
        await work
    return caught.value.code


async def _shown(world: World, account: BankAccount) -> BankAccount:
    return await world.bank.get_account(GetBankAccount(account_id=account.account_id))


async def _failed(world: World, account: BankAccount, code: str) -> Instruction:
    world.simulator.books.foresee(Fate(state="failed", code=code))
    return await world.until(await world.transfer(account), S.FAILED)


async def test_lines_of_files_that_fail_in_a_row_freeze_their_account(filing: FilesWorld) -> None:
    account = await filing.world.account(account_number="9000007")
    for _ in range(AFTER):
        await filing.transfer(account)
    await filing.send()
    await filing.hear(TUESDAY)
    frozen = await _shown(filing.world, account)
    assert (frozen.failures, frozen.frozen_at) == (AFTER, filing.clock.now())
    assert await _code(filing.transfer(account)) == "bank_account_frozen"
    assert await _code(filing.debit(account)) == "bank_account_frozen"


async def test_a_thawed_account_begins_anew(world: World) -> None:
    account = await world.account()
    for _ in range(AFTER):
        await _failed(world, account, "no_account")
    assert await _code(world.transfer(account)) == "bank_account_frozen"
    for _ in range(2):
        thawed = await world.bank.thaw_account(ThawBankAccount(account_id=account.account_id))
        assert (thawed.failures, thawed.frozen_at) == (0, None)
    await _failed(world, account, "no_account")
    assert (await _shown(world, account)).failures == 1


async def test_only_failures_in_a_row_count_and_only_those_of_the_account(world: World) -> None:
    account = await world.account()
    for _ in range(AFTER - 1):
        await _failed(world, account, "account_closed")
    await _failed(world, account, "insufficient_funds")
    assert (await _shown(world, account)).failures == AFTER - 1
    await world.until(await world.transfer(account), S.DONE)
    assert (await _shown(world, account)).failures == 0
    await _failed(world, account, "account_closed")
    assert (await _shown(world, account)).frozen_at is None
