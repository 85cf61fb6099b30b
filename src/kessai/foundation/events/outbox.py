"""Outbox rows and events: how they are built, read back, and how waiting readers in this process are woken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
import uuid_utils.compat

from kessai.foundation.db import Database, load_queries

T = TypeVar("T")
_encoder = msgspec.json.Encoder()
_split = msgspec.json.Decoder(list[msgspec.Raw])


class OutboxRow(NamedTuple):
    """A row in the order of the columns of `outbox_insert`."""

    outbox_id: UUID
    topic: str
    event_count: int
    payload: bytes
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a subscriber gets it: `(source, position, ordinal)` names it for ever."""

    source: str
    position: int
    ordinal: int
    """Its place in the outbox row, from 0."""
    topic: str
    payload: bytes
    """Its JSON."""
    recorded_at: datetime
    """When it was committed, as its source says: all events of one row have the same instant."""
    written_at: datetime | None = None
    """When its row was made, in real time whatever the source's clock says; None: nobody kept it."""

    def decode(self, kind: type[T]) -> T:
        """The event as a Struct; fields that this program does not know yet are ignored where the Struct allows."""
        return msgspec.json.decode(self.payload, type=kind)


def outbox_row(topic: str, events: Sequence[msgspec.Struct], recorded_at: datetime) -> OutboxRow:
    """The one row that carries a flush's events of a topic, in their order."""
    return encoded_row(topic, len(events), _encoder.encode(events), recorded_at)


def encode_events(events: Iterable[bytes]) -> bytes:
    """The payload of a row from events that are JSON already."""
    return b"[" + b",".join(events) + b"]"


def encoded_row(topic: str, event_count: int, payload: bytes, recorded_at: datetime) -> OutboxRow:
    """A row from its encoded payload."""
    return OutboxRow(uuid_utils.compat.uuid7(), topic, event_count, payload, recorded_at)


def outbox_insert(service: str) -> str:
    """The statement that inserts outbox rows into a service's schema: one array a column, in OutboxRow's order."""
    return load_queries("kessai.foundation.events", schema=service)["outbox_insert"]


UUID_WITH_TIME = 7


def events_of(
    source: str, position: int, topic: str, payload: bytes, recorded_at: datetime, written_at: datetime | None = None
) -> list[Event]:
    """The events of one row."""
    return [
        Event(source, position, n, topic, bytes(raw), recorded_at, written_at)
        for n, raw in enumerate(_split.decode(payload))
    ]


def written_at(outbox_id: UUID) -> datetime | None:
    """When a row was made, in real time: its id is a UUIDv7 (RFC 9562), which begins with the milliseconds.

    None of another id, which does not tell.
    """
    if outbox_id.version != UUID_WITH_TIME:
        return None
    return datetime.fromtimestamp((outbox_id.int >> 80) / 1000, UTC)


class Bell:
    """Wakes everyone in this process who waits for the same thing; each waiter has its own flag."""

    def __init__(self) -> None:
        self.certain = False
        """Whether nothing happens that is not rung here: who makes it happen works in this process."""
        self._waiters: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Wake all."""
        for waiter in self._waiters:
            waiter.set()

    def listen(self) -> asyncio.Event:
        """A flag that every ring sets; `forget` it afterwards."""
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        return waiter

    def forget(self, waiter: asyncio.Event) -> None:
        """Stop listening."""
        self._waiters.discard(waiter)


_bells: WeakKeyDictionary[Database, dict[tuple[str, str], Bell]] = WeakKeyDictionary()


def bell(database: Database, source: str, kind: str) -> Bell:
    """The bell of a source's new rows (`committed`) or new positions (`positioned`) in this process."""
    return _bells.setdefault(database, {}).setdefault((source, kind), Bell())


def wake(database: Database, source: str) -> None:
    """Tell this process's relay that outbox rows of `source` were committed; without the hint, polling finds them."""
    bell(database, source, "committed").ring()


async def rung(waiter: asyncio.Event, timeout_s: float) -> bool:
    """Wait for a ring or the timeout, and be ready for the next; True when it rang."""
    try:
        async with asyncio.timeout(timeout_s):
            await waiter.wait()
    except TimeoutError:
        pass
    rang = waiter.is_set()
    waiter.clear()
    return rang


GROWTH = 1.25
"""So that a lull of some seconds costs nobody a long wait."""


class Pauses:
    """How long to wait for a ring before looking oneself: ever longer while nothing comes, short again when it does.

    A ring is heard only in the process that rang; what other processes committed is found by looking.
    """

    def __init__(self, shortest_s: float, longest_s: float) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._pause_s = shortest_s

    def after(self, *, found: bool) -> float:
        """The next pause, in seconds, after a look that found something or nothing."""
        self._pause_s = self._shortest_s if found else min(self._longest_s, self._pause_s * GROWTH)
        return self._pause_s
