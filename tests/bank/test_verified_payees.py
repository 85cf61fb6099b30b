"""What `kessai verify` makes of a file's payees: each line goes to its instruction's account, as it was registered."""

from __future__ import annotations

import pytest

from kessai.apps.verify.bank_files import note_unread, verify_contents
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection
from tests.bank.filing import MONDAY, FilesWorld


async def told(filing: FilesWorld) -> list[str]:
    """What it finds."""
    report = Report()

    async def work(connection: Connection) -> None:
        await verify_contents(connection, filing.world.vault, report)

    await filing.world.database.transaction(None, work)
    return [each.sentence for each in report.findings]


async def made(filing: FilesWorld) -> None:
    """The files of the day are made."""
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)


async def test_lines_that_go_to_their_accounts_are_right(filing: FilesWorld) -> None:
    account = await filing.world.account()
    other = await filing.world.account(owner_id="cus:2", account_number="7654321", holder_name="スズキ ハナコ")
    for each in (account, other, account):
        await filing.transfer(each)
        await filing.debit(each)
    await made(filing)
    assert len(await filing.files()) == 2
    assert await told(filing) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("SET bank_code = '0001'", "its line 1 has another bank than bac_{}"),
        ("SET branch_code = '002'", "its line 1 has another branch than bac_{}"),
        ("SET deposit_type = 'current'", "its line 1 has another type of account than bac_{}"),
        ("SET fingerprint = sha256('x')", "the account of its line 1 is not what was registered: bac_{}"),
        ("SET number_sealed = holder_sealed", "the account of its line 1 cannot be opened: bac_{}"),
    ],
)
async def test_an_account_that_was_changed_since_is_found(filing: FilesWorld, change: str, text: str) -> None:
    account = await filing.world.account()
    await filing.transfer(account)
    await made(filing)
    await filing.world.database.fetch(None, f"UPDATE bank.account {change}")
    assert await told(filing) == [text.format(account.account_id[4:])]


async def test_a_file_made_of_an_account_that_was_changed_before_is_found(filing: FilesWorld) -> None:
    account = await filing.world.account()
    await filing.transfer(account)
    await filing.world.database.fetch(None, "UPDATE bank.account SET branch_code = '002'")
    await made(filing)
    assert await told(filing) == [f"the account of its line 1 is not what was registered: {account.account_id}"]


async def test_an_instruction_that_was_given_anothers_account_is_found(filing: FilesWorld) -> None:
    account = await filing.world.account()
    thief = await filing.world.account(owner_id="cus:2", account_number="7654321", holder_name="ドロボウ")
    await filing.transfer(account)
    await made(filing)
    await filing.world.database.fetch(None, "UPDATE bank.instruction SET account_id = $1::uuid", thief.account_id[4:])
    (text,) = await told(filing)
    assert text == f"its line 1 has another account number, holder's name than {thief.account_id}"
    assert "7654321" not in text


async def test_without_keys_it_is_told_that_nobody_looked(filing: FilesWorld) -> None:
    report = Report()

    async def work(connection: Connection) -> None:
        await note_unread(connection, report)

    await filing.world.database.transaction(None, work)
    assert report.notes == []
    await filing.transfer(await filing.world.account())
    await made(filing)
    await filing.world.database.transaction(None, work)
    assert report.notes == ["No keys of the vault here: contents and payees of 1 bank files were not compared."]
