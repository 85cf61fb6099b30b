"""A small world for tests of clearing: that of authorization, with the processor's files beside the line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from kessai.foundation.clock import business_date
from kessai.foundation.db import Database
from kessai.sdk.jobs import JobRun, finish, start
from kessai.services.nfc.api.authorizations import Authorization
from kessai.services.nfc.api.clearing import (
    ClearingFile,
    ClearingFinding,
    ClearingFindingState,
    ClearingLine,
    GetClearingFile,
    ListClearingFiles,
    ListClearingFindings,
    ListClearingLines,
)
from kessai.services.nfc.gateways import files_destination, network_destination
from kessai.services.nfc.gateways.clearing import HttpClearing
from kessai.services.nfc.jobs import NFC_JOBS
from kessai.services.nfc.service.clearing import ClearingDesk
from kessai.simulators.cardnetwork import KEY
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import Cleared, ClearingFate
from kessai.simulators.cardnetwork.records import ClearingLine as Asked
from tests.nfc import wire_world
from tests.nfc.wire_world import WireWorld

JOBS = {each.name: each for each in NFC_JOBS}
NOON = datetime(2026, 4, 30, 3, 0, tzinfo=UTC)
"""Noon in Tokyo."""
ONE_DAY = timedelta(days=1)
PATIENCE_S = 60.0


class ClearingWorld:
    """One network and its files; any number of processes that clear them."""

    def __init__(self, world: WireWorld, cards: Any) -> None:
        self.world = world
        self.cards = cards
        self.desks: list[ClearingDesk] = []

    @property
    def desk(self) -> ClearingDesk:
        """The latest process's."""
        return self.desks[-1]

    @property
    def today(self) -> date:
        """The business date."""
        return business_date(self.world.clock.now())

    async def another_process(self, **more: Any) -> ClearingDesk:
        """A process that authorizes and clears, and shares nothing with the others but the database."""
        desk = self.process(**more)
        await desk.open()
        return desk

    def process(self, **more: Any) -> ClearingDesk:
        """The same, not opened yet."""
        way = files_destination(network_destination(self.world.network.url, KEY))
        assert way is not None
        network = HttpClearing(replace(way, timeout_s=PATIENCE_S, connect_timeout_s=PATIENCE_S))
        made = ClearingDesk(
            self.world.database,
            self.world.clock,
            network=network,
            authorizations=self.world.another_desk(),
            cards=self.cards,
            **more,
        )
        self.desks.append(made)
        return made

    # -- the network's side ---------------------------------------------------------------------------------------

    def close_day(self, *lines: Asked, spoil: Any = None) -> Cleared:
        """The processor closes its day: a file is there."""
        return self.world.network.books.clearing.close(self.today, lines, spoil)

    def foresee(self, case: Any, about: Heard, amount: int | None = None) -> None:
        """What becomes of an authorization in the next file."""
        self.world.network.books.clearing.foresee(ClearingFate(case=case, about=about.id, amount=amount))

    # -- our side -------------------------------------------------------------------------------------------------

    async def run(self, name: str, day: date | None = None, *, dry_run: bool = False) -> JobRun:
        """A run of a job, to its end."""
        started = await start(
            self.world.database, self.desk.engine, JOBS[name], day or self.today, dry_run=dry_run
        )  # fmt: skip
        return await finish(self.world.database, self.desk.engine, started)

    async def clear(self) -> JobRun:
        """Take what files there are."""
        run = await self.run("nfc.clear")
        assert run.state == "DONE", run
        return run

    async def lines(self, file_id: str) -> list[ClearingLine]:
        """A file's lines."""
        return (await self.desk.list_clearing_lines(ListClearingLines(file_id=file_id))).lines

    async def outcomes(self, file_id: str) -> list[str]:
        """What became of its lines, in their order."""
        return [each.outcome.value if each.outcome else "" for each in await self.lines(file_id)]

    async def file(self, file_id: str) -> ClearingFile:
        """A file."""
        return await self.desk.get_clearing_file(GetClearingFile(file_id=file_id))

    async def files(self) -> list[ClearingFile]:
        """Every file, the highest sequence first."""
        return (await self.desk.list_clearing_files(ListClearingFiles())).files

    async def findings(self) -> list[ClearingFinding]:
        """What is open, oldest first."""
        request = ListClearingFindings(state=ClearingFindingState.OPEN)
        return (await self.desk.list_clearing_findings(request)).findings[::-1]

    async def kinds(self) -> list[str]:
        """What kinds of findings are open, oldest first."""
        return [each.kind for each in await self.findings()]

    async def borne(self, customer_id: str) -> dict[str, tuple[str, int, int]]:
        """By kind of authorization: its state, and what of it was captured and given back."""
        found: dict[str, tuple[str, int, int]] = {}
        for each in await self.world.authorizations(customer_id):
            payment = None if each.payment_id is None else await self.world.payment(each)
            captured, refunded = (0, 0) if payment is None else (payment.captured_minor, payment.refunded_minor)
            found[each.kind.value] = each.state.value, captured, refunded
        return found

    async def rests(self, customer_id: str) -> list[Authorization]:
        """A customer's authorizations; nothing of them is still to be done."""
        found = await self.world.authorizations(customer_id)
        assert [each.open_work for each in found] == [None] * len(found)
        return found


def asked(case: Any, authorization: Heard | None = None, **more: Any) -> Asked:
    """A line that the processor is asked to add."""
    return Asked(case=case, authorization="" if authorization is None else authorization.id, **more)


class NoCards:
    """Nobody's cards: tests of clearing need none of what jobs do for them."""


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[ClearingWorld]:
    """A world at noon in Tokyo, with a process that authorizes and clears."""
    async with wire_world.opened(database) as world:
        world.clock.restore(world.clock.offset, NOON)
        clearing = ClearingWorld(world, NoCards())
        await world.serve()
        await clearing.another_process()
        try:
            yield clearing
        finally:
            for each in clearing.desks:
                await each.close()


__all__ = ["NOON", "ONE_DAY", "ClearingWorld", "asked", "opened"]
