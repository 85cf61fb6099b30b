"""The statement of our own account: each day imported once, and compared with our own rows as often as one likes.

Our balance at a day's end is the first day's opening with everything that our rows say was moved since; it must be the
statement's closing. An instruction that was under way at the day's end is where the statement has it; every other one
must have moved on the statements what it moved here. What differs is listed, and marked when it is resolved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

import structlog
from msgspec.structs import replace

from kessai.foundation.clock import TOKYO
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.bank import store
from kessai.services.bank.api import StatementDay, StatementDifference
from kessai.services.bank.gateways import BankLine, BankStatement
from kessai.services.bank.store import files as file_store
from kessai.services.bank.store import statements
from kessai.services.bank.store.statements import NewLine
from kessai.services.bank.workflows.deps import Deps
from kessai.services.bank.workflows.running import AWAY

log = structlog.get_logger(__name__)

DAYS_MAX = 62
"""Days without a statement that one run makes good."""
AGAIN_MAX = 31
"""Of so many days before, a run looks again at those that did not agree: what came back may be heard of later."""
_INSTRUCTION = re.compile(r"(btr|bdb)_[0-9a-f]{32}")
_LINE = re.compile(r"(btf_[0-9a-f]{32})-([0-9]{6})")
ONE_DAY = timedelta(days=1)


class DayOrder(Message, frozen=True):
    """Which day to import and compare."""

    job: JobOrder
    day: date


class DaysDue(Message, frozen=True):
    """The days whose statements are to be imported, oldest first; then those to be looked at again."""

    days: list[date]


class DayLooked(Message, frozen=True):
    """What a day came to; `lines` None: its statement is not there yet."""

    lines: int | None
    differences: int = 0


@define("bank.statement", version=1)
async def run_statement(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Import our account's statement up to a day, and compare our own rows with it."""
    due = await wf.activity(days_due, order)
    if order.dry_run:
        return JobDone(done=len(due.days), note=f"{len(due.days)} days would be imported or compared.")
    lines, differences = 0, 0
    for day in due.days:
        looked = await wf.activity(look_at_day, DayOrder(job=order, day=day), retry=AWAY)
        if looked.lines is None:
            return JobDone(done=lines, note=f"The bank has no statement of {day.isoformat()} yet.")
        lines, differences = lines + looked.lines, differences + looked.differences
    return JobDone(done=lines, note=f"{lines} lines of {len(due.days)} days, {differences} differences.")


# -- activities -------------------------------------------------------------------------------------------------


async def days_due(activity: Activity[Deps], order: JobOrder) -> DaysDue:
    """The day itself, after those before it that are missing; and whichever of the last ones did not agree."""

    async def read(connection: Connection) -> list[StatementDay]:
        return await statements.days_before(connection, order.day, AGAIN_MAX)

    known = await activity.deps.database.transaction(store.ROLE, read)
    first = max(known[0].day + ONE_DAY, order.day - DAYS_MAX * ONE_DAY) if known else order.day
    again = [each.day for each in reversed(known) if not each.agrees]
    return DaysDue(days=[*(first + n * ONE_DAY for n in range((order.day - first).days + 1)), *again])


async def look_at_day(activity: Activity[Deps], order: DayOrder) -> DayLooked:
    """Import a day, unless it was, and compare it."""
    deps, day = activity.deps, order.day
    told = await deps.files.statement(day, deps.clock.now())
    if told is None:
        return DayLooked(lines=None)

    async def write(connection: Connection) -> StatementDay:
        now = deps.clock.now()
        known = await statements.load_day(connection, day)
        if known is None:
            lines = await _correlated(connection, told.lines)
            await statements.insert_day(connection, _new_day(told, now), lines)
        return await compare_day(connection, day, now, told, deps.terms.overdue_before(day))

    looked = await deps.database.transaction(store.ROLE, write)
    open_ones = [each for each in looked.differences if each.resolved_at is None]
    for each in open_ones:
        log.error(
            "bank_statement_differs",
            day=day.isoformat(),
            about=each.about,
            reason=each.reason,
            ours_minor=each.ours_minor,
            theirs_minor=each.theirs_minor,
        )
    await progress(deps.database, deps.clock, order.job, done=looked.lines, total=None)
    return DayLooked(lines=looked.lines, differences=len(open_ones))


async def _correlated(connection: Connection, lines: Sequence[BankLine]) -> list[NewLine]:
    """Each line with the instruction that it is of: by the id under which the bank has it."""
    online = {each.bank_id for each in lines if _INSTRUCTION.fullmatch(each.bank_id)}
    known = {each.instruction_id for each in await store.load_instructions(connection, sorted(online))}
    places = {
        each.bank_id: (found[1], int(found[2]))
        for each in lines
        if (found := _LINE.fullmatch(each.bank_id)) is not None
    }
    found_lines = await file_store.load_lines(connection, set(places.values()))
    of_line = {place: line.instruction_id for place, line in found_lines.items()}

    def whose(bank_id: str) -> str | None:
        return bank_id if bank_id in known else of_line.get(places.get(bank_id, ("", 0)))

    return [
        NewLine(
            position=each.position,
            bank_id=each.bank_id,
            instruction_id=whose(each.bank_id),
            amount_minor=each.amount_minor,
            balance_minor=each.balance_minor,
        )
        for each in lines
    ]


def _new_day(told: BankStatement, now: datetime) -> StatementDay:
    return StatementDay(
        day=told.day,
        opening_minor=told.opening_minor,
        moved_minor=sum(each.amount_minor for each in told.lines),
        closing_minor=told.closing_minor,
        ours_minor=told.closing_minor,
        lines=len(told.lines),
        agrees=False,
        imported_at=now,
        looked_at=now,
        differences=[],
    )


async def compare_day(
    connection: Connection, day: date, now: datetime, told: BankStatement, overdue_before: date
) -> StatementDay:
    """Compare a day that was imported with our own rows, and write down what differs; gives the day."""
    known, first = await statements.load_day(connection, day), await statements.first_day(connection)
    assert known is not None
    assert first is not None
    before = await statements.days_before(connection, day, 1)
    moved, differing = await statements.ours_beside_theirs(
        connection, day, _midnight(day + ONE_DAY), _midnight(first.day), overdue_before
    )
    ours = first.opening_minor + moved
    found = {each.about: each for each in _sums(known, before, told, now)}
    for about, amount in await statements.unknown_lines(connection, day):
        found[about] = _difference(about, "unknown_line", 0, amount, now)
    for each in differing:
        reason = _reason(each.ours_minor, each.theirs_minor)
        found[each.instruction_id] = _difference(each.instruction_id, reason, each.ours_minor, each.theirs_minor, now)
    if ours != known.closing_minor and "closing" not in found:
        found["closing"] = _difference("closing", "not_ours", ours, known.closing_minor, now)
    await statements.write_differences(connection, day, list(found.values()), now)
    await statements.look_at_day(connection, day, ours, agrees=not found, now=now)
    after = await statements.load_day(connection, day)
    assert after is not None
    return replace(after, differences=await statements.differences_of(connection, day))


def _sums(
    known: StatementDay, before: Sequence[StatementDay], told: BankStatement, now: datetime
) -> list[StatementDifference]:
    """Where the statement does not go on from the one before, does not add up, or is another than it was."""
    found: list[StatementDifference] = []
    if before and before[0].closing_minor != known.opening_minor:
        closing = before[0].closing_minor
        found.append(_difference("opening", "opening_is_not_closing", closing, known.opening_minor, now))
    added_up = known.opening_minor + known.moved_minor
    if added_up != known.closing_minor:
        found.append(_difference("closing", "does_not_add_up", added_up, known.closing_minor, now))
    again = _new_day(told, now)
    figures = (known.opening_minor, known.moved_minor, known.closing_minor, known.lines)
    if figures != (again.opening_minor, again.moved_minor, again.closing_minor, again.lines):
        found.append(_difference("statement", "statement_changed", known.closing_minor, again.closing_minor, now))
    return found


def _reason(ours_minor: int, theirs_minor: int) -> str:
    if ours_minor == theirs_minor:
        return "overdue"
    if ours_minor and theirs_minor:
        return "other_amount"
    return "missing_there" if ours_minor else "missing_here"


def _difference(about: str, reason: str, ours_minor: int, theirs_minor: int, now: datetime) -> StatementDifference:
    return StatementDifference(
        about=about, reason=reason, ours_minor=ours_minor, theirs_minor=theirs_minor, found_at=now, resolved_at=None
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), TOKYO)
