"""会計帳簿 ↔ 銀行: what each transfer and debit moved as the bank service has it, and what is booked of it."""

from __future__ import annotations

from kessai.sdk.processing.api import EffectRecord
from kessai.services.books.api.reconciling import ReconciliationFigure
from kessai.services.books.service.reconciling.against_payment import effects_of, note_differences
from kessai.services.books.service.reconciling.runs import NAMED_MAX, Outcome, Run, Staging
from kessai.services.books.store.reconciling import Staged, compare


async def against_bank(run: Run) -> Outcome:
    """Every instruction of the processings that something was recorded of."""
    staging, moved = Staging(run), 0
    async for effects in effects_of(run, run.doors.bank):
        moved += sum(map(_moved, effects))
        await staging.add(
            Staged(each.effect_id, None, 0, _moved(each), None, each.state, each.at or run.through) for each in effects
        )
    await staging.finish()
    outcome, deposits = Outcome(compared=staging.count), sorted(run.deposit_accounts)
    rows = await compare(
        run.database, "bank_differences", run.run_id, run.first, run.through, run.boundary, run.first_day, deposits,
        NAMED_MAX,
    )  # fmt: skip
    note_differences(outcome, rows, "")
    (booked,) = await compare(run.database, "bank_figures", run.run_id, deposits)
    figure = ReconciliationFigure(
        subject="deposit",
        asset="JPY",
        theirs_minor=moved,
        ours_minor=int(booked["amount"]),
        in_flight_minor=0,
        explained_minor=0,
    )
    outcome.figures.append(figure)
    return outcome


def _moved(effect: EffectRecord) -> int:
    """What an instruction did to our account at the bank: a transfer out is told as a plus of its receiver."""
    net = effect.captured_minor - effect.returned_minor
    return -net if effect.amount_minor > 0 else net
