"""Histories of settlement's and the bank's workflows, recorded once and replayed for ever.

What tests/payment/test_histories.py does for payments, for what those do not begin: movements of merchants in bulk,
fees, days, cycles, payouts, repayments, and files to the bank. `make histories` records them anew, from a street
whose story has everything in it; `kessai workflow replay tests/settlement/histories` replays them by hand.
"""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import date
from pathlib import Path

import pytest

import kessai.apps.wiring  # noqa: F401  # pyright: ignore[reportUnusedImport]  (defines the platform's workflows)
from kessai.foundation.db import Database, role_of
from kessai.sdk.jobs import finish, start
from kessai.sdk.workflow.definition import definitions
from kessai.sdk.workflow.history import RecordedHistory, load_history, read_histories, rehearse
from tests.payment import test_histories as payments
from tests.settlement.chronicles import History
from tests.settlement.district import District, opened
from tests.settlement.district_play import Play

FOLDER = Path(__file__).parent / "histories"
FILES = sorted(each.name for each in FOLDER.glob("*.json"))
RECORDS = os.environ.get("KESSAI_RECORD_HISTORIES") == "1"
PLAYED = ("settlement.", "bank.", "payment.move")
SHAPES_MAX = 6
"""Of each workflow: the shortest, the longest, and what lies between them."""
STORY = History(
    seed=0, begins=date(2027, 3, 8), rules=(1, 0, 3, 4), fees=(0, 5, 1, 6),
    steps=(
        ("sell", 0, (20_000, 0)), ("sell", 1, (9_000, 1)), ("sell", 2, (12_000, 2)), ("sell", 3, (4_000, 0)),
        ("days", 0, 1), ("fate", 0, 0), ("collect", 2, 0), ("days", 0, 2), ("refund", 0, 30), ("sell", 1, (7_000, 0)),
        ("days", 0, 3), ("fate", 0, 2), ("sell", 1, (8_000, 0)), ("days", 0, 3), ("correct", 1, -9_000),
        ("fault", 0, 1), ("fault", 2, 0), ("sell", 0, (15_000, 0)), ("days", 0, 3), ("repay", 1, 40), ("repay", 1, 42),
        ("sell", 1, (15_000, 0)), ("refund", 0, 100), ("days", 0, 2), ("recall", 1, 0), ("days", 0, 1),
        ("recall", 1, 0), ("days", 0, 3), ("sell", 1, (6_000, 0)), ("leap", 0, 12), ("days", 0, 3),
        ("recall", 0, 0), ("days", 0, 2),
    ),
)  # fmt: skip
"""Transfers that fail, come back, and are called back, in time or too late; fees of every unit, given back; a claim."""


@pytest.mark.parametrize("file", FILES)
async def test_a_recorded_history_agrees_with_the_code_of_today(file: str) -> None:
    rehearsal = await rehearse(read_histories(FOLDER)[file])
    assert rehearsal.agrees, rehearsal.reason


def test_every_workflow_of_settlement_and_the_bank_has_a_recorded_history() -> None:
    recorded = {
        (each.name, each.version) for folder in (FOLDER, payments.FOLDER) for each in read_histories(folder).values()
    }
    made = {(each.name, each.version) for each in definitions() if each.name.startswith(PLAYED)}
    assert made - recorded == set()


@pytest.mark.skipif(not RECORDS, reason="recorded deliberately: make histories")
async def test_histories_are_recorded(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, STORY.begins) as district:
        await Play(district).play(STORY)
        await _try_each_job(district)
        found = await _shapes(district.town.platform.database)
    assert {name for name, _ in found} >= {each.name for each in definitions() if each.name.startswith(PLAYED[:1])}
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for (name, shape), history in found.items():
        (FOLDER / f"{name}-{shape}.json").write_bytes(history.to_json())


async def _try_each_job(district: District) -> None:
    """Runs that only say what they would do, and one that is refused."""
    platform, today = district.town.platform, district.today()
    for name, job in platform.dated.jobs.items():
        if not name.startswith(PLAYED):
            continue  # of others, whom they ask may not be there
        started = await platform.dated.start(job, platform.dated.usual_day(job), dry_run=True)
        await platform.dated.finish(started)
        if name == "settlement.cycle":
            engine = platform.settlement.engine
            refused = await start(platform.database, engine, job, today)
            await finish(platform.database, engine, refused)


async def _shapes(database: Database) -> dict[tuple[str, str], RecordedHistory]:
    """One history of each shape, by workflow and shape."""
    known = defaultdict[str, dict[str, RecordedHistory]](dict)
    for service in ("settlement", "bank", "payment"):
        rows = await database.fetch(role_of(service), f"SELECT workflow_id FROM {service}.workflow_done")
        for row in rows:
            history = await load_history(database, service, row["workflow_id"])
            if history.name.startswith(PLAYED):
                known[history.name].setdefault(payments.shape_of(history), history)
    return {(name, shape): shapes[shape] for name, shapes in known.items() for shape in _chosen(shapes)}


def _chosen(shapes: dict[str, RecordedHistory]) -> list[str]:
    ordered = sorted(shapes, key=lambda each: (shapes[each].failed, len(shapes[each].steps), each))
    if len(ordered) <= SHAPES_MAX:
        return ordered
    return [ordered[round(at * (len(ordered) - 1) / (SHAPES_MAX - 1))] for at in range(SHAPES_MAX)]
