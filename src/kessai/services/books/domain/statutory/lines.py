"""What the statutory books write of one event of the ledger: lines of customers' ledgers, and trades. Pure.

Holds (仮売上) move nothing and make no line: what a customer sends to a bank stays the customer's until its result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

from kessai.services.books.domain.faults import writable
from kessai.services.books.domain.statutory.rules import BookType, Category, StatutoryConfig
from kessai.services.books.domain.statutory.trades import Moved, Order, Trade, day_of, trades_of
from kessai.services.ledger.api import ExchangeRecorded

OF_NO_KIND = ""
"""What is undone is not known: a movement is what its side of the account type is."""


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
    action_id: str | None
    """Of a capture: which of its exchange's."""


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


def statement_of(
    event: ExchangeRecorded,
    holders: Holders,
    config: StatutoryConfig,
    recorded_at: datetime,
    payment_id: str | None = None,
    undone: Undone | None = None,
    order: Order | None = None,
) -> Statement:
    """The lines and trades of an event, by the version of its day; nothing until every account that it moves is known.

    `payment_id` where the event itself does not tell it (a capture): the payment that made what is captured.
    `undone`: what the event undoes, as far as it is known. `order`: of what is captured or undone, how it was ordered.
    """
    moved = _moved(event, holders)
    if not any(each.account_type in config.types for each in moved):
        return NOTHING
    event_on = day_of(recorded_at)
    rules = config.of(event_on)
    types = rules.types
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
    return Statement(lines, list(trades_of(event, moved, rules, recorded_at, order)))


def _payment_of(event: ExchangeRecorded, held: str | None) -> str | None:
    """The payment that made an exchange goes by its reference; what undoes one tells it beside."""
    own = event.reference if event.reverses is None else None
    return writable(event.metadata.get("payment_id")) or held or own


def _moved(event: ExchangeRecorded, holders: Holders) -> list[Moved]:
    """The postings that moved something; none while the account of one of them is not known."""
    found: list[Moved] = []
    postings: Any = event.postings
    for _, account_id, asset, amount, _, balance, _, sequence, *_ in postings:
        if amount:
            if (holder := holders.get(account_id)) is None:
                return []
            found.append(Moved(account_id, asset, amount, balance, sequence, holder.owner, holder.account_type))
    return found


def _fee(moved: Sequence[Moved], fee_types: tuple[str, ...]) -> int:
    return sum(each.amount for each in moved if each.account_type in fee_types)


def _share_of_fee(fees: dict[str, int], posting: Moved) -> int:
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
    about: _About, posting: Moved, book_type: BookType, fee: int, moved: Sequence[Moved]
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
            event.action_id,
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


def _counterparty(posting: Moved, moved: Sequence[Moved]) -> str:
    """Who is on the other side: the one of the largest movement the other way in the same asset."""
    others = [each for each in moved if each.amount * posting.amount < 0 and each.asset == posting.asset]
    return max(others, key=lambda each: abs(each.amount)).owner if others else ""
