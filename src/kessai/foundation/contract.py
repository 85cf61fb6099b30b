"""The words doors are written in: messages and verbs. Pure: no transport, no I/O.

A door is a `Protocol` of async methods, each marked with `@verb(...)`, each taking one Message and returning one
(or, when `stream=True`, an async iterator of them). From it `foundation.door` makes the REST routes, the OpenAPI
document, the gRPC service, the `.proto` file and the typed clients.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

import msgspec

from kessai.foundation.money import AMOUNT_MINOR_MAX


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class MessageMeta(msgspec.StructMeta):
    """Every Message is frozen, takes its fields by keyword and refuses unknown ones, without saying so each time."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        """Make the class with a Message's options."""
        options = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, **options}
        return super().__new__(mcls, name, bases, namespace, **options)


class Message(msgspec.Struct, metaclass=MessageMeta):
    """Base of everything that crosses a door. Fields are append-only: their order is their protobuf number."""

    appended: ClassVar[tuple[str, ...]] = ()
    """Fields that came after workflows had this message in their histories; see `kessai.sdk.workflow.earlier`."""


AmountMinor = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX, description="whole minor units of the asset")]
Asset = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3,8}$", description="asset code, e.g. JPY or BTC")]
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time; text without an offset is refused."""
PageLimit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


@dataclass(frozen=True, slots=True)
class VerbSpec:
    """How a verb appears on the public doors."""

    name: str
    method: str
    path: str
    scope: str
    """What an API key must hold, e.g. `ledger:write`."""
    moves_value: bool
    """A POST that moves value: Idempotency-Key is required."""
    batch: bool
    """Body limit 8 MiB instead of 1 MiB."""
    stream: bool
    """Answers NDJSON over REST and a server stream over gRPC."""
    status: int
    errors: tuple[str, ...]
    """Stable error codes in order of precedence."""
    summary: str
    public: bool
    """False: in-process and gRPC only, no REST route."""


F = TypeVar("F", bound=Callable[..., Any])


def verb(
    route: str,
    *,
    scope: str,
    moves_value: bool = False,
    batch: bool = False,
    stream: bool = False,
    status: int = 200,
    errors: tuple[str, ...] = (),
    public: bool = True,
) -> Callable[[F], F]:
    """Mark a door's method with its route (`POST /v1/charges/{charge_id}/capture`), scope and error codes."""
    method, path = route.split(" ", 1)

    def mark(function: F) -> F:
        summary = (inspect.getdoc(function) or "").split("\n", 1)[0]
        function.__verb__ = VerbSpec(  # pyright: ignore[reportFunctionMemberAccess]
            function.__name__, method, path, scope, moves_value, batch, stream, status, errors, summary, public
        )
        return function

    return mark


@dataclass(frozen=True, slots=True)
class BoundVerb:
    """A verb with the Messages it takes and gives."""

    spec: VerbSpec
    request: type[Message]
    response: type[Message]


def verbs_of(door: type) -> list[BoundVerb]:
    """The verbs of a door in the order they are written; of one that joins several, theirs one after the other."""
    found: list[BoundVerb] = []
    for name, function in (each for part in door.__mro__ for each in vars(part).items()):
        spec = getattr(function, "__verb__", None)
        if spec is None:
            continue
        hints = typing.get_type_hints(function)
        response = hints.pop("return")
        if spec.stream:
            (response,) = typing.get_args(response)
        (request,) = hints.values()
        assert name == spec.name
        found.append(BoundVerb(spec, request, response))
    return found
