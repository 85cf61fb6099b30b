"""`kessai verify` compares the gateway's books with ours, while both go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from kessai.apps.verify.cards import check_cards, verify_cards
from kessai.apps.verify.finding import Report
from kessai.foundation.db import AUDITOR_ROLE, Database
from kessai.foundation.ids import bare
from kessai.services.cardgateway.api import CaptureCard, RefundCard, VoidCard
from kessai.simulators.cardgateway import CardGatewaySimulator
from tests.cardgateway.world import World, hold


async def found(database: Database, path: Path) -> list[str]:
    """What a verification finds."""
    report = Report()
    connection = await database.connect(AUDITOR_ROLE)
    try:
        await check_cards(connection, report)
        await verify_cards(connection, path, report)
    finally:
        await connection.close()
    return [f"{each.key.split('_')[0]} {each.sentence}" for each in report.findings]


@pytest.fixture
async def kept(database: Database, tmp_path: Path):
    """A world whose gateway keeps its books in a file."""
    simulator = CardGatewaySimulator(path=tmp_path / "cardgateway.jsonl")
    await simulator.start()
    world = World(database, simulator)
    yield world, tmp_path / "cardgateway.jsonl"
    await world.close()
    await simulator.stop()


async def test_books_that_agree_are_passed_while_cards_are_charged(kept: tuple[World, Path]) -> None:
    world, path = kept
    service = await world.another_process()
    card_id = await world.card(service)

    async def business() -> None:
        for amount in range(100, 120):
            made = await service.authorize(hold(card_id, amount))
            if amount % 3:
                await service.capture(CaptureCard(authorization_id=made.authorization_id))
                await service.refund(RefundCard(authorization_id=made.authorization_id, amount_minor=7))
            else:
                await service.void(VoidCard(authorization_id=made.authorization_id))

    going_on = asyncio.gather(*(business() for _ in range(3)))
    while not going_on.done():
        assert await found(world.database, path) == []
    await going_on
    assert await found(world.database, path) == []
    assert await found(world.database, path.with_name("elsewhere")) == []


async def test_each_disagreement_is_found(kept: tuple[World, Path]) -> None:
    world, path = kept
    service = await world.another_process()
    card_id, books = await world.card(service), world.simulator.books
    lost, changed, taken, gone = [await service.authorize(hold(card_id, 1_000)) for _ in range(4)]
    capture = await service.capture(CaptureCard(authorization_id=changed.authorization_id, amount_minor=900))
    await asyncio.sleep(0.01)
    books.capture(taken.authorization_id, f"cop_{'0' * 32}", 5, final=False)
    books.void(gone.authorization_id, f"cop_{'1' * 32}")
    books.authorize(f"cau_{'2' * 32}", next(iter(books.authorizations.values())).card_token, 77, "JPY")
    connection = await asyncpg.connect(world.database.dsn)
    await connection.execute(
        "UPDATE cardgateway.card_operation SET amount_minor = 901 WHERE kind = 'capture' AND authorization_id = $1",
        bare(capture.authorization_id),
    )
    await connection.execute(
        "UPDATE cardgateway.card_authorization SET state = 'VOIDED' WHERE authorization_id = $1",
        bare(lost.authorization_id),
    )
    await connection.close()
    assert sorted(await found(world.database, path)) == [
        "cau authorize: 1000 here, None there",
        "cau authorize: refused or undone here, 1000 there",
        "cau authorize: unknown here, 77 there",
        "cau captured 900 and refunded 0, its operations say 901 and 0",
        "cau it is VOIDED, its operations make it AUTHORIZED",
        "cop capture: 901 here, 900 there",
        "cop capture: unknown here, 5 there",
    ]
