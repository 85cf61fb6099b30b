"""The load of `bench charge --mix`: what a day brings, in its shares, over keep-alive connections."""

from __future__ import annotations

import random
from enum import StrEnum
from multiprocessing.connection import Connection as Pipe

import uvloop

from kessai.apps.bench.cards import card_source
from kessai.apps.bench.figures import Tally
from kessai.apps.bench.http_load import MERCHANTS, Load, Target, Wire, accepted, id_of, merchant, serve_load
from kessai.apps.bench.mixes import AMOUNT_MAX, CUSTOMER_TYPE

CARD_SHARE = 0.2
"""Of charges."""
REFUNDABLE_MAX = 10_000


class Kind(StrEnum):
    """What is done, once."""

    CHARGE = "charge"
    TRANSFER = "transfer"
    TOP_UP = "top_up"
    ESCROW = "escrow"
    REFUND = "refund"


SHARES = {Kind.CHARGE: 60, Kind.TRANSFER: 15, Kind.TOP_UP: 10, Kind.ESCROW: 10, Kind.REFUND: 5}
"""Per cent."""


def load_mix(target: Target, pipe: Pipe) -> None:
    """The child's main function: for `Spawned`. Orders are `Charge`; answers are a tally and what merchants gained."""
    uvloop.run(serve_load(MixedLoad(target), pipe))


class MixedLoad(Load):
    """Each connection does one thing after the other, drawn by its share."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._refundable: list[tuple[str, int]] = []

    async def one(self, wire: Wire, dice: random.Random, tally: Tally) -> int:
        """One of the kinds, to its end; gives what merchants gained by it, in minor units."""
        kind = dice.choices(list(SHARES), list(SHARES.values()))[0]
        match kind:
            case Kind.REFUND if self._refundable:
                return await self._refund(wire, dice, tally)
            case Kind.CHARGE | Kind.REFUND:
                return await self._charge(wire, dice, tally)
            case Kind.TRANSFER:
                await self._at_once(wire, "/v1/transfers", self._transfer(dice), tally)
            case Kind.TOP_UP:
                await self._at_once(wire, "/v1/top-ups", self._top_up(dice), tally)
            case Kind.ESCROW:
                await self._escrow(wire, dice, tally)
        return 0

    def captured(self, payment_id: str, amount_minor: int) -> None:
        """It may be refunded later."""
        if len(self._refundable) < REFUNDABLE_MAX:
            self._refundable.append((payment_id, amount_minor))

    async def _charge(self, wire: Wire, dice: random.Random, tally: Tally) -> int:
        if dice.random() < CARD_SHARE:
            owner, card_id = dice.choice(self.target.cards)
            return await self.charge(wire, dice, tally, card_source(card_id), owner)
        return await super().one(wire, dice, tally)

    async def _refund(self, wire: Wire, dice: random.Random, tally: Tally) -> int:
        payment_id, amount = self._refundable.pop(dice.randrange(len(self._refundable)))
        if not accepted(await self.post(wire, f"/v1/charges/{payment_id}/refunds", "{}", tally), tally):
            return 0
        tally.acknowledged += 1
        return -amount

    async def _escrow(self, wire: Wire, dice: random.Random, tally: Tally) -> None:
        buyer, seller = self._two(dice)
        body = (
            f'{{"customer_id":"{buyer}","marketplace_id":"{merchant(dice.randrange(MERCHANTS))}",'
            f'"seller_id":"{seller}","amount_minor":{dice.randint(1, AMOUNT_MAX)},'
            f'"sources":[{{"source":"{CUSTOMER_TYPE}"}}]}}'
        )
        created = await self.post(wire, "/v1/escrows", body, tally)
        if accepted(created, tally):
            await self._at_once(wire, f"/v1/escrows/{id_of(created)}/capture", "{}", tally)

    async def _at_once(self, wire: Wire, path: str, body: str, tally: Tally) -> None:
        if accepted(await self.post(wire, path, body, tally), tally, "CAPTURED"):
            tally.acknowledged += 1

    def _two(self, dice: random.Random) -> tuple[str, str]:
        one = other = self.somebody(dice)
        while other == one:
            other = self.somebody(dice)
        return one, other

    def _transfer(self, dice: random.Random) -> str:
        payer, payee = self._two(dice)
        return f'{{"customer_id":"{payer}","recipient_id":"{payee}","amount_minor":{dice.randint(1, AMOUNT_MAX)}}}'

    def _top_up(self, dice: random.Random) -> str:
        amount = dice.randint(1, AMOUNT_MAX)
        return f'{{"customer_id":"{self.somebody(dice)}","source":"bank_deposit","amount_minor":{amount}}}'
