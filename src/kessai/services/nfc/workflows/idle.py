"""Which of the days that are due need a run of nfc's jobs, without beginning one.

Every answer is for the rows, and for what the processor has, as they are: whoever has run anything asks again. What is
not of any day is done for the last of the days.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from kessai.foundation.clock import TOKYO
from kessai.foundation.db import Connection
from kessai.services.nfc.api import GetPool
from kessai.services.nfc.api.clearing import ClearingFileState
from kessai.services.nfc.store import ROLE, pool, reconciling
from kessai.services.nfc.store import authorizations as authorization_store
from kessai.services.nfc.store import clearing as store
from kessai.services.nfc.store.findings import findings_remedied
from kessai.services.nfc.workflows.deps import Deps
from kessai.services.nfc.workflows.repair import EXPIRES_AFTER
from kessai.services.nfc.workflows.taking import offered

ONE_DAY = timedelta(days=1)


async def first_to_issue(deps: Deps, since: date, until: date) -> date | None:
    """The last day, while the pool runs low and not enough is on order, where there is an issuer to ask."""
    del since
    if not deps.cards.has_issuer:
        return None
    standing = await deps.cards.get_pool(GetPool())
    return until if standing.free + standing.on_order < standing.low_water else None


async def first_to_import(deps: Deps, since: date, until: date) -> date | None:
    """The last day, while a batch is not finished, where there is an issuer to ask."""
    del since
    if not deps.cards.has_issuer:
        return None

    async def read(connection: Connection) -> bool:
        return bool(await pool.batches_open(connection, pool.FIRST, 1))

    return until if await deps.database.transaction(ROLE, read) else None


async def first_to_clear(deps: Deps, since: date, until: date) -> date | None:
    """The first day, where a file is there that was not taken, or not all of one is decided."""
    del until
    if not deps.network.configured:
        return None
    if await store.files_in(deps.database, ClearingFileState.TAKEN, 1):
        return since
    return since if (await offered(deps)).new else None


async def first_to_reconcile(deps: Deps, since: date, until: date) -> date | None:
    """The first day on which anything was authorized, or of which there is a clearing file."""
    if not deps.network.configured:
        return None
    asked = await reconciling.first_asked(deps.database, _midnight(since), _midnight(until + ONE_DAY))
    filed = await reconciling.first_file_day(deps.database, since, until)
    return min((each for each in (asked, filed) if each is not None), default=None)


async def first_to_repair(deps: Deps, since: date, until: date) -> date | None:
    """The last day, while anything is open, or a finding is there to be repaired."""
    del since
    newest, oldest = authorization_store.NEWEST, authorization_store.OLDEST
    if await authorization_store.open_work(deps.database, newest[0], oldest, 1):
        return until
    return until if await findings_remedied(deps.database, reconciling.FIRST, 1) else None


async def first_to_expire(deps: Deps, since: date, until: date) -> date | None:
    """The last day, while something has stood for more than a day."""
    del since
    before = deps.clock.now() - EXPIRES_AFTER
    found = await authorization_store.standing_before(deps.database, before, authorization_store.OLDEST, 1)
    return until if found else None


async def first_to_hear_devices(deps: Deps, since: date, until: date) -> date | None:
    """The last day, where there is a token service to ask."""
    del since
    return until if deps.network.configured else None


async def last_day(deps: Deps, since: date, until: date) -> date | None:
    """Of jobs that look after whatever is there: the last day."""
    del deps, since
    return until


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), TOKYO)
