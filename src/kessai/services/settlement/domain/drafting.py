"""A cycle as it is drafted: the sales summary, what has to be cleared, and the payout. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.ids import derived_hex
from kessai.services.settlement.domain.cycles import PayeeTerms, first_day_of, instruct_day_of, pay_day_of
from kessai.services.settlement.domain.payouts import (
    Due,
    OwnerNet,
    Share,
    TakenOver,
    Unpaid,
    dues,
    needs_cycle,
    shares,
    taken_over,
    total_of,
)

SUMS = ("sales_minor", "refunds_minor", "fees_minor", "fee_refunds_minor", "added_minor", "taken_minor", "net_minor")
"""The columns of a summary that are summed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSum:
    """What one owner's daily summaries without a cycle come to."""

    net: OwnerNet
    first_day: date
    sums: tuple[int, ...]
    """In the order of `SUMS`."""
    transactions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One payee's cycle, ready to be written."""

    payee_id: str
    cycle_id: str
    payout_id: str
    first_day: date
    last_day: date
    sums: tuple[int, ...]
    transactions: int
    terms: PayeeTerms
    dues: list[Due]
    over: TakenOver
    taken: list[tuple[str, int]]
    """The payouts that this one takes over, with their versions."""
    pay_on: date
    instruct_on: date

    @property
    def cleared_minor(self) -> int:
        """What becomes settled sales."""
        return total_of(self.dues, "clearing")

    @property
    def shortfall_minor(self) -> int:
        """What becomes a settled claim (赤残)."""
        return total_of(self.dues, "shortfall")

    @property
    def payouts(self) -> list[tuple[str, Share]]:
        """Its payouts by id; the first is `payout_id`."""
        return [(payout_id_of(self.cycle_id, each.part), each) for each in shares(self.cleared_minor, self.over)]


def cycle_id_of(payee_id: str, last_day: date) -> str:
    """The 32 digits that always stand for a payee's cycle that ends on a day."""
    return derived_hex("settlement", "cycle", payee_id, last_day.isoformat())


def payout_id_of(cycle_id: str, part: int = 0) -> str:
    """The 32 digits of a cycle's payout, or of a further part of it."""
    return derived_hex("settlement", "payout", cycle_id, *([str(part)] if part else []))


def claim_id_of(cycle_id: str) -> str:
    """The 32 digits of the claim of a cycle's shortfall."""
    return derived_hex("settlement", "claim", cycle_id)


def draft(
    terms: PayeeTerms,
    last_day: date,
    owners: Sequence[OpenSum],
    unpaid: Sequence[tuple[Unpaid, int]],
    previous: date | None,
) -> Draft | None:
    """The cycle of a payee that ends on a day; None when there is nothing to settle in it.

    `unpaid`: earlier payouts that were not paid, with their versions; `previous`: the last day of its cycle before.
    """
    nets = [each.net for each in owners]
    over = taken_over([each for each, _ in unpaid], last_day)
    if not needs_cycle(over, terms, last_day, sold=bool(owners)):
        return None
    cycle_id = cycle_id_of(terms.payee_id, last_day)
    pay_on = pay_day_of(terms, last_day)
    return Draft(
        payee_id=terms.payee_id,
        cycle_id=cycle_id,
        payout_id=payout_id_of(cycle_id),
        first_day=_first_day(terms, last_day, owners, previous),
        last_day=last_day,
        sums=tuple(sum(each.sums[place] for each in owners) for place in range(len(SUMS))),
        transactions=sum(each.transactions for each in owners),
        terms=terms,
        dues=dues(nets),
        over=over,
        taken=[(each.payout_id, version) for each, version in unpaid],
        pay_on=pay_on,
        instruct_on=instruct_day_of(terms, pay_on),
    )


def _first_day(terms: PayeeTerms, last_day: date, owners: Sequence[OpenSum], previous: date | None) -> date:
    """Where the cycle before ended, where the contract says, or as far back as what came late."""
    nominal = first_day_of(terms, last_day)
    if previous is not None:
        nominal = max(nominal, previous + ONE_DAY)
    return min([nominal, *(each.first_day for each in owners)])
