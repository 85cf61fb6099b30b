"""`kessai trace` after the demonstration's day: the whole life of a payment, and the proof of all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from kessai.apps.cli import main
from kessai.apps.demo.diary import Diary
from kessai.apps.trace.kept import Life
from kessai.apps.trace.life import life_of
from kessai.apps.trace.proof import unheard_of
from kessai.apps.trace.prove import prove_all, prove_these
from kessai.apps.trace.view import open_view
from kessai.apps.wiring import SOURCES, load_payment_kinds
from kessai.foundation.db import Database
from tests.journeys.town import Town, opened

_WAITING = "SELECT count(*) AS n FROM tracer.processing WHERE verdict = 'PENDING'"
_COUNT = "SELECT count(*) AS n FROM tracer.processing"
_TAKE_MORE = "UPDATE cardgateway.card_operation SET amount_minor = amount_minor + 1 WHERE kind = 'capture'"
_REWRITE_HISTORY = """
UPDATE tracer.verdict SET late = '{bank}' WHERE (processing_id, revision) = (
    SELECT processing_id, revision FROM tracer.verdict ORDER BY processing_id, revision LIMIT 1)
"""


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A whole platform."""
    async with opened(database_url, tmp_path) as town:
        yield town


async def lived(town: Town, database: Database) -> Diary:
    """The day, until every processing of it has its verdict."""
    diary = await town.played()
    async with asyncio.timeout(60):
        while (await database.fetch(None, _WAITING))[0]["n"] or await _unheard(town):
            await asyncio.sleep(0.1)
    return diary


async def _unheard(town: Town) -> set[str]:
    async with open_view(town.dsn) as view:
        return await unheard_of(view, SOURCES)


async def _life(town: Town, payment_id: str) -> Life:
    async with open_view(town.dsn) as view:
        return await life_of(view, load_payment_kinds(), payment_id)


async def _kessai(*arguments: str) -> int:
    """The command line, which has an event loop of its own."""
    return await asyncio.to_thread(main, list(arguments))


async def test_a_payments_life_is_told_by_everybody_who_had_a_part_in_it(
    town: Town, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    payment_id = (await lived(town, database)).payments["mixed charge"]
    life = await _life(town, payment_id)
    assert [each.effect_id for each in life.payments] == [payment_id]
    assert [each.what for each in life.exchanges] == ["authorized", "captured", "reversed", "reversed"]
    lots = [lot for each in life.exchanges for movement in each.movements for lot in movement.lots]
    assert {lot.expires_at is None for lot in lots if lot.account_type == "free_points"} == {False}
    assert {lot.expires_at is None for lot in lots if lot.account_type == "funds"} == {True}
    assert [each.what for each in life.cards[0].steps] == ["authorize", "capture", "refund"]
    assert {each.service for each in life.workflows} == {"payment", "cardgateway"}
    assert all(each.steps for each in life.workflows)
    assert "payment.charge.captured" in {each.what for each in life.events}
    assert life.tracer is not None
    assert life.tracer.verdict == "CONSISTENT"
    assert life == await _life(town, life.processing_id)

    assert await _kessai("trace", payment_id, "--database-url", town.dsn) == 0
    tree = capsys.readouterr().out
    assert all(part in tree for part in (payment_id, "good until", "payment.refund v1", "verdict CONSISTENT"))
    assert await _kessai("trace", payment_id, "--database-url", town.dsn, "--mermaid") == 0
    drawing = capsys.readouterr().out
    assert drawing.startswith("sequenceDiagram\n")
    assert "payment->>cardgateway: card authorization capture" in drawing
    assert await _kessai("trace", payment_id, "--database-url", town.dsn, "--json") == 0
    assert msgspec.json.decode(capsys.readouterr().out.encode(), type=Life).processing_id == life.processing_id
    assert await _kessai("trace", "prc_nobody", "--database-url", town.dsn) == 2


async def test_the_day_is_proved_whole(town: Town, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    await lived(town, database)
    assert await _kessai("trace", "prove", "--all", "--database-url", town.dsn, "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["proved"] is True
    assert (told["in_flight"], told["without_verdict"]) == (0, 0)
    assert told["processings"] == (await database.fetch(None, _COUNT))[0]["n"]


async def test_what_is_changed_afterwards_is_found_and_named(
    town: Town, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    diary = await lived(town, database)
    await database.fetch(None, _TAKE_MORE)
    life = await _life(town, diary.payments["lost answer"])
    found = await prove_these(town.dsn, load_payment_kinds(), [life.processing_id])
    assert {each.processing_id for each in found.proof.disagreements} == {life.processing_id}
    assert {each.participant for each in found.proof.disagreements} == {"cardgateway"}
    assert await _kessai("trace", "prove", life.processing_id, "--database-url", town.dsn) == 1
    assert "its operations captured" in capsys.readouterr().err.replace("\n", " ")
    await database.fetch(None, _REWRITE_HISTORY)
    everything = await prove_all(town.dsn, load_payment_kinds())
    assert any("is not what was sealed" in each for each in everything.chain)
