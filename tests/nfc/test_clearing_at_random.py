"""Days of whatever may happen, drawn from a seed, beside a plain model: no yen is taken twice, and none is left out."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from kessai.foundation.db import Database
from kessai.services.ledger.api import ListAccounts
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import Cleared, ClearingFate, ClearingLine, Detail, Tap
from tests.nfc.whole_world import WholeWorld, whole

CUSTOMERS, TAPS, DAYS, FUNDS = 3, 14, 3, 4_000
FATES = ("match", "match", "match", "other_amount", "omit", "never", "duplicate", "wrong_card", "wrong_approval_code",
         "wrong_currency")  # fmt: skip


@dataclass
class Model:
    """What the network may keep of each sale, by the acquirer's reference."""

    kept: dict[str, int] = field(default_factory=dict[str, int])
    whose: dict[str, str] = field(default_factory=dict[str, str])
    claimed: set[str] = field(default_factory=set[str])
    """Authorizations that were cleared."""

    def hear(self, line: Detail, books: dict[str, Heard]) -> None:
        """A line, as a plain reading of it goes."""
        about = books.get(line.authorization)
        if line.kind != "S":
            left = self.kept.get(line.reference, 0)
            self.kept[line.reference] = left - min(line.amount, left)
            return
        wrong = line.card == "c999999999999999" or line.approval_code == "WRONG0" or line.currency != "392"
        gone = about is not None and about.approved and about.state == "reversed"
        if line.reference in self.claimed or wrong or gone:
            return
        self.claimed.add(line.reference)
        self.kept[line.reference] = line.amount
        self.whose[line.reference] = line.card


async def net(world: WholeWorld, customer_id: str) -> int:
    """What a customer may spend, less what is owed."""
    page = await world.ledger.list_accounts(ListAccounts(owner=customer_id))
    return sum(each.balance_minor - each.held_minor for each in page.accounts)


async def tapped(world: WholeWorld, draw: random.Random, cards: list[str]) -> None:
    """Some taps, a part of which is taken back, whole or in part."""
    for _ in range(TAPS):
        told = await world.network.tap(_tap(draw, cards))
        if told.approved and draw.random() < 0.3:
            part = None if draw.random() < 0.5 else draw.randint(1, told.amount - 1)
            await world.network.reverse(told.id, part)


def _tap(draw: random.Random, cards: list[str]) -> Tap:
    return Tap(card=draw.choice(cards), amount=draw.randint(10, 1_200))


def filed(world: WholeWorld, draw: random.Random, cards: list[str]) -> Cleared:
    """The day's file, with fates and lines of all kinds."""
    books = world.network.books
    for each in list(books.authorizations.values()):
        fate = draw.choice(FATES)
        amount = draw.randint(10, 2_000) if fate == "other_amount" else None
        books.clearing.foresee(ClearingFate(case=fate, about=each.id, amount=amount))  # type: ignore[arg-type]
    lines: list[ClearingLine] = []
    for _ in range(6):
        case = draw.choice(("no_authorization", "late", "refund", "reversal", "again"))
        about = draw.choice(list(books.authorizations.values()))
        amount = draw.randint(1, 1_500)
        if case == "no_authorization":
            lines.append(ClearingLine(case="no_authorization", card=draw.choice(cards), amount=amount))
        elif case == "late":
            lines.append(ClearingLine(case="late", authorization=about.id))
        elif case == "again" and books.clearing.files:
            file = draw.choice(list(books.clearing.files.values()))
            lines.append(ClearingLine(case="again", file=file.id, line=draw.randint(1, len(file.details))))
        elif case == "refund":
            lines.append(ClearingLine(case="refund", authorization=about.id, amount=amount))
        elif case == "reversal" and about.cleared > 0:
            lines.append(ClearingLine(case="reversal", authorization=about.id, amount=amount))
    return books.clearing.close(world.today, lines)


@pytest.mark.parametrize("seed", range(3))
async def test_days_at_random_come_to_what_a_plain_reading_says(database: Database, seed: int) -> None:
    draw, model = random.Random(seed), Model()
    async with whole(database) as world:
        customers = [await world.holder(funds=FUNDS) for _ in range(CUSTOMERS)]
        of_card = {await world.reference(card): customer_id for customer_id, card in customers}
        for _ in range(DAYS):
            await tapped(world, draw, list(of_card))
            file = filed(world, draw, list(of_card))
            for detail in file.details:
                model.hear(detail, world.network.books.authorizations)
            await world.job("nfc.clear")
            await world.rest()
            assert (await world.job("nfc.clear")).done == 0
            await world.job("nfc.reconcile")
            await world.job("nfc.repair")
            held = _held(world, model)
            for reference, customer_id in of_card.items():
                taken = sum(each for name, each in model.kept.items() if model.whose.get(name) == reference)
                assert await net(world, customer_id) == FUNDS - taken - held.get(reference, 0)
            world.pass_days(1)
        assert await world.findings() == []


def _held(world: WholeWorld, model: Model) -> dict[str, int]:
    """What is still held for payments that no line has claimed, by card: all of one that was taken back in part."""
    held: dict[str, int] = {}
    for each in world.network.books.authorizations.values():
        reference = f"74{each.acquirer:0>11}{int(each.id[1:]):010d}"
        if each.stands and reference not in model.claimed:
            held[each.card] = held.get(each.card, 0) + each.amount
    return held
