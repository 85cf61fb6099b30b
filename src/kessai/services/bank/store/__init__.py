"""The bank schema and nothing else. A sealed column is bound to its row: see `context_of`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.foundation.events import outbox_insert, outbox_row
from kessai.foundation.ids import bare
from kessai.foundation.migrations import SchemaSpec
from kessai.sdk.processing.announce import touched_row
from kessai.sdk.workflow import Write
from kessai.services.bank.api import (
    TOPICS,
    BankAccount,
    DepositType,
    FailureCode,
    Instruction,
    InstructionKind,
    InstructionState,
    InstructionStep,
    OwnerKind,
)
from kessai.services.bank.domain import AccountState, Change, Doubt, event_of

SCHEMA = SchemaSpec(
    service="bank",
    package="kessai.services.bank",
    components=("kessai.foundation.events", "kessai.sdk.workflow", "kessai.sdk.jobs"),
)
ROLE = role_of("bank")
FIRST = "00000000-0000-0000-0000-000000000000"
LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), LAST)
OLDEST = (datetime(1970, 1, 1, tzinfo=UTC), FIRST)
ACCOUNTS_LISTED_MAX = 100

_SQL = load_queries("kessai.services.bank")
_OUTBOX_INSERT = outbox_insert("bank")
_PREFIXES = {InstructionKind.TRANSFER: "btr_", InstructionKind.DEBIT: "bdb_"}


@dataclass(frozen=True, slots=True)
class SealedAccount:
    """A bank account with what the vault keeps of it."""

    account: BankAccount
    number: bytes = field(repr=False)
    holder: bytes = field(repr=False)
    fingerprint: bytes = field(default=b"", repr=False)
    """Only written, never read back."""
    state: AccountState = AccountState.ACTIVE


def context_of(account_id: str, column: str) -> str:
    """What a sealed column is bound to."""
    return f"bank.account/{account_id}/{column}"


def kind_of(instruction_id: str) -> InstructionKind:
    """Which kind an instruction's id tells."""
    return InstructionKind.TRANSFER if instruction_id.startswith("btr_") else InstructionKind.DEBIT


# -- accounts ---------------------------------------------------------------------------------------------------


def account_insertion(sealed: SealedAccount, caller: str, state: AccountState) -> Write:
    """A new account; one whose id is taken is left as it is."""
    account = sealed.account
    row = (
        bare(account.account_id),
        account.owner_kind.value,
        account.owner_id,
        account.bank_code,
        account.branch_code,
        account.deposit_type.value,
        sealed.number,
        sealed.holder,
        sealed.fingerprint,
        account.last_digits,
        account.debits,
        caller,
        account.registered_at,
        state.value,
    )
    return Write(_SQL["insert_accounts"], row)


def account_settlement(account_id: str, state: AccountState) -> Write:
    """What became of an account that was PENDING."""
    return Write(_SQL["settle_accounts"], (bare(account_id), state.value), guarded=True)


async def load_accounts(database: Database, account_ids: Sequence[str]) -> list[SealedAccount]:
    """Those of the accounts that exist."""
    rows = await database.fetch(ROLE, _SQL["load_accounts"], [bare(each) for each in account_ids])
    return [_account(row) for row in rows]


async def accounts_of_owner(
    database: Database, owner_kind: OwnerKind, owner_id: str, *, include_removed: bool
) -> list[BankAccount]:
    """An owner's accounts, newest first."""
    rows = await database.fetch(
        ROLE, _SQL["accounts_of_owner"], owner_id, owner_kind.value, include_removed, ACCOUNTS_LISTED_MAX
    )
    return [_account(row).account for row in rows]


async def account_alike(
    database: Database, fingerprints: Sequence[bytes], owner_kind: OwnerKind, owner_id: str
) -> str | None:
    """The id of an owner's account at the same bank with the same number, if one is registered."""
    rows = await database.fetch(ROLE, _SQL["accounts_alike"], list(fingerprints), owner_kind.value, owner_id)
    return f"bac_{rows[0]['account_id'].hex}" if rows else None


async def remove_accounts(connection: Connection, account_ids: Sequence[str], at: datetime) -> None:
    """Remove those that are not yet."""
    await connection.execute(_SQL["remove_accounts"], [bare(each) for each in account_ids], at)


async def accounts_under_old_keys(database: Database, head: bytes, after: str, limit: int) -> list[SealedAccount]:
    """Accounts not sealed under the newest key, by id beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["accounts_under_old_keys"], after, head, limit)
    return [_account(row) for row in rows]


async def reseal_accounts(connection: Connection, accounts: Sequence[SealedAccount]) -> None:
    """Write what was sealed anew."""
    await connection.execute(
        _SQL["reseal_accounts"],
        [bare(each.account.account_id) for each in accounts],
        [each.number for each in accounts],
        [each.holder for each in accounts],
        [each.fingerprint for each in accounts],
    )


def _account(row: asyncpg.Record) -> SealedAccount:
    account = BankAccount(
        account_id=f"bac_{row['account_id'].hex}",
        owner_kind=OwnerKind(row["owner_kind"]),
        owner_id=row["owner_id"],
        bank_code=row["bank_code"],
        branch_code=row["branch_code"],
        deposit_type=DepositType(row["deposit_type"]),
        last_digits=row["last_digits"],
        debits=row["debits"],
        registered_at=row["registered_at"],
        removed_at=row["removed_at"],
        failures=row["failures"],
        frozen_at=row["frozen_at"],
    )
    return SealedAccount(account, row["number_sealed"], row["holder_sealed"], state=AccountState(row["state"]))


# -- instructions -----------------------------------------------------------------------------------------------


def insertion(instruction: Instruction, caller: str) -> Write:
    """A new instruction, written with the start of its workflow; conflicts when its id is taken."""
    row = new_row(instruction, caller)
    return Write(_SQL["insert_instruction"], row, guarded=True, processing_id=instruction.processing_id)


async def insert(connection: Connection, instruction: Instruction, caller: str) -> bool:
    """Write a new instruction without a workflow; False when its id is taken."""
    columns = ([value] for value in new_row(instruction, caller))
    return bool(await connection.fetch(_SQL["insert_instruction"], *columns))


def new_row(instruction: Instruction, caller: str) -> tuple[object, ...]:
    """The columns of a new instruction that every one has."""
    return (
        bare(instruction.instruction_id),
        instruction.kind.value,
        bare(instruction.account_id),
        instruction.owner_kind.value,
        instruction.owner_id,
        instruction.amount_minor,
        instruction.reference,
        instruction.processing_id,
        caller,
        instruction.created_at,
    )


async def load_instructions(connection: Connection, instruction_ids: Sequence[str]) -> list[Instruction]:
    """Those of the instructions that exist."""
    ids, kinds = [bare(each) for each in instruction_ids], [kind_of(each).value for each in instruction_ids]
    return [instruction_of(row) for row in await connection.fetch(_SQL["load_instructions"], ids, kinds)]


async def write_changes(connection: Connection, changes: Sequence[Change]) -> bool:
    """Write steps with their events; False when one of the instructions has changed meanwhile (then roll back)."""
    after = [each.instruction for each in changes]
    ids, kinds = [bare(each.instruction_id) for each in after], [each.kind.value for each in after]
    states, codes = [each.state.value for each in after], [each.failure_code for each in after]
    times, versions = [each.updated_at for each in after], [each.version for each in after]
    references = [each.bank_reference for each in after]
    rows = await connection.fetch(
        _SQL["change_instructions"], ids, kinds, states, versions, codes, references, times
    )  # fmt: skip
    if len(rows) != len(after):
        return False
    were = [each.was.value for each in changes]
    processings, callers = [each.processing_id for each in after], [SCHEMA.service] * len(after)
    await connection.execute(
        _SQL["insert_steps"], ids, kinds, versions, states, codes, times, processings, callers, were
    )  # fmt: skip
    await _publish(connection, changes)
    return True


async def _publish(connection: Connection, changes: Sequence[Change]) -> None:
    rows = [
        outbox_row(topic, events, max(event.occurred_at for event in events))
        for kind, topic in TOPICS.items()
        if (events := [event_of(each) for each in changes if each.instruction.kind is kind])
    ]
    now = max(each.instruction.updated_at for each in changes)
    rows.append(touched_row((each.instruction.processing_id for each in changes), now))
    await connection.execute(_OUTBOX_INSERT, *(list(column) for column in zip(*rows, strict=True)))


async def steps_of(database: Database, instruction_id: str) -> list[InstructionStep]:
    """Steps of an instruction after the first, oldest first."""
    kind = kind_of(instruction_id).value
    rows = await database.fetch(ROLE, _SQL["steps_of_instruction"], bare(instruction_id), kind)
    return [
        InstructionStep(
            sequence=row["sequence"],
            state=InstructionState(row["state"]),
            failure_code=_code(row["failure_code"]),
            recorded_at=row["recorded_at"],
        )
        for row in rows
    ]


async def instructions_of_owner(
    database: Database,
    owner_kind: OwnerKind,
    owner_id: str,
    kind: InstructionKind | None,
    before: tuple[datetime, str],
    limit: int,
) -> list[Instruction]:
    """An owner's instructions made before an instant (and id), newest first."""
    arguments = (owner_id, owner_kind.value, kind and kind.value, *before, limit)
    return [instruction_of(row) for row in await database.fetch(ROLE, _SQL["instructions_of_owner"], *arguments)]


async def in_doubt(database: Database, until: datetime, after: tuple[datetime, str], limit: int) -> list[Instruction]:
    """Instructions without an end that have not changed since `until`, oldest first, beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["instructions_in_doubt"], until, *after, limit)
    return [instruction_of(row) for row in rows]


async def doubt(database: Database, now: datetime) -> Doubt:
    """What the bank has still to answer; `now` is business time."""
    (row,) = await database.fetch(ROLE, _SQL["doubt"])
    oldest_s = 0.0 if row["since"] is None else max(0.0, (now - row["since"]).total_seconds())
    return Doubt(row["instructions"], oldest_s, row["mandates"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """An instruction, as far as it moves money."""

    instruction_id: str
    kind: InstructionKind
    state: InstructionState
    amount_minor: int
    by_file: bool
    bank_reference: str | None


async def moved_amounts(database: Database, after: tuple[str, str], limit: int) -> list[Moving]:
    """Instructions as far as they move money, by id and kind beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["moved_amounts"], *after, limit)
    return [
        Moving(
            instruction_id=_PREFIXES[InstructionKind(row["kind"])] + row["instruction_id"].hex,
            kind=InstructionKind(row["kind"]),
            state=InstructionState(row["state"]),
            amount_minor=row["amount_minor"],
            by_file=row["by_file"],
            bank_reference=row["bank_reference"],
        )
        for row in rows
    ]


# -- the feed ---------------------------------------------------------------------------------------------------


async def feed_position(connection: Connection) -> int:
    """The position up to which the bank's results are known here."""
    return await connection.fetchval(_SQL["feed_position"])


async def move_feed(connection: Connection, was: int, to: int) -> bool:
    """Go on to a position; False when another process did (then roll back)."""
    return await connection.fetchval(_SQL["move_feed"], was, to) is not None


async def note_unread(connection: Connection, unread: Sequence[tuple[str, int]], at: datetime) -> None:
    """Instructions (and positions) of which the feed told what could not be read."""
    ids = [each for each, _ in unread]
    kinds, positions = [kind_of(each).value for each in ids], [position for _, position in unread]
    await connection.execute(_SQL["note_unread"], [bare(each) for each in ids], kinds, positions, at)


async def unread_instructions(
    database: Database, after: tuple[str, str, int], limit: int
) -> list[tuple[Instruction, int]]:
    """Instructions of which the feed told what could not be read, with the entry's position, beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["unread_instructions"], *after, limit)
    return [(instruction_of(row), row["position"]) for row in rows]


async def forget_unread(database: Database, instruction: Instruction, position: int) -> None:
    """The bank has told of it in words that we know."""
    await database.fetch(
        ROLE, _SQL["forget_unread"], [bare(instruction.instruction_id)], [instruction.kind.value], [position]
    )


def instruction_of(row: asyncpg.Record) -> Instruction:
    """An instruction as its row has it."""
    kind = InstructionKind(row["kind"])
    return Instruction(
        instruction_id=_PREFIXES[kind] + row["instruction_id"].hex,
        kind=kind,
        state=InstructionState(row["state"]),
        account_id=f"bac_{row['account_id'].hex}",
        owner_kind=OwnerKind(row["owner_kind"]),
        owner_id=row["owner_id"],
        amount_minor=row["amount_minor"],
        failure_code=_code(row["failure_code"]),
        bank_reference=row["bank_reference"],
        reference=row["reference"],
        processing_id=row["processing_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
        transfer_on=row["transfer_on"],
        asked_on=row["asked_on"],
        attempts=row["attempt"],
        file_id=None if row["file_id"] is None else f"btf_{row['file_id'].hex}",
        line=row["file_line"],
    )


def _code(value: str | None) -> FailureCode | None:
    return None if value is None else FailureCode(value)
