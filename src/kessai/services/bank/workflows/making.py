"""Making files: what waits for a day becomes the lines of that day's files, in the very bytes that the bank will get.

A file is made in one transaction with its lines and the instructions that went into it: none is in two files, and none
that has come to another end is in one. What cannot be written in the bank's alphabet fails before there is a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime

from msgspec.structs import replace

from kessai.foundation.calendar import business_day_on_or_before
from kessai.foundation.clock import TOKYO
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import Unavailable
from kessai.foundation.events import wake
from kessai.foundation.ids import new_id
from kessai.sdk import zengin
from kessai.sdk.jobs import JobOrder, progress
from kessai.sdk.workflow import Activity
from kessai.services.bank import store
from kessai.services.bank.api import (
    BankFile,
    DepositType,
    FailureCode,
    FileLine,
    FileState,
    Instruction,
    InstructionKind,
    LineState,
)
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.domain import Change, FileTerms, Report, advanced, customer_code
from kessai.services.bank.gateways import Holding
from kessai.services.bank.gateways.places import place_of
from kessai.services.bank.store import files as file_store
from kessai.services.bank.store.files import NewFile, content_context
from kessai.services.bank.workflows.deps import Deps
from kessai.services.bank.workflows.instructing import opened, write_steps

ENCODING = "cp932"
"""Of a file: JIS X 0201, one byte each."""
KINDS = (InstructionKind.TRANSFER, InstructionKind.DEBIT)
TOTAL_MAX = 999_999_999_999
"""What a trailer can say, in yen."""
HEADER_LINE = 1
_ZENGIN_KINDS = {InstructionKind.TRANSFER: zengin.Kind.TRANSFER, InstructionKind.DEBIT: zengin.Kind.DEBIT}
_DEPOSIT_TYPES = {
    DepositType.ORDINARY: zengin.DepositType.ORDINARY,
    DepositType.CURRENT: zengin.DepositType.CURRENT,
    DepositType.SAVINGS: zengin.DepositType.SAVINGS,
}


class MakingOrder(Message, frozen=True):
    """Make one more file of a kind, of what waits for it."""

    job: JobOrder
    kind: InstructionKind
    made: int
    """Instructions that earlier files of this run took."""


class Made(Message, frozen=True):
    """What one file came to; `lines` is 0 when nothing waited that could be written."""

    lines: int = 0
    failed: int = 0
    """Instructions that cannot be written."""
    file_id: str | None = None
    more: bool = False


def day_of(deps: Deps, kind: InstructionKind, day: date) -> date | None:
    """The day whose files are made on a day; None: it is no business day, or the cut-off is still to come.

    No file is made of a day that is over: a run that comes too late for its own makes those of the first day whose
    cut-off is not past, with what was left of the days before. Whether a file of today is in time, the bank says.
    """
    now = deps.clock.now()
    if business_day_on_or_before(day) != day or (its := deps.terms.day_cut_off_on(kind, day, now)) is None:
        return None
    return its if now.astimezone(TOKYO).date() <= its else deps.terms.day_for(kind, its, now)


# -- activities -------------------------------------------------------------------------------------------------


async def count_due(activity: Activity[Deps], order: JobOrder) -> Made:
    """How much would go into files; writes nothing."""
    deps, lines = activity.deps, 0
    for kind in KINDS:
        if (day := day_of(deps, kind, order.day)) is not None:
            lines += (await file_store.count_waiting(deps.database, kind, day))[0]
    return Made(lines=lines)


async def make_file(activity: Activity[Deps], order: MakingOrder) -> Made:
    """One file of what waits for its day; the days before, for which nobody made one, are with it."""
    deps, kind = activity.deps, order.kind
    day = day_of(deps, kind, order.job.day)
    if day is None:
        return Made()
    terms, now = deps.terms.run(kind), deps.clock.now()
    waiting = await file_store.waiting(activity.connection, kind, day, terms.lines_max + 1)
    chosen = _within_total(waiting[: terms.lines_max])
    holdings = await _holdings(deps, chosen)
    header = header_of(deps.terms, kind, day)
    content, writable, failed = _written(header, chosen, holdings)
    await _fail(deps, activity.connection, failed, now)
    made = Made(failed=len(failed), more=len(waiting) > len(chosen))
    if writable:
        new = _new_file(deps, kind, day, content, writable, now)
        if not await file_store.insert_file(activity.connection, new, now):
            raise Unavailable("contention", "An instruction was changed meanwhile; try again.")
        made = Made(lines=len(writable), failed=len(failed), file_id=new.file.file_id, more=made.more)
    wake(deps.database, store.SCHEMA.service)
    return made


async def tell_progress(activity: Activity[Deps], order: MakingOrder) -> None:
    """How many instructions this run has taken so far."""
    deps = activity.deps
    await progress(deps.database, deps.clock, order.job, done=order.made, total=None)


# -- the file ---------------------------------------------------------------------------------------------------


def header_of(terms: FileTerms, kind: InstructionKind, day: date) -> zengin.Header:
    """Who asks for it, and when."""
    client = terms.client
    place = place_of(client.bank_code, client.branch_code)
    return zengin.Header(
        kind=_ZENGIN_KINDS[kind],
        client_code=client.code,
        client_name=client.name,
        day=day,
        bank_code=client.bank_code,
        bank_name=place.bank if place else "",
        branch_code=client.branch_code,
        branch_name=place.branch if place else "",
        deposit_type=_DEPOSIT_TYPES[client.deposit_type],
        account_number=client.account_number,
    )


def _record(instruction: Instruction, holding: Holding) -> zengin.Line:
    place = place_of(holding.bank_code, holding.branch_code)
    first, second = _codes(instruction)
    return zengin.Line(
        bank_code=holding.bank_code,
        bank_name=place.bank if place else "",
        branch_code=holding.branch_code,
        branch_name=place.branch if place else "",
        deposit_type=_DEPOSIT_TYPES[holding.deposit_type],
        account_number=holding.number,
        name=holding.holder,
        amount=instruction.amount_minor,
        customer_code_1=first,
        customer_code_2=second,
    )


def _codes(instruction: Instruction) -> tuple[str, str]:
    """顧客コード: the first stands for the owner, the second for the instruction."""
    owner = customer_code("owner", instruction.owner_kind, instruction.owner_id)
    return owner, customer_code("instruction", instruction.instruction_id)


def _within_total(instructions: Sequence[Instruction]) -> list[Instruction]:
    """As many as one trailer can add up."""
    total, chosen = 0, list[Instruction]()
    for each in instructions:
        total += each.amount_minor
        if total > TOTAL_MAX:
            break
        chosen.append(each)
    return chosen


async def _holdings(deps: Deps, instructions: Sequence[Instruction]) -> dict[str, Holding]:
    ids = list({each.account_id for each in instructions})
    sealed = await store.load_accounts(deps.database, ids) if ids else []
    return {each.account.account_id: opened(deps.vault, each) for each in sealed}


def _written(
    header: zengin.Header, instructions: Sequence[Instruction], holdings: dict[str, Holding]
) -> tuple[bytes, list[tuple[Instruction, zengin.Line]], list[Instruction]]:
    """The file's bytes, the instructions in it with their records, and those that cannot be written."""
    records = [(each, _record(each, holdings[each.account_id])) for each in instructions]
    failed: list[Instruction] = []
    while records:
        try:
            return zengin.write(header, [record for _, record in records]), records, failed
        except zengin.ZenginError as error:
            if error.line <= HEADER_LINE:  # nothing can be written: an operator has to mend the terms
                raise
            failed.append(records.pop(error.line - HEADER_LINE - 1)[0])
    return b"", records, failed


async def _fail(deps: Deps, connection: Connection, instructions: Sequence[Instruction], now: datetime) -> None:
    report = Report(state=S.FAILED, failure_code=FailureCode.NOT_WRITABLE)
    changes: list[Change] = [change for each in instructions if (change := advanced(each, report, now)) is not None]
    if changes and not await write_steps(deps, connection, changes):
        raise Unavailable("contention", "An instruction was changed meanwhile; try again.")


def _new_file(
    deps: Deps,
    kind: InstructionKind,
    day: date,
    content: bytes,
    records: Sequence[tuple[Instruction, zengin.Line]],
    now: datetime,
) -> NewFile:
    file_id, needed = new_id("btf"), deps.terms.approvals.needed
    lines = [_new_line(file_id, number, each, record, now) for number, (each, record) in enumerate(records, 1)]
    file = BankFile(
        file_id=file_id,
        kind=kind,
        transfer_on=day,
        state=FileState.MADE if needed else FileState.APPROVED,
        version=0,
        lines=len(lines),
        total_minor=sum(each.amount_minor for each in lines),
        open_lines=len(lines),
        content_sha256=hashlib.sha256(content).hexdigest(),
        approvals_needed=needed,
        approved=0,
        code=None,
        maker=store.SCHEMA.service,
        made_at=now,
        sent_at=None,
        paid_lines=0,
        paid_minor=0,
        unpaid_lines=0,
        unpaid_minor=0,
        approvals=[],
        steps=[],
    )
    sealed = deps.vault.seal(content.decode(ENCODING), context=content_context(file_id))
    if not needed:
        lines = [replace(each, state=LineState.APPROVED) for each in lines]
    return NewFile(file=file, content=sealed, lines=lines)


def _new_line(file_id: str, number: int, instruction: Instruction, record: zengin.Line, now: datetime) -> FileLine:
    return FileLine(
        file_id=file_id,
        line=number,
        instruction_id=instruction.instruction_id,
        customer_code_1=record.customer_code_1,
        customer_code_2=record.customer_code_2,
        amount_minor=instruction.amount_minor,
        attempt=instruction.attempts + 1,
        state=LineState.MADE,
        failure_code=None,
        booked_on=None,
        recall=None,
        version=0,
        updated_at=now,
    )
