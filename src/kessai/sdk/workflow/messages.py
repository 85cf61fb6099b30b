"""Messages to workflows: signals, updates, and what an operator or a parent asks of one. They wait in an inbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Generic, TypeVar

import asyncpg
import msgspec

from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow.model import Write
from kessai.sdk.workflow.outcome import encode_error

T = TypeVar("T")

MESSAGE_ID_MAX = 128


class MessageKind(IntEnum):
    """What a message asks for."""

    SIGNAL = 0
    UPDATE = 1
    CANCEL = 2
    TERMINATE = 3
    PAUSE = 4
    RESUME = 5


@dataclass(frozen=True, slots=True)
class Message:
    """One message as its workflow gets it."""

    workflow_id: str
    message_id: str
    kind: MessageKind
    name: str
    payload: bytes
    """Its JSON; of what an operator asks: why."""
    sent_at: datetime
    arrival: int = 0
    """Its number in its workflow's inbox."""

    @property
    def order(self) -> tuple[int, datetime, str]:
        """Messages of one workflow are taken in this order: as they arrived, not as their senders' clocks show."""
        return (self.arrival, self.sent_at, self.message_id)

    @property
    def why(self) -> str:
        """The reason that came with a cancel or terminate."""
        return msgspec.json.decode(self.payload, type=str)


def message_of(row: asyncpg.Record) -> Message:
    """A row of the inbox."""
    return Message(
        row["workflow_id"],
        row["message_id"],
        MessageKind(row["kind"]),
        row["name"],
        row["payload"],
        row["sent_at"],
        row["arrival"],
    )


def by_workflow(rows: Iterable[asyncpg.Record]) -> dict[str, list[Message]]:
    """Rows of the inbox by whom they are for, each in its order."""
    found: dict[str, list[Message]] = {}
    for message in sorted((message_of(row) for row in rows), key=lambda each: each.order):
        found.setdefault(message.workflow_id, []).append(message)
    return found


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """How a consumed message is journalled."""

    name: str
    message_id: str
    payload: msgspec.Raw


@dataclass(slots=True)
class Update(Generic[T]):
    """A synchronous update that a workflow has taken and must answer: whoever sent it waits for that."""

    name: str
    update_id: str
    argument: T
    _record: Callable[[bool, bytes], None]
    _flush: Callable[[], Awaitable[None]]
    answered: bool = False

    async def answer(self, value: object = None) -> None:
        """Give the result; durable, with all that was recorded before it, when this returns."""
        await self._settle(False, msgspec.json.encode(value, enc_hook=str))

    async def refuse(self, error: PaymentError) -> None:
        """Give an error, which is raised at the sender's."""
        await self._settle(True, encode_error(error))

    async def _settle(self, failed: bool, outcome: bytes) -> None:
        assert not self.answered, "an update is answered once"
        self.answered = True
        self._record(failed, outcome)
        await self._flush()


@dataclass(slots=True)
class Receiver:
    """A step that waits for a message."""

    kind: MessageKind
    names: tuple[str, ...]
    future: Any

    def wants(self, message: Message) -> bool:
        """Whether the message is for it."""
        return not self.future.done() and message.kind is self.kind and message.name in self.names


class Mailbox:
    """Messages of one run that no step has consumed yet."""

    __slots__ = ("_ids", "_receivers", "_waiting")

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._waiting: list[Message] = []
        self._receivers: list[Receiver] = []

    @property
    def listening(self) -> bool:
        """Whether a step waits for a message now."""
        return bool(self._receivers)

    def put(self, message: Message) -> None:
        """Hand it to a step that waits for it, or keep it; one that came before is ignored."""
        if message.message_id in self._ids:
            return
        self._ids.add(message.message_id)
        self._waiting.append(message)
        self._waiting.sort(key=lambda each: each.order)
        self._match()

    def listen(self, receiver: Receiver) -> None:
        """Wait for a message."""
        self._receivers.append(receiver)
        self._match()

    def deafen(self, receiver: Receiver) -> None:
        """Wait no longer."""
        self._receivers.remove(receiver)

    def put_back(self, message: Message) -> None:
        """The step it was given to was ended before it could journal it."""
        self._ids.discard(message.message_id)
        self.put(message)

    def _match(self) -> None:
        for receiver in self._receivers:
            for message in self._waiting:
                if receiver.wants(message):
                    self._waiting.remove(message)
                    receiver.future.set_result(message)
                    break


def consumption(statement: str, message: Message) -> Write:
    """The row that says that a message was taken."""
    return Write(statement, (message.workflow_id, message.message_id))
