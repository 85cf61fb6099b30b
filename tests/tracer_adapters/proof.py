"""The participants' reports on processings, made at once and without a tracer."""

from __future__ import annotations

from typing import Any

from kessai.sdk.processing.api import Difference, ListEffects, Outcome
from kessai.sdk.processing.participant import NOTHING, report_on
from tests.faults.matrix.lane import Lane

CALLER = "payment"
DEPENDENCIES = ("ledger", "cardgateway", "bank")


async def services_of(lane: Lane) -> dict[str, Any]:
    """Everybody who takes part, by name."""
    others = {name: await lane.living(name) for name in ("payment", "cardgateway", "bank")}
    return {**others, "ledger": lane.ledger}


async def processings_of(lane: Lane) -> dict[str, str]:
    """Every processing that payments were made in, with the kind of the first."""
    rows = await lane.database.fetch(
        None, "SELECT processing_id, kind FROM payment.payment WHERE processing_id <> '' ORDER BY payment_id"
    )
    return {row["processing_id"]: row["kind"] for row in rows}


async def reported(lane: Lane, ids: list[str]) -> dict[str, tuple[Outcome, list[Difference]]]:
    """By processing: the payment's outcome, and whatever anybody has found."""
    services = await services_of(lane)
    own = {name: await service.effects.own_view(ids) for name, service in services.items()}
    answers: dict[str, Any] = {}
    for name in DEPENDENCIES:
        page = await services[name].list_effects(ListEffects(processing_ids=ids, caller=CALLER))
        answers[name] = {each.processing_id: each for each in page.processings}
    found: dict[str, tuple[Outcome, list[Difference]]] = {}
    for each in ids:
        report = report_on(each, 1, own[CALLER].get(each, NOTHING), answers)
        alone = [report_on(each, 1, own[name].get(each, NOTHING), {}) for name in DEPENDENCIES]
        found[each] = report.outcome, [*report.differences, *(one for other in alone for one in other.differences)]
    return found
