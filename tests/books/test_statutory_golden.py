"""The days that docs/examples/statutory_days.md works out by hand come out of the books, to the yen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.db import Database
from kessai.services.books.api.statutory import (
    AssetPrice,
    RecordPrices,
    RecordSafeguard,
    RecordWallets,
    SafeguardMeans,
    WalletCount,
)

from .statutory_world import World, at, rows_of, world_of

PAGE = Path(__file__).parents[2] / "docs" / "examples" / "statutory_days.md"
FIRST, LAST, MADE = date(2026, 5, 1), date(2026, 5, 8), date(2026, 5, 13)
RECORDS = ("safeguard", "wallet", "price")
_ACTION = re.compile(r"^(?P<day>\d{4}-\d\d-\d\d) (?P<verb>\w+) (?P<rest>.*)$")
_TABLE = re.compile(
    r"^(?P<what>Report|Facts of) `(?P<name>\w+)`(?: (?:on|from) (?P<since>\S+?))?(?: to (?P<until>\S+))?:\n\n"
    r"(?P<rows>(?:\|.*\n)+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    name: str
    facts: bool
    since: date
    until: date
    columns: list[str]
    rows: list[list[str]]


def actions() -> Iterator[tuple[date, str, str]]:
    """Everything that the page says happens: day, verb, the rest."""
    for block in re.findall(r"```ledger\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            match = _ACTION.match(line)
            assert match, line
            yield date.fromisoformat(match["day"]), match["verb"], match["rest"]


def tables() -> list[Table]:
    """Every table of the page that is a report's."""
    found: list[Table] = []
    for match in _TABLE.finditer(PAGE.read_text(encoding="utf-8")):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in match["rows"].splitlines()]
        since = FIRST if match["since"] is None else date.fromisoformat(match["since"])
        until = LAST if match["since"] is None else date.fromisoformat(match["until"] or match["since"])
        found.append(Table(match["name"], match["what"] != "Report", since, until, lines[0], lines[2:]))
    return found


async def play(world: World) -> None:
    """Do what the page says, day by day, each of which is made when it is over."""
    for number, (day, verb, rest) in enumerate(actions()):
        if day > world.today:
            world.go_to(day, hour=13)
            await world.heard()
            await world.desk.make_due_days()
        world.clock.advance(seconds=1)
        if verb in RECORDS:
            await record(world, verb, rest.split(), number)
        else:
            await do(world, verb, rest)
    world.go_to(MADE + ONE_DAY)
    await world.heard()
    await world.made(MADE)


async def do(world: World, verb: str, rest: str) -> None:
    """One thing that happens on the ledger."""
    text, _, marks = rest.partition(" | ")
    fields: dict[str, Any] = dict(mark.split("=") for mark in marks.split())
    words = text.split()
    match verb:
        case "reverse":
            legs = {int(leg): int(amount) for leg, _, amount in (word.partition("=") for word in words[1:]) if amount}
            amount = int(words[1]) if words[1:] and not legs else None
            await world.book.reverse(words[0], amount, legs=legs or None, **fields)
        case "open" | "capture" | "void" | "run":
            await getattr(world.book, verb)(text)
        case _:
            await getattr(world.book, verb)(text, **fields)


async def record(world: World, verb: str, words: list[str], number: int) -> None:
    """One thing that a person records."""
    day = date.fromisoformat(words[-1])
    match verb:
        case "safeguard":
            await world.desk.record_safeguard(
                RecordSafeguard(
                    book="funds_transfer",
                    reference=f"certificate-{number}",
                    means=SafeguardMeans(words[1]),
                    amount_minor=int(words[2]),
                    effective_on=day,
                    place="Tokyo",
                )
            )
        case "wallet":
            count = WalletCount(wallet=words[0], asset="BTC", cold=words[1] == "cold", quantity=int(words[2]))
            await world.desk.record_wallets(RecordWallets(day=day, wallets=[count]))
        case _:
            price = AssetPrice(asset="BTC", unit_price=words[0])
            await world.desk.record_prices(RecordPrices(day=day, source="market", prices=[price]))


def shown(value: object) -> str:
    """A cell as the page writes it."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


@pytest.fixture
async def world(database: Database) -> Any:
    async with world_of(database, at(FIRST)) as made:
        yield made


async def test_every_table_of_the_page_is_what_the_books_say(world: World) -> None:
    await play(world)
    told = tables()
    assert len(told) == 9
    for table in told:
        report = await world.report(table.name, table.since, table.until)
        if table.facts:
            facts = {english: shown(value) for english, _, value in report.facts}
            assert [[name, facts[name]] for name, _ in table.rows] == table.rows, table.name
        else:
            rows = [[shown(row[column]) for column in table.columns] for row in await rows_of(report)]
            assert rows == table.rows, table.name
