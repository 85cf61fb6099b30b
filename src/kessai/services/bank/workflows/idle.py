"""Which of the days that are due need a run of the bank's jobs, without beginning one.

Every answer is for the rows, and for what the bank tells, as they are: whoever has run anything asks again.
"""

from __future__ import annotations

from datetime import date, timedelta

from kessai.foundation.calendar import previous_business_day
from kessai.foundation.db import Connection
from kessai.services.bank import store
from kessai.services.bank.api import FileState, InstructionKind, StatementDay
from kessai.services.bank.store import files as file_store
from kessai.services.bank.store import statements
from kessai.services.bank.workflows.deps import Deps
from kessai.services.bank.workflows.making import KINDS
from kessai.services.bank.workflows.recalling import recalls_wait
from kessai.services.bank.workflows.stating import DAYS_MAX

WINDOW = timedelta(days=DAYS_MAX - 1)


async def first_to_send(deps: Deps, since: date, until: date) -> date | None:
    """The first day on which a file is to be made or sent; of files that nobody approves, the last day alone."""

    async def read(connection: Connection) -> list[date]:
        found = [await _cut_off_day(deps, connection, kind) for kind in KINDS]
        states = {each.state for each in await file_store.unsent_files(connection)}
        found.append(None if not states else until if states == {FileState.MADE} else since)
        return [day for day in found if day is not None and day <= until]

    found = await deps.database.transaction(store.ROLE, read)
    return max(since, min(found)) if found else None


async def _cut_off_day(deps: Deps, connection: Connection, kind: InstructionKind) -> date | None:
    """On which day the file is made that the first waiting instruction goes into."""
    waiting = await file_store.waiting(connection, kind, date.max, 1)
    before = deps.terms.run(kind).days_before
    if not waiting or waiting[0].transfer_on is None:
        return None
    day = waiting[0].transfer_on
    return previous_business_day(day, before) if before else day


async def first_to_hear(deps: Deps, since: date, until: date) -> date | None:
    """The first day, where the bank has told anything; the last, while it owes us a result or a recall."""
    if not deps.files.configured:
        return None
    position = await deps.database.transaction(store.ROLE, file_store.files_position)
    if (await deps.files.entries(position, deps.clock.now())).entries:
        return since
    return until if await file_store.open_debit_files(deps.database, until) or await recalls_wait(deps) else None


async def first_to_state(deps: Deps, since: date, until: date) -> date | None:
    """The day whose run makes good all that are missing; more days than one run takes are passed over only where the
    account stands, at the end of them, where the last statement left it."""
    if not deps.files.configured:
        return None
    known = await deps.database.transaction(store.ROLE, _last_statement)
    if known is None:
        return since
    last = max(since, known.day + WINDOW)
    if last >= until:
        return until
    told = await deps.files.statement(until - WINDOW, deps.clock.now())
    return until if told is not None and told.opening_minor == known.closing_minor else last


async def _last_statement(connection: Connection) -> StatementDay | None:
    known = await statements.days_before(connection, date.max, 1)
    return known[0] if known else None
