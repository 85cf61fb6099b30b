"""What the statutory books write of one event of the ledger: lines of customers' ledgers, and trades. Pure.

Holds (仮売上) move nothing and make no line: what a customer sends to a bank stays the customer's until its result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from kessai.foundation.clock import business_date
from kessai.services.books.domain.faults import writable
from kessai.services.books.domain.statutory.rules import BookType, Category, StatutoryRules
from kessai.services.ledger.api import ExchangeRecorded

YEN = "JPY"
OF_NO_KIND = ""
"""What is undone is not known: a movement is what its side of the account type is."""
DIGITS_MAX = 18
"""Of a quantity: what a bigint holds for certain."""


class Holder(Protocol):
    """Whose account it is."""

    @property
    def owner(self) -> str:
        """The customer."""
        ...

    @property
    def account_type(self) -> str:
        """Its type in the ledger."""
        ...


class Holders(Protocol):
    """The ledger's accounts that are known, by `acc_…`."""

    def get(self, key: str, /) -> Holder | None:
        """The account, if it is known."""
        ...


class StatementLine(NamedTuple):
    """A line of a customer's ledger, in the order of the columns that are written; `book_on` is added when it is."""

    account_id: str
    """32 digits."""
    sequence: int
    part: int
    account_type: str
    owner: str
    asset: str
    amount: int
    balance: int
    category: str
    kind: str
    action: str
    counterparty: str
    exchange_id: str
    payment_id: str | None
    processing_id: str | None
    event_on: date
    occurred_at: datetime


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


class Undone(NamedTuple):
    """What an event undoes."""

    kind: str
    """Of the exchange at the beginning."""
    again: bool = False
    """It undoes what undid it."""


class Statement(NamedTuple):
    """All that one event writes."""

    lines: Sequence[StatementLine]
    trades: Sequence[Trade] = ()


NOTHING = Statement(())


class _Moved(NamedTuple):
    """A posting that moved something."""

    account_id: str
    asset: str
    amount: int
    balance: int | None
    sequence: int
    owner: str
    account_type: str


def statement_of(
    event: ExchangeRecorded,
    holders: Holders,
    rules: StatutoryRules,
    recorded_at: datetime,
    payment_id: str | None = None,
    undone: Undone | None = None,
) -> Statement:
    """The lines and trades of an event; nothing until every account that it moves is known: they tell what it was.

    `payment_id` where the event itself does not tell it (a capture): the payment that made what is captured.
    `undone`: what the event undoes, as far as it is known.
    """
    moved = _moved(event, holders)
    types = rules.types
    if not any(each.account_type in types for each in moved):
        return NOTHING
    event_on = _day_of(recorded_at)
    trade = len({each.asset for each in moved}) > 1
    lines: list[StatementLine] = []
    fees: dict[str, int] = {}
    for each in moved:
        if (book_type := types.get(each.account_type)) is not None and each.balance is not None:
            if book_type.fee_types and each.account_type not in fees:
                fees[each.account_type] = _fee(moved, book_type.fee_types)
            fee = _share_of_fee(fees, each) if fees else 0
            about = _About(event, _payment_of(event, payment_id), event_on, recorded_at, trade, undone)
            lines += _lines(about, each, book_type, fee, moved)
    if not trade:
        return Statement(lines)
    return Statement(lines, list(_trades(event, moved, rules, event_on, recorded_at)))


_day_of = lru_cache(maxsize=1_024)(business_date)
"""Events of one flush have one instant."""


def _payment_of(event: ExchangeRecorded, held: str | None) -> str | None:
    """The payment that made an exchange goes by its reference; what undoes one tells it beside."""
    own = event.reference if event.reverses is None else None
    return writable(event.metadata.get("payment_id")) or held or own


def _moved(event: ExchangeRecorded, holders: Holders) -> list[_Moved]:
    """The postings that moved something; none while the account of one of them is not known."""
    found: list[_Moved] = []
    postings: Any = event.postings
    for _, account_id, asset, amount, _, balance, _, sequence, *_ in postings:
        if amount:
            if (holder := holders.get(account_id)) is None:
                return []
            found.append(_Moved(account_id, asset, amount, balance, sequence, holder.owner, holder.account_type))
    return found


def _fee(moved: Sequence[_Moved], fee_types: tuple[str, ...]) -> int:
    return sum(each.amount for each in moved if each.account_type in fee_types)


def _share_of_fee(fees: dict[str, int], posting: _Moved) -> int:
    """As much of the fee as this posting bears, signed as the posting; what is left is for the next one."""
    left = fees.get(posting.account_type, 0)
    if left * posting.amount >= 0:
        return 0
    share = max(-left, posting.amount) if posting.amount < 0 else min(-left, posting.amount)
    fees[posting.account_type] = left + share
    return share


class _About(NamedTuple):
    """What all lines of an event have in common."""

    event: ExchangeRecorded
    payment_id: str | None
    event_on: date
    at: datetime
    trade: bool
    undone: Undone | None


def _lines(
    about: _About, posting: _Moved, book_type: BookType, fee: int, moved: Sequence[_Moved]
) -> Iterator[StatementLine]:
    """One line, or two where part of the posting is a fee."""
    event = about.event
    category = _category(about, book_type, credit=posting.amount > 0)
    rest = posting.amount - fee
    parts = [(rest, category)] if rest else []
    if fee:
        parts.append((fee, Category.FEE))
    assert posting.balance is not None
    balance = posting.balance - posting.amount
    for part, (amount, named) in enumerate(parts, 1):
        balance += amount
        yield StatementLine(
            posting.account_id[4:],
            posting.sequence,
            part,
            posting.account_type,
            posting.owner,
            posting.asset,
            amount,
            balance,
            named.value,
            event.kind,
            event.action,
            _counterparty(posting, moved),
            event.exchange_id,
            about.payment_id,
            event.processing_id,
            about.event_on,
            about.at,
        )


def _category(about: _About, book_type: BookType, *, credit: bool) -> Category:
    """What a movement is; of one that undoes another, where the book asks for it, what that one is."""
    event, undone = about.event, about.undone
    if event.reverses is None or not book_type.undone_as_done:
        return book_type.category(event.kind, credit=credit, trade=about.trade)
    if undone is None:
        return book_type.category_undone(OF_NO_KIND, credit=credit, trade=about.trade)
    if undone.again:
        return book_type.category(undone.kind, credit=credit, trade=about.trade)
    return book_type.category_undone(undone.kind, credit=credit, trade=about.trade)


def _counterparty(posting: _Moved, moved: Sequence[_Moved]) -> str:
    """Who is on the other side: the one of the largest movement the other way in the same asset."""
    others = [each for each in moved if each.amount * posting.amount < 0 and each.asset == posting.asset]
    return max(others, key=lambda each: abs(each.amount)).owner if others else ""


# -- trades of crypto-assets ----------------------------------------------------------------------------------------


def _trades(
    event: ExchangeRecorded, moved: Sequence[_Moved], rules: StatutoryRules, event_on: date, at: datetime
) -> Iterator[Trade]:
    """One trade a customer who gave one asset and took another; what has no price besides a fee is none."""
    mine = [each for each in moved if _is_crypto(each, rules)]
    for owner in dict.fromkeys(each.owner for each in mine):
        gave, took = _sides([each for each in mine if each.owner == owner])
        if gave and took:
            made = _trade(event, owner, gave, took, moved, rules, event_on, at)
            if made.amount > 0:
                yield made


def _is_crypto(posting: _Moved, rules: StatutoryRules) -> bool:
    found = rules.types.get(posting.account_type)
    return found is not None and found.book == "crypto_asset"


def _sides(postings: Sequence[_Moved]) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
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
    moved: Sequence[_Moved],
    rules: StatutoryRules,
    event_on: date,
    at: datetime,
) -> Trade:
    side = "BUY" if gave[0] == YEN else "SELL" if took[0] == YEN else "SWAP"
    (asset, quantity), (price_asset, gross) = (gave, took) if side == "SELL" else (took, gave)
    fee_types = {name for each in rules.types_of("crypto_asset").values() for name in each.fee_types}
    fee = sum(each.amount for each in moved if each.account_type in fee_types and each.asset == price_asset)
    amount = gross + fee if side == "SELL" else gross - fee
    said = {name: text.replace("\0", "") for name, text in event.metadata.items()}
    capacity = said.get("capacity", "").upper()
    return Trade(
        event.exchange_id,
        owner,
        capacity if capacity in ("OWN", "AGENCY") else rules.crypto_asset.capacity,
        side,
        asset,
        quantity,
        price_asset,
        event.rate or "",
        amount,
        fee,
        said.get("counterparty", ""),
        said.get("order_kind", "MARKET").upper(),
        said.get("limit_price"),
        _whole(said.get("ordered"), quantity),
        _instant(said.get("ordered_at"), at),
        at,
        event.reverses,
        event_on,
    )


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
