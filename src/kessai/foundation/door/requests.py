"""One request Message out of path, query and body."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from functools import cache
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec

from kessai.foundation.contract import BoundVerb, Message
from kessai.foundation.door.shape import Field, Kind, Many, fields_of
from kessai.foundation.door.strictjson import PLACE_CHARS_MAX, StrictDecoder, refusal_of, refuse_faults
from kessai.foundation.errors import Invalid

QUERY_PARAMETERS_MAX = 64
_PARAMETER = re.compile(r"\{(\w+)\}")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})\Z")
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


def path_fields(bound: BoundVerb) -> tuple[str, ...]:
    """The request's fields that stand in the path, in their order."""
    return tuple(_PARAMETER.findall(bound.spec.path))


def rest_fields(bound: BoundVerb) -> list[Field]:
    """The request's fields that stand in the query (GET, DELETE) or the body."""
    in_path = set(path_fields(bound))
    return [field for field in fields_of(bound.request) if field.name not in in_path]


def takes_body(bound: BoundVerb) -> bool:
    """Whether fields stand in a JSON body."""
    return bound.spec.method in _BODY_METHODS


@cache
def body_message(bound: BoundVerb) -> type[Message]:
    """What the body holds: the request itself, or a message of its fields that are not in the path."""
    if not path_fields(bound):
        return bound.request
    names = {field.name for field in rest_fields(bound)}
    return _part(bound.request, f"{bound.request.__name__}Body", names)


def _part(message: type[Message], name: str, fields: set[str]) -> type[Message]:
    """A message of some of another one's fields, with their constraints and defaults."""
    infos = [info for info in msgspec.structs.fields(message) if info.name in fields]
    body: dict[str, Any] = {
        "__module__": message.__module__,
        "__doc__": message.__doc__,
        "__annotations__": {info.name: info.type for info in infos},
    }
    for info in infos:
        if info.default is not msgspec.NODEFAULT:
            body[info.name] = info.default
        elif info.default_factory is not msgspec.NODEFAULT:
            body[info.name] = msgspec.field(default_factory=info.default_factory)
    return cast("type[Message]", types.new_class(name, (Message,), exec_body=lambda namespace: namespace.update(body)))


class RequestReader:
    """Makes one verb's requests; everything that can be prepared is prepared once."""

    def __init__(self, bound: BoundVerb) -> None:
        self._request = bound.request
        self._path = path_fields(bound)
        fields = {field.name: field for field in fields_of(bound.request)}
        if unknown := set(self._path) - fields.keys():
            raise TypeError(f"{bound.spec.name}: {unknown} stand in the path but not in the request")
        self._path_convert = [_converter(fields[name]) for name in self._path]
        self._rest = {field.name: field for field in rest_fields(bound)}
        self._body_names = tuple(self._rest)
        self.takes_body = takes_body(bound)
        self.body_optional = not any(field.required for field in self._rest.values())
        if self.takes_body:
            self._decode = StrictDecoder(body_message(bound))
            self._path_message = (
                _part(bound.request, f"{bound.request.__name__}Path", set(self._path)) if self._path else None
            )
        else:
            self._converters = {name: _converter(field) for name, field in self._rest.items()}

    def of_body(self, values: tuple[str, ...], query: bytes, body: bytes) -> Message:
        """The request of a verb with a body; `values` are the path's."""
        if query:
            _refuse_parameters(query)
        decoded: Any = self._decode(body if body or not self.body_optional else b"{}")
        if self._path_message is None:
            return decoded
        plain = {name: text(value, name) for name, text, value in self._in_path(values)}
        _checked(plain, self._path_message)
        for name in self._body_names:
            plain[name] = getattr(decoded, name)
        return self._request(**plain)

    def of_query(self, values: tuple[str, ...], query: bytes) -> Message:
        """The request of a verb without a body."""
        plain = {name: text(value, name) for name, text, value in self._in_path(values)}
        for name, value in _parameters(query):
            field = self._rest.get(name)
            if field is None:
                raise _unknown_parameter(name)
            converted = self._converters[name](value, name)
            if field.many is Many.LIST:
                plain.setdefault(name, []).append(converted)
            elif name in plain:
                raise Invalid("duplicate_key", f"The parameter {name} is given twice.", field=f"$.{name}")
            else:
                plain[name] = converted
        return _checked(plain, self._request)

    def _in_path(self, values: tuple[str, ...]) -> zip[tuple[str, Callable[[str, str], Any], str]]:
        return zip(self._path, self._path_convert, values, strict=True)


def _checked(plain: dict[str, Any], message: type[Message]) -> Message:
    try:
        request = msgspec.convert(plain, message)
    except msgspec.ValidationError as error:
        raise refusal_of(error) from None
    refuse_faults(request)
    return request


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_PARAMETERS_MAX
        )
    except ValueError:
        raise Invalid("invalid_request", "The query string is not UTF-8 or too long.", field="$") from None


def _refuse_parameters(query: bytes) -> None:
    for name, _ in _parameters(query):
        raise _unknown_parameter(name)


def _unknown_parameter(name: str) -> Invalid:
    shown = name[:PLACE_CHARS_MAX]
    return Invalid("unknown_field", f"There is no parameter {shown}.", field=f"$.{shown}")


def _converter(field: Field) -> Callable[[str, str], Any]:
    """From text to a plain value of the field's kind; constraints are checked with the whole request."""
    if field.kind is Kind.MESSAGE or field.many is Many.MAP:
        raise TypeError(f"{field.name}: messages and maps cannot stand in a path or query")
    match field.kind:
        case Kind.INTEGER:
            return _integer
        case Kind.BOOLEAN:
            return _boolean
        case _:
            return _as_it_is


def _integer(text: str, name: str) -> int:
    if not _INTEGER.match(text):
        raise Invalid("invalid_request", f"{name} must be a whole number.", field=f"$.{name}")
    return int(text)


def _boolean(text: str, name: str) -> bool:
    if text not in ("true", "false"):
        raise Invalid("invalid_request", f"{name} must be true or false.", field=f"$.{name}")
    return text == "true"


def _as_it_is(text: str, _: str) -> str:
    return text
