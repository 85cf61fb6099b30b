"""The law changes from one day to the next: every day is made, and told, as the law was on that day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from itertools import pairwise

import msgspec
import pytest

from kessai.foundation.config import ConfigError, TomlDocument
from kessai.foundation.db import Database
from kessai.services.books.domain.calendar import Period
from kessai.services.books.domain.statutory.days import DayRules
from kessai.services.books.domain.statutory.figures import Requirement, deposit_periods
from kessai.services.books.domain.statutory.rules import DepositTerms, read_statutory
from kessai.services.books.service.statutory.desk import StatutoryDesk

from .statutory_world import World, at, rules_of, shipped, versions_of, world_of

FRIDAY, SATURDAY, SUNDAY, MONDAY = (date(2026, 3, number) for number in (27, 28, 29, 30))
BASE_DATE, AFTER = date(2026, 3, 31), date(2026, 4, 1)
CHANGES = (
    ("floor_minor = 10_000_000", "floor_minor = 20_000_000"),
    ("retention_cap_minor = 1_000_000", "retention_cap_minor = 900_000"),
    ('name_ja = "第二種資金移動業"', 'name_ja = "新二種"'),
    ('name_ja = "有償ポイント"', 'name_ja = "新ポイント"'),
    ("period_days = 7\n    period_first = 2026-01-03", "period_days = 2\n    period_first = 2026-03-29"),
    ("deposit_business_days = 3", "deposit_business_days = 1"),
    ("deposit_over_minor = 10_000_000", "deposit_over_minor = 1_000"),
    ("off_cold_max_bps = 500", "off_cold_max_bps = 100"),
    ("transfer_max_minor = 1_000_000", "transfer_max_minor = 800_000"),
    ("prepaid_ledger = 10", "prepaid_ledger = 20"),
    ('refund = { credit = "REDEMPTION" }', 'refund = { credit = "ISSUE" }'),
)
NAMES = (
    "funds_transfer_day", "funds_transfer_security", "funds_transfer_deposit", "retention_check", "prepaid_ledger",
    "prepaid_base_date", "crypto_segregation",
)  # fmt: skip


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """It begins on a Friday at noon; from Sunday on other figures hold."""
    async with world_of(database, at(FRIDAY), versions_of(SUNDAY, *CHANGES)) as made:
        yield made


async def closed(world: World, day: date) -> None:
    """Everything up to a day is told and made, all days together."""
    world.go_to(day, hour=13)
    world.clock.advance(days=1)
    await world.heard()
    await world.made(day)


async def busy(world: World) -> None:
    await world.give("cus:1/funds 950000")
    await world.book.give("cus:1/paid_points 25000", kind="point_sale")


async def test_each_day_is_made_with_the_figures_of_its_own_version_however_late(world: World) -> None:
    await busy(world)
    await closed(world, BASE_DATE)
    rows = await world.table("funds_transfer_security", FRIDAY, BASE_DATE)
    assert [(row["required"], row["transfer_type"]) for row in rows] == [
        *[(10_000_000, "第二種資金移動業")] * 2, *[(20_000_000, "新二種")] * 3,
    ]  # fmt: skip
    over = {day: await world.table("retention_check", day) for day in (SATURDAY, SUNDAY)}
    assert {day: [(row["customer"], row["cap"]) for row in rows] for day, rows in over.items()} == {
        SATURDAY: [],
        SUNDAY: [("cus:1", 900_000)],
    }


async def test_facts_of_a_report_are_those_of_its_days(world: World) -> None:
    await busy(world)
    await closed(world, BASE_DATE)
    both = [
        (english, value) for english, _, value in (await world.report("funds_transfer_security", FRIDAY, MONDAY)).facts
    ]
    assert both[:-1] == [(f"Floor from {FRIDAY}", 10_000_000), (f"Floor from {SUNDAY}", 20_000_000)]
    assert (await world.facts("funds_transfer_security", SATURDAY))["Floor"] == 10_000_000
    assert (await world.facts("funds_transfer_security", SUNDAY))["Floor"] == 20_000_000
    caps = [await world.facts("retention_check", day) for day in (SATURDAY, SUNDAY)]
    assert [caps[0]["Cap, 第二種資金移動業"], caps[1]["Cap, 新二種"]] == [1_000_000, 900_000]
    assert [caps[0]["Largest transfer, 第二種資金移動業"], caps[1]["Largest transfer, 新二種"]] == [1_000_000, 800_000]
    instruments = await world.table("prepaid_ledger", SATURDAY, SUNDAY)
    assert [row["instrument"] for row in instruments] == ["有償ポイント", "新ポイント"]
    kept_for = [(await world.facts("prepaid_ledger", day))["Kept for (years)"] for day in (SATURDAY, SUNDAY)]
    assert kept_for == ["10", "20"]
    allowed = [(await world.facts("crypto_segregation", day))["Allowed off cold storage"] for day in (SATURDAY, SUNDAY)]
    assert allowed == ["5%", "1%"]
    facts = await world.facts("prepaid_base_date", BASE_DATE)
    assert (facts["Deposit from above"], facts["Required deposit"]) == (1_000, 12_500)


async def test_what_a_movement_is_is_told_by_the_version_of_its_day(world: World) -> None:
    await world.book.give("cus:1/paid_points 1000", kind="refund")
    world.go_to(MONDAY)
    await world.book.give("cus:1/paid_points 1000", kind="refund")
    await closed(world, MONDAY)
    rows = await world.table("prepaid_ledger", FRIDAY, MONDAY)
    assert [(row["issued"], row["redeemed"]) for row in rows] == [(0, -1_000), (0, 0), (0, 0), (1_000, 0)]


async def test_a_day_that_was_made_is_told_alike_after_the_figures_were_changed_in_place(world: World) -> None:
    await busy(world)
    await closed(world, BASE_DATE)

    async def told() -> dict[str, object]:
        found: dict[str, object] = {}
        for name in NAMES:
            report = await world.report(name, FRIDAY, BASE_DATE)
            rows = [row async for chunk in report.chunks for row in chunk]
            found[name] = (rows, report.facts, report.totals)
        return found

    before = await told()
    world.desk = StatutoryDesk(world.database, world.clock, rules_of(*CHANGES))
    assert await told() == before
    await world.made(SATURDAY)  # made again: the same digest


async def test_periods_end_where_others_begin(world: World) -> None:
    await busy(world)
    await closed(world, AFTER)
    rows = await world.table("funds_transfer_deposit", FRIDAY, AFTER)
    assert [(row["since"], row["until"], row["due_on"], row["required"], row["transfer_type"]) for row in rows] == [
        (date(2026, 3, 21), FRIDAY, AFTER, 10_000_000, "第二種資金移動業"),
        (SATURDAY, SATURDAY, date(2026, 4, 1), 10_000_000, "第二種資金移動業"),
        (SUNDAY, MONDAY, BASE_DATE, 20_000_000, "新二種"),
        (BASE_DATE, AFTER, date(2026, 4, 2), 20_000_000, "新二種"),
    ]


def test_a_change_within_a_period_leaves_no_day_out_and_counts_none_twice() -> None:
    days = [date(2026, 3, 1) + timedelta(days=number) for number in range(40)]
    for change in days:
        for length in range(1, 8):
            old, new = (DepositTerms("old", days[0], 7, 3), DepositTerms("new", days[2], length, 3))
            told = [Requirement(day, number, True) for number, day in enumerate(days)]
            found = deposit_periods(told, lambda day, change=change, old=old, new=new: new if day >= change else old)
            covered = [each.period for each in found]
            assert covered[0].since <= days[0]
            assert covered[-1].until >= days[-1]
            for before, after in pairwise(covered):
                assert after.since == before.until + timedelta(days=1)
            assert all(0 <= (each.until - each.since).days < 7 for each in covered)


def test_an_ending_of_the_old_terms_counts_from_its_own_last_day() -> None:
    told = [Requirement(date(2026, 3, number), number, True) for number in (2, 3, 4, 5)]
    old, new = DepositTerms("old", date(2026, 3, 1), 7, 3), DepositTerms("new", date(2026, 3, 4), 7, 1)
    found = deposit_periods(told, lambda day: new if day.day >= 4 else old)
    assert [(each.period, each.due_on) for each in found] == [
        (Period(date(2026, 3, 1), date(2026, 3, 3)), date(2026, 3, 6)),
        (Period(date(2026, 3, 4), date(2026, 3, 10)), date(2026, 3, 11)),
    ]


async def test_a_day_made_before_all_of_the_law_was_kept_is_read_by_its_version(world: World) -> None:
    kept = DayRules.of(rules_of().latest)
    text = msgspec.json.encode(
        {"caps": kept.caps, "transfer_types": kept.transfer_types, "security": kept.security}, order="sorted"
    ).decode()
    assert DayRules.read(text).law is None
    await busy(world)
    await closed(world, FRIDAY)
    await world.database.fetch(None, "UPDATE books.statutory_day SET rules = $1 RETURNING book_on", text)
    assert (await world.facts("funds_transfer_security", FRIDAY))["Floor"] == 10_000_000


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("number = 2", "number = 3", "number: must be 2"),
        (f"valid_from = {SUNDAY}", "valid_from = 2019-12-31", "overlaps version 1"),
        ("[feed]", "[fed]", "fed: unknown key"),
        ("quiet_after_s = 60", "quiet_after = 60", "feed"),
    ],
)
def test_versions_that_cannot_be_are_refused_with_their_line(old: str, new: str, said: str) -> None:
    text = shipped()
    second = text[text.index("[[version]]") :].replace("number = 1", "number = 2", 1)
    both = f"{text}\n{second.replace('valid_from = 2020-01-01', f'valid_from = {SUNDAY}', 1)}"
    assert old in both
    with pytest.raises(ConfigError, match=r"^statutory\.toml, line \d+: ") as refused:
        read_statutory(TomlDocument(both.replace(old, new), "statutory.toml"))
    assert said in str(refused.value)
