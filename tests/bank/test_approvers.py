"""What those who approve a file are shown: the very payees that the bank will read."""

from __future__ import annotations

import pytest

from kessai.foundation.contract import verbs_of
from kessai.foundation.errors import NotFound
from kessai.foundation.ids import new_id
from kessai.services.bank.api import Bank, BankFile, DepositType, FilePayee, ListPayees, OwnerKind
from tests.bank.filing import MONDAY, FilesWorld


async def _made(filing: FilesWorld) -> BankFile:
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    return file


async def test_approvers_see_whom_a_file_pays(filing: FilesWorld) -> None:
    account = await filing.world.account(owner_kind=OwnerKind.MERCHANT, owner_id="mer:1", debits=False)
    paid = await filing.transfer(account, 30_000)
    file = await _made(filing)
    told = await filing.bank.list_payees(ListPayees(file_id=file.file_id))
    assert told.content_sha256 == file.content_sha256
    assert told.payees == [
        FilePayee(
            line=1,
            instruction_id=paid.instruction_id,
            owner_kind=OwnerKind.MERCHANT,
            owner_id="mer:1",
            bank_code="0005",
            bank_name="ﾐﾂﾋﾞｼﾕ-ｴﾌｼﾞｴｲ",
            branch_code="001",
            branch_name="ﾎﾝﾃﾝ",
            deposit_type=DepositType.ORDINARY,
            last_digits="567",
            name="ﾔﾏﾀﾞ ﾀﾛｳ",
            amount_minor=30_000,
        )
    ]


async def test_payees_come_in_pages_in_the_files_order(filing: FilesWorld) -> None:
    account = await filing.world.account()
    for amount in (100, 200, 300):
        await filing.transfer(account, amount)
    file = await _made(filing)
    lines = [(each.line, each.instruction_id, each.amount_minor) for each in await filing.lines(file.file_id)]
    pages = [await filing.bank.list_payees(ListPayees(file_id=file.file_id, after=n, limit=2)) for n in (0, 2)]
    assert [len(each.payees) for each in pages] == [2, 1]
    assert [(each.line, each.instruction_id, each.amount_minor) for page in pages for each in page.payees] == lines


async def test_what_approvers_see_is_the_file_and_not_what_was_made_of_the_account_since(filing: FilesWorld) -> None:
    account = await filing.world.account()
    await filing.transfer(account)
    file = await _made(filing)
    spoiled = "UPDATE bank.account SET bank_code = '9999' WHERE account_id = $1::uuid"
    await filing.world.database.fetch(None, spoiled, account.account_id[4:])
    (payee,) = (await filing.bank.list_payees(ListPayees(file_id=file.file_id))).payees
    assert payee.bank_code == "0005"


async def test_a_file_that_is_not_there_has_no_payees(filing: FilesWorld) -> None:
    with pytest.raises(NotFound, match="file_not_found"):
        await filing.bank.list_payees(ListPayees(file_id=new_id("btf")))


def test_names_are_for_approvers_alone() -> None:
    (shown,) = [each for each in verbs_of(Bank) if each.spec.name == "list_payees"]
    assert shown.spec.scope == "bank:approve"
