"""Histories of card payments' workflows (holds by the page, the dated jobs), recorded once and replayed for ever.

What tests/payment/test_histories.py does for payments that are made one by one. `make histories` records them anew,
from a world in which taps are held, refused and in doubt, days are cleared and compared, and each job is run and tried.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

import kessai.apps.wiring  # noqa: F401  # pyright: ignore[reportUnusedImport]  (defines the platform's workflows)
from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import Unavailable
from kessai.sdk import jobs
from kessai.sdk.workflow.definition import definitions
from kessai.sdk.workflow.history import RecordedHistory, load_history, read_histories, rehearse
from kessai.services.ledger.api import CreateExchange
from kessai.services.nfc.jobs import NFC_JOBS
from kessai.services.payment import workflows
from kessai.services.payment.workflows import holding
from kessai.simulators.cardnetwork.records import ClearingFate
from tests.nfc import lives
from tests.nfc.whole_world import WholeWorld, whole
from tests.payment.holds import codes, hold
from tests.payment.test_histories import shape_of

FOLDER = Path(__file__).parent / "histories"
FILES = sorted(each.name for each in FOLDER.glob("*.json"))
RECORDS = os.environ.get("KESSAI_RECORD_HISTORIES") == "1"
PLAYED = ("nfc.", "payment.hold")
FUNDS = 50_000


@pytest.mark.parametrize("file", FILES)
async def test_a_recorded_history_agrees_with_the_code_of_today(file: str) -> None:
    rehearsal = await rehearse(read_histories(FOLDER)[file])
    assert rehearsal.agrees, rehearsal.reason


def test_every_workflow_of_card_payments_has_a_recorded_history() -> None:
    recorded = {(each.name, each.version) for each in read_histories(FOLDER).values()}
    made = {(each.name, each.version) for each in definitions() if each.name.startswith(PLAYED)}
    assert made - recorded == set()


@pytest.mark.skipif(not RECORDS, reason="recorded deliberately: make histories")
async def test_histories_are_recorded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with whole(database) as world:
        for version in (2, 1):
            with monkeypatch.context() as patched:
                if version == 1:  # as runs go on that began before
                    patched.setattr(workflows, "hold", holding.hold_together)
                await _taps(world, patched)
        await _days(world)
        found = await _shapes(database)
    assert {(each.name, each.version) for each in found.values()} >= {
        (each.name, each.version) for each in definitions() if each.name.startswith(PLAYED)
    }
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, history in found.items():
        (FOLDER / name).write_bytes(history.to_json())


async def _taps(world: WholeWorld, patched: pytest.MonkeyPatch) -> None:
    """Pages that are held, refused, and in doubt: in whole, and in part."""
    ask, away = world.ledger.create_exchange, set[str]()

    async def cut(request: CreateExchange) -> object:
        if any(each.owner in away for each in request.sources):
            raise Unavailable("ledger_away", "It is away.")
        return await ask(request)

    patched.setattr(holding, "ANSWER_S", 0.2)
    patched.setattr(world.ledger, "create_exchange", cut)
    one, other = await world.holder(funds=FUNDS), await world.holder(funds=FUNDS)
    for _, card in (one, other):
        await world.tap(card, 1_200)
        await world.tap(card, FUNDS * 2 // 3)
        await world.tap(card, FUNDS * 2 // 3)
    for customers in ({one[0]}, {one[0], other[0]}):
        away |= customers
        page = [hold(customer_id, 700) for customer_id, _ in (one, other)]
        asked = asyncio.ensure_future(codes(world.payments, *page))
        await asyncio.sleep(1.5)
        away.clear()
        await asked
        while set(await codes(world.payments, *page)) != {"AUTHORIZED"}:
            await asyncio.sleep(0.1)


async def _days(world: WholeWorld) -> None:
    """Each job tried and run: with something to do, and with nothing."""
    _, card = await world.holder(funds=FUNDS)
    await lives.phone(world, card)
    heard = [await world.tap(card, amount) for amount in (500, 600, 700)]
    world.network.books.clearing.foresee(ClearingFate(about=heard[1].id, case="other_amount", amount=650))
    world.network.books.clearing.close(world.today)
    for days in (1, 40):
        for job in NFC_JOBS:
            await _tried(world, job.name)
            await world.job(job.name)
        world.pass_days(days)
        await world.payments.expire_due()


async def _tried(world: WholeWorld, name: str) -> None:
    (job,) = [each for each in NFC_JOBS if each.name == name]
    engine = world.service.clearing.engine
    started = await jobs.start(world.database, engine, job, world.today, dry_run=True)
    await jobs.finish(world.database, engine, started)


async def _shapes(database: Database) -> dict[str, RecordedHistory]:
    """One history of each shape, by the name of its file."""
    found: dict[str, RecordedHistory] = {}
    for service in ("nfc", "payment"):
        rows = await database.fetch(
            role_of(service), f"SELECT workflow_id FROM {service}.workflow_done ORDER BY finished_at, workflow_id"
        )
        for row in rows:
            history = await load_history(database, service, row["workflow_id"])
            if history.name.startswith(PLAYED):
                found.setdefault(f"{history.name}-{shape_of(history)}.json", history)
    return found
