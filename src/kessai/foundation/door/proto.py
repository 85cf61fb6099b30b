"""A door in protocol buffers: descriptors, the `.proto` text, and codecs between Messages and the wire.

Standard proto3, so that any protoc client can call. A field's number is its place in the Message (append-only).
What may be absent carries presence: `optional` scalars; a list or map that may be absent stands in a message of its
own. Enumerations are texts on the wire: a new value needs no new client. Instants are RFC 3339 texts, dates are
ISO 8601; every number is int64.
"""

# protobuf ships no types for its descriptors' and messages' fields.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportMissingModuleSource=false

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any, Generic, TypeVar, cast

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from kessai.foundation.contract import BoundVerb, Message, verbs_of
from kessai.foundation.door.shape import Field, Kind, Many, field_notes, fields_of, messages_under
from kessai.foundation.door.strictjson import refusal_of, refuse_faults
from kessai.foundation.errors import Invalid

M = TypeVar("M", bound=Message)
_F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    Kind.TEXT: _F.TYPE_STRING,
    Kind.INTEGER: _F.TYPE_INT64,
    Kind.BOOLEAN: _F.TYPE_BOOL,
    Kind.BYTES: _F.TYPE_BYTES,
    Kind.INSTANT: _F.TYPE_STRING,
    Kind.DATE: _F.TYPE_STRING,
    Kind.MESSAGE: _F.TYPE_MESSAGE,
}
_SCALARS = {_F.TYPE_STRING: "string", _F.TYPE_INT64: "int64", _F.TYPE_BOOL: "bool", _F.TYPE_BYTES: "bytes"}


def package_of(door: type) -> str:
    """`kessai.ledger.v1` for the door Ledger."""
    return f"kessai.{door.__name__.lower()}.v1"


def service_of(door: type) -> str:
    """The full name of a door's gRPC service."""
    return f"{package_of(door)}.{door.__name__}"


def method_of(bound: BoundVerb) -> str:
    """`CreateExchange` for the verb create_exchange."""
    return _camel(bound.spec.name)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


# -- descriptors ------------------------------------------------------------------------------------------------


def file_of(door: type) -> Any:
    """The FileDescriptorProto of a door."""
    package = package_of(door)
    name = door.__name__.lower()
    file = descriptor_pb2.FileDescriptorProto(name=f"kessai/{name}/v1/{name}.proto", package=package, syntax="proto3")
    bounds = verbs_of(door)
    for message in _messages_of(bounds):
        _add_message(file, package, message)
    service = file.service.add(name=door.__name__)
    for bound in bounds:
        service.method.add(
            name=method_of(bound),
            input_type=f".{package}.{bound.request.__name__}",
            output_type=f".{package}.{bound.response.__name__}",
            server_streaming=bound.spec.stream or None,
        )
    return file


def _messages_of(bounds: Iterable[BoundVerb]) -> list[type[Message]]:
    messages = messages_under(kind for bound in bounds for kind in (bound.request, bound.response))
    names = [message.__name__ for message in messages]
    if len(set(names)) != len(names):
        raise TypeError(f"two messages of one door share a name: {sorted(names)}")
    return messages


def _add_message(file: Any, package: str, message: type[Message]) -> None:
    target = file.message_type.add(name=message.__name__)
    full_name = f".{package}.{message.__name__}"
    fields = fields_of(message)
    for field in fields:
        if field.boxed:
            box = target.nested_type.add(name=f"{_camel(field.name)}Box")
            _add_field(box, f"{full_name}.{box.name}", package, field, name="values", number=1)
            target.field.add(
                name=field.name,
                number=field.number,
                label=_F.LABEL_OPTIONAL,
                type=_F.TYPE_MESSAGE,
                type_name=f"{full_name}.{box.name}",
                json_name=field.name,
            )
        else:
            _add_field(target, full_name, package, field, name=field.name, number=field.number)
    _add_presence(target, fields)


def _add_field(target: Any, full_name: str, package: str, field: Field, *, name: str, number: int) -> None:
    added = target.field.add(name=name, number=number, json_name=name)
    added.label = _F.LABEL_OPTIONAL if field.many is Many.ONE else _F.LABEL_REPEATED
    if field.many is Many.MAP:
        entry = target.nested_type.add(name=f"{_camel(name)}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_F.LABEL_OPTIONAL, type=_F.TYPE_STRING, json_name="key")
        value = entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL, json_name="value")
        _set_type(value, package, field)
        added.type, added.type_name = _F.TYPE_MESSAGE, f"{full_name}.{entry.name}"
    else:
        _set_type(added, package, field)


def _set_type(target: Any, package: str, field: Field) -> None:
    target.type = _TYPES[field.kind]
    if field.message is not None:
        target.type_name = f".{package}.{field.message.__name__}"


def _add_presence(target: Any, fields: tuple[Field, ...]) -> None:
    """Marks `optional` scalars, each with the one-field oneof that proto3 asks for."""
    by_name = {added.name: added for added in target.field}
    for field in fields:
        if field.has_presence and field.many is Many.ONE and field.kind is not Kind.MESSAGE:
            by_name[field.name].proto3_optional = True
            by_name[field.name].oneof_index = len(target.oneof_decl)
            target.oneof_decl.add(name=f"_{field.name}")


def pool_of(doors: Iterable[type]) -> Any:
    """A descriptor pool of its own with the files of these doors."""
    pool = descriptor_pool.DescriptorPool()
    for door in doors:
        pool.Add(file_of(door))
    return pool


# -- text -------------------------------------------------------------------------------------------------------


def proto_text(door: type) -> str:
    """The `.proto` file of a door, with the sentences of its messages and fields as comments."""
    file = file_of(door)
    lines = ['syntax = "proto3";', "", f"package {file.package};", ""]
    lines += _comment(door.__doc__ or "", "")
    lines.append(f"service {door.__name__} {{")
    for bound, method in zip(verbs_of(door), file.service[0].method, strict=True):
        lines += _comment(bound.spec.summary, "  ")
        # Full names: a bare one would mean the method itself wherever both are called alike.
        answer = f"{'stream ' if method.server_streaming else ''}{method.output_type}"
        lines.append(f"  rpc {method.name}({method.input_type}) returns ({answer});")
    lines.append("}")
    for message, target in zip(_messages_of(verbs_of(door)), file.message_type, strict=True):
        lines += ["", *_comment(message.__doc__ or "", ""), *_message_text(target, message)]
    return "\n".join(lines) + "\n"


def _message_text(target: Any, message: type[Message]) -> list[str]:
    notes, values = field_notes(message), {field.name: field.values for field in fields_of(message)}
    entries = {entry.name: entry for entry in target.nested_type if entry.options.map_entry}
    lines = [f"message {target.name} {{"]
    for box in target.nested_type:
        if not box.options.map_entry:
            lines += _box_text(box)
    for field in target.field:
        lines += _comment(notes.get(field.name, ""), "  ")
        if values[field.name]:
            lines += _comment(f"One of {', '.join(values[field.name])}.", "  ")
        lines.append(f"  {_field_text(field, entries)}")
    return [*lines, "}"]


def _box_text(box: Any) -> list[str]:
    entries = {entry.name: entry for entry in box.nested_type}
    return [f"  message {box.name} {{", *(f"    {_field_text(field, entries)}" for field in box.field), "  }"]


def _field_text(field: Any, entries: dict[str, Any]) -> str:
    entry = entries.get(_short(field.type_name)) if field.type == _F.TYPE_MESSAGE else None
    if entry is not None:
        return f"map<string, {_type_text(entry.field[1])}> {field.name} = {field.number};"
    label = "repeated " if field.label == _F.LABEL_REPEATED else "optional " if field.proto3_optional else ""
    return f"{label}{_type_text(field)} {field.name} = {field.number};"


def _type_text(field: Any) -> str:
    return _short(field.type_name) if field.type == _F.TYPE_MESSAGE else _SCALARS[field.type]


def _short(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}// {line.strip()}".rstrip() for line in text.strip().splitlines()]


# -- codecs -----------------------------------------------------------------------------------------------------


class Codec(Generic[M]):
    """Between one kind of Message and its protobuf bytes."""

    __slots__ = ("_class", "_message", "_read", "_write")

    def __init__(self, pool: Any, package: str, message: type[M]) -> None:
        self._message = message
        self._class = cast(
            "Any", message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message.__name__}"))
        )
        self._read = _reader(message)
        self._write = _writer(message)

    def new_wire(self) -> Any:
        """An empty protobuf message."""
        return self._class()

    def read(self, raw: bytes) -> M:
        """A request, as strictly checked as JSON is: unknown fields and broken constraints raise Invalid."""
        try:
            wire = self._class.FromString(raw)
        except DecodeError:
            raise Invalid("malformed_protobuf", "The request is not a message of this verb.", field="$") from None
        size = wire.ByteSize()
        wire.DiscardUnknownFields()
        if wire.ByteSize() != size:
            raise _unknown_field(self._class.FromString(raw))
        try:
            message = msgspec.convert(self._read(wire), self._message)
        except msgspec.ValidationError as error:
            raise refusal_of(error) from None
        refuse_faults(message)
        return message

    def read_answer(self, raw: bytes) -> M:
        """An answer: fields of a newer server are passed over."""
        return msgspec.convert(self._read(self._class.FromString(raw)), self._message)

    def write(self, message: M) -> bytes:
        """Protobuf bytes of a message."""
        wire = self._class()
        self._write(message, wire)
        return wire.SerializeToString()


def _unknown_field(wire: Any) -> Invalid:
    unknown = UnknownFieldSet(wire)
    place = f"$.{unknown[0].field_number}" if len(unknown) else "$"
    return Invalid("unknown_field", f"Unknown field number at or below {place}.", field=place)


def _reader(message: type[Message]) -> Callable[[Any], dict[str, Any]]:
    steps = [(field.name, field.has_presence, field.required, _read_step(field)) for field in fields_of(message)]

    def read(wire: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for name, has_presence, required, convert in steps:
            if not has_presence or wire.HasField(name):
                value = getattr(wire, name)
                plain[name] = value if convert is None else convert(value)
            elif required:
                plain[name] = None
        return plain

    return read


def _read_step(field: Field) -> Callable[[Any], Any] | None:
    inner = None if field.message is None else _lazily(_reader, field.message)
    match field.many:
        case Many.ONE:
            return inner
        case Many.LIST:
            step: Callable[[Any], Any] = list if inner is None else lambda value: [inner(item) for item in value]
        case Many.MAP:
            step = dict if inner is None else lambda value: {key: inner(item) for key, item in value.items()}
    if not field.boxed:
        return step

    def unbox(box: Any) -> Any:
        return step(box.values)

    return unbox


def _writer(message: type[Message]) -> Callable[[Message, Any], None]:
    steps = [(field.name, _write_step(field)) for field in fields_of(message)]

    def write(source: Message, wire: Any) -> None:
        for name, put in steps:
            value = getattr(source, name)
            if value is not None:
                put(wire, value)

    return write


def _write_step(field: Field) -> Callable[[Any, Any], None]:
    """How one field's value, which is not None, is put on the wire."""
    if field.boxed:
        inside = _put_many(field, "values")

        def put_box(wire: Any, value: Any) -> None:
            box = getattr(wire, field.name)
            box.SetInParent()
            inside(box, value)

        return put_box
    return _put_one(field) if field.many is Many.ONE else _put_many(field, field.name)


def _put_one(field: Field) -> Callable[[Any, Any], None]:
    name = field.name
    if field.message is not None:
        inner = _lazily(_writer, field.message)

        def put_message(wire: Any, value: Any) -> None:
            target = getattr(wire, name)
            target.SetInParent()
            inner(value, target)

        return put_message
    text = _TEXT_OF.get(field.kind)
    if text is None:
        return lambda wire, value: setattr(wire, name, value)
    return lambda wire, value: setattr(wire, name, text(value))


def _put_many(field: Field, name: str) -> Callable[[Any, Any], None]:
    inner = None if field.message is None else _lazily(_writer, field.message)
    text = _TEXT_OF.get(field.kind)

    def put_list(wire: Any, value: list[Any]) -> None:
        target = getattr(wire, name)
        if inner is not None:
            for item in value:
                inner(item, target.add())
        else:
            target.extend(value if text is None else [text(item) for item in value])

    def put_map(wire: Any, value: dict[str, Any]) -> None:
        target = getattr(wire, name)
        for key, item in value.items():
            if inner is not None:
                inner(item, target[key])
            else:
                target[key] = item if text is None else text(item)

    return put_list if field.many is Many.LIST else put_map


def _lazily(make: Callable[[type[Message]], Any], message: type[Message]) -> Callable[..., Any]:
    """Makes a part's codec at first use, so that a message may contain its own kind."""
    made: list[Any] = []

    def call(*arguments: Any) -> Any:
        if not made:
            made.append(make(message))
        return made[0](*arguments)

    return call


def _instant_text(value: datetime) -> str:
    return re.sub(r"\+00:00$", "Z", value.astimezone(UTC).isoformat())


_TEXT_OF: dict[Kind, Callable[[Any], str]] = {Kind.INSTANT: _instant_text, Kind.DATE: date.isoformat}
