"""A whole platform over its HTTP door with simulated parties outside, and the demonstration's client beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from dataclasses import replace as replace_clock
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from kessai.apps.demo.client import Answer, Client
from kessai.apps.demo.day import play
from kessai.apps.demo.diary import Diary
from kessai.apps.demo.parties import CardCompany
from kessai.apps.outside import folder_of
from kessai.apps.verify import command, verify
from kessai.apps.verify.finding import Report
from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.vault import new_vault_key
from kessai.services.sandbox import store as stored_clock
from kessai.simulators.bank import BankSimulator
from kessai.simulators.cardgateway import CardGatewaySimulator


class Bridged(Client):
    """The demo's client, in a thread beside the event loop in which the platform is."""

    def __init__(self, http: httpx.AsyncClient, secret: str | None = None) -> None:
        """`secret`: another key than the client's own."""
        self._http = http
        self._secret = secret
        self._loop = asyncio.get_running_loop()

    def ask(self, method: str, path: str, body: dict[str, Any] | None, key: str | None) -> Answer:
        """As over a connection."""
        headers = {} if key is None else {"Idempotency-Key": key}
        if self._secret is not None:
            headers["Authorization"] = f"Bearer {self._secret}"
        asking = self._http.request(method, path, json=body, headers=headers)
        response = asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        return Answer(response.status_code, response.json(), response.headers.get("Idempotent-Replayed") == "true")


@dataclass
class Town:
    """A platform, its client, and the parties outside with their books."""

    platform: Platform
    client: Client
    http: httpx.AsyncClient
    settings: Settings
    dsn: str
    cards: CardGatewaySimulator
    bank: BankSimulator

    def client_of(self, secret: str) -> Client:
        """A client with another key."""
        return Bridged(self.http, secret)

    async def played(self) -> Diary:
        """The day, from its morning to its night."""
        return await asyncio.to_thread(play, self.client, CardCompany(self.cards.url))

    async def findings(self) -> list[Any]:
        """What a verification finds, the parties' books included."""
        report = Report()
        report.findings += await verify(self.dsn, self.settings)
        await command.verify_parties(self.dsn, self.settings, report)
        return report.findings


@asynccontextmanager
async def opened(
    database_url: str, folder: Path, *, payment_kinds: str | None = None, begins: datetime | None = None
) -> AsyncGenerator[Town]:
    """Everything that the demonstration starts, in this process; business time begins at an instant, or is real."""
    ours = Settings(
        data=str(folder),
        database_url=database_url,
        sandbox=True,
        vault_keys=new_vault_key(),
        payment_kinds=payment_kinds,
    )
    books = folder_of(ours)
    books.mkdir(parents=True)
    async with AsyncExitStack() as ending:  # also when the story fails: a loop with open listeners never closes
        ahead = timedelta(0) if begins is None else begins - datetime.now(UTC)
        cards = CardGatewaySimulator(path=books / "cardgateway.jsonl")
        bank = BankSimulator(path=books / "bank.jsonl", now=lambda: datetime.now(UTC) + ahead)
        for simulator in (cards, bank):
            await simulator.start()
            ending.push_async_callback(simulator.stop)
        settings = replace(ours, card_gateway_url=cards.url, bank_url=bank.url)
        secret = await prepare(database_url, settings)
        await _set_clock(database_url, ahead)
        platform = Platform(database_url, settings)
        ending.push_async_callback(platform.close)
        await platform.open()
        transport = httpx.ASGITransport(app=platform.rest())
        headers = {"Authorization": f"Bearer {secret}"}
        http = await ending.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://kessai.test", headers=headers)
        )
        yield Town(platform, Bridged(http), http, ours, database_url, cards, bank)


async def _set_clock(database_url: str, ahead: timedelta) -> None:
    """Business time as it is from the beginning, before anybody has looked at it."""
    database = Database(database_url)
    try:
        clock = await stored_clock.load(database)
        if ahead:
            assert await stored_clock.replace(database, replace_clock(clock, offset=ahead))
    finally:
        await database.close()
