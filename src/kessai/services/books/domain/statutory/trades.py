"""Trades of crypto-assets (取引日記帳, 注文伝票): what the statutory books write of an exchange of two assets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from kessai.foundation.clock import business_date
from kessai.services.books.domain.statutory.rules import StatutoryRules
from kessai.services.ledger.api import ExchangeRecorded

YEN = "JPY"
DIGITS_MAX = 18
"""Of a quantity: what a bigint holds for certain."""
FOR_WHOM = ("capacity", "counterparty")
"""What metadata say of an exchange that holds for what undoes it, too."""

day_of = lru_cache(maxsize=1_024)(business_date)
"""Events of one flush have one instant."""


class Moved(NamedTuple):
    """A posting that moved something."""

    account_id: str
    asset: str
    amount: int
    balance: int | None
    sequence: int
    owner: str
    account_type: str


class Order(msgspec.Struct, frozen=True, array_like=True):
    """How an exchange of two assets was ordered (注文): its captures, and what undoes it, do not tell it again."""

    rate: str
    said: Mapping[str, str]
    """Metadata."""
    at: datetime
    legs: Sequence[tuple[str, str, int]]
    """Account, asset, amount that is held, signed; none of what was executed at once."""

    def quantity(self, moved: Sequence[Moved], owner: str, asset: str) -> int:
        """How much of an asset the order of a customer is about; 0 where it does not tell."""
        mine = {each.account_id for each in moved if each.owner == owner}
        return abs(sum(amount for account, held, amount in self.legs if held == asset and account in mine))


def order_of(event: ExchangeRecorded, at: datetime) -> Order | None:
    """How an exchange was ordered, if something that comes after it has to know: of two assets, held or for others."""
    legs: Any = event.legs
    if event.action == "authorized":
        if len({leg[1] for leg in legs}) > 1:
            return Order(event.rate or "", event.metadata, at, [(leg[0], leg[1], leg[2]) for leg in legs])
    elif event.reverses is None and event.rate is not None and any(name in event.metadata for name in FOR_WHOM):
        return Order(event.rate, event.metadata, at, [])
    return None


def order_asked(event: ExchangeRecorded) -> str | None:
    """The exchange whose order has to be known for an event: of a capture its own, of a reversal the other."""
    if event.action != "captured" and event.reverses is None:
        return None
    postings: Any = event.postings
    if len({posting[2] for posting in postings}) < 2:
        return None
    return event.reverses or event.exchange_id


class Trade(NamedTuple):
    """A trade of a crypto-asset, in the order of the columns that are written; `book_on` is added when it is."""

    exchange_id: str
    owner: str
    capacity: str
    side: str
    asset: str
    quantity: int
    price_asset: str
    unit_price: str
    amount: int
    fee: int
    counterparty: str
    order_kind: str
    limit_price: str | None
    ordered: int
    ordered_at: datetime
    executed_at: datetime
    reverses: str | None
    event_on: date
    action_id: str
    """Of a capture: which of its exchange's; empty where the exchange was made at once."""


def trades_of(
    event: ExchangeRecorded, moved: Sequence[Moved], rules: StatutoryRules, at: datetime, order: Order | None
) -> Iterator[Trade]:
    """One trade a customer who gave one asset and took another; what has no price besides a fee is none.

    What is captured in parts is a trade a part: each was executed by itself. `order`: see `order_of`.
    """
    mine = [each for each in moved if _is_crypto(each, rules)]
    for owner in dict.fromkeys(each.owner for each in mine):
        gave, took = _sides([each for each in mine if each.owner == owner])
        if gave and took:
            made = _trade(event, owner, gave, took, moved, rules, at, order)
            if made.amount > 0:
                yield made


def _is_crypto(posting: Moved, rules: StatutoryRules) -> bool:
    found = rules.types.get(posting.account_type)
    return found is not None and found.book == "crypto_asset"


def _sides(postings: Sequence[Moved]) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """What was given and what was taken: asset and amount."""
    sums: dict[str, int] = {}
    for each in postings:
        sums[each.asset] = sums.get(each.asset, 0) + each.amount
    gave = next(((asset, -amount) for asset, amount in sums.items() if amount < 0), None)
    took = next(((asset, amount) for asset, amount in sums.items() if amount > 0), None)
    return gave, took


def _trade(
    event: ExchangeRecorded,
    owner: str,
    gave: tuple[str, int],
    took: tuple[str, int],
    moved: Sequence[Moved],
    rules: StatutoryRules,
    at: datetime,
    order: Order | None,
) -> Trade:
    side = "BUY" if gave[0] == YEN else "SELL" if took[0] == YEN else "SWAP"
    (asset, quantity), (price_asset, gross) = (gave, took) if side == "SELL" else (took, gave)
    fee_types = {name for each in rules.types_of("crypto_asset").values() for name in each.fee_types}
    fee = sum(each.amount for each in moved if each.account_type in fee_types and each.asset == price_asset)
    amount = gross + fee if side == "SELL" else gross - fee
    said = _said(event, order)
    capacity = said.get("capacity", "").upper()
    ordered, ordered_at = (
        (quantity, at) if order is None or event.reverses else (order.quantity(moved, owner, asset), order.at)
    )
    return Trade(
        event.exchange_id,
        owner,
        capacity if capacity in ("OWN", "AGENCY") else rules.crypto_asset.capacity,
        side,
        asset,
        quantity,
        price_asset,
        event.rate or ("" if order is None else order.rate),
        amount,
        fee,
        said.get("counterparty", ""),
        said.get("order_kind", "MARKET").upper(),
        said.get("limit_price"),
        _whole(said.get("ordered"), ordered or quantity),
        _instant(said.get("ordered_at"), ordered_at),
        at,
        event.reverses,
        day_of(at),
        event.action_id or "",
    )


def _said(event: ExchangeRecorded, order: Order | None) -> dict[str, str]:
    """What the exchange's metadata say, and what was said with the order; of what undoes it only for whom it was."""
    said = {} if order is None else dict(order.said)
    if event.reverses:
        said = {name: text for name, text in said.items() if name in FOR_WHOM}
    return {name: text.replace("\0", "") for name, text in (said | event.metadata).items()}


def _whole(written: str | None, otherwise: int) -> int:
    """A quantity that an exchange's metadata tells."""
    if written is None or len(written) > DIGITS_MAX or not (written.isascii() and written.isdigit()):
        return otherwise
    return int(written) or otherwise


def _instant(written: str | None, otherwise: datetime) -> datetime:
    """An instant that an exchange's metadata tells; metadata is the caller's, so that anything may stand there."""
    try:
        found = datetime.fromisoformat(written) if written is not None else otherwise
        return found.astimezone(UTC) if found.tzinfo is not None else otherwise
    except (ValueError, OverflowError):  # also one that is of no year in UTC
        return otherwise
