"""Accruals at closing: booked once a month, brought up to date after late entries, taken back where that is asked."""

from __future__ import annotations

import asyncio
from datetime import date

from kessai.foundation.db import Database
from kessai.services.books.api.accounting import AccruePeriod, GetJournal, ListJournals, ReopenPeriod, ReverseJournal
from tests.books.office import Office, asked, office, require_refusal

APRIL = AccruePeriod(month="2026-04")
RENT_TO_COME = """
[[accrual]]
name = "power"
name_ja = "電力料 未払"
method = "reversing"
amount_minor = 30_000
account = "2320"
side = "credit"
counter = "5220"
valid_from = 2026-04-01
"""
CAPITAL = {"1110": 1, "3110": -1}


async def granted(o: Office, points: int) -> None:
    """Points of a customer, in April."""
    o.town.clock.advance(days=-20)
    await o.town.book.move(f"internal:campaign/point_cost {points} > cus:1/free_points {points}", kind="incentive")
    o.town.clock.advance(days=20)
    await o.town.heard()


async def test_closing_brings_the_provision_to_its_target(database: Database) -> None:
    async with office(database) as o:
        await granted(o, 1_999)
        with asked("close", "key_ann"):
            await o.close("2026-04")
        assert await o.closing("2026-04") == {"2140": -1_999, "2430": 199, "4220": -199, "5110": 1_999}
        page = await o.desk.list_journals(ListJournals(since=date(2026, 4, 30), until=date(2026, 4, 30)))
        (journal,) = page.journals
        assert (journal.source, journal.rule, journal.rule_version, journal.posted_by) == (
            "accrual", "points_provision", 1, "key_ann",
        )  # fmt: skip
        assert journal.event_id == "accrual/points_provision/2026-04/0"
        await o.town.proved()


async def test_a_month_accrued_again_books_only_what_changed(database: Database) -> None:
    async with office(database) as o:
        await granted(o, 1_000)
        (first,) = (await o.desk.accrue_period(APRIL)).journal_ids
        assert (await o.desk.accrue_period(APRIL)).journal_ids == []
        assert await o.desk.accruals.accrue_last_month() == 0
        await granted(o, 500)
        assert await o.desk.accruals.accrue_last_month() == 1
        await o.close("2026-04")
        await o.desk.reopen_period(ReopenPeriod(month="2026-04", reason="late"))
        await granted(o, 300)
        await o.close("2026-04")
        assert (await o.closing("2026-04"))["2430"] == 180
        (line, _) = (await o.desk.get_journal(GetJournal(journal_id=first))).lines
        assert (line.account, line.amount_minor) == ("2430", 100)
        rows = await database.fetch(
            None, "SELECT event_id FROM books.journal WHERE source = 'accrual' ORDER BY event_id"
        )
        assert [row["event_id"][-1] for row in rows] == ["0", "1", "2"]
        with require_refusal("period_closed"):
            await o.desk.accrue_period(APRIL)
        assert await o.desk.accruals.accrue_last_month() == 0
        await o.town.proved()


async def test_an_accrual_that_was_reversed_by_hand_is_booked_anew(database: Database) -> None:
    async with office(database) as o:
        await granted(o, 1_000)
        (first,) = (await o.desk.accrue_period(APRIL)).journal_ids
        await o.desk.reverse_journal(ReverseJournal(journal_id=first, reason="the share was wrong"))
        assert "2430" not in await o.closing("2026-04")
        assert len((await o.desk.accrue_period(APRIL)).journal_ids) == 1
        assert (await o.closing("2026-04"))["2430"] == 100


async def test_a_reversing_accrual_is_taken_back_on_the_first_of_the_next_month(database: Database) -> None:
    async with office(database, closing=RENT_TO_COME) as o:
        await o.post(date(2026, 3, 20), "1110 1 | 3110 1")
        await o.close("2026-03")
        assert await o.closing("2026-03") == CAPITAL
        (journal_id,) = (await o.desk.accrue_period(APRIL)).journal_ids
        assert (await o.desk.accrue_period(APRIL)).journal_ids == []
        await o.close("2026-04")
        assert await o.closing("2026-04") == CAPITAL | {"2320": -30_000, "5220": 30_000}
        assert await o.closing("2026-05") == CAPITAL
        page = await o.desk.list_journals(ListJournals(since=date(2026, 5, 1), until=date(2026, 5, 31)))
        assert [(each.booked_on, each.reverses, each.source) for each in page.journals] == [
            (date(2026, 5, 1), journal_id, "accrual")
        ]
        await o.town.proved()


async def test_a_reversing_accrual_is_corrected_together_with_what_takes_it_back(database: Database) -> None:
    async with office(database, closing=RENT_TO_COME) as o:
        await o.post(date(2026, 4, 20), "1110 1 | 3110 1")
        (first,) = (await o.desk.accrue_period(APRIL)).journal_ids
        _, back = (await o.desk.list_journals(ListJournals(since=date(2026, 4, 21), until=date(2026, 5, 31)))).journals
        with require_refusal("journal_of_accrual") as told:
            await o.desk.reverse_journal(ReverseJournal(journal_id=back.journal_id, reason="half of it"))
        assert told[0].details == {"journal_id": first}
        request = ReverseJournal(journal_id=first, reason="the power was off")
        correction = await o.desk.reverse_journal(request)
        assert await o.desk.reverse_journal(request) == correction
        assert await o.closing("2026-04") == await o.closing("2026-05") == CAPITAL
        page = await o.desk.list_journals(ListJournals(since=date(2026, 4, 21), until=date(2026, 5, 31)))
        assert [(each.booked_on.day, each.source) for each in page.journals] == [
            (30, "accrual"), (30, "correction"), (1, "accrual"), (1, "correction"),
        ]  # fmt: skip
        taken_back = page.journals[-1]
        assert taken_back.reverses == back.journal_id
        for journal in (correction, taken_back):
            with require_refusal("journal_of_accrual"):
                await o.desk.reverse_journal(ReverseJournal(journal_id=journal.journal_id, reason="half of it"))
        assert len((await o.desk.accrue_period(APRIL)).journal_ids) == 1
        assert await o.closing("2026-04") == CAPITAL | {"2320": -30_000, "5220": 30_000}
        assert await o.closing("2026-05") == CAPITAL
        await o.town.proved()


async def test_a_reversing_accrual_of_a_closed_month_is_corrected_after_it(database: Database) -> None:
    async with office(database, closing=RENT_TO_COME) as o:
        await o.post(date(2026, 4, 20), "1110 1 | 3110 1")
        (first,) = (await o.desk.accrue_period(APRIL)).journal_ids
        await o.close("2026-04")
        await o.desk.reverse_journal(ReverseJournal(journal_id=first, reason="late", booked_on=date(2026, 5, 7)))
        page = await o.desk.list_journals(ListJournals(since=date(2026, 5, 1), until=date(2026, 5, 31)))
        assert [(each.booked_on.day, each.source) for each in page.journals] == [
            (1, "accrual"), (7, "correction"), (7, "correction"),
        ]  # fmt: skip
        assert await o.closing("2026-05") == CAPITAL
        await o.desk.reopen_period(ReopenPeriod(month="2026-04", reason="a look"))
        assert (await o.desk.accrue_period(APRIL)).journal_ids == []
        await o.town.proved()


async def test_two_who_accrue_at_once_book_it_once(database: Database) -> None:
    async with office(database) as o:
        await granted(o, 1_000)
        done = await asyncio.gather(
            *(o.desk.accrue_period(APRIL) for _ in range(4)), o.close("2026-04"), return_exceptions=True
        )
        booked = [each for each in done if getattr(each, "journal_ids", None)]
        assert len(booked) <= 1
        assert (await o.closing("2026-04"))["2430"] == 100
        await o.town.proved()


async def test_only_a_month_that_has_ended_is_accrued(database: Database) -> None:
    async with office(database) as o:
        with require_refusal("period_not_ended"):
            await o.desk.accrue_period(AccruePeriod(month="2026-05"))


BONUS = """
[[accrual]]
name = "bonus"
name_ja = "賞与引当金"
method = "target"
of = ["4910"]
of_side = "credit"
share = "0.10"
account = "2320"
side = "credit"
counter = "5220"
"""


async def test_a_share_of_what_was_earned_is_of_what_the_year_earned(database: Database) -> None:
    async with office(database, closing=BONUS) as o:
        await o.post(date(2026, 3, 31), "1110 90000 | 4910 90000")
        await o.post(date(2026, 4, 20), "1110 10000 | 4910 10000")
        await o.close("2026-03")
        assert (await o.closing("2026-03"))["2320"] == -9_000
        await o.close("2026-04")
        assert (await o.closing("2026-04"))["2320"] == -1_000
