"""A platform that nobody asks anything asks little of its database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from kessai.apps import jobs
from kessai.apps.wiring import SLOW_POLL_S, Platform, prepare
from kessai.foundation import db
from kessai.foundation.config import Settings
from kessai.foundation.db import Connection
from kessai.foundation.events import relay, subscription
from kessai.services.settlement import subscribers as fees
from kessai.services.tracer import subscribers
from kessai.services.tracer.service import board
from kessai.simulators.bank import BankSimulator
from kessai.simulators.cardgateway import CardGatewaySimulator
from kessai.simulators.cardnetwork import CardNetworkSimulator
from kessai.simulators.sms import SmsSimulator

STATEMENTS_A_SECOND_MAX = 5.0
SETTLES_S = 26.0
"""Each lease has been renewed once by then, for which the database's time is asked every ten minutes."""
WATCHED_S = 24.0
"""Three of the longest pauses, so that it does not matter when they begin."""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Every statement that any connection sends, transaction control included, without what the driver itself asks."""
    told: Counter[str] = Counter()
    assume = db._assume  # pyright: ignore[reportPrivateUsage]  (where every connection passes)

    def tell(record: asyncpg.connection.LoggedQuery) -> None:
        text = " ".join(record.query.split())
        if not text.startswith(("SELECT current_setting('jit')", "WITH RECURSIVE typeinfo_tree")):
            told[text[:100]] += 1

    async def watched(connection: Connection, role: str | None) -> None:
        await assume(connection, role)
        connection.add_query_logger(tell)

    monkeypatch.setattr(db, "_assume", watched)
    return told


@pytest.fixture
async def platform(
    database_url: str, monkeypatch: pytest.MonkeyPatch, statements: Counter[str]
) -> AsyncIterator[Platform]:
    """As `kessai up` has it, with its simulated parties, and long since at rest; its connections are listened to."""
    del statements
    monkeypatch.setattr(relay, "POLL_S", SLOW_POLL_S)
    monkeypatch.setattr(subscription, "POLL_S", subscription.POLL_S_MAX)
    monkeypatch.setattr(board, "POLL_S", board.POLL_S_MAX)
    monkeypatch.setattr(subscribers, "POLL_S", subscribers.POLL_S_MAX)
    monkeypatch.setattr(fees, "POLL_S", fees.POLL_S_MAX)
    bank, cards, network, sms = BankSimulator(), CardGatewaySimulator(), CardNetworkSimulator(), SmsSimulator()
    parties = (bank, cards, network, sms)
    for each in parties:
        await each.start()
    settings = Settings(bank_url=bank.url, card_gateway_url=cards.url, card_network_url=network.url, sms_url=sms.url)
    await prepare(database_url, settings)
    opened = Platform(database_url, settings, sandbox=True)
    await opened.open()
    await opened.retention.run()  # once a day
    for daily in ("accrue-month", "reconcile-books"):
        await jobs.job_named(daily).run(opened)
    yield opened
    await opened.close()
    for each in parties:
        await each.stop()


async def test_an_idle_platform_issues_fewer_than_five_statements_a_second(
    platform: Platform, statements: Counter[str]
) -> None:
    await asyncio.sleep(SETTLES_S)
    statements.clear()
    await asyncio.sleep(WATCHED_S)
    at_rest = statements.total() / WATCHED_S
    statements.clear()
    await jobs.run_due(platform, housekeeping=False)
    of_jobs = statements.total() / jobs.PERIOD_S_MAX
    statements.clear()
    await jobs.run_due(platform)
    of_jobs += statements.total() / jobs.PERIOD_S_MAX / jobs.TURNS_OF_HOUSEKEEPING
    assert 0 < at_rest + of_jobs < STATEMENTS_A_SECOND_MAX, (at_rest, of_jobs)
