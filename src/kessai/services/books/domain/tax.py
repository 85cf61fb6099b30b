"""Consumption tax (消費税) by code and rate: what was sold and bought under it, net and tax, from running totals.

Entries of one code stand on the accounts of what was sold or bought, and on the account of the tax itself; so the two
are told apart by account. What was taken back stands on the other side, and so is taken off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from kessai.services.books.domain.rules import RATE_WHOLE_BPS, PostingRules, TaxCode


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxSum:
    """What stands under one tax code."""

    code: TaxCode
    net: int
    tax: int

    @property
    def gross(self) -> int:
        """With the tax."""
        return self.net + self.tax


def tax_accounts(rules: PostingRules) -> dict[str, frozenset[str]]:
    """By tax code, every account on which its tax has ever stood."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for version in rules:
        for code, tax in version.tax.items():
            found[code].add(tax.account)
    return {code: frozenset(accounts) for code, accounts in found.items()}


def consumption_tax(
    sums: Iterable[tuple[str, str, int]], codes: Mapping[str, TaxCode], accounts: Mapping[str, frozenset[str]]
) -> list[TaxSum]:
    """One sum a code, those that nothing stands under too; positive is what was sold, or bought.

    `sums`: tax code, account, amount (debit positive).
    """
    net: defaultdict[str, int] = defaultdict(int)
    tax: defaultdict[str, int] = defaultdict(int)
    for code, account, amount in sums:
        into = tax if account in accounts.get(code, ()) else net
        into[code] += amount
    return [
        TaxSum(
            code=codes[code], net=_sold_or_bought(codes[code], net[code]), tax=_sold_or_bought(codes[code], tax[code])
        )
        for code in sorted(codes, key=lambda each: (codes[each].direction != "output", each))
    ]


def _sold_or_bought(code: TaxCode, amount: int) -> int:
    return amount if code.direction == "input" else -amount


def rate_of(code: TaxCode) -> str:
    """`0.10`."""
    return str(
        (Decimal(code.rate_bps) / RATE_WHOLE_BPS).quantize(
            Decimal("0.01") if code.rate_bps % 100 == 0 else Decimal("0.0001")
        )
    )


def total_of(sums: Iterable[TaxSum], direction: str) -> int:
    """The tax of all codes of a direction."""
    return sum(each.tax for each in sums if each.code.direction == direction)
