"""Random histories of a shopping street: made from a seed, played step by step, made shorter when one fails. Pure.

A history says what is done, in terms that hold whatever was done before: a refund of a sale that is not there is
nothing. So any part of a history is a history, and a failing one can be shortened by leaving steps out.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

Step = tuple[str, int, Any]
"""What, to which of the merchants, and how much or which."""

BEGINNINGS = (
    date(2027, 2, 18), date(2027, 3, 8), date(2027, 3, 29), date(2027, 4, 26), date(2027, 7, 12), date(2027, 9, 14),
    date(2027, 12, 21),
)  # fmt: skip
"""Before month ends, the Golden Week, holidays in a row, and the days on which banks are closed at New Year."""

RULES: tuple[dict[str, Any], ...] = (
    {"cycle": "daily", "payout": {"days_after": 2}, "holiday": "next", "instruct_days_before": 1},
    {"cycle": "weekly", "cycle_day": 2, "payout": {"days_after": 3}, "instruct_days_before": 1, "minimum_minor": 3_000,
     "transfer_fee_minor": 200, "transfer_fee_borne_by": "merchant"},
    {"cycle": "weekly", "cycle_day": 6, "payout": {"days_after": 1}, "holiday": "next", "instruct_days_before": 0,
     "minimum_minor": 5_000, "below_minimum": "bear_fee", "transfer_fee_minor": 150},
    {"cycle": "twice_monthly", "instruct_days_before": 2, "transfer_fee_minor": 250,
     "transfer_fee_borne_by": "merchant", "minimum_minor": 1_000, "below_minimum": "pay"},
    {"cycle": "monthly", "payout": {"months_after": 1, "day": 10}, "holiday": "next"},
    {"cycle": "monthly", "payout": {"months_after": 0, "day": 31}, "instruct_days_before": 0},
    {"cycle": "daily", "payout": {"days_after": 1}, "instruct_days_before": 0, "minimum_minor": 4_000,
     "transfer_fee_minor": 100, "transfer_fee_borne_by": "merchant"},
)  # fmt: skip
FEES: tuple[dict[str, Any], ...] = (
    {"rate_ppm": 32_500},
    {"rate_ppm": 25_000, "fixed_minor": 10, "tax": "added", "tax_rate_bps": 1_000, "rounding": "half_up"},
    {"rate_ppm": 29_900, "tax": "included", "tax_rate_bps": 1_000, "rounding": "ceil", "refund": "full_only"},
    {"rate_ppm": 50_000, "refund": "none"},
    {"rate_ppm": 0},
    {"rate_ppm": 20_000, "unit": "day", "tax": "included", "tax_rate_bps": 1_000},
    {"rate_ppm": 30_000, "fixed_minor": 100, "unit": "cycle", "tax": "added", "tax_rate_bps": 1_000},
)
WAYS = ("direct", "code", "qr")
REPAID = ("deposit", "debit", "file")
FATES = (("failed", "account_closed"), ("failed", "insufficient_funds"), ("returned", "no_account"),
         ("returned", "account_closed"), ("refused", "limit_exceeded"), ("done", None))  # fmt: skip
FAULTS = ("drop_before", "drop_after", "twice", "garbage_after", "fail_after")
FAULT_VERBS = ("file", "inquire_file", "file_entries", "statement_day", "debit", "inquire")


@dataclass(frozen=True)
class History:
    """When it begins, what was agreed with each merchant, and what happened."""

    seed: int
    begins: date
    rules: tuple[int, ...]
    fees: tuple[int, ...]
    steps: tuple[Step, ...]


def history(seed: int, rounds: int = 14) -> History:
    """A history of so many rounds: some things happen, then time goes by."""
    dice = random.Random(seed)
    steps = list[Step]()
    for _ in range(rounds):
        steps += [_step(dice) for _ in range(dice.randint(1, 3))]
        steps.append(("days", 0, dice.randint(1, 3)) if dice.random() < 0.6 else ("leap", 0, dice.randint(1, 12)))
    of_each = (tuple(dice.randrange(len(RULES)) for _ in range(4)), tuple(dice.randrange(len(FEES)) for _ in range(4)))
    return History(seed, dice.choice(BEGINNINGS), *of_each, tuple(steps))


def _step(dice: random.Random) -> Step:
    kinds = ("sell", "sell", "sell", "sell", "refund", "refund", "correct", "agree", "collect", "account", "fate",
             "repay", "hold", "suspend", "fault", "recall")  # fmt: skip
    kind, merchant = dice.choice(kinds), dice.randrange(4)
    match kind:
        case "sell":
            return kind, merchant, (dice.randint(1, 30_000), dice.randrange(len(WAYS)))
        case "refund" | "repay":
            return kind, merchant, dice.randint(1, 140)
        case "correct":
            return kind, merchant, dice.choice((-1, 1)) * dice.randint(1, 12_000)
        case "agree":
            return kind, merchant, (dice.randrange(len(RULES)), dice.randrange(len(FEES)))
        case "collect":
            return kind, 2 + merchant % 2, dice.choice((0, 1, None))
        case "account" | "hold" | "suspend" | "recall":
            return kind, merchant, dice.randrange(3)
        case "fate":
            return kind, merchant, dice.randrange(len(FATES))
        case _:
            return kind, dice.randrange(len(FAULT_VERBS)), dice.randrange(len(FAULTS))


async def shortened(failing: History, fails: Callable[[History], Awaitable[bool]], *, tries: int) -> History:
    """A shorter history that still fails: parts are left out, the larger ones first (delta debugging)."""
    size = len(failing.steps) // 2
    while size and tries:
        at = 0
        while at < len(failing.steps) and tries:
            shorter = replace(failing, steps=failing.steps[:at] + failing.steps[at + size :])
            tries -= 1
            if await fails(shorter):
                failing = shorter
            else:
                at += size
        size //= 2
    return failing
