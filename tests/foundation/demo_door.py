"""A small door with every kind of field and every kind of verb, and a service behind it that can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.call import Call, current_call
from kessai.foundation.contract import AmountMinor, Label, Message, PageLimit, verb
from kessai.foundation.door import Principal
from kessai.foundation.errors import (
    KeyReused,
    NotFound,
    PaymentError,
    Refused,
    Unauthenticated,
    Unavailable,
    Unknown,
)

ThingId = Annotated[str, msgspec.Meta(pattern="^thg_[0-9a-f]{32}$")]
THING_ID = "thg_" + "0" * 32


class Colour(StrEnum):
    RED = "RED"
    BLUE = "BLUE"


class CreateThing(Message):
    """Make a thing."""

    name: Label
    """What it is called; some names make the service fail."""
    amount_minor: AmountMinor
    parts: list[Part] = []
    labels: dict[Label, str] = {}
    colour: Colour = Colour.RED
    note: Annotated[str, msgspec.Meta(max_length=10)] | None = None
    due_at: datetime | None = None
    due_on: date | None = None
    capture: bool = True
    seal: bytes = b""
    best: Part | None = None
    aliases: list[str] | None = None
    floor_minor: int | None = None


class Part(Message):
    """A part, of parts."""

    name: str
    amount_minor: AmountMinor
    parts: list[Part] = []
    made_at: datetime | None = None


class Thing(Message):
    """A thing."""

    thing_id: str
    name: str
    amount_minor: int
    parts: list[Part]
    labels: dict[str, str]
    colour: Colour
    note: str | None
    due_at: datetime | None
    due_on: date | None
    capture: bool
    seal: bytes
    best: Part | None
    aliases: list[str] | None
    floor_minor: int | None


class GetThing(Message):
    """Which thing."""

    thing_id: ThingId


class ListThings(Message):
    """Which things."""

    owner: str
    limit: PageLimit = 100
    open: bool = True
    tags: list[str] = []
    since: datetime | None = None
    colour: Colour | None = None


class Things(Message):
    """What was asked for, told back."""

    asked: str
    things: list[Thing]


class UpdateThing(Message):
    """Replace labels or the note; what is left out stays."""

    thing_id: ThingId
    labels: dict[str, str] | None = None
    note: str | None = None


class SettleThing(Message):
    """How much of which thing."""

    thing_id: ThingId
    amount_minor: AmountMinor | None = None


class CreateThings(Message):
    """Many."""

    things: list[CreateThing]


class Counted(Message):
    """How many."""

    count: int


class ExportThings(Message):
    """From where, and how many; it fails after `fail_after` of them."""

    count: Annotated[int, msgspec.Meta(ge=0)]
    fail_after: int | None = None


class Secret(Message):
    """Only for services."""

    word: str


class Demo(Protocol):
    """Things."""

    @verb("POST /v1/demo/things", scope="demo:write", moves_value=True, status=201,
          errors=("insufficient_funds",))  # fmt: skip
    async def create_thing(self, request: CreateThing, /) -> Thing:
        """Make a thing."""
        ...

    @verb("GET /v1/demo/things/{thing_id}", scope="demo:read", errors=("thing_not_found",))
    async def get_thing(self, request: GetThing, /) -> Thing:
        """A thing."""
        ...

    @verb("GET /v1/demo/things", scope="demo:read")
    async def list_things(self, request: ListThings, /) -> Things:
        """Things."""
        ...

    @verb("PATCH /v1/demo/things/{thing_id}", scope="demo:write", errors=("thing_not_found",))
    async def update_thing(self, request: UpdateThing, /) -> Thing:
        """Change a thing."""
        ...

    @verb("POST /v1/demo/things/{thing_id}/settle", scope="demo:write", moves_value=True)
    async def settle_thing(self, request: SettleThing, /) -> Counted:
        """Settle a thing."""
        ...

    @verb("POST /v1/demo/things/batch", scope="demo:write", moves_value=True, batch=True)
    async def create_things(self, request: CreateThings, /) -> Counted:
        """Make things."""
        ...

    @verb("GET /v1/demo/export", scope="demo:export", stream=True)
    def export_things(self, request: ExportThings, /) -> AsyncIterator[Counted]:
        """Count up."""
        ...

    @verb("POST /v1/demo/secret", scope="internal", public=False)
    async def tell_secret(self, request: Secret, /) -> Secret:
        """The word, and for which processing."""
        ...


class DemoService:
    """Answers from what it is asked; keeps answers by request key, as services do."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.finished = 0
        self.done = asyncio.Event()
        self._stored: dict[str, tuple[CreateThing, Thing | PaymentError]] = {}

    async def create_thing(self, request: CreateThing, /) -> Thing:
        call = current_call()
        self.calls.append(call)
        if call.request_key is not None and (stored := self._stored.get(call.request_key)) is not None:
            return self._replay(call, request, *stored)
        try:
            answer: Thing | PaymentError = await self._create(request)
        except Refused as refusal:
            answer = refusal
        if call.request_key is not None:
            self._stored[call.request_key] = (request, answer)
        self.finished += 1
        self.done.set()
        if isinstance(answer, PaymentError):
            raise answer
        return answer

    def _replay(self, call: Call, request: CreateThing, first: CreateThing, answer: Thing | PaymentError) -> Thing:
        if request != first:
            raise KeyReused
        call.replayed = True
        if isinstance(answer, PaymentError):
            raise answer
        return answer

    async def _create(self, request: CreateThing) -> Thing:
        match request.name:
            case "refused":
                raise Refused("insufficient_funds", "There is not enough.", available_minor=3, places=["a", "b"])
            case "unavailable":
                raise Unavailable("queue_full", "Too much at once.")
            case "unknown":
                raise Unknown("outcome_unknown", "Nobody knows.")
            case "broken":
                raise RuntimeError("the secret reason")
            case "slow":
                self.begun.set()
                await self.release.wait()
            case _:
                pass
        fields = {field: getattr(request, field) for field in request.__struct_fields__}
        return Thing(thing_id=THING_ID, **fields)

    async def get_thing(self, request: GetThing, /) -> Thing:
        if request.thing_id != THING_ID:
            raise NotFound("thing_not_found", "There is no such thing.", thing_id=request.thing_id)
        return await self._create(CreateThing(name="it", amount_minor=1))

    async def list_things(self, request: ListThings, /) -> Things:
        since = None if request.since is None else request.since.astimezone(UTC).isoformat()
        asked = (request.owner, request.limit, request.open, request.tags, since, request.colour)
        return Things(asked=repr(asked), things=[])

    async def update_thing(self, request: UpdateThing, /) -> Thing:
        labels = {"left": "alone"} if request.labels is None else request.labels
        return await self._create(CreateThing(name="it", amount_minor=1, labels=labels, note=request.note))

    async def settle_thing(self, request: SettleThing, /) -> Counted:
        return Counted(count=request.amount_minor or -1)

    async def create_things(self, request: CreateThings, /) -> Counted:
        return Counted(count=len(request.things))

    async def export_things(self, request: ExportThings, /) -> AsyncIterator[Counted]:
        if request.count == 13:
            raise Unavailable("snapshot_not_stable", "Not now.")
        for number in range(request.count):
            if number == request.fail_after:
                raise RuntimeError("cut")
            yield Counted(count=number)

    async def tell_secret(self, request: Secret, /) -> Secret:
        return Secret(word=f"{request.word} {current_call().processing_id}")


KEYS = {
    "writer": Principal("key_writer", frozenset({"demo:read", "demo:write", "demo:export"})),
    "reader": Principal("key_reader", frozenset({"demo:read"})),
    "service": Principal("key_service", frozenset({"demo:read", "demo:write", "internal"})),
}


async def authenticate(secret: str) -> Principal:
    """The demonstration's keys."""
    if secret not in KEYS:
        raise Unauthenticated("invalid_api_key", "This API key is unknown or revoked.")
    return KEYS[secret]


def full_request() -> CreateThing:
    """A request with every field set."""
    return CreateThing(
        name="thing",
        amount_minor=9_007_199_254_740_993,
        parts=[Part(name="一", amount_minor=1, parts=[Part(name="inner", amount_minor=2)])],
        labels={"k": "v", "empty": ""},
        colour=Colour.BLUE,
        note="",
        due_at=datetime(2026, 4, 1, 12, 30, 15, 123456, tzinfo=UTC),
        due_on=date(2026, 4, 1),
        capture=False,
        seal=b"\x00\xff",
        best=Part(name="best", amount_minor=3, made_at=datetime(2026, 4, 1, tzinfo=UTC)),
        aliases=[],
        floor_minor=-5,
    )
