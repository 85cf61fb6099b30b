"""Fees (手数料) by a contract's terms, to the yen. Pure.

A rate and a fixed part, or those of the last tier that the amount reaches; a part of a yen is rounded once, as the
terms say. Tax is inside the fee (内税), on top of it (外税), or there is none (非課税), and is rounded the same way.
What comes back with a refund is worked out on all that was refunded so far, so that the parts always add up to what the
whole would have given, and never to more than the fee.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

import msgspec

from kessai.foundation.contract import Message
from kessai.services.merchant.api import FeeRefund, FeeTax, FeeTerms, Rounding

RATE_UNIT = 1_000_000
BPS_UNIT = 10_000


class Fee(NamedTuple):
    """An amount, tax included, and the tax in it. Whole yen."""

    amount_minor: int
    tax_minor: int


class Schedule(Message, frozen=True):
    """By what a fee was worked out, as it is kept with it."""

    contract_id: str
    contract_version: int
    terms: FeeTerms


def encode_schedule(schedule: Schedule) -> str:
    """Its JSON: the same schedule is the same text."""
    return msgspec.json.encode(schedule, order="deterministic").decode()


def encode_terms(terms: FeeTerms) -> str:
    """JSON of terms alone: the same terms are the same text, whichever version of a contract they are in."""
    return msgspec.json.encode(terms, order="deterministic").decode()


def decode_schedule(text: str) -> Schedule:
    """A schedule that was kept."""
    return msgspec.json.decode(text, type=Schedule)


NOTHING = Fee(0, 0)


def fee_of(terms: FeeTerms, base_minor: int) -> Fee:
    """The fee on an amount (of one sale, or a day's or cycle's total), tax included."""
    assert base_minor >= 0, "a fee is on what was sold"
    if base_minor == 0:
        return NOTHING
    rate_ppm, fixed_minor = terms.rate_ppm, terms.fixed_minor
    for tier in terms.tiers:
        if base_minor >= tier.from_minor:
            rate_ppm, fixed_minor = tier.rate_ppm, tier.fixed_minor
    amount = divided(base_minor * rate_ppm, RATE_UNIT, terms.rounding) + fixed_minor
    match terms.tax:
        case FeeTax.EXEMPT:
            return Fee(amount, 0)
        case FeeTax.INCLUDED:
            whole = BPS_UNIT + terms.tax_rate_bps
            return Fee(amount, divided(amount * terms.tax_rate_bps, whole, terms.rounding))
        case FeeTax.ADDED:
            tax = divided(amount * terms.tax_rate_bps, BPS_UNIT, terms.rounding)
            return Fee(amount + tax, tax)
        case _:
            assert_never(terms.tax)


def divided(numerator: int, denominator: int, rounding: Rounding) -> int:
    """A quotient of numbers that are not negative, in whole yen."""
    match rounding:
        case Rounding.FLOOR:
            return numerator // denominator
        case Rounding.HALF_UP:
            return (2 * numerator + denominator) // (2 * denominator)
        case Rounding.CEIL:
            return -(-numerator // denominator)
        case _:
            assert_never(rounding)


def fee_back(rule: FeeRefund, fee: Fee, *, sale_minor: int, before_minor: int, refund_minor: int) -> Fee:
    """What a refund of a part of a sale gives back of its fee, when so much of the sale was refunded before.

    Proportional: of all that was refunded so far, rounded down, less what went back before; the last part brings the
    rest. Only whole: everything with the refund after which nothing is left of the sale.
    """
    assert before_minor >= 0, "what was refunded before"
    assert 0 < refund_minor <= sale_minor - before_minor, "never more than was sold"
    after = _back_of(rule, fee, sale_minor, before_minor + refund_minor)
    before = _back_of(rule, fee, sale_minor, before_minor)
    return Fee(after.amount_minor - before.amount_minor, after.tax_minor - before.tax_minor)


def _back_of(rule: FeeRefund, fee: Fee, sale_minor: int, refunded_minor: int) -> Fee:
    if rule is FeeRefund.NONE:
        return NOTHING
    if refunded_minor == sale_minor:
        return fee
    if rule is FeeRefund.FULL_ONLY:
        return NOTHING
    return Fee(fee.amount_minor * refunded_minor // sale_minor, fee.tax_minor * refunded_minor // sale_minor)


def base_back(rule: FeeRefund, *, sale_minor: int, before_minor: int, refund_minor: int) -> int:
    """What a refund takes off a day's or cycle's total, by the same rule."""
    return fee_back(
        rule, Fee(sale_minor, 0), sale_minor=sale_minor, before_minor=before_minor, refund_minor=refund_minor
    ).amount_minor


def share_of_return(fee: Fee, amount_minor: int, before_minor: int) -> Fee:
    """A part of a fee that goes back, with its tax, when so much of it went back before."""

    def tax_until(gone: int) -> int:
        return fee.tax_minor * gone // fee.amount_minor

    return Fee(amount_minor, tax_until(before_minor + amount_minor) - tax_until(before_minor))
