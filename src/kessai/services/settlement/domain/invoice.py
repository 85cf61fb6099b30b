"""Consumption tax on a statement (適格請求書): worked out from each rate's total, rounded once a rate. Pure.

On a qualified invoice the tax is rounded once for each rate, not for each line (消費税法 第57条の4, 消費税法施行令
第70条の10). Fees are kept with the tax included; what is exempt has the rate 0.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

BPS_WHOLE = 10_000
_REGISTRATION = re.compile(r"^T[0-9]{13}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTotal:
    """What was charged under one rate."""

    rate_bps: int
    gross_minor: int
    """With the tax."""
    tax_minor: int

    @property
    def base_minor(self) -> int:
        """Without the tax."""
        return self.gross_minor - self.tax_minor


def rate_totals(charges: Iterable[tuple[int, int]]) -> list[RateTotal]:
    """One total a rate, the highest first; `charges`: rate in basis points, amount with tax (what was returned: < 0).

    The fraction of a yen is cut off, towards zero.
    """
    gross: defaultdict[int, int] = defaultdict(int)
    for rate_bps, amount in charges:
        gross[rate_bps] += amount
    return [
        RateTotal(rate_bps=rate, gross_minor=gross[rate], tax_minor=tax_within(gross[rate], rate))
        for rate in sorted(gross, reverse=True)
    ]


def tax_within(gross_minor: int, rate_bps: int) -> int:
    """The tax that an amount with tax contains; the fraction of a yen is cut off, towards zero."""
    tax = abs(gross_minor) * rate_bps // (BPS_WHOLE + rate_bps)
    return tax if gross_minor >= 0 else -tax


def is_registration_number(text: str) -> bool:
    """Whether it has the form of an invoice issuer's registration number (登録番号): T and 13 digits."""
    return _REGISTRATION.match(text) is not None
