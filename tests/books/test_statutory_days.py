"""Statutory days: made once, in order, when all of a day was told; made again, the same to the byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, Invalid, NotFound, Unavailable
from kessai.services.books.service.statutory.desk import StatutoryDesk

from .statutory_world import World, at, world_of

MONDAY = date(2026, 4, 6)
TUESDAY = date(2026, 4, 7)
WEDNESDAY = date(2026, 4, 8)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """It begins on a Monday at noon."""
    async with world_of(database, at(MONDAY)) as made:
        yield made


async def test_day_is_rolled_forward_from_the_day_before(world: World) -> None:
    await world.give("cus:1/funds 10000")
    world.go_to(TUESDAY)
    await world.book.move("cus:1/funds 3000 > mer:1/unsettled_sales 3000", kind="charge")
    world.go_to(WEDNESDAY)
    await world.heard()
    await world.made(TUESDAY)
    rows = await world.table("funds_transfer_day", MONDAY, TUESDAY)
    figures = [(row["opening"], row["increase"], row["decrease"], row["closing"], row["told"]) for row in rows]
    assert figures == [(0, 10_000, 0, 10_000, 10_000), (10_000, 0, 3_000, 7_000, 7_000)]


async def test_day_that_is_not_over_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="day_not_over"):
        await world.made(MONDAY)


async def test_day_waits_until_the_feed_has_told_all_of_it(world: World) -> None:
    await world.give("cus:1/funds 10000")
    world.go_to(TUESDAY)
    with pytest.raises(Unavailable, match="feed_behind"):
        await world.made(MONDAY)
    await world.heard()
    day = await world.made(MONDAY)
    assert day.lines == 1


async def test_day_that_is_not_made_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="statutory_day_not_made"):
        await world.day(MONDAY)


async def test_day_before_the_books_is_refused(world: World) -> None:
    world.go_to(TUESDAY)
    await world.give("cus:1/funds 10000")
    world.go_to(WEDNESDAY)
    await world.heard()
    with pytest.raises(Invalid, match="day_before_books"):
        await world.made(MONDAY)
    await world.made(TUESDAY)
    with pytest.raises(Invalid, match="day_before_books"):
        await world.made(MONDAY)


async def test_late_event_goes_to_the_open_day_and_names_its_own(world: World) -> None:
    await world.give("cus:1/funds 10000")
    await world.heard()
    await world.give("cus:1/funds 500")
    world.go_to(TUESDAY)
    await world.give("cus:2/funds 70")
    await world.database.fetch(
        None, "UPDATE books.statutory_feed SET seen_at = $1", at(TUESDAY)
    )  # what the feed told last was of Tuesday
    await world.made(MONDAY)
    await world.heard()
    world.go_to(WEDNESDAY)
    tuesday = await world.made(TUESDAY)
    assert (tuesday.lines, tuesday.late_lines) == (2, 1)
    lines = await world.table("funds_customer_ledger", TUESDAY)
    assert [(row["day"], row["event_on"], row["received"]) for row in lines if row["customer"] == "cus:1"] == [
        (TUESDAY, MONDAY, 500)
    ]


async def test_making_a_day_again_gives_the_same_bytes(world: World) -> None:
    for number in range(5):
        await world.give(f"cus:{number}/funds {1000 + number}")
    world.go_to(TUESDAY)
    await world.heard()
    first = await world.made(MONDAY)
    await world.give("cus:1/funds 1")
    await world.heard()
    assert await world.made(MONDAY) == first


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE books.statement_line SET amount = amount + 1",
        "UPDATE books.account_day SET credits = credits + 1, closing = closing + 1",
        "UPDATE books.book_day SET closing = closing + 1",
        "DELETE FROM books.book_day_category",
        "UPDATE books.security_day SET required = required - 1",
    ],
)
async def test_day_that_was_changed_since_it_was_made_is_found(world: World, tampering: str) -> None:
    await world.give("cus:1/funds 10000")
    world.go_to(TUESDAY)
    await world.heard()
    await world.made(MONDAY)
    await world.database.fetch(None, tampering)
    with pytest.raises(Conflict, match="statutory_day_differs"):
        await world.made(MONDAY)


async def test_day_that_two_processes_make_at_once_is_made_once(world: World, database: Database) -> None:
    await world.give("cus:1/funds 10000")
    world.go_to(WEDNESDAY)
    await world.heard()
    other = StatutoryDesk(Database(database.dsn), world.clock, world.rules)
    made = await asyncio.gather(world.desk.make_due_days(), other.make_due_days())
    assert sum(made) == 2
    assert (await world.day(TUESDAY)).previous_digest == (await world.day(MONDAY)).digest


async def test_each_day_is_bound_to_the_one_before(world: World) -> None:
    await world.give("cus:1/funds 10000")
    world.go_to(WEDNESDAY)
    await world.heard()
    tuesday = await world.made(TUESDAY)
    assert tuesday.previous_digest == (await world.day(MONDAY)).digest


async def test_job_makes_every_day_that_is_over_and_told(world: World) -> None:
    await world.give("cus:1/funds 10000")
    assert await world.desk.make_due_days() == 0
    await world.heard()
    world.go_to(WEDNESDAY)
    assert await world.desk.make_due_days() == 2
    assert await world.desk.make_due_days() == 0


async def test_posting_that_was_never_told_of_is_a_difference(world: World) -> None:
    await world.give("cus:1/funds 10000")
    await world.heard()
    await world.database.fetch(None, "DELETE FROM books.statement_line")
    await world.give("cus:1/funds 500")
    world.go_to(TUESDAY)
    await world.heard()
    (funds,) = [each for each in (await world.made(MONDAY)).books if each.account_type == "funds"]
    assert (funds.closing_minor, funds.told_minor, funds.differing) == (500, 10_500, 1)


async def test_posting_that_is_told_of_late_mends_the_difference_on_the_open_day(world: World) -> None:
    await world.give("cus:1/funds 10000")
    await world.heard()
    kept = await world.database.fetch(None, "DELETE FROM books.statement_line RETURNING *")
    await world.give("cus:1/funds 500")
    world.go_to(TUESDAY)
    await world.heard()
    await world.made(MONDAY)
    columns = ", ".join(kept[0].keys())
    late = [TUESDAY if name == "book_on" else value for name, value in kept[0].items()]
    places = ", ".join(f"${number}" for number in range(1, len(late) + 1))
    await world.database.fetch(None, f"INSERT INTO books.statement_line ({columns}) VALUES ({places})", *late)
    world.go_to(WEDNESDAY)
    (funds,) = [each for each in (await world.made(TUESDAY)).books if each.account_type == "funds"]
    assert (funds.closing_minor, funds.told_minor, funds.differing) == (10_500, 10_500, 0)
