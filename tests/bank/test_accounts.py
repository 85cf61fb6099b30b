"""Bank accounts: confirmed by the bank, kept encrypted, idempotent by id."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_id
from kessai.foundation.vault import Vault, VaultSealBroken, new_vault_key, read_vault_keys
from kessai.services.bank.api import (
    GetBankAccount,
    ListBankAccounts,
    OwnerKind,
    RemoveBankAccount,
)
from kessai.services.bank.api import InstructionState as S
from kessai.simulators.faults import PRESETS
from tests.bank.world import HOLDER, KEY_TEXT, NUMBER, World, registration


async def _code(work: Any) -> str:
    with pytest.raises(PaymentError) as caught:
        await work
    return caught.value.code


async def test_an_account_is_registered_once_the_bank_confirms_its_holder(world: World) -> None:
    account = await world.account()
    assert (account.last_digits, account.debits, account.removed_at) == ("567", True, None)
    assert await world.bank.get_account(GetBankAccount(account_id=account.account_id)) == account
    (deposit,) = world.simulator.books.deposits.values()
    assert deposit.account.holder == "ﾔﾏﾀﾞ ﾀﾛｳ"


async def test_another_name_than_the_banks_is_refused(world: World) -> None:
    await world.account()
    assert await _code(world.account(owner_id="cus:2", holder_name="スズキ ハナコ")) == "holder_name_mismatch"


async def test_the_same_name_in_another_width_is_the_same(world: World) -> None:
    await world.account()
    assert (await world.account(owner_id="cus:2", holder_name="ﾔﾏﾀﾞ　ﾀﾛｳ")).owner_id == "cus:2"


@pytest.mark.parametrize(("number", "code"), [("9000001", "no_such_bank_account"), ("9000002", "holder_name_mismatch")])
async def test_what_the_bank_does_not_confirm_is_not_registered(world: World, number: str, code: str) -> None:
    assert await _code(world.account(account_number=number)) == code
    listed = await world.bank.list_accounts(ListBankAccounts(owner_kind=OwnerKind.CUSTOMER, owner_id="cus:1"))
    assert listed.accounts == []


async def test_a_name_that_banks_cannot_write_is_refused_before_the_bank_is_asked(world: World) -> None:
    assert await _code(world.account(holder_name="山田 太郎")) == "holder_name_not_writable"
    assert world.simulator.requests == []


async def test_a_mandate_that_the_bank_refuses_registers_nothing(world: World) -> None:
    world.simulator.faults.program(PRESETS["delay"])
    await world.account(owner_id="cus:2")
    world.simulator.faults.program(_refusing("agree", "debits_forbidden"))
    assert await _code(world.account()) == "debits_not_possible"
    assert (await world.account(debits=False)).debits is False


def _refusing(verb: str, code: str) -> Any:
    from msgspec.structs import replace

    from kessai.simulators.faults import Fault

    return replace(Fault(), verb=verb, refuse=code)


async def test_while_the_bank_is_away_registering_says_so_and_may_be_repeated(world: World) -> None:
    request = registration(account_id=new_id("bac"))
    world.simulator.faults.down = True
    assert await _code(world.bank.register_account(request)) == "bank_unavailable"
    world.simulator.faults.clear()
    assert (await world.bank.register_account(request)).account_id == request.account_id


async def test_a_repeated_registration_gives_the_same_account(world: World) -> None:
    request = registration(account_id=new_id("bac"))
    first = await world.bank.register_account(request)
    asked = len(world.simulator.requests)
    assert await world.bank.register_account(request) == first
    assert len(world.simulator.requests) == asked
    other = registration(account_id=request.account_id, account_number="7654321")
    assert await _code(world.bank.register_account(other)) == "idempotency_key_reused"


async def test_without_an_id_the_idempotency_key_makes_it(world: World) -> None:
    token = enter_call(Call(request_key="a" * 32))
    first, second = await world.account(), await world.account()
    leave_call(token)
    assert first == second


async def test_an_owner_registers_the_same_account_once_until_it_is_removed(world: World) -> None:
    account = await world.account()
    with pytest.raises(PaymentError) as caught:
        await world.account()
    assert (caught.value.code, caught.value.details) == (
        "bank_account_registered",
        {"account_id": account.account_id},
    )
    removed = await world.bank.remove_account(RemoveBankAccount(account_id=account.account_id))
    assert removed.removed_at is not None
    again = await world.account()
    request = ListBankAccounts(owner_kind=OwnerKind.CUSTOMER, owner_id="cus:1")
    assert (await world.bank.list_accounts(request)).accounts == [again]
    everything = ListBankAccounts(owner_kind=OwnerKind.CUSTOMER, owner_id="cus:1", include_removed=True)
    assert [each.account_id for each in (await world.bank.list_accounts(everything)).accounts] == [
        again.account_id,
        account.account_id,
    ]


async def test_removing_again_changes_nothing(world: World) -> None:
    account = await world.account()
    request = RemoveBankAccount(account_id=account.account_id)
    first = await world.bank.remove_account(request)
    world.pass_days(1)
    assert await world.bank.remove_account(request) == first


async def test_a_customer_and_a_merchant_of_one_id_are_two_owners(world: World) -> None:
    await world.account(owner_id="x")
    merchant = await world.account(owner_id="x", owner_kind="merchant")
    listed = await world.bank.list_accounts(ListBankAccounts(owner_kind=OwnerKind.MERCHANT, owner_id="x"))
    assert listed.accounts == [merchant]


async def test_an_unknown_account_is_not_found(world: World) -> None:
    missing = "bac_" + "0" * 32
    assert await _code(world.bank.get_account(GetBankAccount(account_id=missing))) == "bank_account_not_found"
    assert await _code(world.bank.remove_account(RemoveBankAccount(account_id=missing))) == "bank_account_not_found"


# -- what is personal -------------------------------------------------------------------------------------------


async def _everything(database: Database) -> str:
    """Every row of the schema, bytes as their text too."""
    tables = await database.fetch(None, "SELECT tablename FROM pg_tables WHERE schemaname = 'bank'")
    found: list[str] = []
    for (table,) in tables:
        for row in await database.fetch(None, f"SELECT * FROM bank.{table}"):
            found += [
                value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in row.values()
            ]
    return "\n".join(found)


async def test_numbers_and_names_are_in_no_table_and_no_log(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    account = await world.account()
    world.simulator.faults.program(PRESETS["drop_after"])
    await world.until(await world.transfer(account), S.DONE)
    await world.until(await world.debit(account), S.DONE)
    written = await _everything(world.database) + "".join(capfd.readouterr())
    assert account.account_id.removeprefix("bac_") in written.replace("-", "")
    for personal in (NUMBER, HOLDER, "ﾔﾏﾀﾞ", "ヤマダ"):
        assert personal not in written


async def test_an_error_does_not_show_numbers_or_names(world: World) -> None:
    with pytest.raises(PaymentError) as caught:
        await world.account(account_number="9000002")
    shown = f"{caught.value} {caught.value.details} {caught.value.__cause__!r}"
    assert not re.search(r"9000002|ﾔﾏﾀﾞ|ヤマダ", shown)


async def test_after_a_new_key_accounts_are_sealed_again_and_the_old_key_may_go(world: World) -> None:
    account = await world.account()
    new = new_vault_key()
    both = world.another_process(vault=Vault(read_vault_keys(f"{new},{KEY_TEXT}")))
    with pytest.raises(PaymentError, match="bank_account_registered"):
        await both.register_account(registration())
    assert await both.reseal_accounts() == 1
    assert await both.reseal_accounts() == 0
    only_new = world.another_process(vault=Vault(read_vault_keys(new)))
    request = registration(account_id=account.account_id)
    assert await only_new.register_account(request) == account
    with pytest.raises(PaymentError, match="bank_account_registered"):
        await only_new.register_account(registration())


async def test_a_number_moved_to_another_row_does_not_open(world: World) -> None:
    one, other = await world.account(), await world.account(owner_id="cus:2")
    await world.database.fetch(
        None,
        "UPDATE bank.account AS a SET number_sealed = b.number_sealed FROM bank.account AS b"
        " WHERE a.owner_id = 'cus:1' AND b.owner_id = 'cus:2'",
    )
    with pytest.raises(VaultSealBroken):
        await world.bank.register_account(registration(account_id=one.account_id))
    assert other.owner_id == "cus:2"


async def test_without_a_vault_key_nothing_is_registered(world: World) -> None:
    keyless = world.another_process(vault=Vault([]))
    assert await _code(keyless.register_account(registration())) == "vault_not_configured"
    assert await keyless.reseal_accounts() == 0


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ({"bank_code": "9998"}, "no_such_bank"),
        ({"bank_code": "0005", "branch_code": "000"}, "no_such_branch"),
    ],
)
async def test_a_bank_and_a_branch_must_exist(world: World, place: dict[str, str], code: str) -> None:
    with pytest.raises(PaymentError) as caught:
        await world.account(**place)
    assert caught.value.code == code
    assert not any(each.verb == "check" for each in world.simulator.requests)
