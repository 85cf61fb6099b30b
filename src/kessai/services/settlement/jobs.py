"""Settlement's dated jobs (バッチ)."""

from __future__ import annotations

from kessai.sdk.jobs import DatedJob
from kessai.services.settlement.workflows.clear import clear_cycles
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.daily import daily
from kessai.services.settlement.workflows.idle import (
    close_as_is,
    first_to_clear,
    first_to_make,
    first_to_pay,
    first_to_settle,
    first_to_state,
)
from kessai.services.settlement.workflows.payout import pay_cycles
from kessai.services.settlement.workflows.stating import state_cycles

DAILY = DatedJob(
    name="settlement.daily",
    summary="Prove a day's transactions one by one, sum them up and close the day (日次精算).",
    definition=daily,
    at="01:00",
    days_back=1,
    first_busy=first_to_settle,
    pass_over=close_as_is,
)

CYCLE = DatedJob(
    name="settlement.cycle",
    summary="Sum the cycles that end on a day and make their payouts (精算サイクル).",
    definition=make_cycles,
    at="03:00",
    days_back=1,
    first_busy=first_to_make,
)
CLEAR = DatedJob(
    name="settlement.clear",
    summary="Settle the sales of cycles, claim what is negative, offset claims, decide payouts (クリアリング, 相殺).",
    definition=clear_cycles,
    at="03:30",
    days_back=1,
    first_busy=first_to_clear,
)
STATEMENT = DatedJob(
    name="settlement.statement",
    summary="Issue the statements of cycles that are decided, and again of what has changed since (精算明細書).",
    definition=state_cycles,
    at="04:00",
    days_back=1,
    first_busy=first_to_state,
)
PAYOUT = DatedJob(
    name="settlement.payout",
    summary="Have the payouts transferred whose day to instruct the bank has come (入金指示).",
    definition=pay_cycles,
    at="09:00",
    business_days=True,
    first_busy=first_to_pay,
)

SETTLEMENT_JOBS: tuple[DatedJob, ...] = (DAILY, CYCLE, CLEAR, STATEMENT, PAYOUT)
"""Every dated job of the service."""
