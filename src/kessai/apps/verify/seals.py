"""Seal chains: one a writer's slot and epoch, their heads in the writers' rows, and the anchors over them."""

from __future__ import annotations

import hashlib
from typing import Any

import asyncpg
import msgspec

from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries
from kessai.services.ledger.domain.state import micros
from kessai.services.ledger.store.writer import GENESIS, next_seal

CHAINED = "every seal continues its writer's chain"
ANCHORED = "every anchor continues the one before and names true heads"
ANCHORS_AT_ONCE = 10_000

Head = tuple[int, int]
"""Slot and epoch."""


class Chains:
    """The heads of all chains as far as the flushes were read."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._heads: dict[Head, tuple[int, bytes, int]] = {}

    def follow(self, flush: asyncpg.Record) -> bool:
        """Add a flush to its writer's chain; False when its seal, sequence or id does not fit."""
        head = (flush["slot"], flush["epoch"])
        sequence, seal, flush_id = self._heads.get(head, (0, GENESIS, -1))
        expected = next_seal(seal, flush["flush_id"], flush["digest"], flush["effects"], flush["expected"])
        self._heads[head] = (flush["sequence"], flush["seal"], flush["flush_id"])
        name = f"slot {head[0]} epoch {head[1]}"
        if flush["sequence"] != sequence + 1:
            text = f"it is number {flush['sequence']} of {name}, the one before it number {sequence}"
        elif head[1] < 1:
            text = f"there is no {name}"
        elif flush["flush_id"] <= flush_id:
            text = f"it comes before flush {flush_id}, which it follows in {name}"
        elif flush["seal"] != expected:
            text = f"its seal does not follow from the one before it in {name}"
        else:
            return True
        self._report.add(CHAINED, "ledger.flush", flush["flush_id"], text)
        return False

    async def check_writers(self, connection: Connection, sql: Queries) -> None:
        """Each slot's row has the head of its current epoch (of the one before, once it was given up)."""
        newest: dict[int, int] = {}
        for (slot, _), (_, _, flush_id) in self._heads.items():
            newest[slot] = max(newest.get(slot, -1), flush_id)
        writers = await connection.fetch(sql["writers"])
        for row in writers:
            self._check_writer(row, newest.get(row["slot"], -1))
        known = {row["slot"] for row in writers}
        for (slot, _), (_, _, flush_id) in self._heads.items():
            if slot not in known:
                self._report.add(CHAINED, "ledger.writer", slot, "flushes were written by a slot that does not exist")
                self._report.add(
                    CHAINED, "ledger.flush", flush_id, f"it was written by slot {slot}, which does not exist"
                )

    def _check_writer(self, row: asyncpg.Record, newest: int) -> None:
        slot, epoch = row["slot"], row["epoch"] - row["fenced"]
        sequence, seal, _ = self._heads.get((slot, epoch), (0, GENESIS, -1))
        later = [each for each in self._heads if each[0] == slot and each[1] > epoch]
        text = None
        if (row["sequence"], row["seal"]) != (sequence, seal):
            text = f"its head is number {row['sequence']}, the last flush of epoch {epoch} number {sequence}"
            text += "" if row["sequence"] != sequence else ", with another seal"
        if later:
            text = f"it is in epoch {epoch}, but flushes are of epoch {max(later)[1]}"
            for each in later:
                told = f"it is of epoch {each[1]}, which slot {slot} has not reached"
                self._report.add(CHAINED, "ledger.flush", self._heads[each][2], told)
        elif row["stable_id"] < newest:
            text = f"it promised nothing before {row['stable_id']}, but wrote flush {newest} later"
        if text is not None:
            self._report.add(CHAINED, "ledger.writer", slot, text)


async def check_anchors(connection: Connection, sql: Queries, report: Report) -> None:
    """Recompute the anchors' chain; its heads never go back, and each is the seal of its flush."""
    previous, last_id, last_at = GENESIS, 0, 0
    heads: dict[Head, tuple[int, str]] = {}
    named: dict[tuple[int, int, int], tuple[str, int]] = {}
    async for row in connection.cursor(sql["anchors"], prefetch=1_000):
        anchor_id, text, at = row["anchor_id"], row["heads"], micros(row["recorded_at"])
        if row["seal"] != hashlib.sha256(previous + anchor_id.to_bytes(8, "big", signed=True) + text.encode()).digest():
            report.add(
                ANCHORED, "ledger.seal_anchor", anchor_id, "its seal does not follow from its heads and the one before"
            )
        if anchor_id != max(last_id + 1, at) or at < last_at:
            report.add(ANCHORED, "ledger.seal_anchor", anchor_id, "it was not recorded when its number says")
        for head, place in _read_heads(report, anchor_id, text, heads).items():
            named[(*head, place[0])] = (place[1], anchor_id)
            heads[head] = place
        previous, last_id, last_at = row["seal"], anchor_id, at
        if len(named) >= ANCHORS_AT_ONCE:
            await _check_heads(connection, sql, report, named)
            named.clear()
    await _check_heads(connection, sql, report, named)


def _read_heads(
    report: Report, anchor_id: int, text: str, before: dict[Head, tuple[int, str]]
) -> dict[Head, tuple[int, str]]:
    """Heads of an anchor that moved since the one before."""
    try:
        told: list[tuple[int, int, int, str]] = msgspec.json.decode(text, type=list[tuple[int, int, int, str]])
    except msgspec.MsgspecError as error:
        report.add(ANCHORED, "ledger.seal_anchor", anchor_id, f"its heads cannot be read: {error}")
        return {}
    found = {(slot, epoch): (sequence, seal) for slot, epoch, sequence, seal in told}
    for head, (sequence, seal) in before.items():
        there = found.get(head, (0, ""))
        if there[0] < sequence or (there[0] == sequence and there[1] != seal):
            report.add(
                ANCHORED,
                "ledger.seal_anchor",
                anchor_id,
                f"slot {head[0]} epoch {head[1]} has gone back since the last",
            )
    return {head: place for head, place in found.items() if before.get(head) != place}


async def _check_heads(
    connection: Connection, sql: Queries, report: Report, named: dict[tuple[int, int, int], tuple[str, int]]
) -> None:
    wanted: list[list[Any]] = [list(each) for each in zip(*named, strict=True)] or [[], [], []]
    rows = await connection.fetch(sql["anchored_flushes"], *wanted)
    there = {(row["slot"], row["epoch"], row["sequence"]): row["seal"].hex() for row in rows}
    for place, (seal, anchor_id) in named.items():
        if there.get(place) != seal:
            slot, epoch, sequence = place
            text = f"flush {sequence} of slot {slot} epoch {epoch} has not the seal that was anchored"
            report.add(ANCHORED, "ledger.seal_anchor", anchor_id, text)
