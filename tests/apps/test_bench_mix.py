"""The mixed load of `bench charge --mix` and the card charges of `bench isolation`, against a platform."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from kessai.apps.bench.card_tries import Try, try_cards
from kessai.apps.bench.cards import HANGS, card_gateway, environment_of, register_cards
from kessai.apps.bench.figures import Tally
from kessai.apps.bench.http_load import MERCHANTS, Charge, Target, load_charges, merchant
from kessai.apps.bench.mixed_load import SHARES, load_mix
from kessai.apps.bench.mixes import LOG_ONLY_TYPE, Crowd
from kessai.apps.bench.program import PlatformProcess, first_finding
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.worker import OpenCustomers, start_ledger
from kessai.simulators.cardgateway import CardGatewaySimulator

CROWD = Crowd(0, 20)


@dataclass(frozen=True)
class Place:
    """A platform with customers who have money and cards, and the gateway that it uses."""

    dsn: str
    target: Target
    gateway: CardGatewaySimulator


@pytest.fixture
async def place(database_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    """A platform in a process of its own."""
    async with start_ledger(database_url) as ledger:
        await ledger.order(OpenCustomers(CROWD))
    options = ("--database-url", database_url, "--data", str(tmp_path))
    async with (
        card_gateway() as gateway,
        PlatformProcess(*options, environment=environment_of(gateway)) as platform,
    ):
        cards = await register_cards(platform, gateway, CROWD)
        yield Place(database_url, Target(platform.url, platform.api_key, CROWD, 4, cards), gateway)
        await platform.kill()  # it would wait for what hangs


async def _sales_minor(target: Target) -> int:
    headers = {"Authorization": f"Bearer {target.api_key}"}
    async with httpx.AsyncClient(base_url=target.url, headers=headers) as client:
        total = 0
        for number in range(MERCHANTS):
            answer = (await client.get("/v1/ledger/accounts", params={"owner": merchant(number)})).json()
            total += sum(each["balance_minor"] for each in answer["accounts"] if each["account_type"] == LOG_ONLY_TYPE)
        return total


async def test_the_mixed_load_is_told_what_the_merchants_hold_afterwards(place: Place) -> None:
    async with Spawned[Charge, tuple[Tally, int]](load_mix, place.target) as load:
        tally, gained = await load.order(Charge(seconds=1.5, seed=1))
    assert tally.reasons == {}
    assert tally.acknowledged > 20
    assert await _sales_minor(place.target) == gained
    assert await first_finding(place.dsn) is None


async def test_wallet_charges_go_on_while_card_charges_hang(place: Place) -> None:
    place.gateway.faults.program(HANGS)
    async with (
        Spawned[Charge, tuple[Tally, int]](load_charges, place.target) as wallet,
        Spawned[Try, Counter[str]](try_cards, place.target) as cards,
    ):
        answers = await cards.order(Try(seconds=0.5, a_second=10))
        tally, gained = await wallet.order(Charge(seconds=0.5, seed=1))
    assert answers == Counter({"UNKNOWN": 5})
    assert tally.reasons == {}
    assert await _sales_minor(place.target) == gained


def test_shares_of_the_mix_add_up() -> None:
    assert sum(SHARES.values()) == 100
