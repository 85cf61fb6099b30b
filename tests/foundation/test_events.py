"""Outbox, relay and subscriptions: in order, exactly once, and never blocked by one bad event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from kessai.foundation.clock import SystemClock
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Unavailable
from kessai.foundation.events import Event, OutboxRow, Relay, Subscription, outbox_insert, outbox_row, parked, wake
from kessai.foundation.events import subscription as subscription_module
from kessai.foundation.events.subscription import POLLS_PER_SKIP
from tests.conftest import SharedServer
from tests.sdk.conftest import eventually
from tests.sdk.shop import EFFECT, ROLE
from tests.sdk.shop.database import fresh_shop

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Sold(Message):
    """An event."""

    name: str


@pytest.fixture
async def shop(postgres: SharedServer) -> AsyncIterator[Database]:
    """A fresh database with the schema `shop`."""
    async with fresh_shop(postgres) as database:
        yield database


def _sold(*names: str, topic: str = "sold") -> OutboxRow:
    return outbox_row(topic, [Sold(name=name) for name in names], NOW)


async def _insert(connection: Connection, *rows: OutboxRow) -> None:
    await connection.execute(outbox_insert("shop"), *map(list, zip(*rows, strict=True)))


async def _commit(database: Database, *rows: OutboxRow) -> None:
    await database.transaction(ROLE, lambda connection: _insert(connection, *rows))


async def _effects(database: Database) -> dict[str, int]:
    return {row[0]: row[1] for row in await database.fetch(None, "SELECT event_id, count FROM shop.effect")}


class Seen:
    """A handler that writes each event down, and fails where a test says so."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.failing: Callable[[str], Exception | None] = lambda _: None
        self.before_commit: Callable[[], None] = lambda: None

    async def __call__(self, connection: Connection, events: list[Event]) -> None:
        names = [event.decode(Sold).name for event in events]
        for name in names:
            await connection.execute(EFFECT, name)
            if (error := self.failing(name)) is not None:
                raise error
        self.before_commit()
        self.order += names


def _subscription(database: Database, seen: Seen, **options: Any) -> Subscription:
    options = {"topics": ["sold"], "name": "books", **options}
    return Subscription(database, source="shop", subscriber="shop", handler=seen, clock=SystemClock(), **options)


async def _deliver_all(subscription: Subscription) -> None:
    while await subscription.deliver():
        pass


async def test_positions_are_given_after_commit_without_gaps(shop: Database) -> None:
    relay = Relay(shop, "shop")
    await _commit(shop, *(_sold(str(n)) for n in range(5)))
    assert await relay.assign() == 5
    await _commit(shop, _sold("5"))
    assert await relay.assign() == 1
    assert await relay.assign() == 0
    rows = await shop.fetch(None, "SELECT position FROM shop.outbox ORDER BY outbox_id")
    assert [row["position"] for row in rows] == [1, 2, 3, 4, 5, 6]


async def test_a_row_that_commits_late_is_not_skipped(shop: Database) -> None:
    relay, seen = Relay(shop, "shop"), Seen()
    subscription = _subscription(shop, seen)
    late = await shop.connect(ROLE)
    transaction = late.transaction()
    await transaction.start()
    await _insert(late, _sold("late"))
    await _commit(shop, _sold("early"))
    await relay.assign()
    await _deliver_all(subscription)
    await transaction.commit()
    await late.close()
    await relay.assign()
    await _deliver_all(subscription)
    assert seen.order == ["early", "late"]


async def test_two_relays_at_once_give_each_row_one_position(shop: Database) -> None:
    relays = [Relay(shop, "shop") for _ in range(4)]
    await _commit(shop, *(_sold(str(n)) for n in range(100)))
    await asyncio.gather(*(relay.assign() for relay in relays))
    while await relays[0].assign():
        pass
    rows = await shop.fetch(None, "SELECT position FROM shop.outbox ORDER BY position")
    assert [row["position"] for row in rows] == list(range(1, 101))


async def test_only_the_topics_asked_for_are_delivered(shop: Database) -> None:
    seen = Seen()
    await _commit(shop, _sold("a"), _sold("b", topic="other"), _sold("c"))
    await Relay(shop, "shop").assign()
    await _deliver_all(_subscription(shop, seen))
    assert seen.order == ["a", "c"]


async def test_many_events_of_other_topics_are_passed_once(shop: Database) -> None:
    seen = Seen()
    subscription = _subscription(shop, seen)
    await _commit(shop, *(_sold("b", topic="other") for _ in range(10)))
    await Relay(shop, "shop").assign()
    for _ in range(POLLS_PER_SKIP):
        await subscription.deliver()
    (row,) = await shop.fetch(None, "SELECT position FROM shop.subscription_cursor")
    assert row["position"] == 10
    await _commit(shop, _sold("a"))
    await Relay(shop, "shop").assign()
    await _deliver_all(subscription)
    assert seen.order == ["a"]


async def test_an_event_delivered_twice_at_once_takes_effect_once(shop: Database) -> None:
    seen = Seen()
    twins = [_subscription(shop, seen) for _ in range(4)]
    await _commit(shop, *(_sold(f"{n}a", f"{n}b") for n in range(50)))
    await Relay(shop, "shop").assign()
    await asyncio.gather(*(_deliver_all(each) for each in twins))
    assert await _effects(shop) == {f"{n}{part}": 1 for n in range(50) for part in "ab"}
    assert sum(each.delivered for each in twins) == 100


async def test_a_crash_before_the_commit_has_no_effect_and_is_delivered_again(shop: Database) -> None:
    seen = Seen()
    await _commit(shop, _sold("a", "b"))
    await Relay(shop, "shop").assign()

    def crash() -> None:
        raise asyncio.CancelledError

    seen.before_commit = crash
    with pytest.raises(asyncio.CancelledError):
        await _subscription(shop, seen).deliver()
    assert await _effects(shop) == {}
    seen.before_commit = lambda: None
    await _deliver_all(_subscription(shop, seen))
    assert await _effects(shop) == {"a": 1, "b": 1}


async def test_a_delivery_ends_with_the_row_that_makes_it_large_enough(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "EVENTS_MAX", 5)
    seen = Seen()
    subscription = _subscription(shop, seen)
    await _commit(shop, *(_sold(*(f"{row}{n}" for n in range(3))) for row in "abc"))
    await Relay(shop, "shop").assign()
    assert [await subscription.deliver() for _ in range(3)] == [6, 3, 0]
    assert seen.order == sorted(seen.order)


async def test_an_event_says_when_it_was_committed_also_after_it_was_parked(shop: Database) -> None:
    instants: list[datetime] = []

    async def note(_: Connection, events: list[Event]) -> None:
        instants.extend(each.recorded_at for each in events)
        if len(instants) < 3:
            raise ValueError("no")

    subscription = Subscription(
        shop, source="shop", topics=["sold"], subscriber="shop", name="books", handler=note, clock=SystemClock()
    )
    await _commit(shop, _sold("a"))
    await Relay(shop, "shop").assign()
    await subscription.deliver()
    (put_aside,) = await parked(shop, "shop")
    assert put_aside.event.recorded_at == NOW
    assert await subscription.unpark(put_aside.event.position, 0)
    assert instants == [NOW] * 3


async def test_a_poisonous_event_is_parked_and_blocks_nothing(shop: Database) -> None:
    seen = Seen()
    seen.failing = lambda name: ValueError("indigestible") if name in ("b", "d") else None
    subscription = _subscription(shop, seen)
    await _commit(shop, _sold("a", "b", "c"), _sold("d"), _sold("e"))
    await Relay(shop, "shop").assign()
    await _deliver_all(subscription)
    assert seen.order == ["a", "c", "e"]
    assert await _effects(shop) == {"a": 1, "c": 1, "e": 1}
    found = await parked(shop, "shop")
    assert [(each.event.decode(Sold).name, each.event.ordinal) for each in found] == [("b", 1), ("d", 0)]
    assert all("indigestible" in each.error for each in found)
    assert subscription.parked_count == 2


async def test_a_parked_event_is_tried_again_and_takes_effect_once(shop: Database) -> None:
    seen = Seen()
    seen.failing = lambda name: ValueError("indigestible") if name == "b" else None
    subscription = _subscription(shop, seen)
    await _commit(shop, _sold("a", "b"))
    await Relay(shop, "shop").assign()
    await _deliver_all(subscription)
    (event,) = [each.event for each in await parked(shop, "shop")]
    seen.failing = lambda _: ValueError("still")
    assert not await subscription.unpark(event.position, event.ordinal)
    (still,) = await parked(shop, "shop")
    assert (still.attempts, "still" in still.error) == (2, True)
    seen.failing = lambda _: None
    assert await subscription.unpark(event.position, event.ordinal)
    assert not await subscription.unpark(event.position, event.ordinal)
    assert await parked(shop, "shop") == []
    assert await _effects(shop) == {"a": 1, "b": 1}


async def test_a_passing_failure_parks_nothing(shop: Database) -> None:
    seen = Seen()
    failures = 0

    def sometimes(_: str) -> Exception | None:
        nonlocal failures
        failures += 1
        return Unavailable("away", "Away.") if failures <= 2 else None

    seen.failing = sometimes
    subscription, relay = _subscription(shop, seen), Relay(shop, "shop")
    await subscription.open()
    await relay.open()
    await _commit(shop, _sold("a"))
    wake(shop, "shop")
    await eventually(lambda: seen.order == ["a"])
    await subscription.close()
    await relay.close()
    assert await parked(shop, "shop") == []
    assert await _effects(shop) == {"a": 1}


async def test_events_flow_from_commit_to_effect_with_two_processes_open(shop: Database) -> None:
    seen = Seen()
    parts: list[Relay | Subscription] = []
    for _ in range(2):
        parts += [Relay(shop, "shop", lease_s=0.4), _subscription(shop, seen, lease_s=0.4)]
    for part in parts:
        await part.open()
    for n in range(50):
        await _commit(shop, _sold(str(n)))
        wake(shop, "shop")
    await eventually(lambda: len(seen.order) == 50)
    for part in parts:
        await part.close()
    assert seen.order == [str(n) for n in range(50)]
    assert set((await _effects(shop)).values()) == {1}


async def test_the_service_may_not_change_or_remove_what_it_published(shop: Database) -> None:
    await _commit(shop, _sold("a"))
    for statement in ("DELETE FROM shop.outbox", "UPDATE shop.outbox SET payload = ''"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await shop.fetch(ROLE, statement)
