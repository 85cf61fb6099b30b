"""Files to the bank: trailers, lines and instructions, who approved, the bytes themselves, and our account's statement.

The bytes are sealed by the vault: where its keys are at hand each file is opened, hashed and read; its lines and
trailer must be the rows', and each line must go to the very account of its instruction: bank, branch, type, number and
holder's name, as they were sealed when the account was registered.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice, zip_longest
from pathlib import Path

import asyncpg

from kessai.apps.verify.checks import BROKEN_MAX, Check, run_check
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.foundation.vault import Vault, VaultSealBroken
from kessai.sdk import zengin
from kessai.services.bank.api import DepositType
from kessai.services.bank.gateways import Holding
from kessai.services.bank.service.accounts import FINGERPRINT, number_text
from kessai.services.bank.store import context_of
from kessai.services.bank.store.files import content_context
from kessai.simulators.bank import Books, Filed, FiledLine

CONTENT = "a file's bytes are its lines, and its trailer their sum"
STATEMENT = "the bank's statement agrees with ours"
ROWS = (
    Check("broken_files", "a file is what its lines, steps and approvals make it"),
    Check("own_approvals", "a file is sent once enough others have approved it"),
    Check("unapproved_files", "a file is sent once enough others have approved it"),
    Check("broken_lines", "a line is its instruction, and what its steps make it"),
    Check("orphaned_line_steps", "a line is its instruction, and what its steps make it"),
    Check("strange_line_steps", "a line is its instruction, and what its steps make it"),
    Check("instructions_twice", "an instruction is paid by one line"),
    Check("lines_against_instructions", "a line is its instruction, and what its steps make it"),
    Check("instructions_without_line", "an instruction is paid by one line"),
    Check("broken_statement_days", STATEMENT),
    Check("unexplained_statement", STATEMENT),
    Check("statement_against_instructions", STATEMENT),
)
THEIRS = "the bank's books agree with ours"
AT_BANK = ("SENT", "ACCEPTED", "CLOSED")
_ANY = ("accepted", "refused", "processing", "done", "failed", "returned", "recalled")
MAY_BE = {
    "APPROVED": _ANY,
    "SENT": _ANY,
    "ACCEPTED": ("accepted", "processing", "done", "failed", "returned", "recalled"),
    "REFUSED": ("refused",),
    "DONE": ("done", "returned", "recalled"),
    "FAILED": ("failed",),
    "RETURNED": ("returned",),
    "RECALLED": ("recalled",),
}
"""What a line may be at the bank by now, by what we knew of it."""
_TABLE = "bank.transfer_file"


async def check_bank_files(connection: Connection, report: Report) -> None:
    """Report every file, line and statement that does not follow from the rows it was made from."""
    for check in ROWS:
        await run_check(connection, _sql(), check, report, schema="bank", types={})


async def verify_contents(connection: Connection, vault: Vault, report: Report) -> None:
    """Report every file whose bytes are not what was approved, or not what its lines say."""
    sql = _sql()
    async for row in connection.cursor(sql["contents"], prefetch=1):
        key = f"btf_{row['file_id'].hex}"
        for text in await _faults(connection, sql, vault, key, row):
            report.add(CONTENT, _TABLE, key, text)


async def note_unread(connection: Connection, report: Report) -> None:
    """Tell that no file was opened, where there are files and no keys of the vault."""
    if files := await connection.fetchval(_sql()["count_contents"]):
        report.note(f"No keys of the vault here: contents and payees of {files} bank files were not compared.")


async def verify_lines(connection: Connection, path: Path, report: Report) -> None:
    """Report on which lines we and the simulated bank disagree; without a file of the bank's at `path`, on none."""
    earlier = Books.read(path)
    rows = await connection.fetch(_sql()["lines"])
    if (books := Books.read(path)) is not None:
        compare_files(rows, books, () if earlier is None else tuple(earlier.files.files), report)


async def _faults(connection: Connection, sql: Queries, vault: Vault, key: str, row: asyncpg.Record) -> list[str]:
    try:
        content = vault.open(row["content_sealed"], context=content_context(key)).encode("cp932")
    except VaultSealBroken:
        return ["its content cannot be opened: it was sealed for another row, or under a key that is not here"]
    if hashlib.sha256(content).digest() != row["content_sha256"]:
        return ["its content is not what was approved: the digest differs"]
    try:
        file = zengin.read(content, near=row["transfer_on"])
    except zengin.ZenginError as error:
        return [f"its content cannot be read: {error}"]
    found = list[str]()
    if (file.trailer.count, file.trailer.total) != (row["lines"], row["total_minor"]):
        found.append(f"its trailer is {file.trailer.count} of {file.trailer.total}, it says otherwise")
    lines = await connection.fetch(sql["lines_of_file"], row["file_id"])
    told = [(each.customer_code_1, each.customer_code_2, each.amount) for each in file.lines]
    there = [(each["customer_code_1"], each["customer_code_2"], each["amount_minor"]) for each in lines]
    wrong = [number for number, pair in enumerate(zip_longest(told, there), 1) if pair[0] != pair[1]]
    found += [f"its line {wrong[0]} is not what its row says"] if wrong else []
    astray = (_astray(vault, line, row) for line, row in zip(file.lines, lines, strict=False))
    return [*found, *islice((text for text in astray if text is not None), BROKEN_MAX)]


def _astray(vault: Vault, line: zengin.Line, row: asyncpg.Record) -> str | None:
    """How a line goes to another account than its instruction's, or this account is not what was registered."""
    if row["account_id"] is None:
        return f"its line {row['line']} is of no account"
    account_id = f"bac_{row['account_id'].hex}"
    try:
        number = vault.open(row["number_sealed"], context=context_of(account_id, "number"))
        holder = vault.open(row["holder_sealed"], context=context_of(account_id, "holder"))
    except VaultSealBroken:
        return f"the account of its line {row['line']} cannot be opened: {account_id}"
    kind = DepositType(row["deposit_type"])
    holding = Holding(
        bank_code=row["bank_code"], branch_code=row["branch_code"], deposit_type=kind, number=number, holder=holder
    )
    told = {
        "bank": (line.bank_code, holding.bank_code),
        "branch": (line.branch_code, holding.branch_code),
        "type of account": (line.deposit_type, zengin.DepositType[kind.name]),
        "account number": (line.account_number, number),
        "holder's name": (line.name, holder),
    }
    if others := [name for name, (there, here) in told.items() if there != here]:
        return f"its line {row['line']} has another {', '.join(others)} than {account_id}"
    if row["fingerprint"] not in vault.fingerprints(number_text(holding), context=FINGERPRINT):
        return f"the account of its line {row['line']} is not what was registered: {account_id}"
    return None


# -- the simulated bank's books ---------------------------------------------------------------------------------------


def compare_files(rows: Sequence[asyncpg.Record], books: Books, earlier: Collection[str], report: Report) -> None:
    """Our lines with the bank's, which may have gone on since; the files in `earlier` were there before we looked."""
    ours = {f"btf_{row['file_id'].hex}" for row in rows}
    for row in rows:
        file_id = f"btf_{row['file_id'].hex}"
        if (how := _unlike(row, books.files.files.get(file_id))) is not None:
            report.add(THEIRS, "bank.file_line", f"{file_id}/{row['line']}", how)
    for file_id in sorted(set(earlier) - ours):
        report.add(THEIRS, _TABLE, file_id, "unknown here, the bank has it")
    moved: Counter[tuple[str | None, int | None]] = Counter()
    for entry in books.statement():
        moved[entry.file_id, entry.line] += entry.amount
    for file in books.files.files.values():
        for line in file.lines:
            told = _moves(file.kind, line)
            if moved[file.id, line.number] != told:
                how = f"it is {line.state} there, which moves {told}; the statement says otherwise"
                report.add(THEIRS, "bank.file_line", f"{file.id}/{line.number}", how)


def _unlike(row: asyncpg.Record, file: Filed | None) -> str | None:
    if file is None:
        return f"its file is {row['file_state']} here, unknown there" if row["file_state"] in AT_BANK else None
    if file.sha256 != row["content_sha256"].hex():
        return "the bank has another file under this id"
    if file.state == "refused":
        return (
            None if row["state"] in ("SENT", "REFUSED", "DISCARDED") else f"{row['state']} here, its file refused there"
        )
    if row["line"] > len(file.lines):
        return None if file.state == "received" else "the bank's file has no such line"
    line: FiledLine = file.lines[int(row["line"]) - 1]
    if line.said.amount != row["amount_minor"]:
        return f"{row['amount_minor']} here, {line.said.amount} there"
    return None if line.state in MAY_BE.get(row["state"], ()) else f"{row['state']} here, {line.state} there"


def _moves(kind: str | None, line: FiledLine) -> int:
    """What a line in its state has done to our account."""
    if kind == "debit":
        return line.said.amount if line.state == "done" else 0
    return -line.said.amount if line.state in ("processing", "done") else 0


def _sql() -> Queries:
    return load_queries("kessai.apps.verify", file="sql/bank_files.sql")
