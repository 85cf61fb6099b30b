"""Taps as the Processing Tracer sees them: by the real ledger, payment service and nfc, each reporting for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from kessai.apps.proving import Proving
from kessai.apps.trace.life import life_of
from kessai.apps.trace.tree import mermaid_of, tree_of
from kessai.apps.trace.view import open_view
from kessai.apps.wiring import CALLS, load_payment_kinds
from kessai.foundation.config import load_toml
from kessai.foundation.db import Database
from kessai.foundation.events import Relay
from kessai.services.nfc.api import PrepaidCard
from kessai.services.tracer.api import GetProcessing, ListFindings, Processing, Verdict
from kessai.services.tracer.domain.rules import read_rules
from tests.nfc.whole_world import WholeWorld, whole

SOURCES = ("ledger", "payment", "nfc")


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WholeWorld]:
    async with whole(database) as running:
        yield running


@asynccontextmanager
async def proved(world: WholeWorld) -> AsyncGenerator[Proving]:
    """The tracer and everybody who takes part."""
    services: dict[str, Any] = {"ledger": world.ledger, "payment": world.payments, "nfc": world.service}
    calls = {name: [each for each in CALLS.get(name, ()) if each in services] for name in services}
    rules = replace(read_rules(load_toml("kessai.config", "tracer.toml")), repair=[])
    proving = Proving(world.database, world.clock, rules, services, calls, outside={}, repairs={})
    relays = [Relay(world.database, each) for each in SOURCES]
    for each in (*relays, proving):
        await each.open()
    try:
        yield proving
    finally:
        for each in (proving, *relays):
            await each.close()


async def tapped(world: WholeWorld, funds: int = 5_000) -> tuple[PrepaidCard, str]:
    """A tap of 1,000 that was approved, and its processing."""
    _, card = await world.holder(funds=funds)
    assert (await world.tap(card, 1_000)).approved
    return card, await processing_of(world, card)


@pytest.mark.parametrize("named_by", ["authorization", "payment", "processing"])
async def test_a_taps_life_tells_of_its_authorization_and_of_what_took_it_back(
    world: WholeWorld, named_by: str
) -> None:
    card, processing_id = await tapped(world)
    (heard,) = world.network.books.authorizations.values()
    await world.network.reverse(heard.id, 300)
    (row,) = await world.database.fetch(
        None, "SELECT authorization_id, payment_id FROM nfc.id_authorization WHERE card_id = $1", card.card_id[4:]
    )
    names = {
        "authorization": f"ath_{row['authorization_id'].hex}",
        "payment": row["payment_id"],
        "processing": processing_id,
    }
    async with open_view(world.database.dsn) as view:
        life = await life_of(view, load_payment_kinds(), names[named_by])
    (tap,) = life.taps
    assert (tap.effect_id, tap.kind, tap.state, tap.amount_minor) == (
        names["authorization"], "iD purchase", "APPROVED", 1_000,
    )  # fmt: skip
    assert "answered 00" in tap.detail
    assert "stands 700" in tap.detail
    assert [(each.what, each.detail) for each in tap.steps] == [("0400", "stands 700, answered 00")]
    assert [each.effect_id for each in life.payments] == [names["payment"]]
    shown = Console(width=200, record=True, file=StringIO())
    shown.print(tree_of(life))
    assert names["authorization"] in shown.export_text()
    assert "nfc: iD purchase 1,000 APPROVED" in mermaid_of(life)


async def processing_of(world: WholeWorld, card: PrepaidCard) -> str:
    """The processing of a card's only authorization."""
    rows = await world.database.fetch(
        None, "SELECT processing_id FROM nfc.id_authorization WHERE card_id = $1", card.card_id[4:]
    )
    (row,) = rows
    return row["processing_id"]


async def decided(world: WholeWorld, proving: Proving, processing_id: str, *, beyond: int = 0) -> Processing:
    """The processing, once there is a verdict on it as it is after a revision."""
    known = "SELECT 1 FROM tracer.processing WHERE processing_id = $1 AND verdict <> 'PENDING' AND revision > $2"
    async with asyncio.timeout(60):
        while True:
            if await world.database.fetch(None, known, processing_id, beyond):
                found = await proving.tracer.get_processing(GetProcessing(processing_id=processing_id))
                if found.verdict is not Verdict.PENDING:
                    return found
            await asyncio.sleep(0.05)


async def test_a_taps_processing_is_consistent_through_all_that_becomes_of_it(world: WholeWorld) -> None:
    card, processing_id = await tapped(world)
    async with proved(world) as proving:
        found = await decided(world, proving, processing_id)
        assert found.verdict is Verdict.CONSISTENT
        assert set(found.participants) >= {"nfc", "payment", "ledger"}
        authorization = next(iter(world.network.books.authorizations.values()))
        await world.network.reverse(authorization.id)
        await world.rest()
        after = await decided(world, proving, processing_id, beyond=found.revision)
        assert after.verdict is Verdict.CONSISTENT
    assert await processing_of(world, card) == processing_id


@pytest.mark.parametrize(
    "forged",
    [
        "amount_minor = amount_minor + 1",
        "payment_state = 'CAPTURED'",
        "customer_id = 'cus:mallory'",
        "captured_minor = 5",
    ],
)
async def test_a_forged_authorization_is_inconsistent_with_evidence(world: WholeWorld, forged: str) -> None:
    _, processing_id = await tapped(world)
    await world.database.fetch(None, f"UPDATE nfc.id_authorization SET {forged}")
    async with proved(world) as proving:
        found = await decided(world, proving, processing_id)
        assert found.verdict is Verdict.INCONSISTENT
        differences = [each for report in found.reports for each in report.report.differences]
        assert {each.dependency for each in differences} == {"payment"}
        (finding,) = (await proving.tracer.list_findings(ListFindings())).findings
        assert finding.processing_id == processing_id


async def test_a_tap_whose_process_died_is_proved_once_another_has_ended_it(world: WholeWorld) -> None:
    _, card = await world.holder(funds=5_000)
    died = asyncio.Event()

    async def die() -> None:
        died.set()
        await asyncio.Event().wait()

    world.line.after["create_payment"] = die
    asking = asyncio.create_task(world.ask(await world.request(card, 1_000)))
    await died.wait()
    del world.line.after["create_payment"]
    processing_id = await processing_of(world, card)
    async with proved(world) as proving:
        rows = await world.database.fetch(None, "SELECT state, work FROM nfc.id_authorization")
        assert [tuple(row) for row in rows] == [("INSTRUCTED", "ask")]
        survivor = world.another_process()
        await survivor.authorizations.repairer.repair(open_for_ms=0)
        assert (await decided(world, proving, processing_id)).verdict is Verdict.CONSISTENT
    rows = await world.database.fetch(None, "SELECT state, payment_state FROM nfc.id_authorization")
    assert [tuple(row) for row in rows] == [("REVERSED", "CANCELED")]
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
