"""Realised gains, worked out anew: what was sold at an exchange's rate, less what its lots had been acquired at.

A reversal takes back what is told of the lots that it gives back, so that what remains told is always the gain on what
remains sold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import asyncpg
import msgspec

from kessai.apps.verify.courses import Leg, born, steps_of
from kessai.apps.verify.finding import Report
from kessai.apps.verify.records import Effect, Posting, decode_effect
from kessai.foundation.db import Connection, Queries
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.ledger.domain.types import AccountTypes

GAINS = "a realised gain is proceeds less cost"
EXCHANGES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Life:
    """An exchange and what was done to it."""

    key: str
    birth: Effect
    steps: list[Effect]

    def postings(self) -> Iterator[Posting]:
        """Of its birth and of everything after."""
        for effect in (self.birth, *self.steps):
            yield from effect.postings


class Rates:
    """Acquisition rates of the lots that some exchanges name, and the price assets of their accounts."""

    def __init__(self, types: AccountTypes) -> None:
        self._price_assets = {each.code: each.price_asset for each in types if each.rate_tracked}
        self._prices: dict[str, str] = {}
        self._rates: dict[tuple[str, int], str | None] = {}

    async def load(self, connection: Connection, sql: Queries, postings: Iterable[Posting]) -> None:
        """Learn the lots of these postings."""
        named = {(p[1], lot) for p in postings if p[5] is not None for lot in (p[7], *(each[0] for each in p[8]))}
        accounts, sequences = [account[4:] for account, _ in named], [sequence for _, sequence in named]
        for row in await connection.fetch(sql["lot_rates"], accounts, sequences):
            if (price := self._price_assets.get(row["account_type"])) is not None:
                self._prices[row["account_id"]] = price
            if row["sequence"] is not None:
                self._rates[(row["account_id"], row["sequence"])] = row["rate"]

    def gain(self, account_id: str, asset: str, sold: Sequence[tuple[int, int]], rate: str | None) -> int | None:
        """On lots sold at a rate, in minor units of the price asset, half-up; None where no rates are tracked."""
        if rate is None or (price := self._prices.get(account_id)) is None:
            return None
        gain = Decimal(0)
        for lot, amount in sold:
            if (acquired := self._rates.get((account_id, lot))) is not None:
                gain += Decimal(amount).scaleb(-ASSET_EXPONENTS[asset]) * (Decimal(rate) - Decimal(acquired))
        return int(gain.scaleb(ASSET_EXPONENTS[price]).quantize(Decimal(1), rounding=ROUND_HALF_UP))


async def check_gains(connection: Connection, sql: Queries, types: AccountTypes, report: Report) -> None:
    """Every gain of every account whose lots carry rates, and of those that were told none."""
    tracked = [each.code for each in types if each.rate_tracked]
    lives: list[Life] = []
    async for row in connection.cursor(sql["rated_courses"], tracked, prefetch=EXCHANGES_AT_ONCE):
        if (life := _life(row)) is not None:
            lives.append(life)
        if len(lives) >= EXCHANGES_AT_ONCE:
            await _check(connection, sql, types, lives, report)
            lives.clear()
    await _check(connection, sql, types, lives, report)


def _life(row: asyncpg.Record) -> Life | None:
    try:
        birth, steps = decode_effect(row["birth"]), [effect for _, effect in steps_of(row)]
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None  # told by the pass over the pages
    return Life("exc_" + row["exchange_id"].hex, birth, steps)


async def _check(
    connection: Connection, sql: Queries, types: AccountTypes, lives: Sequence[Life], report: Report
) -> None:
    rates = Rates(types)
    await rates.load(connection, sql, (posting for life in lives for posting in life.postings()))
    for life in lives:
        try:
            for exchange_id, text in _faults(life, rates):
                report.add(GAINS, "ledger.exchange", exchange_id, text)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            continue  # its course cannot be worked out, which the check of courses tells


def _faults(life: Life, rates: Rates) -> Iterator[tuple[str, str]]:
    rate = life.birth.rate
    if life.birth.action == "created":
        yield from _sales(life.key, life.birth, rates, rate)
    course = born(life.birth)
    for effect in life.steps:
        if effect.action == "reversed":
            before = [leg.gain for leg in course.legs]
            course.reverse(effect)
            for number, posting in zip(effect.undoes, effect.postings, strict=True):
                wanted = _undone(course.legs[number], before[number], posting, rates, rate)
                yield from _compare(effect.exchange_id, posting, wanted)
        else:
            course.act(effect)
            yield from _sales(life.key, effect, rates, rate)


def _sales(key: str, effect: Effect, rates: Rates, rate: str | None) -> Iterator[tuple[str, str]]:
    for posting in effect.postings:
        sold = posting[3] < 0 or (effect.action != "created" and posting[4] < 0)
        yield from _compare(key, posting, _sale(posting, rates, rate) if sold else None)


def _sale(posting: Posting, rates: Rates, rate: str | None) -> int | None:
    return rates.gain(posting[1], posting[2], [(lot, -amount) for lot, amount, _ in posting[8]], rate)


def _undone(leg: Leg, before: int, posting: Posting, rates: Rates, rate: str | None) -> int | None:
    if leg.amount > 0:
        return _sale(posting, rates, rate)
    kept = rates.gain(posting[1], posting[2], [(lot, amount) for lot, amount in leg.taken], rate)
    return None if kept is None else kept - before


def _compare(key: str, posting: Posting, wanted: int | None) -> Iterator[tuple[str, str]]:
    if posting[11] != wanted:
        yield key, f"its leg {posting[0]} tells a realised gain of {posting[11]}, its lots make it {wanted}"
