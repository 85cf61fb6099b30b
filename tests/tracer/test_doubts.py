"""What differs only until an event has come from one service to the other is no alarm."""

from __future__ import annotations

import asyncio

from .toys import World, charge, effect


async def test_what_agrees_a_moment_later_is_never_told_as_different(world: World) -> None:
    world.participants["shop"] = world.participant("shop", ["till"], doubt_s=3600)
    await charge(world)
    world.toys["till"].did("shop", "prc_1", effect("exc_returned", amount_minor=1000))
    await world.settle()
    assert (await world.processing("prc_1")).waiting_for == ["shop"]
    world.toys["shop"].claims["prc_1"]["till"].append(effect("exc_returned", amount_minor=1000))  # the event has come
    await world.settle()
    found = await world.processing("prc_1")
    assert (found.verdict, found.finding_id) == ("CONSISTENT", None)


async def test_what_stays_different_is_told(world: World) -> None:
    shop = world.participants["shop"] = world.participant("shop", ["till"], doubt_s=0.01)
    await charge(world)
    world.toys["till"].did("shop", "prc_1", effect("exc_unheard_of"))
    await world.settle()
    async with asyncio.timeout(30):
        while await world.verdict("prc_1") == "PENDING":
            await asyncio.sleep(0.01)
            await shop.turn()
    assert await world.verdict("prc_1") == "INCONSISTENT"


async def test_another_difference_is_a_new_doubt(world: World) -> None:
    shop = world.participants["shop"] = world.participant("shop", ["till"], doubt_s=3600)
    await charge(world)
    world.toys["till"].did("shop", "prc_1", effect("exc_unheard_of"))
    await world.settle()
    world.toys["till"].did("shop", "prc_1", effect("exc_another"))
    assert await shop.turn() == 0
    assert await world.verdict("prc_1") == "PENDING"
