"""会計帳簿 ↔ 決済: what the payment service has of each payment, what it published, and what is booked.

The processings that anything was recorded of are asked for at the payment service, so that an effect without an event
is found as well as an event without an effect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import asyncpg

from kessai.sdk.processing.api import EffectRecord, EffectSource, ListEffects
from kessai.services.books.api.reconciling import DifferenceKind, DifferenceState
from kessai.services.books.domain.reconciling import Difference
from kessai.services.books.service.reconciling.runs import NAMED_MAX, PROCESSINGS_AT_ONCE, Outcome, Run, Staging
from kessai.services.books.store.reconciling import Staged, compare

PAYEE = "payee"
"""Of a payment's sides, the one that is compared: both tell the same amounts."""


async def against_payment(run: Run) -> Outcome:
    """Every payment that something was recorded of."""
    staging = Staging(run)
    async for effects in effects_of(run, run.doors.payment):
        await staging.add(_staged(each, run) for each in effects if each.part == PAYEE)
    await staging.finish()
    outcome = Outcome(compared=staging.count)
    own = await compare(
        run.database, "own_payment_differences", run.run_id, run.first, run.through, run.cutoff, NAMED_MAX
    )
    booked = await compare(
        run.database, "booked_payment_differences", run.first, run.through, run.boundary, NAMED_MAX, run.first_day
    )
    note_differences(outcome, own, "published/")
    note_differences(outcome, booked, "")
    return outcome


def _staged(effect: EffectRecord, run: Run) -> Staged:
    at = effect.at or run.through
    return Staged(effect.effect_id, None, 0, effect.captured_minor, effect.returned_minor, effect.state, at)


async def effects_of(run: Run, source: EffectSource) -> AsyncIterator[list[EffectRecord]]:
    """What a service did in the processings that something was recorded of, many at a time."""
    after = ""
    while True:
        rows = await compare(
            run.database, "scope_of_processings", run.first, run.first_day, run.through, after, PROCESSINGS_AT_ONCE
        )
        if not rows:
            return
        page = await source.list_effects(ListEffects(processing_ids=[row["processing_id"] for row in rows]))
        yield [effect for each in page.processings for effect in each.effects]
        after = rows[-1]["processing_id"]


def note_differences(outcome: Outcome, rows: Iterable[asyncpg.Record], prefix: str) -> None:
    """What a comparison found, named and counted."""
    for row in rows:
        state = DifferenceState(row["state"])
        if row["number"] == 1:
            outcome.counts[state] += row["records"]
        outcome.name(
            Difference(
                kind=DifferenceKind(row["kind"]),
                state=state,
                subject=f"{prefix}{row['subject']}",
                asset=row["asset"],
                theirs=int(row["theirs"]),
                ours=int(row["ours"]),
                at=row["recorded_at"],
                text=row["text"],
            )
        )
