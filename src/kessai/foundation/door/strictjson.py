"""Strict JSON: one body, one meaning, and a refusal that names the place.

An unknown field, a float where whole units belong, a key written twice, an instant without its zone, a number beyond
64 bits, a NUL in a text: each is refused here, before a verb sees the message. What no valid body of ours contains
costs a valid body next to nothing: one decoding, one comparison and one pattern search.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import msgspec

from kessai.foundation.errors import Invalid

DEPTH_MAX = 64
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
YEAR_MIN, YEAR_MAX = 1900, 9998
PLACE_CHARS_MAX = 200

M = TypeVar("M")

_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`(?P<path>.+)`)?$", re.DOTALL)
_FIELD = re.compile(r"Object (?P<how>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)

_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode


class StrictDecoder(Generic[M]):
    """Decodes bodies into one kind of message."""

    __slots__ = ("_decode",)

    def __init__(self, message: type[M]) -> None:
        self._decode = msgspec.json.Decoder(message).decode

    def __call__(self, body: bytes) -> M:
        """The message; raises Invalid with a code and the `field` it is about."""
        try:
            message = self._decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _explain(body, error) from None
        # A compact body without escapes that comes back byte for byte cannot have repeated a key.
        if _encode(_decode_any(body)) != body:
            refuse_duplicate_keys(body)
        if _is_suspect(body):
            refuse_faults(message)
        return message


def _is_suspect(body: bytes) -> bool:
    """Whether a body may hold a number beyond 64 bits, an instant, a NUL or a last line break (both need escapes)."""
    digits = body.translate(_DIGITS)
    return b"\\" in body or b"0000-00-" in digits or b"0" * 19 in digits


def _explain(body: bytes, error: Exception) -> Invalid:
    """What to tell about a body that did not decode; the coarser fault goes first."""
    if not body:
        return Invalid("malformed_json", "The body is empty; send a JSON object.", field="$")
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except RecursionError:
        return _too_deep()
    except (msgspec.MsgspecError, ValueError) as malformed:
        return Invalid(
            "malformed_json", f"The body is not JSON in UTF-8: {str(malformed)[:PLACE_CHARS_MAX]}.", field="$"
        )
    if _deeper_than(body, DEPTH_MAX):
        return _too_deep()
    try:
        refuse_duplicate_keys(body)
    except Invalid as duplicate:
        return duplicate
    if isinstance(error, msgspec.ValidationError):
        return refusal_of(error)
    return Invalid("malformed_json", f"The body is not JSON in UTF-8: {str(error)[:PLACE_CHARS_MAX]}.", field="$")


def _too_deep() -> Invalid:
    return Invalid("too_deep", f"JSON may nest at most {DEPTH_MAX} levels.", field="$")


def _deeper_than(body: bytes, limit: int) -> bool:
    """Whether well-formed JSON nests deeper: peels off the innermost brackets, one level a round."""
    brackets = _STRING.sub(b"", body).translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def refusal_of(error: msgspec.ValidationError) -> Invalid:
    """The refusal that a failed validation stands for, with `field` as a JSON path."""
    found = _PLACE.match(str(error))
    assert found is not None
    what, path = found["what"], found["path"] or "$"
    code = "invalid_request"
    if (named := _FIELD.match(what)) is not None:
        path = f"{path}.{named['name']}"[:PLACE_CHARS_MAX]
        code = "unknown_field" if named["how"] == "contains unknown" else "missing_field"
        what = "Unknown field" if code == "unknown_field" else "Missing required field"
    return Invalid(code, f"{what[:PLACE_CHARS_MAX]} at {path}.", field=path)


# -- keys written twice -----------------------------------------------------------------------------------------


class _Repeated(Exception):
    """Some object repeats a key."""


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written."""


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({key for key, _ in pairs}) != len(pairs):
        raise _Repeated


def refuse_duplicate_keys(body: bytes) -> None:
    """Raises Invalid `duplicate_key` naming the place when any object in well-formed JSON repeats a key."""
    try:
        json.loads(body, object_pairs_hook=_refuse_repeats)
    except _Repeated:
        place = _repeated_place(json.loads(body, object_pairs_hook=_Pairs), "$") or "$"
        raise Invalid("duplicate_key", f"A key is written twice at {place}.", field=place) from None
    except (ValueError, RecursionError):
        raise Invalid("malformed_json", "The body is not JSON in UTF-8.", field="$") from None


def _repeated_place(value: object, path: str) -> str | None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, inner in value:
            place = f"{path}.{key}"[:PLACE_CHARS_MAX]
            if key in seen:
                return place
            seen.add(key)
            if (found := _repeated_place(inner, place)) is not None:
                return found
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)):
            if (found := _repeated_place(inner, f"{path}[{index}]")) is not None:
                return found
    return None


# -- what types alone do not refuse -----------------------------------------------------------------------------


def refuse_faults(message: object) -> None:
    """Raises Invalid for a NUL, a number beyond 64 bits, or an instant without zone or out of range."""
    if (fault := _fault_in(message, "$")) is not None:
        place, what = fault
        raise Invalid("invalid_request", f"{what} at {place}.", field=place)


def _fault_in(value: object, path: str) -> tuple[str, str] | None:
    match value:
        case None | bool():
            return None
        case str():
            return _fault_of_text(value, path)
        case int():
            return None if INTEGER_MIN <= value <= INTEGER_MAX else (path, "The number does not fit in 64 bits")
        case datetime():
            return _fault_of_instant(value, path)
        case msgspec.Struct():
            return _first_fault((f"{path}.{name}", getattr(value, name)) for name in value.__struct_fields__)
        case list():
            items = enumerate(cast("list[object]", value))
            return _first_fault((f"{path}[{index}]", item) for index, item in items)
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return _first_fault((place, item) for key, inner in pairs for place, item in _pair(path, key, inner))
        case _:
            return None


def _pair(path: str, key: str, inner: object) -> tuple[tuple[str, object], ...]:
    return (path, key), (f"{path}[...]", inner)


def _first_fault(places: Any) -> tuple[str, str] | None:
    for place, value in places:
        if (fault := _fault_in(value, place)) is not None:
            return fault
    return None


def _fault_of_text(value: str, path: str) -> tuple[str, str] | None:
    if "\0" in value:
        return path, "A text may not contain the character NUL"
    # Python's `$` matches before a last line break, so a pattern alone would let it through.
    return (path, "A text may not end with a line break") if value.endswith("\n") else None


def _fault_of_instant(value: datetime, path: str) -> tuple[str, str] | None:
    if value.tzinfo is None:
        return path, "The instant needs its offset from UTC, such as Z"
    if not YEAR_MIN <= value.year <= YEAR_MAX:
        return path, f"The instant lies outside the years {YEAR_MIN} to {YEAR_MAX}"
    return None
