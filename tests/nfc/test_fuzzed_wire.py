"""Damaged messages, over real connections to the real server with real services behind it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database
from tests.nfc.fuzzing import WireFuzz
from tests.nfc.whole_world import WholeWorld, whole
from tests.nfc.wire_world import rules_with

MESSAGES = int(os.environ.get("KESSAI_FUZZ_MESSAGES", "50000"))
SEED = int(os.environ.get("KESSAI_FUZZ_SEED", "1"))


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WholeWorld]:
    rules = rules_with(
        velocity={"count": 200, "minutes": 1},
        limits={"day_count": 10_000, "day_minor": 10**9, "month_minor": 10**10},
        wire={"in_flight_max": 64},
    )
    async with whole(database, rules) as running:
        yield running


@pytest.mark.parametrize("seed", [1, 2])
async def test_damaged_messages_are_answered_or_logged_and_move_nothing(world: WholeWorld, seed: int) -> None:
    await _fuzzed(world, seed, 600)


@pytest.mark.soak
async def test_a_great_many_damaged_messages(world: WholeWorld) -> None:
    await _fuzzed(world, SEED, MESSAGES)


async def _fuzzed(world: WholeWorld, seed: int, messages: int) -> None:
    """Each is answered (or is nothing that is answered), every broken line is in the log; what was journalled was asked
    for by a right message, and everything that moved is proved to be one's."""
    fuzz = WireFuzz(world, seed)
    tally = await fuzz.run(messages)
    rows = await world.database.fetch(None, "SELECT message_key, kind, state, plan FROM nfc.id_authorization")
    assert {row["message_key"] for row in rows} <= tally.keys
    moved = await world.database.fetch(
        None, "SELECT count(*) AS made FROM payment.payment WHERE kind IN ('id_charge', 'id_forced')"
    )
    planned = sum(row["plan"] is not None for row in rows)
    refused = await world.database.fetch(None, "SELECT count(*) AS refused FROM nfc.id_refused_payment")
    assert 0 < moved[0]["made"] <= planned + refused[0]["refused"]
    assert tally.broken_lines > 0
    assert tally.log.told["id_connection_closed"] >= tally.broken_lines
    assert tally.log.told["id_message_unreadable"] > 0
    assert tally.log.told["id_answer_failed"] == 0
    assert await world.findings(sealed=False) == []
    print(
        f"\n{tally.sent:,} sent, {tally.answered:,} answered, {tally.broken_lines:,} broken lines,"
        f" {len(tally.keys):,} right requests, {len(rows):,} journalled, {moved[0]['made']:,} payments,"
        f" {dict(tally.log.told)}"
    )
