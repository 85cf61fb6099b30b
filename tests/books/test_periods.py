"""Periods at work: who closes what, what stands in the way, and where late events go."""

from __future__ import annotations

import asyncio
from datetime import date
from types import SimpleNamespace
from typing import Any

from kessai.foundation.db import Database
from kessai.foundation.errors import Refused
from kessai.services.books.api.accounting import (
    AccruePeriod,
    ClosePeriod,
    GetPeriod,
    ListPeriods,
    ListUnposted,
    LockPeriod,
    PeriodState,
    ReopenPeriod,
    Repost,
)
from kessai.services.books.api.statements import GetTrialBalance
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.identity.api import ConsumeApproval, content_digest
from tests.books.office import asked, office, require_refusal
from tests.books.test_accruals import RENT_TO_COME
from tests.books.test_posting import rules_without
from tests.books.town import config

APRIL_20 = date(2026, 4, 20)
CAPITAL = "1110 500 | 3110 500"


async def test_a_period_keeps_who_closed_reopened_and_locked_it_and_why(database: Database) -> None:
    async with office(database) as o:
        await o.post(APRIL_20, CAPITAL)
        with asked("1", "key_ann"):
            closed = await o.desk.close_period(ClosePeriod(month="2026-04", reason="all is in"))
        with asked("2", "key_ben"):
            await o.desk.reopen_period(ReopenPeriod(month="2026-04", reason="one invoice is missing"))
            await o.close("2026-04")
            locked = await o.desk.lock_period(LockPeriod(month="2026-04", reason="audited"))
        assert (closed.state, [step.by for step in closed.steps]) == (PeriodState.CLOSED, ["key_ann"])
        assert [(step.version, step.state, step.by, step.reason) for step in locked.steps] == [
            (1, PeriodState.CLOSED, "key_ann", "all is in"),
            (2, PeriodState.OPEN, "key_ben", "one invoice is missing"),
            (3, PeriodState.CLOSED, "key_ben", "the month is over"),
            (4, PeriodState.LOCKED, "key_ben", "audited"),
        ]
        assert await o.desk.get_period(GetPeriod(month="2026-04")) == locked


async def test_asking_again_for_what_a_period_is_changes_nothing(database: Database) -> None:
    async with office(database) as o:
        await o.post(APRIL_20, CAPITAL)
        assert (await o.desk.reopen_period(ReopenPeriod(month="2026-04", reason="again"))).steps == []
        assert await o.close("2026-04") == await o.close("2026-04")
        first = await o.desk.lock_period(LockPeriod(month="2026-04"))
        assert await o.desk.lock_period(LockPeriod(month="2026-04")) == first


async def test_what_stands_in_the_way_of_closing_is_named(database: Database) -> None:
    async with office(database) as o:
        with require_refusal("period_not_ended"):
            await o.close("2026-05")
        await o.post(date(2026, 3, 20), CAPITAL)
        with require_refusal("earlier_period_open") as told:
            await o.close("2026-04")
        assert told[0].details == {"month": "2026-03"}
        await o.close("2026-03")
        await o.close("2026-04")
        with require_refusal("later_period_closed"):
            await o.desk.reopen_period(ReopenPeriod(month="2026-03", reason="oh"))
        with require_refusal("period_open"):
            await o.desk.lock_period(LockPeriod(month="2026-05"))
        await o.desk.lock_period(LockPeriod(month="2026-03"))
        with require_refusal("period_locked"):
            await o.desk.reopen_period(ReopenPeriod(month="2026-03", reason="oh"))
        with require_refusal("period_locked"):
            await o.desk.close_period(ClosePeriod(month="2026-03"))


async def test_a_month_before_the_first_entry_is_neither_closed_nor_accrued(database: Database) -> None:
    async with office(database, closing=RENT_TO_COME.replace("since = 2026-04-01", "")) as o:
        for month in ("1900-01", "2026-04"):
            with require_refusal("period_before_books"):
                await o.close(month)
            with require_refusal("period_before_books"):
                await o.desk.accrue_period(AccruePeriod(month=month))
        assert await o.desk.accruals.accrue_last_month() == 0
        await o.post(APRIL_20, CAPITAL)
        with require_refusal("period_before_books"):
            await o.close("1900-01")
        with require_refusal("period_open"):
            await o.desk.lock_period(LockPeriod(month="1900-01"))
        assert (await o.close("2026-04")).state is PeriodState.CLOSED
        assert (await o.closing("2026-04"))["5220"] == 30_000


async def test_a_month_that_was_locked_before_the_books_began_does_not_stand_in_the_way(database: Database) -> None:
    async with office(database) as o:
        await database.fetch(
            None,
            "INSERT INTO books.period (month, state, version, changed_at, changed_by)"
            " VALUES ('1900-01-01', 'LOCKED', 1, '2026-01-01Z', 'key_ann')",
        )
        await o.post(date(2026, 3, 20), CAPITAL)
        with require_refusal("earlier_period_open") as told:
            await o.close("2026-04")
        assert told[0].details == {"month": "2026-03"}
        assert (await o.close("2026-03")).state is PeriodState.CLOSED


async def test_unposted_events_keep_their_month_open_until_they_are_reposted(database: Database) -> None:
    async with office(database) as o:
        o.town.clock.advance(days=-20)  # April
        lame = Bookkeeper(database, o.town.clock, config(rules=rules_without("top_up")))
        o.town.subscriptions = o.town.hear_with(lame)
        await o.topped_up(700)
        o.town.clock.advance(days=20)
        with require_refusal("unposted_events") as told:
            await o.close("2026-04")
        assert told[0].details == {"events": 1}
        page = await o.desk.list_unposted(ListUnposted())
        assert [(each.reason, each.detail) for each in page.events] == [("no_rule", "top_up")]
        done = await o.desk.repost(Repost())
        assert (done.posted, done.standing) == (1, [])
        assert (await o.desk.repost(Repost(event_ids=[page.events[0].event_id]))).posted == 0
        assert (await o.desk.list_unposted(ListUnposted())).events == []
        await o.close("2026-04")
        assert (await o.closing("2026-04"))["2110"] == -700
        await o.town.proved()


async def test_an_unposted_event_of_a_later_month_does_not_hold_up_an_earlier_one(database: Database) -> None:
    async with office(database) as o:
        await o.post(APRIL_20, CAPITAL)
        o.town.subscriptions = o.town.hear_with(
            Bookkeeper(database, o.town.clock, config(rules=rules_without("top_up")))
        )
        await o.topped_up(700)
        assert (await o.close("2026-04")).state is PeriodState.CLOSED
        page = await o.desk.list_unposted(ListUnposted(limit=1))
        assert (len(page.events), page.next_cursor) == (1, None)


async def test_a_late_event_goes_to_the_first_open_period_and_names_its_own_day(database: Database) -> None:
    async with office(database) as o:
        o.town.clock.advance(days=-20)
        await o.town.book.open("cus:1/funds")
        await o.town.book.move("internal:bank_deposit/deposit 900 > cus:1/funds 900", kind="top_up")
        o.town.clock.advance(days=20)
        await o.post(APRIL_20, CAPITAL)
        await o.close("2026-04")
        await o.town.heard()
        rows = await database.fetch(
            None, "SELECT booked_on, event_on, description FROM books.journal WHERE source = 'ledger'"
        )
        assert [tuple(row) for row in rows] == [(date(2026, 5, 1), APRIL_20, "入金 (チャージ) (2026-04-20 分)")]
        assert await o.closing("2026-04") == {"1110": 500, "3110": -500}
        may = await o.desk.get_trial_balance(GetTrialBalance(month="2026-05"))
        assert {line.account: line.closing_minor for line in may.lines} == {
            "1110": 500, "1210": 900, "2110": -900, "3110": -500,
        }  # fmt: skip
        await o.town.proved()


async def test_a_month_waits_for_what_is_still_on_its_way(database: Database) -> None:
    async with office(database, waits=True) as o:
        o.town.clock.advance(days=-20)
        await o.town.book.open("cus:1/funds")
        await o.town.book.move("internal:bank_deposit/deposit 900 > cus:1/funds 900", kind="top_up")
        o.town.clock.advance(days=20)
        with require_refusal("feed_behind"):
            await o.close("2026-04")
        await o.town.relayed()
        with require_refusal("feed_behind"):
            await o.close("2026-04")
        with require_refusal("period_not_ended"):
            await o.close("2026-05")
        await o.town.heard()
        await o.close("2026-04")
        assert (await o.closing("2026-04"))["2110"] == -900


async def test_nobody_books_into_a_month_while_it_is_being_closed(database: Database) -> None:
    async with office(database) as o:
        await o.post(APRIL_20, CAPITAL)
        days = [date(2026, 4, 1 + n) for n in range(12)]

        async def post(day: date) -> str:
            try:
                await o.post(day, "1110 100 | 4910 100", journal_id=f"jnl_{day.day:032x}")
            except Refused:
                return "refused"
            except Exception as error:  # noqa: BLE001  (its code is what is compared)
                return getattr(error, "code", repr(error))
            return "booked"

        results = await asyncio.gather(
            *(post(day) for day in days[:6]), o.close("2026-04"), *(post(d) for d in days[6:])
        )
        outcomes = [each for each in results if isinstance(each, str)]
        assert set(outcomes) <= {"booked", "period_closed"}
        closed = await o.closing("2026-04")
        assert closed["1110"] == 500 + 100 * outcomes.count("booked")
        with require_refusal("period_closed"):
            await o.post(days[0], "1110 100 | 4910 100")


async def test_locking_asks_for_a_second_person_where_that_is_configured(database: Database) -> None:
    used: list[ConsumeApproval] = []

    async def consume_approval(request: ConsumeApproval, /) -> Any:
        if request.approval_id == f"apv_{0:032x}":
            raise Refused("approval_not_approved", "Nobody has.")
        used.append(request)

    secretary: Any = SimpleNamespace(consume_approval=consume_approval)
    async with office(database, approvals=secretary, needs_approval=True) as o:
        await o.post(APRIL_20, CAPITAL)
        await o.close("2026-04")
        with require_refusal("approval_required"):
            await o.desk.lock_period(LockPeriod(month="2026-04"))
        with require_refusal("approval_not_approved"):
            await o.desk.lock_period(LockPeriod(month="2026-04", approval_id=f"apv_{0:032x}"))
        asked_for = LockPeriod(month="2026-04", reason="audited", approval_id=f"apv_{1:032x}")
        locked = await o.desk.lock_period(asked_for)
        assert locked.state is PeriodState.LOCKED
        assert await o.desk.lock_period(asked_for) == locked
        assert [(each.subject, each.action, each.consumer_id, each.content_sha256) for each in used] == [
            ("period:2026-04", "books.lock_period", "lock:2026-04",
             content_digest(LockPeriod(month="2026-04", reason="audited"))),
        ]  # fmt: skip


async def test_locking_without_anybody_to_ask_is_refused(database: Database) -> None:
    async with office(database, needs_approval=True) as o:
        await o.post(APRIL_20, CAPITAL)
        await o.close("2026-04")
        with require_refusal("approvals_not_available"):
            await o.desk.lock_period(LockPeriod(month="2026-04", approval_id=f"apv_{1:032x}"))


async def test_periods_are_listed_from_the_first_entry_to_today(database: Database) -> None:
    async with office(database) as o:
        await o.post(date(2026, 3, 20), CAPITAL)
        await o.close("2026-03")
        listed = (await o.desk.list_periods(ListPeriods())).periods
        assert [(each.month, each.state.value) for each in listed] == [
            ("2026-03", "CLOSED"), ("2026-04", "OPEN"), ("2026-05", "OPEN"),
        ]  # fmt: skip
        with require_refusal("range_reversed"):
            await o.desk.list_periods(ListPeriods(since="2026-05", until="2026-04"))
        with require_refusal("range_too_long"):
            await o.desk.list_periods(ListPeriods(since="2020-01", until="2026-04"))
