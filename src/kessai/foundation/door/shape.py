"""What the fields of a Message are made of: the one reading of its types that every transport shares."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import typing
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

from kessai.foundation.contract import Message


class Kind(StrEnum):
    """What one value is. There is no float: a door has whole numbers and decimal texts."""

    TEXT = "string"
    INTEGER = "int64"
    BOOLEAN = "bool"
    BYTES = "bytes"
    INSTANT = "instant"
    DATE = "date"
    MESSAGE = "message"


class Many(StrEnum):
    """How many values a field holds."""

    ONE = "one"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; `number` is its place in the declaration and on the protobuf wire."""

    name: str
    number: int
    kind: Kind
    many: Many
    nullable: bool
    required: bool
    message: type[Message] | None
    values: tuple[str, ...]
    """The values of an enumeration, a text on every wire; empty otherwise."""
    type: Any
    default: Any
    """`msgspec.NODEFAULT` when it has none, or makes one anew each time."""

    @property
    def boxed(self) -> bool:
        """A list or map that may be absent: protobuf needs a message around it."""
        return self.nullable and self.many is not Many.ONE

    @property
    def has_presence(self) -> bool:
        """Whether absent differs from empty on the protobuf wire."""
        single = self.many is Many.ONE and (self.nullable or not self.required)
        return single or self.boxed or (self.many is Many.ONE and self.kind is Kind.MESSAGE)


_KINDS: dict[object, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    bool: Kind.BOOLEAN,
    bytes: Kind.BYTES,
    datetime: Kind.INSTANT,
    date: Kind.DATE,
}


@cache
def fields_of(message: type[Message]) -> tuple[Field, ...]:
    """The fields of a message in their order; TypeError for a type that cannot cross a door."""
    infos = msgspec.structs.fields(message)
    return tuple(_field(message, number, info) for number, info in enumerate(infos, 1))


def _field(message: type[Message], number: int, info: msgspec.structs.FieldInfo) -> Field:
    try:
        many, nullable, element = _unfold(info.type)
        kind, inner, values = _element(element)
    except TypeError as error:
        raise TypeError(f"{message.__name__}.{info.name}: {error}") from None
    if nullable and info.default not in (None, msgspec.NODEFAULT):
        raise TypeError(f"{message.__name__}.{info.name}: what may be None has no other default")
    return Field(info.name, number, kind, many, nullable, info.required, inner, values, info.type, info.default)


def _bare(annotation: Any) -> Any:
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return getattr(annotation, "__supertype__", annotation)


def _unfold(annotation: Any) -> tuple[Many, bool, Any]:
    annotation, nullable = _bare(annotation), False
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) != 1 or len(typing.get_args(annotation)) != 2:
            raise TypeError("a union other than `X | None` cannot cross a door")
        annotation, nullable = _bare(members[0]), True
    match typing.get_origin(annotation):
        case None:
            return Many.ONE, nullable, annotation
        case origin if origin is list:
            return Many.LIST, nullable, _bare(typing.get_args(annotation)[0])
        case origin if origin is dict and _bare(typing.get_args(annotation)[0]) is str:
            return Many.MAP, nullable, _bare(typing.get_args(annotation)[1])
        case _:
            return Many.ONE, nullable, annotation


def _element(annotation: Any) -> tuple[Kind, type[Message] | None, tuple[str, ...]]:
    if typing.get_origin(annotation) is Literal:
        return Kind.TEXT, None, tuple(str(value) for value in typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Kind.TEXT, None, tuple(str(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return Kind.MESSAGE, annotation, ()
    if annotation in _KINDS:
        return _KINDS[annotation], None, ()
    raise TypeError(f"{annotation} cannot cross a door")


def messages_under(roots: typing.Iterable[type[Message]]) -> list[type[Message]]:
    """The roots and every message within them, each once, in the order they are met."""
    found: dict[type[Message], None] = {}

    def visit(message: type[Message]) -> None:
        if message in found:
            return
        found[message] = None
        for field in fields_of(message):
            if field.message is not None:
                visit(field.message)

    for root in roots:
        visit(root)
    return list(found)


@cache
def field_notes(message: type) -> dict[str, str]:
    """The sentence written under each field in the source; empty where no source is at hand."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(message))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    notes: dict[str, str] = {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for field, note in pairwise(body):
        match field, note:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                notes[name] = inspect.cleandoc(text)
            case _:
                pass
    return notes


def prune(message: type[Message], value: Any) -> Any:
    """Plain data without the fields that `message` does not know: a newer server's answer to an older client."""
    if not isinstance(value, dict):
        return value
    plain = typing.cast("dict[str, Any]", value)
    return {field.name: _prune_field(field, plain[field.name]) for field in fields_of(message) if field.name in plain}


def _prune_field(field: Field, value: Any) -> Any:
    if field.message is None or value is None:
        return value
    match field.many:
        case Many.ONE:
            return prune(field.message, value)
        case Many.LIST:
            return [prune(field.message, item) for item in value]
        case Many.MAP:
            return {key: prune(field.message, item) for key, item in value.items()}
