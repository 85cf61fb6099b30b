"""The journal of authorizations: whatever happens to one is decided in memory and written by a flush that it shares
with what happens to others at that moment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unknown
from kessai.foundation.groupcommit import Conflicted, GroupCommit, MustSettle
from kessai.services.nfc.domain import decide
from kessai.services.nfc.domain.authorization import Authorization, Usage
from kessai.services.nfc.domain.carrying import Done, Lapse, Planned
from kessai.services.nfc.domain.clearing import ClearingPage, Line, missed_id_of
from kessai.services.nfc.domain.clearing_claims import Claim
from kessai.services.nfc.domain.decide import Abandon, Command, Conclude, Open, Opened, Result
from kessai.services.nfc.domain.forcing import Miss, Relinquish
from kessai.services.nfc.domain.page import Page
from kessai.services.nfc.domain.reversing import Reverse, Reversed
from kessai.services.nfc.domain.rules import AuthorizationRules
from kessai.services.nfc.store import authorizations as store
from kessai.services.nfc.store import clearing
from kessai.services.nfc.store.flushes import Flushes
from kessai.services.nfc.store.vault import numbers_of

ROWS_MAX = 8_192
USAGES_MAX = 65_536
"""Remembered; a memory that is behind cannot write, and is read anew."""
BATCH_MAX = 512
QUEUE_MAX = 16_384

V = TypeVar("V")


@dataclass(slots=True)
class _Plan:
    page: Page
    results: list[Result]
    doubts: int
    """How many flushes were in doubt when its page was read."""


class Journal:
    """Any number of processes may have one: versions guard every row."""

    def __init__(self, database: Database, clock: Clock, rules: AuthorizationRules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self._flushes = Flushes(database)
        self._rows: OrderedDict[str, Authorization] = OrderedDict()
        self._usages: OrderedDict[str, Usage] = OrderedDict()
        self._doubts = 0
        self._commits: GroupCommit[Command, _Plan, Result] = GroupCommit(
            prepare=self._prepare,
            commit=self._commit,
            forget=self._forget,
            overlap=True,
            batch_max=BATCH_MAX,
            queue_max=QUEUE_MAX,
        )

    @property
    def flushes(self) -> int:
        """Commits so far."""
        return self._commits.flushes

    @overload
    async def submit(self, command: Open) -> Opened: ...
    @overload
    async def submit(self, command: Reverse) -> Reversed: ...
    @overload
    async def submit(
        self, command: Conclude | Abandon | Planned | Done | Lapse | Miss | Relinquish
    ) -> Authorization: ...
    @overload
    async def submit(self, command: Claim) -> Line: ...
    async def submit(self, command: Command) -> Result:
        """What the command came to, once it is written; raises Unavailable, or Unknown when that cannot be told.

        Where the line was cut while it was being written, it is handed in once more: what was written tells then what
        it came to, and what was not is written now.
        """
        try:
            return await self._commits.submit(command)
        except Unknown:
            return await self._commits.submit(command)

    async def look(self, authorization_id: str) -> Authorization | None:
        """An authorization as it is stored."""
        return (await store.load(self._database, [authorization_id])).get(authorization_id)

    async def look_all(self, authorization_ids: Sequence[str]) -> list[Authorization]:
        """Authorizations as they are stored."""
        return list((await store.load(self._database, authorization_ids)).values())

    async def close(self) -> None:
        """Write what was accepted."""
        await self._commits.close()
        await self._flushes.close()

    async def _prepare(self, commands: list[Command], attempt: int) -> _Plan:
        """Decide on what memory knows, though the flush before may still be writing it; after a conflict on what is
        stored.

        A new request's row is not looked for at first: if there is one, the flush conflicts.
        """
        page, doubts = Page(self._rules), self._doubts
        known = dict[str, Authorization]() if attempt else self._rows
        ids = list(dict.fromkeys(each.authorization_id for each in commands))
        claims = [each for each in commands if isinstance(each, (Claim, Miss))]
        if claims and not attempt:
            raise MustSettle  # they are decided on what is stored alone
        if claims:
            ids = await self._read_clearing(page, claims, ids)
        page.rows.update({each: known[each] for each in ids if each in known})
        if not attempt:
            begun = [each.authorization_id for each in commands if isinstance(each, Open)]
            page.rows.update({each: None for each in begun if each not in known})
        back = [each.authorization_id for each in commands if isinstance(each, Reverse)]
        await store.read_page(self._database, page, [each for each in ids if each not in page.rows], back)
        marks = [mark for each in commands if isinstance(each, (Open, Reverse)) for mark in each.marks]
        if marks:
            page.standings.update(await numbers_of(self._database, marks))
        await self._read_usages(page, anew=attempt > 0)
        plan = _Plan(page, [decide.apply(page, each) for each in commands], doubts)
        self._keep(page)
        return plan

    def _keep(self, page: Page) -> None:
        for each in page.rows.values():
            if each is not None:
                _remember(self._rows, each.authorization_id, each, ROWS_MAX)
        for each in page.usages.values():
            _remember(self._usages, each.card_id, each, USAGES_MAX)

    async def _read_clearing(self, page: Page, claims: Sequence[Claim | Miss], ids: Sequence[str]) -> list[str]:
        """What the lines are about; gives all authorizations that are to be known."""
        page.clearing = ClearingPage()
        lines = [each.line for each in claims if isinstance(each, Claim)]
        about = await clearing.read_page(self._database, page.clearing, lines) if lines else []
        about += [each.authorization_id for each in claims]
        return list(dict.fromkeys([*ids, *about, *map(missed_id_of, about)]))

    async def _read_usages(self, page: Page, *, anew: bool) -> None:
        cards = {each.card_id for each in page.standings.values()}
        cards |= {each.card_id for each in page.rows.values() if each is not None}
        wanted = {each for each in cards if each is not None}
        if not anew:
            page.usages.update({each: self._usages[each] for each in wanted if each in self._usages})
        missing = [each for each in wanted if each not in page.usages]
        page.usages.update(await store.usages(self._database, missing))

    async def _commit(self, plan: _Plan) -> Sequence[Result | PaymentError]:
        if plan.doubts != self._doubts:  # decided on a flush of which nobody knows whether it was written
            raise Conflicted
        try:
            await self._flushes.write(plan.page, self._clock.now())
        except Unknown:
            self._doubts += 1
            raise
        return plan.results

    def _forget(self, plan: _Plan) -> None:
        for each in plan.page.rows:
            self._rows.pop(each, None)
        for each in plan.page.usages:
            self._usages.pop(each, None)


def _remember(memory: OrderedDict[str, V], name: str, value: V, most: int) -> None:
    memory[name] = value
    memory.move_to_end(name)
    if len(memory) > most:
        memory.popitem(last=False)
