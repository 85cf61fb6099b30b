"""How a card is changed: looked at, decided, written with its steps under the version that was looked at."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import KeyReused, NotFound, Unavailable
from kessai.foundation.events import wake
from kessai.foundation.ids import bare, new_hex
from kessai.foundation.vault import Vault
from kessai.services.identity.api import content_digest
from kessai.services.nfc.domain.cards import Change, Holding
from kessai.services.nfc.service.numbers import Numbers
from kessai.services.nfc.store import ROLE, cards
from kessai.services.nfc.store.cards import Act, Before

T = TypeVar("T")

ATTEMPTS_MAX = 16
_CONTEXT = "nfc.request"


class Overtaken(Exception):
    """Another change was written first: look again."""


Judge = Callable[[Connection, Holding, datetime], Awaitable[Change]]
"""From a card and now: raises a refusal, or gives what it is afterwards."""
GoesOn = Callable[[Before, Holding], bool]
"""Of a repetition: whether what was begun then is to go on. May raise what was refused then."""


class Acts:
    """Who writes changes of cards."""

    def __init__(self, database: Database, clock: Clock, vault: Vault, numbers: Numbers) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._numbers = numbers

    def act(self, request: Message, note: str = "") -> Act:
        """The current call as it will stand in the history."""
        act_id = current_call().request_key or new_hex()
        return Act(act_id=act_id, digest=self._marks(request)[0], caller=current_call().caller, note=note)

    def own(self, note: str = "") -> Act:
        """What the service does by itself."""
        return Act(act_id=new_hex(), digest=b"", caller="nfc", note=note)

    def require_same(self, before: bytes, request: Message) -> None:
        """KeyReused unless it is the request of that digest; the call is a replay then.

        Requests hold codes and phone numbers, of which there are few: a bare digest would tell them, so it is keyed.
        """
        if not any(hmac.compare_digest(before, mark) for mark in self._marks(request)):
            raise KeyReused
        current_call().replayed = True

    def _marks(self, request: Message) -> list[bytes]:
        return self._vault.fingerprints(content_digest(request), context=_CONTEXT)

    async def change(
        self, card_id: str, request: Message, judge: Judge, *, note: str = "", goes_on: GoesOn | None = None
    ) -> Holding:
        """Change a card once for the current call; gives it as it is then. The same call again changes nothing."""
        act, bare_id = self.act(request, note), bare(card_id)

        async def work(connection: Connection) -> Holding:
            holding = await self.holding(connection, bare_id)
            before = await cards.step_of_act(connection, bare_id, act.act_id)
            if before is not None:
                self.require_same(before.digest, request)
                if goes_on is None or not goes_on(before, holding):
                    return holding
            return await self._written(connection, holding, judge, act)

        return await self._done(bare_id, work)

    async def follow(self, card_id: str, judge: Judge, act: Act) -> Holding:
        """Change a card by what the service itself has learnt; a change without steps writes nothing."""

        async def work(connection: Connection) -> Holding:
            return await self._written(connection, await self.holding(connection, card_id), judge, act)

        return await self._done(card_id, work)

    async def _written(self, connection: Connection, holding: Holding, judge: Judge, act: Act) -> Holding:
        now = self._clock.now()
        change = await judge(connection, holding, now)
        if not change.steps:
            return change.after
        if not await cards.write(connection, holding, change, act, now):
            raise Overtaken
        return await self.holding(connection, holding.card.card_id)

    async def _done(self, card_id: str, work: Callable[[Connection], Awaitable[Holding]]) -> Holding:
        try:
            return await self.again(work)
        finally:
            self._numbers.forget(card_id)

    async def again(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Work in a transaction, and begin anew for as long as others are first."""
        for _ in range(ATTEMPTS_MAX):
            try:
                result = await self._database.transaction(ROLE, work)
            except Overtaken:
                continue
            wake(self._database, "nfc")
            return result
        raise Unavailable("contention", "Too many concurrent changes to the same card; try again.")

    async def holding(self, connection: Connection, card_id: str) -> Holding:
        """A card with all that belongs to it; NotFound `card_not_found`."""
        found = await cards.load(connection, [card_id])
        if card_id not in found:
            raise NotFound("card_not_found", "There is no such card.", card_id=f"vpc_{card_id}")
        return found[card_id]
