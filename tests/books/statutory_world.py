"""A ledger whose every movement goes into the statutory books: short words for their tests."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from typing import Any

from kessai.foundation.clock import business_date
from kessai.foundation.config import TomlDocument, load_toml
from kessai.foundation.db import Database
from kessai.foundation.events import Relay
from kessai.services.books.api.statutory import GetStatutoryDay, MakeStatutoryDay, StatutoryDay
from kessai.services.books.domain.configuration import read_books
from kessai.services.books.domain.statutory.days import end_of
from kessai.services.books.domain.statutory.rules import StatutoryConfig, read_statutory
from kessai.services.books.domain.table import Report, Row
from kessai.services.books.service.asked import Asked
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.books.service.statutory.desk import StatutoryDesk
from kessai.services.books.subscribers import ledger_events
from kessai.services.ledger.domain.types import load_account_types
from tests.ledger.book import Book, FakeClock, start

PART_OF_DAY = timedelta(hours=9)


def rules_of(*changes: tuple[str, str]) -> StatutoryConfig:
    """The platform's own configuration, with texts in it replaced."""
    return read_statutory(document_of(*changes), {each.code: each.statutory_class for each in load_account_types()})


def document_of(*changes: tuple[str, str]) -> TomlDocument:
    """The platform's own file, with texts in it replaced."""
    return TomlDocument(shipped(*changes), load_toml("kessai.config", "statutory.toml").source)


def shipped(*changes: tuple[str, str]) -> str:
    """The text of the platform's own file, with texts in it replaced."""
    text = resources.files("kessai.config").joinpath("statutory.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def versions_of(since: date, *changes: tuple[str, str]) -> StatutoryConfig:
    """The platform's own configuration, and from a day on the same with texts in it replaced."""
    first, second = shipped(), shipped(*changes)
    text = second[second.index("[[version]]") :]
    text = text.replace("number = 1", "number = 2", 1).replace("valid_from = 2020-01-01", f"valid_from = {since}", 1)
    classes = {each.code: each.statutory_class for each in load_account_types()}
    return read_statutory(TomlDocument(f"{first}\n{text}", "statutory.toml"), classes)


def at(day: date, hour: int = 12) -> datetime:
    """An hour of a day in Tokyo."""
    return (end_of(day) - timedelta(hours=24 - hour)).astimezone(UTC)


class World:
    """A ledger, its feed, and the statutory desk."""

    def __init__(self, database: Database, clock: FakeClock, book: Book, rules: StatutoryConfig) -> None:
        self.database = database
        self.clock = clock
        self.book = book
        self.rules = rules
        self.desk = StatutoryDesk(database, clock, rules)
        self._opened: set[str] = set()
        self._relay = Relay(database, "ledger")
        books = read_books([each.info() for each in load_account_types()])
        self.subscription = ledger_events(
            database, clock, Bookkeeper(database, clock, dataclasses.replace(books, statutory=rules))
        )

    async def give(self, leg: str, kind: str = "top_up", **fields: Any) -> None:
        """Credit a customer's account from the deposits, opened where it is new."""
        account = leg.split()[0]
        if account not in self._opened:
            await self.book.open(account)
            self._opened.add(account)
        await self.book.give(leg, kind=kind, **fields)

    @property
    def today(self) -> date:
        """In Tokyo."""
        return business_date(self.clock.now())

    def go_to(self, day: date, hour: int = 12) -> None:
        """Let time pass until an hour of a day."""
        self.clock.advance(seconds=(at(day, hour) - self.clock.now()).total_seconds())

    async def heard(self) -> None:
        """Everything that happened is told."""
        await self._relay.assign()
        while await self.subscription.deliver():
            pass

    async def made(self, day: date) -> StatutoryDay:
        """Make a day."""
        return await self.desk.make_statutory_day(MakeStatutoryDay(day=day))

    async def day(self, day: date) -> StatutoryDay:
        """A day that was made."""
        return await self.desk.get_statutory_day(GetStatutoryDay(day=day))

    async def report(self, name: str, since: date, until: date | None = None, **filters: str) -> Report:
        """A report."""
        offer = self.desk.offers[name]
        return await offer.build(Asked(name=name, since=since, until=until or since, filters=filters))

    async def table(self, name: str, since: date, until: date | None = None, **filters: str) -> list[dict[str, object]]:
        """A report's rows by the names of their columns."""
        return await rows_of(await self.report(name, since, until, **filters))

    async def facts(self, name: str, day: date) -> dict[str, object]:
        """A report's facts by their English names."""
        return {english: value for english, _, value in (await self.report(name, day)).facts}


async def rows_of(report: Report) -> list[dict[str, object]]:
    """A report's rows by the names of their columns."""
    names = [each.name for each in report.columns]
    found: list[Row] = [row for chunk in [each async for each in report.chunks] for row in chunk]
    return [dict(zip(names, row, strict=True)) for row in found]


@asynccontextmanager
async def world_of(
    database: Database, first: datetime, rules: StatutoryConfig | None = None
) -> AsyncGenerator[World]:  # fmt: skip
    """A world that begins at an instant."""
    clock = FakeClock(first)
    service, book = await start(database, clock, load_account_types())
    yield World(database, clock, book, rules or rules_of())
    await service.close()
