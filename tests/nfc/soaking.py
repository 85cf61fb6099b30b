"""Terminals, phones and the network's own decisions, with faults on the wire, over HTTP and before the payment service;
at the end everything is brought to rest, cleared, and compared with the network's books.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

from kessai.apps.verify.card_network import compare
from kessai.apps.verify.finding import Finding, Report
from kessai.foundation.db import load_queries
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.sdk.processing.api import ListEffects
from kessai.sdk.processing.reconcile import reconcile
from kessai.services.nfc.api import LockReason, PrepaidCard, UnlockCard
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import AuthorizationState, Declined, Tap
from kessai.simulators.cardnetwork.wire_faults import Fault
from kessai.simulators.faults import PRESETS
from tests.nfc import lives
from tests.nfc.whole_world import WholeWorld

CHANCE = 0.1
"""Of a message to meet a fault of the wire, of an HTTP request or a payment's call to be lost."""
CUSTOMERS = 8
ON_REQUESTS = (
    "drop",
    "delay",
    "repeat",
    "reorder",
    "reversal_first",
    "half",
    "split",
    "garbage",
    "spoil",
    "disconnect",
)
ON_ANSWERS = ("drop", "delay")
HTTP = ("drop_before", "drop_after", "garbage_after", "fail_before", "fail_after", "twice")
RETAKEN: tuple[AuthorizationState, ...] = ("approved", "advised")
SECONDS_A_TURN = 20
"""Of business time that goes by with each round."""


class Soak:
    """One network's day, with something wrong all the time."""

    def __init__(self, world: WholeWorld, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.done: Counter[str] = Counter()
        self._cards: list[PrepaidCard] = []
        self._devices: list[str] = []

    async def run(self, *, actions: int | None = None, seconds: float | None = None, terminals: int = 6) -> None:
        """So many actions, or for so long."""
        for _ in range(CUSTOMERS):
            _, card = await self.world.holder(funds=self.random.choice((2_000, 60_000, 1_000_000)))
            self._cards.append(card)
            self._devices.append(await lives.phone(self.world, card))
        self._misbehave()
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        while sum(self.done.values()) < (actions or 10**9) and (until is None or loop.time() < until):
            await asyncio.gather(*(self._tried() for _ in range(terminals)))
            self.world.pass_time(seconds=SECONDS_A_TURN)
            self._misbehave_over_http()
        await self._calm()

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def _misbehave(self) -> None:
        wire = self.world.network.wire_faults
        wire.draw_from(self.random.randrange(10**6))
        for kinds, on in ((ON_REQUESTS, "request"), (ON_ANSWERS, "answer")):
            for do in kinds:
                share = CHANCE / len(kinds)
                wire.program(Fault(on=on, do=do, times=0, chance=share, delay_ms=30))  # type: ignore[arg-type]
        for when, error in ((self.world.line.before, Unavailable), (self.world.line.after, Unknown)):
            for verb in ("create_payment", "cancel_payment", "capture_payment", "refund_payment", "get_payment"):
                when[verb] = self._lost(error)

    def _lost(self, error: type[PaymentError]) -> Any:
        async def maybe() -> None:
            if self.random.random() < CHANCE / 2:
                raise error("payment_away", "It is away." if error is Unavailable else "The answer was lost.")

        return maybe

    def _misbehave_over_http(self) -> None:
        for each in (self.world.network.faults, self.world.sms.faults):
            each.clear()
            if self.random.random() < CHANCE:
                each.program(PRESETS[self.random.choice(HTTP)])

    async def _calm(self) -> None:
        """Everything behaves again, and comes to its end."""
        self.world.network.wire_faults.clear()
        self.world.network.faults.clear()
        self.world.sms.faults.clear()
        self.world.line.before.clear()
        self.world.line.after.clear()
        await self.world.service.settle_devices()
        await self.world.rest()

    # -- what is done ---------------------------------------------------------------------------------------------

    async def _tried(self) -> None:
        doing = self.random.choices(
            (self._tap, self._tap_of_phone, self._advise, self._reverse, self._refund, self._lock, self._dies),
            (50, 15, 8, 15, 4, 3, 1),
        )[0]
        self.done[doing.__name__.strip("_")] += 1
        try:
            await doing()
        except (PaymentError, Declined) as error:
            self.done[f"refused: {error.code}"] += 0

    def _amount(self) -> int:
        return self.random.choice((self.random.randint(1, 900), self.random.randint(900, 20_000)))

    async def _tap(self) -> None:
        await self.world.tap(self.random.choice(self._cards), self._amount())

    async def _tap_of_phone(self) -> None:
        await self.world.network.tap(
            Tap(device=self.random.choice(self._devices), amount=self._amount(), entry="in_app")
        )

    async def _refund(self) -> None:
        await self.world.tap(self.random.choice(self._cards), self._amount(), processing="refund")

    async def _advise(self) -> None:
        reference = await self.world.reference(self.random.choice(self._cards))
        await self.world.network.advise(Tap(card=reference, amount=self._amount()))

    async def _reverse(self) -> None:
        found = [each for each in self.world.network.books.authorizations.values() if self._may_go(each)]
        if found:
            chosen = self.random.choice(found[-20:])
            whole = self.random.random() < 0.6 or chosen.stands < 2
            amount = None if whole else self.random.randint(1, chosen.stands - 1)
            await self.world.network.reverse(chosen.id, amount, advice=self.random.random() < 0.5)

    def _may_go(self, each: Heard) -> bool:
        under_way = any(reversal.response is None for reversal in each.reversals)
        return each.state in RETAKEN and each.stands > 0 and not under_way and each.processing == "purchase"

    async def _lock(self) -> None:
        card = self.random.choice(self._cards)
        await self.world.locked(card, self.random.choice((LockReason.CUSTOMER, LockReason.RISK)))
        authentication = self.world.authentication()
        await self.world.service.unlock_card(
            UnlockCard(card_id=card.card_id, authentication=authentication, note="found")
        )

    async def _dies(self) -> None:
        """The process that answers is cut off in the middle of everything, and another one is there."""
        await self.world.replaced()

    # -- the end --------------------------------------------------------------------------------------------------

    async def clear(self) -> None:
        """The network closes its day; its file is taken, and the day compared."""
        self.world.network.books.clearing.close(self.world.today)
        await self.world.job("nfc.clear")
        await self.world.rest()
        await self.world.job("nfc.reconcile")
        await self.world.job("nfc.repair")
        await self.world.rest()

    async def against_the_network(self) -> list[Finding]:
        """Where ours and the network's books differ."""
        sql = load_queries("kessai.apps.verify", file="sql/nfc_authorizations.sql")
        report, books = Report(), self.world.network.books
        compare(await self.world.database.fetch(None, sql["for_network"]), books, books, report)
        return report.findings

    async def told_of_differences(self) -> str:
        """Both sides of each, for whoever reads of it."""
        lines: list[str] = []
        for each in await self.against_the_network():
            rows = await self.world.database.fetch(
                None, "SELECT t::text AS row FROM nfc.id_authorization AS t WHERE message_key = $1", each.key
            )
            lines += [each.sentence, repr(self.world.network.books.by_key.get(each.key)), *(row["row"] for row in rows)]
        return "\n".join(lines)

    async def inconsistent(self) -> list[str]:
        """Processings in which nfc claims anything else than the payment service did."""
        rows = await self.world.database.fetch(
            None, "SELECT DISTINCT processing_id FROM nfc.id_authorization WHERE plan IS NOT NULL"
        )
        ids, found = [row["processing_id"] for row in rows], list[str]()
        for at in range(0, len(ids), 200):
            page = ids[at : at + 200]
            ours = await self.world.desk.effects.own_view(page)
            told = await self.world.payments.list_effects(ListEffects(processing_ids=page, caller="nfc"))
            theirs = {each.processing_id: each.effects for each in told.processings}
            for one in page:
                assert not ours[one].in_flight
                differences = reconcile("payment", ours[one].claims["payment"], theirs.get(one, []))
                found += [f"{one}: {each}" for each in differences]
        return found
