"""The saga of an instruction: told to the bank under its own id until the bank has it or has refused it.

A reply that is lost makes it UNKNOWN, and the bank is asked whether it has it before it is told again. What comes of it
later (DONE, FAILED, RETURNED) is heard from the bank's feed of results; whoever hears first writes it down, once.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import KeyReused, Refused, Unavailable, Unknown
from kessai.foundation.events import wake
from kessai.foundation.vault import Vault
from kessai.sdk.workflow import Activity, Retry, Workflow, define
from kessai.services.bank import store
from kessai.services.bank.api import FailureCode, Instruction, InstructionState
from kessai.services.bank.domain import AccountState, Change, Report, advanced
from kessai.services.bank.gateways import Finding, Holding
from kessai.services.bank.store import SealedAccount, context_of
from kessai.services.bank.store import files as file_store
from kessai.services.bank.workflows.deps import Deps

log = structlog.get_logger(__name__)

ANSWER_S = 5.0
"""How long the bank is asked before the instruction is told UNKNOWN."""
PAUSE_S = 0.2
PAUSE_S_MAX = 10.0
"""Longest pause between two attempts while the bank is away."""
SETTLE_ATTEMPTS_MAX = 8


class Order(Message, frozen=True):
    """Which instruction to carry out; everything else is in its row, and nothing personal is in the journal."""

    instruction_id: str


class Registration(Message, frozen=True):
    """Which account the bank is to be asked for a mandate on; everything else is in its row, sealed."""

    account_id: str


class Answered(Message, frozen=True):
    """What the bank says about a mandate; None: it knows our id for another account."""

    finding: Finding | None


class Noted(Message, frozen=True):
    """The state that was written down, or was there already."""

    state: InstructionState


class Overtaken(Exception):
    """Another report was written first."""


@define("bank.instruct", version=1)
async def instruct(wf: Workflow[Deps], order: Order) -> Noted:
    """Have the bank take an instruction, however long it is away."""
    retry = Retry(delay_s=PAUSE_S, delay_s_max=PAUSE_S_MAX)
    try:
        return await wf.activity(tell_bank, order, deadline_s=ANSWER_S, retry=retry)
    except Unknown:
        await wf.activity(lose_track, order)
    except Unavailable:
        pass  # it was surely not sent: it is still to be
    return await wf.activity(tell_bank, order, retry=retry)


@define("bank.register", version=1)
async def register(wf: Workflow[Deps], registration: Registration) -> Answered:
    """Have the bank agree to debits from an account, however long it is away."""
    retry = Retry(delay_s=PAUSE_S, delay_s_max=PAUSE_S_MAX)
    answered = await wf.activity(ask_for_mandate, registration, retry=retry, repeatable=True)
    agreed = answered.finding is Finding.CONFIRMED
    state = AccountState.ACTIVE if agreed else AccountState.REFUSED
    wf.record(store.account_settlement(registration.account_id, state))
    if answered.finding is None:
        raise KeyReused
    if not agreed:
        raise unconfirmed(answered.finding)
    return answered


# -- activities: each may be repeated ---------------------------------------------------------------------------


async def tell_bank(activity: Activity[Deps], order: Order) -> Noted:
    """Send the instruction unless the bank has it already, and write down what it says."""
    deps, instruction_id = activity.deps, order.instruction_id
    kind = store.kind_of(instruction_id)
    instruction = await load(deps.database, instruction_id)
    if instruction.state not in (InstructionState.ACCEPTED, InstructionState.UNKNOWN):
        return Noted(state=instruction.state)  # the feed was faster
    report = None
    if instruction_id in deps.untold:
        deps.untold.discard(instruction_id)
    else:
        report = await deps.bank.inquire(kind, instruction_id)
    if report is None:
        (sealed,) = await store.load_accounts(deps.database, [instruction.account_id])
        holding = opened(deps.vault, sealed)
        report = await deps.bank.instruct(
            kind, instruction_id, holding, instruction.account_id, instruction.amount_minor
        )
    return Noted(state=(await settle(deps, {instruction_id: report}))[0].state)


async def ask_for_mandate(activity: Activity[Deps], registration: Registration) -> Answered:
    """Ask for a mandate, unless the bank says that it has agreed to it already."""
    deps, account_id = activity.deps, registration.account_id
    if account_id in deps.untold:
        deps.untold.discard(account_id)
    elif await deps.bank.has_agreed(account_id):
        return Answered(finding=Finding.CONFIRMED)
    (sealed,) = await store.load_accounts(deps.database, [account_id])
    try:
        return Answered(finding=await deps.bank.agree(account_id, opened(deps.vault, sealed)))
    except KeyReused:
        return Answered(finding=None)


async def lose_track(activity: Activity[Deps], order: Order) -> Noted:
    """Say that the bank's reply is missing, unless something is known by now."""
    unknown = Report(state=InstructionState.UNKNOWN)
    return Noted(state=(await settle(activity.deps, {order.instruction_id: unknown}))[0].state)


# -- writing down -----------------------------------------------------------------------------------------------


async def settle(
    deps: Deps,
    reports: dict[str, Report],
    *,
    feed: tuple[int, int] | None = None,
    unread: Sequence[tuple[str, int]] = (),
) -> list[Instruction]:
    """Write down what was heard of instructions, with steps and events; gives them as they are afterwards.

    What is behind what is known changes nothing. With `feed` (was, is) the feed's position goes on in the same
    transaction, and what of it was `unread` is noted; raises Overtaken when another process moved it.
    """

    async def write(connection: Connection) -> list[Instruction]:
        found = {each.instruction_id: each for each in await store.load_instructions(connection, list(reports))}
        now = deps.clock.now()
        changes = [
            change
            for instruction_id, instruction in found.items()
            if (change := advanced(instruction, reports[instruction_id], now)) is not None
        ]
        if feed is not None and not await store.move_feed(connection, *feed):
            raise Overtaken
        if unread:
            await store.note_unread(connection, unread, now)
        if changes and not await write_steps(deps, connection, changes):
            raise Overtaken
        found |= {change.instruction.instruction_id: change.instruction for change in changes}
        return list(found.values())

    for _ in range(1 if feed is not None else SETTLE_ATTEMPTS_MAX):
        try:
            after = await deps.database.transaction(store.ROLE, write)
        except Overtaken:
            if feed is not None:
                raise
            continue
        wake(deps.database, store.SCHEMA.service)
        return after
    raise Unavailable("contention", "Too many concurrent changes to the same instruction; try again.")


async def write_steps(deps: Deps, connection: Connection, changes: Sequence[Change]) -> bool:
    """Steps of instructions (one each) with their events, and what they say of their accounts; False when one of them
    has changed meanwhile (then roll back)."""
    if not await store.write_changes(connection, changes):
        return False
    freeze = deps.terms.freeze
    frozen = await file_store.count_failures(connection, changes, freeze.codes, freeze.after, deps.clock.now())
    for account_id in frozen:
        log.warning("bank_account_frozen", account_id=account_id)
    return True


async def prevent(deps: Deps, instruction: Instruction, caller: str) -> Instruction:
    """Write down that it was aborted, under its id, so that nobody ever journals it; what was journalled before stays
    as it is. Gives how it stands afterwards."""

    async def write(connection: Connection) -> Instruction:
        if not await store.insert(connection, instruction, caller):
            (found,) = await store.load_instructions(connection, [instruction.instruction_id])
            return found
        aborted = Report(state=InstructionState.FAILED, failure_code=FailureCode.ABORTED)
        change = advanced(instruction, aborted, instruction.created_at)
        assert change is not None
        await store.write_changes(connection, [change])
        return change.instruction

    after = await deps.database.transaction(store.ROLE, write)
    wake(deps.database, store.SCHEMA.service)
    return after


async def load(database: Database, instruction_id: str) -> Instruction:
    """An instruction that is known to exist."""
    (found,) = await database.transaction(
        store.ROLE, lambda connection: store.load_instructions(connection, [instruction_id])
    )
    return found


def opened(vault: Vault, sealed: SealedAccount) -> Holding:
    """An account as the bank must be told of it."""
    account = sealed.account
    return Holding(
        bank_code=account.bank_code,
        branch_code=account.branch_code,
        deposit_type=account.deposit_type,
        number=vault.open(sealed.number, context=context_of(account.account_id, "number")),
        holder=vault.open(sealed.holder, context=context_of(account.account_id, "holder")),
    )


def unconfirmed(finding: Finding) -> Refused:
    """Why an account is not registered."""
    match finding:
        case Finding.NO_ACCOUNT:
            return Refused("no_such_bank_account", "The bank has no such account, or has closed it.")
        case Finding.NAME_MISMATCH:
            return Refused("holder_name_mismatch", "The bank has this account under another name.")
        case Finding.CANNOT_BE_DEBITED | Finding.CONFIRMED:
            return Refused("debits_not_possible", "The bank does not allow debits from this account.")
