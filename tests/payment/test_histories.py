"""Histories of the platform's own workflows, recorded once and replayed for ever: a deploy strands no open payment.

`make histories` records them anew: files of shapes that are no longer made go, files of new shapes come. That is a
decision: whoever changes a workflow so that an older history differs keeps the old way (`patched`, or a new version),
and records anew only what no run can still be in the middle of.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import kessai.apps.wiring  # noqa: F401  # pyright: ignore[reportUnusedImport]  (defines the platform's workflows)
from kessai.foundation.db import Database, role_of
from kessai.sdk.workflow.definition import definitions
from kessai.sdk.workflow.history import RecordedHistory, load_history, read_histories, rehearse
from tests.faults.matrix.cases import combinations
from tests.faults.matrix.conftest import NewLane, impatient, new_lane
from tests.faults.matrix.lane import SERVICES
from tests.faults.matrix.play import play
from tests.faults.matrix.troubles import CALM

__all__ = ["impatient", "new_lane"]

FOLDER = Path(__file__).parent / "histories"
FILES = sorted(each.name for each in FOLDER.glob("*.json"))
RECORDS = os.environ.get("KESSAI_RECORD_HISTORIES") == "1"
ONE_OF = 6
"""Of the combinations with a trouble, so many make one case."""
PLAYED = ("payment.", "cardgateway.")
BY_OTHER_TESTS = {"cardgateway.forget", "payment.hold", "payment.move"}
"""Workflows that may be short of a history here: the first one's own tests crash it at every flush, which replays it;
the second one's histories are in tests/nfc, the last one's, and those of the bank's files, in tests/settlement."""


@pytest.mark.parametrize("file", FILES)
async def test_a_recorded_history_agrees_with_the_code_of_today(file: str) -> None:
    rehearsal = await rehearse(read_histories(FOLDER)[file])
    assert rehearsal.agrees, rehearsal.reason


def test_every_workflow_of_a_payment_has_a_recorded_history() -> None:
    recorded = {(each.name, each.version) for each in read_histories(FOLDER).values()}
    made = {(each.name, each.version) for each in definitions() if each.name.startswith(PLAYED)}
    assert {name for name, _ in made - recorded} <= BY_OTHER_TESTS


@pytest.mark.skipif(not RECORDS, reason="recorded deliberately: make histories")
async def test_histories_are_recorded(new_lane: NewLane) -> None:
    found: dict[str, bytes] = {}
    lane = await new_lane()
    for number, case in enumerate(combinations()):
        if case.trouble is CALM or number % ONE_OF == 0:
            await play(lane, case)
    for service in SERVICES:
        for history in await _finished(lane.database, service):
            found.setdefault(f"{history.name}-{shape_of(history)}.json", history.to_json())
    assert found
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, data in found.items():
        (FOLDER / name).write_bytes(data)


async def _finished(database: Database, service: str) -> list[RecordedHistory]:
    rows = await database.fetch(
        role_of(service), f"SELECT workflow_id FROM {service}.workflow_done ORDER BY finished_at, workflow_id"
    )
    return [await load_history(database, service, row["workflow_id"]) for row in rows]


def shape_of(history: RecordedHistory) -> str:
    """Stands for the way it took: its steps by place and name, which of them failed, and how it ended."""
    steps = [(each.seq, each.kind, each.name, each.failed) for each in history.steps]
    return hashlib.blake2b(repr((history.version, history.failed, steps)).encode(), digest_size=4).hexdigest()
