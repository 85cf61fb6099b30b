"""Accruals (決算整理仕訳) as data: how much a month's end asks for, and how much of that is not booked yet.

Whatever was booked before is taken into account, so that a month may be accrued again, after late entries or twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from kessai.foundation.calendar import month_end
from kessai.foundation.config import TomlDocument
from kessai.foundation.money import AMOUNT_MINOR_MAX, Rounding
from kessai.services.books.api.accounting import Side
from kessai.services.books.domain.versions import ONE_DAY

_ROUNDINGS = {"down": Rounding.DOWN, "half_up": Rounding.HALF_UP, "up": Rounding.UP}

Balances = Mapping[str, int]
"""By account, positive on the debit side."""


class Method(StrEnum):
    """How an accrual follows its amount from month to month."""

    TARGET = "target"
    """The account is brought to the amount: only what changed is booked."""
    REVERSING = "reversing"
    """The amount is booked, and taken back on the first day of the next month."""


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    name_ja: str
    method: Method
    account: str
    side: str
    counter: str
    of: list[str] = []
    of_side: str = "credit"
    share: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,9})?$")] | None = None
    rounding: str = "down"
    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX)] | None = None
    valid_from: date | None = None
    valid_until: date | None = None


class FiscalYear(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When years begin, and where what earlier ones earned stands."""

    starts_in: Annotated[int, msgspec.Meta(ge=1, le=12)]
    retained_earnings: str

    def start_of(self, day: date) -> date:
        """The first day of the fiscal year of a day."""
        return date(max(1, day.year - (day.month < self.starts_in)), self.starts_in, 1)


class Locking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who locks."""

    needs_approval: bool


class Points(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What are points."""

    account_types: list[str]


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Annotated[int, msgspec.Meta(ge=1)]
    fiscal_year: FiscalYear
    locking: Locking
    points: Points
    accrual: list[_Written] = []


class Accrual(msgspec.Struct, frozen=True, kw_only=True):
    """One accrual, checked."""

    name: str
    name_ja: str
    method: Method
    account: str
    side: Side
    counter: str
    of: tuple[str, ...]
    of_side: Side
    share: Decimal
    rounding: Rounding
    amount_minor: int | None
    valid_from: date | None = None
    """The first day; None: from the beginning."""
    valid_until: date | None = None
    """The last day; None: for good."""

    def holds_on(self, day: date) -> bool:
        """Whether it holds on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )

    def applies_to(self, month: date) -> bool:
        """Whether it is booked for a month: what holds on its last day is."""
        return self.holds_on(month_end(month))

    def asked_for(self, balances: Balances) -> int:
        """What `account` should have, positive on the debit side."""
        amount = self.amount_minor
        if amount is None:
            base = _on(self.of_side, sum(balances.get(each, 0) for each in self.of))
            amount = int((max(0, base) * self.share).quantize(Decimal(1), rounding=str(self.rounding)))
        return _on(self.side, amount)

    def due(self, balances: Balances, booked: int) -> int:
        """What is to be added to `account` now, positive on the debit side; the counter account gets the opposite.

        `booked`: what this accrual has added to it for this month before.
        """
        already = balances.get(self.account, 0) if self.method is Method.TARGET else booked
        return self.asked_for(balances) - already


def _on(side: Side, amount: int) -> int:
    return amount if side is Side.DEBIT else -amount


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of closing a month."""

    version: int
    fiscal_year: FiscalYear
    locking: Locking
    points: Points
    accruals: tuple[Accrual, ...]


def read_closing(document: TomlDocument, accounts: Collection[str], controls: Collection[str]) -> Closing:
    """The rules of `accruals.toml`; ConfigError names the line of what is wrong.

    `accounts` are those of the chart; `controls`, which only the ledger's events are booked on.
    """
    read = document.convert((), _Document)
    if read.fiscal_year.retained_earnings not in accounts:
        raise document.error(("fiscal_year", "retained_earnings"), "is not in the chart of accounts")
    accruals = [_checked(document, number, each, accounts, controls) for number, each in enumerate(read.accrual)]
    _end_where_the_next_begins(document, accruals)
    return Closing(
        version=read.version,
        fiscal_year=read.fiscal_year,
        locking=read.locking,
        points=read.points,
        accruals=tuple(accruals),
    )


def _checked(
    document: TomlDocument, number: int, written: _Written, accounts: Collection[str], controls: Collection[str]
) -> Accrual:
    here = ("accrual", number)
    for key, account in (("account", written.account), ("counter", written.counter)):
        if account not in accounts:
            raise document.error((*here, key), f"{account} is not in the chart of accounts")
        if account in controls:
            raise document.error((*here, key), f"{account} is booked by the ledger's events alone")
    for account in written.of:
        if account not in accounts:
            raise document.error((*here, "of"), f"{account} is not in the chart of accounts")
    if (written.amount_minor is None) == (written.share is None) or bool(written.of) != (written.share is not None):
        raise document.error(here, "needs either `of` and `share`, or `amount_minor`")
    if written.account == written.counter:
        raise document.error((*here, "counter"), "is the account itself")
    if written.account in written.of:
        raise document.error((*here, "of"), "may not hold the account itself")
    if written.rounding not in _ROUNDINGS:
        raise document.error((*here, "rounding"), f"must be one of {', '.join(_ROUNDINGS)}")
    return Accrual(
        name=written.name,
        name_ja=written.name_ja,
        method=written.method,
        account=written.account,
        side=_side(document, (*here, "side"), written.side),
        counter=written.counter,
        of=tuple(written.of),
        of_side=_side(document, (*here, "of_side"), written.of_side),
        share=Decimal(written.share or 0),
        rounding=_ROUNDINGS[written.rounding],
        amount_minor=written.amount_minor,
        valid_from=written.valid_from,
        valid_until=written.valid_until,
    )


def _end_where_the_next_begins(document: TomlDocument, accruals: list[Accrual]) -> None:
    """Fill in the last day of each version of an accrual; the versions of one have one name, the earliest first.

    ConfigError names the version that overlaps another, leaves a gap, or is booked elsewhere: an account that is left
    would keep what was booked on it.
    """
    latest: dict[str, int] = {}
    for number, each in enumerate(accruals):
        place, latest[each.name] = latest.get(each.name), number
        if each.valid_until is not None and each.valid_until < (each.valid_from or date.min):
            raise document.error(("accrual", number, "valid_until"), "is before it begins")
        if place is None:
            continue
        earlier, here = accruals[place], ("accrual", number)
        if each.valid_from is None or each.valid_from <= (earlier.valid_from or date.min):
            text = f"overlaps the earlier version of {each.name}: tell from which later day this one holds"
            raise document.error((*here, "valid_from"), text)
        last = each.valid_from - ONE_DAY
        if earlier.valid_until is not None and earlier.valid_until != last:
            how = "overlaps" if earlier.valid_until > last else "leaves a gap before"
            text = f"{how} the next version of {each.name}, which holds from {each.valid_from} on"
            raise document.error(("accrual", place, "valid_until"), text)
        for key in ("method", "account", "side", "counter"):
            if getattr(each, key) != getattr(earlier, key):
                raise document.error((*here, key), f"must be as in the earlier version of {each.name}")
        accruals[place] = msgspec.structs.replace(earlier, valid_until=last)


def _side(document: TomlDocument, path: tuple[str | int, ...], text: str) -> Side:
    if text not in ("debit", "credit"):
        raise document.error(path, 'must be "debit" or "credit"')
    return Side(text.upper())
