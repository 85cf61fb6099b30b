"""Making statutory days: each once, in order, when the feed has told all of it; made again, compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta

import structlog

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Conflict, Invalid, Unavailable
from kessai.services.books.domain.statutory.days import (
    GENESIS,
    DayContent,
    DayRules,
    end_of,
    feed_told_all,
    securities,
)
from kessai.services.books.domain.statutory.rules import StatutoryConfig
from kessai.services.books.service.statutory.again import Again, work_out_again
from kessai.services.books.store import ROLE
from kessai.services.books.store import statutory_days as store
from kessai.services.books.store.feed import unwritten_before
from kessai.services.books.store.statutory_days import DayKept

log = structlog.get_logger(__name__)

DAYS_MAX = 1_000
"""Made by one call; a longer gap takes several."""

Quiet = Callable[[], Awaitable[bool]]
"""Whether the feed has nothing left to tell."""


class DayMaker:
    """Makes days of the statutory books."""

    def __init__(self, database: Database, clock: Clock, config: StatutoryConfig, quiet: Quiet) -> None:
        self._database = database
        self._clock = clock
        self._config = config
        self._quiet = quiet
        self._lag = timedelta(seconds=config.feed.quiet_after_s)

    async def make_through(self, day: date, *, by: str) -> int:
        """Make every day that is not made yet, up to one; gives how many.

        Raises Invalid `day_not_over` and `day_before_books`, Unavailable `feed_behind`.
        """
        if business_date(self._clock.now()) <= day:
            raise Invalid("day_not_over", f"{day} is not over.", day=day.isoformat())
        made = 0
        following = await self._first_unmade()
        if following is None and not await self._quiet():
            raise _behind(day, "nothing yet")
        if following is None or (following > day and not await store.days_kept(self._database, day, day)):
            raise Invalid("day_before_books", f"The books begin after {day}.", day=day.isoformat())
        while following <= day and made < DAYS_MAX:
            await self._cut(following)
            made += await self._make(following, by)
            following += ONE_DAY
        return made

    async def make_due(self, *, by: str) -> int:
        """Make every day that is over and told; nothing where the feed is behind, or has told of nothing yet."""
        yesterday = business_date(self._clock.now()) - ONE_DAY
        following = await self._first_unmade()
        if following is None or following > yesterday:
            return 0
        try:
            return await self.make_through(yesterday, by=by)
        except Unavailable as error:
            log.info("statutory_day_waits", day=yesterday.isoformat(), error=str(error))
            return 0

    async def make_again(self, day: date) -> None:
        """Make a day anew from its lines, writing nothing; raises Conflict `statutory_day_differs`."""

        async def work(connection: Connection) -> tuple[DayKept, Again]:
            await connection.execute(store.WORK_MEMORY)
            kept = await store.day_kept(connection, day)
            assert kept is not None, "asked for one that is made"
            return kept, await work_out_again(connection, kept, await store.day_kept(connection, day - ONE_DAY))

        kept, again = await self._database.transaction(ROLE, work, isolation="repeatable_read")
        written = again.written.digest(day, kept.previous_digest)
        worked_out = again.worked_out.digest(day, kept.previous_digest)
        if not (written == worked_out == kept.digest):
            log.error("statutory_day_differs", day=day.isoformat(), kept=kept.digest, written=written, again=worked_out)
            what = "its rows are" if written != kept.digest else "its lines are"
            raise Conflict(
                "statutory_day_differs",
                f"The books of {day} are not what they were when they were made: {what} others.",
                day=day.isoformat(),
                kept=kept.digest,
                found=written if written != kept.digest else worked_out,
            )

    async def _first_unmade(self) -> date | None:
        """The day after the last one that was made; before any is made, the first one that the feed has told of."""
        if (last := await store.last_day(self._database)) is not None:
            return last + ONE_DAY
        return (await store.read_feed(self._database)).first_on

    async def _cut(self, day: date) -> None:
        """From here on nothing goes into the day; raises Unavailable `feed_behind` while it is not all told."""
        # Asked first: what is committed after the answer was told of later than `seen_at` says.
        now, quiet = self._clock.now(), await self._quiet()
        feed = await store.read_feed(self._database)
        if feed.cut_on is not None and feed.cut_on >= day:
            return
        told = feed_told_all(day, feed.seen_at, now, quiet=quiet, lag=self._lag)
        if not told or await unwritten_before(self._database, end_of(day)):
            raise _behind(day, feed.seen_at.isoformat())
        await store.cut_day(self._database, day)

    async def _make(self, day: date, by: str) -> int:
        async def work(connection: Connection) -> int:
            last = await store.take_turn(connection)
            if last is not None and last[0] >= day:
                return 0  # another process made it meanwhile
            assert last is None or last[0] == day - ONE_DAY, "days are made in order"
            previous = GENESIS if last is None else last[1]
            await store.make_accounts(connection, day)
            content = await self._content(connection, day, None if last is None else DayRules.read(last[2]))
            await store.write_day(connection, day, content, previous=previous, now=self._clock.now(), by=by)
            return 1

        # Each statement sees what others committed while this one waited for its turn.
        return await self._database.transaction(ROLE, work, isolation="read_committed")

    async def _content(self, connection: Connection, day: date, before: DayRules | None) -> DayContent:
        types = {name: each.asset for name, each in self._config.types.items()}
        books = await store.derive_books(connection, day, day - ONE_DAY, types)
        rules = DayRules.of(self._config.of(day))
        over_cap = await store.derive_over_cap(connection, day, day - ONE_DAY, rules.caps, rules.lowered(before))
        return DayContent(
            accounts=await store.account_digests(connection, day),
            books=books,
            categories=await store.derive_categories(connection, day),
            over_cap=over_cap,
            security=securities(day, {each.account_type: each.closing for each in books}, rules),
            parts=await store.parts_of(connection, day, first=before is None),
            rules=rules.text,
        )


def _behind(day: date, seen: str) -> Unavailable:
    return Unavailable(
        "feed_behind",
        f"The ledger's events of {day} have not all arrived yet; try again later.",
        day=day.isoformat(),
        seen_at=seen,
    )
