"""A statutory day: what is kept of it, and the digest that binds it to the day before. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

import msgspec

from kessai.foundation.calendar import ONE_DAY, is_business_day
from kessai.foundation.clock import TOKYO
from kessai.services.books.domain.statutory.figures import security_of
from kessai.services.books.domain.statutory.rules import SecurityRules, StatutoryRules

GENESIS = hashlib.sha256(b"kessai statutory books").hexdigest()
"""What stands before the first day."""


class BookDay(NamedTuple):
    """An account type's day, rolled forward."""

    account_type: str
    asset: str
    opening: int
    closing: int
    told: int
    """The sum of all customers' balances as the ledger told them."""
    accounts: int
    moved: int
    differing: int


class CategoryDay(NamedTuple):
    """What moved in one category of a type's day; up is positive."""

    account_type: str
    category: str
    amount: int
    lines: int
    late_lines: int


class OverCap(NamedTuple):
    """A customer above the retention cap."""

    account_id: str
    account_type: str
    owner: str
    balance: int
    cap: int
    since: date


class SecurityDay(NamedTuple):
    """要履行保証額 of one type of funds transfer."""

    transfer_type: int
    business_day: bool
    obligation: int
    procedure_cost: int
    required: int


class Bucket(NamedTuple):
    """The digest of the account days whose ids begin alike."""

    bucket: str
    digest: str


class Part(NamedTuple):
    """What else stands in a day's books: trades, accounts that are new, safeguards, counts of wallets, prices."""

    part: str
    rows: int
    digest: str


class DayRules(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the law that a day is made with; they are kept with it, for they change."""

    caps: dict[str, int]
    """滞留: by account type, in yen."""
    transfer_types: dict[str, int]
    """By account type."""
    security: SecurityRules
    law: StatutoryRules | None = None
    """All that was in force, for what reports state beside; None of a day that was made before it was kept."""

    @classmethod
    def of(cls, rules: StatutoryRules) -> DayRules:
        """Those of a version."""
        types = rules.types_of("funds_transfer")
        kinds = {name: each.transfer_type for name, each in types.items() if each.transfer_type is not None}
        every = rules.funds_transfer
        caps = {name: every.transfer_types[str(kind)].retention_cap_minor for name, kind in kinds.items()}
        security = SecurityRules(**{name: getattr(every, name) for name in SecurityRules.__struct_fields__})
        known = {name: cap for name, cap in caps.items() if cap is not None}
        return cls(caps=known, transfer_types=dict(kinds), security=security, law=rules)

    @classmethod
    def read(cls, text: str) -> DayRules:
        """Those that a day was made with."""
        return msgspec.json.decode(text, type=cls)

    @property
    def text(self) -> str:
        """As a day keeps them."""
        return msgspec.json.encode(self, order="sorted").decode()

    def lowered(self, before: DayRules | None) -> dict[str, int]:
        """The caps that are lower than the day before, or new; none of the first day, of which every account is new."""
        if before is None:
            return {}
        return {name: cap for name, cap in self.caps.items() if name not in before.caps or cap < before.caps[name]}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayContent:
    """All of a day that its digest covers."""

    accounts: Sequence[Bucket]
    """Of the accounts' rows, which hold the digests of their lines."""
    books: Sequence[BookDay]
    categories: Sequence[CategoryDay]
    over_cap: Sequence[OverCap]
    security: Sequence[SecurityDay]
    parts: Sequence[Part]
    rules: str

    def digest(self, book_on: date, previous: str) -> str:
        """Over every row, in order, the law's figures, and the day before."""
        parts = (self.accounts, self.books, self.categories, self.over_cap, self.security, self.parts)
        rows = (f"{number} " + " ".join(map(str, row)) for number, part in enumerate(parts) for row in part)
        whole = "\n".join((book_on.isoformat(), previous, self.rules, *rows))
        return hashlib.sha256(whole.encode()).hexdigest()

    @property
    def lines(self) -> int:
        """How many lines the day has."""
        return sum(each.lines for each in self.categories)

    @property
    def late_lines(self) -> int:
        """How many of them are of earlier days."""
        return sum(each.late_lines for each in self.categories)

    @property
    def moved(self) -> int:
        """How many accounts moved."""
        return sum(each.moved for each in self.books)


def end_of(day: date) -> datetime:
    """The instant at which a day is over, in Asia/Tokyo."""
    return datetime.combine(day + ONE_DAY, time(), TOKYO)


def feed_told_all(day: date, seen_at: datetime, now: datetime, *, quiet: bool, lag: timedelta) -> bool:
    """Whether the feed has told all of a day: it has told of later, or has nothing left to tell some time after it.

    Flushes of several processes may be told out of order by less than `lag`.
    """
    over = end_of(day) + lag
    return seen_at >= over or (quiet and now >= over)


def securities(book_on: date, closings: Mapping[str, int], rules: DayRules) -> list[SecurityDay]:
    """What each type of funds transfer business must secure at the end of a day."""
    owed: dict[int, int] = {}
    for name, transfer_type in rules.transfer_types.items():
        owed[transfer_type] = owed.get(transfer_type, 0) + closings.get(name, 0)
    found: list[SecurityDay] = []
    for transfer_type, obligation in sorted(owed.items()):
        security = security_of(obligation, rules.security)
        open_day = is_business_day(book_on)
        found.append(SecurityDay(transfer_type, open_day, obligation, security.procedure_cost, security.required))
    return found
