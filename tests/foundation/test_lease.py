"""Leases: one holder at a time, by the database's clock; the epoch fences the one that had it before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from kessai.foundation.db import Connection, Database
from kessai.foundation.lease import DatabaseTime, Lease, LeaseLost, hold
from tests.conftest import SharedServer
from tests.sdk.shop import ROLE
from tests.sdk.shop.database import fresh_shop


@pytest.fixture
async def shop(postgres: SharedServer) -> AsyncIterator[Database]:
    """A fresh database with the schema `shop`."""
    async with fresh_shop(postgres) as database:
        yield database


async def _lapse(database: Database) -> None:
    await database.fetch(None, "UPDATE shop.lease SET lease_until = lease_until - interval '1 hour'")


async def test_a_lease_has_one_holder(shop: Database) -> None:
    first, second = Lease(shop, "shop", "work"), Lease(shop, "shop", "work")
    assert await first.acquire()
    assert not await second.acquire()
    assert await first.renew()


async def test_of_many_that_try_at_once_one_gets_it(shop: Database) -> None:
    leases = [Lease(shop, "shop", "work") for _ in range(8)]
    assert sum(await asyncio.gather(*(each.acquire() for each in leases))) == 1
    await _lapse(shop)
    assert sum(await asyncio.gather(*(each.acquire() for each in leases))) == 1


async def test_a_lapsed_lease_is_taken_in_a_higher_epoch(shop: Database) -> None:
    first, second = Lease(shop, "shop", "work"), Lease(shop, "shop", "work")
    await first.acquire()
    await _lapse(shop)
    assert await second.acquire()
    assert second.epoch == first.epoch + 1
    assert not await first.renew()


async def test_a_lapsed_lease_that_nobody_took_is_renewed(shop: Database) -> None:
    lease = Lease(shop, "shop", "work")
    await lease.acquire()
    await _lapse(shop)
    assert await lease.renew()
    assert not await Lease(shop, "shop", "work").acquire()


async def test_a_released_lease_is_free_at_once(shop: Database) -> None:
    first, second = Lease(shop, "shop", "work", lease_s=3600), Lease(shop, "shop", "work")
    await first.acquire()
    await first.release()
    assert await second.acquire()
    await second.release(drop=True)
    assert await shop.fetch(None, "SELECT 1 FROM shop.lease") == []


async def test_the_fence_refuses_whoever_lost_the_lease(shop: Database) -> None:
    first, second = Lease(shop, "shop", "work"), Lease(shop, "shop", "work")
    await first.acquire()
    await shop.transaction(ROLE, first.fence)
    await _lapse(shop)
    await second.acquire()
    with pytest.raises(LeaseLost):
        await shop.transaction(ROLE, first.fence)
    await shop.transaction(ROLE, second.fence)


async def test_a_taker_waits_for_a_fenced_transaction_to_end(shop: Database) -> None:
    first, second = Lease(shop, "shop", "work"), Lease(shop, "shop", "work")
    await first.acquire()
    await _lapse(shop)
    order: list[str] = []
    taking: list[asyncio.Task[None]] = []

    async def take() -> None:
        assert await second.acquire()
        order.append("taken")

    async def work(connection: Connection) -> None:
        await first.fence(connection)
        taking.append(asyncio.create_task(take()))
        await asyncio.sleep(0.05)
        order.append("written")

    await shop.transaction(ROLE, work)
    await asyncio.gather(*taking)
    assert order == ["written", "taken"]


async def test_work_is_held_by_one_and_goes_on_with_the_next_when_that_one_stops(shop: Database) -> None:
    working: list[str] = []
    begun = asyncio.Event()

    async def work(name: str) -> None:
        working.append(name)
        begun.set()
        await asyncio.sleep(3600)

    tasks = [
        asyncio.create_task(hold(Lease(shop, "shop", "work", lease_s=0.2), lambda name=name: work(name)))
        for name in ("a", "b")
    ]
    await begun.wait()
    (first,) = working
    begun.clear()
    tasks["ab".index(first)].cancel()
    await begun.wait()
    assert sorted(working) == ["a", "b"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_work_stops_when_its_lease_is_taken(shop: Database) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    task = asyncio.create_task(hold(Lease(shop, "shop", "work", lease_s=0.2), work))
    await begun.wait()
    await shop.fetch(None, "UPDATE shop.lease SET epoch = epoch + 1, holder = 'other'")
    async with asyncio.timeout(10):
        await stopped.wait()
    assert not task.done()  # it waits for the lease again
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_databases_time_is_asked_for_again_after_the_machine_slept(shop: Database) -> None:
    time = DatabaseTime(shop, ROLE, "SELECT clock_timestamp() AS at")
    awake = await time.now()
    time._moment = awake - timedelta(hours=1)  # pyright: ignore[reportPrivateUsage]  (the loop's clock stood still,
    time._asked_at_wall -= 3600  # pyright: ignore[reportPrivateUsage]  while the wall's went on)
    assert await time.now() >= awake
