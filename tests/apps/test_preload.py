"""A grown ledger's past is written by COPY, and nobody can tell it from one that was posted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.apps.bench.preload import chunks_of, preload
from kessai.apps.verify import verify
from kessai.foundation.call import Call, enter_call
from kessai.foundation.clock import SystemClock
from kessai.foundation.db import Database
from kessai.services.ledger.api import CreateExchange, GetAccount, Leg
from kessai.services.ledger.domain.answers import decode_record
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from tests.ledger.invariants import broken

ACCOUNTS = 500
LOGS = 5_000


@pytest.fixture
async def ledger(database: Database, database_url: str) -> AsyncIterator[LedgerService]:
    """A ledger that is started on a preloaded past."""
    assert await preload(database_url, ACCOUNTS, LOGS, lambda _done, _total: None) == LOGS
    opened = LedgerService(database, SystemClock(), load_account_types())
    await opened.open()
    yield opened
    await opened.close()


async def last_exchange(database: Database) -> tuple[str, CreateExchange]:
    """Bare id of the last exchange of the past, and the request that it must have been made from."""
    query = "SELECT exchange_id, record FROM ledger.exchange ORDER BY exchange_id DESC LIMIT 1"
    ((exchange_id, record),) = await database.fetch(None, query)
    told = decode_record(record)
    source, target = (
        Leg(account_id=str(posting[1]), asset=str(posting[2]), amount_minor=abs(int(str(posting[3]))))
        for posting in told.postings
    )
    return exchange_id.hex, CreateExchange(sources=[source], targets=[target], kind=told.kind)


async def test_a_preloaded_past_is_proved_like_any_other(database: Database, database_url: str) -> None:
    told: list[tuple[int, int]] = []
    await preload(database_url, ACCOUNTS, LOGS, lambda done, total: told.append((done, total)))
    assert told[-1] == (LOGS, LOGS)
    assert [str(finding) for finding in await verify(database_url)] == []
    assert await broken(database) == []
    ((logs,),) = await database.fetch(
        None, "SELECT (SELECT count(*) FROM ledger.account_log) + (SELECT count(*) FROM ledger.hot_log)"
    )
    assert logs == LOGS


async def test_a_preloaded_past_goes_on(ledger: LedgerService, database: Database, database_url: str) -> None:
    past, request = await last_exchange(database)
    account = GetAccount(account_id=str(request.sources[0].account_id))
    before = await ledger.get_account(account)
    made = await ledger.create_exchange(request)
    after = await ledger.get_account(account)
    assert made.exchange_id != f"exc_{past}"
    assert after.balance_minor == before.balance_minor - request.sources[0].amount_minor
    assert [str(finding) for finding in await verify(database_url)] == []


async def test_a_preloaded_exchange_is_answered_from_store_when_it_is_asked_for_again(
    ledger: LedgerService, database: Database
) -> None:
    past, request = await last_exchange(database)
    call = Call(request_key=past)
    enter_call(call)
    answer = await ledger.create_exchange(request)
    assert (answer.exchange_id, call.replayed) == (f"exc_{past}", True)


def test_chunks_hold_every_account_once_and_all_of_the_history() -> None:
    chunks = chunks_of(45_001, 200_003)
    assert sorted(number for chunk in chunks for number in chunk.customers) == list(range(45_001))
    assert sum(len(chunk.customers) + chunk.exchanges for chunk in chunks) == 100_001
    assert min(len(chunk.customers) for chunk in chunks) > 1
