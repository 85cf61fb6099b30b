"""A statutory day that was made, worked out again from what it is made of: to compare, and for `kessai verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import msgspec

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.db import Connection
from kessai.services.books.domain.statutory.days import GENESIS, CategoryDay, DayContent, DayRules, securities
from kessai.services.books.domain.statutory.rules import CATEGORIES, StatutoryConfig
from kessai.services.books.store import statutory_days as store
from kessai.services.books.store.statutory_days import DayKept


@dataclass(frozen=True, slots=True)
class Again:
    """A day as it is kept, and as its lines make it."""

    written: DayContent
    worked_out: DayContent

    @property
    def differing(self) -> list[str]:
        """Which of its rows its lines do not make."""
        told = {
            "account_day": self.written.accounts == self.worked_out.accounts,
            "book_day": self.written.books == self.worked_out.books,
            "book_day_category": self.written.categories == self.worked_out.categories,
            "over_cap_day": self.written.over_cap == self.worked_out.over_cap,
            "security_day": self.written.security == self.worked_out.security,
        }
        return [relation for relation, same in told.items() if not same]


async def work_out_again(connection: Connection, kept: DayKept, before: DayKept | None) -> Again:
    """Read a day and work it out again, with the figures of the law that it was made with; writes nothing."""
    day = kept.book_on
    written = await _written(connection, kept, first=before is None)
    rules = DayRules.read(kept.rules)
    lowered = rules.lowered(None if before is None else DayRules.read(before.rules))
    types = {each.account_type: each.asset for each in written.books}
    books = await store.derive_books(connection, day, day - ONE_DAY, types)
    worked_out = replace(
        written,
        accounts=await store.account_digests_again(connection, day),
        books=books,
        categories=await store.derive_categories(connection, day),
        over_cap=await store.derive_over_cap(connection, day, day - ONE_DAY, rules.caps, lowered),
        security=securities(day, {each.account_type: each.closing for each in books}, rules),
    )
    return Again(written, worked_out)


async def _written(connection: Connection, kept: DayKept, *, first: bool) -> DayContent:
    books, categories, over_cap, security = await store.read_written(connection, kept.book_on)
    return DayContent(
        accounts=await store.account_digests(connection, kept.book_on),
        books=books,
        categories=categories,
        over_cap=over_cap,
        security=security,
        parts=await store.parts_of(connection, kept.book_on, first=first),
        rules=kept.rules,
    )


async def differing_days(connection: Connection, rules: StatutoryConfig) -> list[tuple[date, str]]:
    """Days whose rows, lines or figures are not what they were when they were made, each with what is wrong of it.

    On a connection whose view does not change; reads every line, writes nothing. `rules` say which categories a book
    knows; caps, rates and the floor are those that each day was made with.
    """
    days = await store.every_day(connection)
    found: list[tuple[date, str]] = []
    for before, kept in zip([None, *days], days, strict=False):
        found += [(kept.book_on, sentence) for sentence in await _wrong(connection, kept, before, rules)]
    return found + await _strays(connection, days)


async def _strays(connection: Connection, days: Sequence[DayKept]) -> list[tuple[date, str]]:
    """Rows that no day's digest is over, by their first day."""
    if not days:
        return []
    found = await store.strays(connection, days[0].book_on, days[-1].book_on)
    return [(each.book_on, f"{each.rows} rows of {each.relation} stand in no day that was made") for each in found]


async def _wrong(
    connection: Connection, kept: DayKept, before: DayKept | None, rules: StatutoryConfig
) -> list[str]:  # fmt: skip
    try:
        again = await work_out_again(connection, kept, before)
    except msgspec.MsgspecError as error:
        return [f"the rules that it was made with cannot be read: {error}"]
    found = [f"its rows of {relation} are not what its lines make" for relation in again.differing]
    if again.written.digest(kept.book_on, kept.previous_digest) != kept.digest:
        found.append("its digest is not that of its lines, rows, trades and records")
    counts = (again.written.lines, again.written.late_lines, again.written.moved)
    if counts != (kept.lines, kept.late_lines, kept.accounts):
        found.append("it has other numbers of lines or accounts than it tells")
    if not _continues(kept, before):
        found.append("it does not continue the day before")
    return found + _strange(again.written.categories, rules)


def _continues(kept: DayKept, before: DayKept | None) -> bool:
    if before is None:
        return kept.previous_digest == GENESIS
    return (kept.previous_digest, kept.book_on) == (before.digest, before.book_on + ONE_DAY)


def _strange(categories: Sequence[CategoryDay], rules: StatutoryConfig) -> list[str]:
    """Movements that are nothing their book knows."""
    return [
        f"{each.account_type} has {each.category}, which its book does not know"
        for each in categories
        if (known := rules.types.get(each.account_type)) is not None and each.category not in CATEGORIES[known.book]
    ]
