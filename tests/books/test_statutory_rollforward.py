"""Whatever is done, the statutory books roll forward from day to day and close to what customers have."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date, timedelta

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, Invalid, NotFound, Refused

from .statutory_world import World, at, world_of

FIRST = date(2026, 4, 28)
CUSTOMERS = ("a", "b", "c")
STEPS = 70
Step = Callable[["Player"], Awaitable[object]]


class Player:
    """Does one thing after the other, at random but the same each time."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.book = world.book
        self.random = random.Random(seed)
        self.names: list[str] = []
        self.held: list[str] = []

    def who(self, kind: str = "funds") -> str:
        return f"cus:{self.random.choice(CUSTOMERS)}/{kind}"

    def amount(self) -> int:
        return self.random.choice((1, 7, 200, 999, 5_000, 60_000))

    def name(self) -> str:
        self.names.append(f"step-{len(self.names)}")
        return self.names[-1]


async def top_up(player: Player) -> object:
    return await player.book.give(f"{player.who()} {player.amount()}", kind="top_up", name=player.name())


async def buy_points(player: Player) -> object:
    leg = f"{player.who('paid_points')} {player.amount()} expires={player.random.randint(1, 4)}d"
    return await player.book.give(leg, kind="points_sale", name=player.name())


async def pay(player: Player) -> object:
    kind, amount = player.random.choice(("funds", "paid_points")), player.amount()
    text = f"{player.who(kind)} {amount} > mer:m/unsettled_sales {amount}"
    return await player.book.move(text, kind="charge", name=player.name())


async def send(player: Player) -> object:
    amount = player.amount()
    return await player.book.move(f"{player.who()} {amount} > {player.who()} {amount}", kind="transfer")


async def withdraw(player: Player) -> object:
    amount, name = player.amount(), player.name()
    text = (
        f"{player.who()} {amount + 200} > internal:bank/bank_in_transit {amount}"
        " + internal:withdrawal_fee/fee_income 200"
    )
    player.held.append(name)
    return await player.book.hold(text, kind="withdrawal", name=name)


async def end_withdrawal(player: Player) -> object:
    if not player.held:
        return None
    name = player.held.pop(player.random.randrange(len(player.held)))
    return await (player.book.capture(name) if player.random.random() < 0.6 else player.book.void(name))


async def give_back(player: Player) -> object:
    if not player.names:
        return None
    name = player.random.choice(player.names)
    amount = player.random.choice((None, 1, 100))
    return await player.book.reverse(name, amount, kind=player.random.choice(("refund", "return", "cancel")))


async def trade(player: Player) -> object:
    customer = player.random.choice(CUSTOMERS)
    await player.book.give(f"cus:{customer}/trading_funds 1000", kind="exchange_in")
    text = f"cus:{customer}/trading_funds 1000 > cus:{customer}/btc 10000"
    if player.random.random() < 0.4:
        text = f"cus:{customer}/btc 10000 > cus:{customer}/trading_funds 1000"
    return await player.book.move(text, kind="trade", rate="10000000", name=player.name())


async def hear(player: Player) -> object:
    return await player.world.heard()


async def next_day(player: Player) -> object:
    player.world.clock.advance(hours=player.random.choice((3, 11, 24, 30)))
    return await player.book.run("expire_lots", "expire_exchanges")


async def make_days(player: Player) -> object:
    return await player.world.desk.make_due_days()


STEPS_OF: tuple[Step, ...] = (
    top_up, buy_points, pay, send, withdraw, end_withdrawal, give_back, trade, hear, next_day, make_days,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
async def test_any_sequence_of_actions_closes_to_what_customers_have(database: Database, seed: int) -> None:
    async with world_of(database, at(FIRST)) as world:
        player = Player(world, seed)
        for customer in CUSTOMERS:
            await world.book.open(*(f"cus:{customer}/{kind}" for kind in ("funds", "trading_funds", "btc")))
            await world.book.give(f"cus:{customer}/funds 500000", kind="top_up")
        for _ in range(STEPS):
            with suppress(Invalid, NotFound, Conflict, Refused):
                await player.random.choice(STEPS_OF)(player)
        await world.heard()
        last = world.today
        world.go_to(last + timedelta(days=2))
        await world.made(last)
        await closes(world, last)


async def closes(world: World, last: date) -> None:
    """Every day rolls forward from the one before; the last closes to the ledger's balances; each is the same again."""
    closing: dict[str, int] = {}
    day = FIRST
    while day <= last:
        made = await world.made(day)
        for book in made.books:
            assert book.opening_minor == closing.get(book.account_type, 0), (day, book)
            moved = sum(each.amount_minor for each in book.categories)
            assert book.opening_minor + moved == book.closing_minor, (day, book)
            assert (book.told_minor, book.differing) == (book.closing_minor, 0), (day, book)
            closing[book.account_type] = book.closing_minor
        day += timedelta(days=1)
    rows = await world.database.fetch(
        None, "SELECT account_type, sum(balance)::bigint AS balance FROM ledger.account GROUP BY account_type"
    )
    ledger = {row["account_type"]: row["balance"] for row in rows}
    assert closing == {name: ledger.get(name, 0) for name in closing}
    assert set(closing) == set(world.rules.types)
    customers = [each for name in ("btc", "trading_funds") for each in await _balances(world, name, last)]
    for account, quantity in customers:
        assert await world.book.balance(account) == quantity
    assert sum(quantity for _, quantity in customers) == closing["btc"] + closing["trading_funds"]


async def _balances(world: World, account_type: str, day: date) -> list[tuple[str, int]]:
    rows = await world.table("crypto_segregation", day)
    return [(str(row["account_id"]), int(str(row["quantity"]))) for row in rows if row["account_type"] == account_type]
