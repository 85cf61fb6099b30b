"""What is in a file to the bank, for whoever approves it: read from the very bytes that the bank is to get."""

from __future__ import annotations

import asyncio
import hashlib

import structlog

from kessai.foundation.call import current_call
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import NotFound
from kessai.foundation.vault import Vault
from kessai.sdk import zengin
from kessai.services.bank import store
from kessai.services.bank.api import BankFile, DepositType, FileLine, FilePayee, FilePayees, Instruction, ListPayees
from kessai.services.bank.service.accounts import LAST_DIGITS
from kessai.services.bank.store import files as file_store
from kessai.services.bank.store.files import content_context
from kessai.services.bank.workflows import ENCODING

log = structlog.get_logger(__name__)

_DEPOSIT_TYPES = {
    zengin.DepositType.ORDINARY: DepositType.ORDINARY,
    zengin.DepositType.CURRENT: DepositType.CURRENT,
    zengin.DepositType.SAVINGS: DepositType.SAVINGS,
}


class PayeeDesk:
    """What the verb about a file's payees does."""

    _database: Database
    _vault: Vault

    async def list_payees(self, request: ListPayees, /) -> FilePayees:
        """Whom a file pays or debits, line by line; who looked at them is logged."""

        async def read(connection: Connection) -> tuple[BankFile, list[FileLine], dict[str, Instruction]]:
            found = await file_store.load_files(connection, [request.file_id])
            if request.file_id not in found:
                raise NotFound("file_not_found", "There is no such file.", file_id=request.file_id)
            lines = await file_store.lines_of(connection, request.file_id, request.after, request.limit)
            known = await store.load_instructions(connection, [each.instruction_id for each in lines])
            return found[request.file_id], lines, {each.instruction_id: each for each in known}

        file, lines, instructions = await self._database.transaction(store.ROLE, read)
        sealed = await file_store.sealed_content(self._database, file.file_id)
        records = await asyncio.to_thread(self._records, file, sealed)
        log.info("bank_payees_shown", file_id=file.file_id, after=request.after, by=current_call().caller)
        payees = [_payee(each, instructions[each.instruction_id], records[each.line - 1]) for each in lines]
        return FilePayees(content_sha256=file.content_sha256, payees=payees)

    def _records(self, file: BankFile, sealed: bytes) -> list[zengin.Line]:
        """The lines of a file as its bytes have them: those whose digest is approved."""
        content = self._vault.open(sealed, context=content_context(file.file_id)).encode(ENCODING)
        assert hashlib.sha256(content).hexdigest() == file.content_sha256, "the file is not what was made"
        return zengin.read(content, near=file.transfer_on).lines


def _payee(line: FileLine, instruction: Instruction, record: zengin.Line) -> FilePayee:
    return FilePayee(
        line=line.line,
        instruction_id=line.instruction_id,
        owner_kind=instruction.owner_kind,
        owner_id=instruction.owner_id,
        bank_code=record.bank_code,
        bank_name=record.bank_name,
        branch_code=record.branch_code,
        branch_name=record.branch_name,
        deposit_type=_DEPOSIT_TYPES[record.deposit_type],
        last_digits=record.account_number[-LAST_DIGITS:],
        name=record.name,
        amount_minor=record.amount,
    )
