"""A payload as an earlier version of the code wrote it: without the fields that were appended since. Pure.

A message that gains a field names it in `appended`. While the field is at its default, the message means what it meant
before, and must be known again: by what a run recorded as its argument, and by what a caller asked for under a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from kessai.sdk.workflow.outcome import content_digest, digest_of, encode


def without_appended(value: object) -> object:
    """The value as builtins and leaves, in its order when encoded, without appended fields at their default."""
    if isinstance(value, msgspec.Struct):
        left_out = _at_default(value)
        return {n: without_appended(getattr(value, n)) for n in value.__struct_fields__ if n not in left_out}
    if isinstance(value, Mapping):
        known = cast("Mapping[Any, Any]", value)
        return {key: without_appended(each) for key, each in known.items()}
    if isinstance(value, list | tuple):
        return [without_appended(each) for each in cast("list[object]", value)]
    return value


def earlier_digest_of(argument: object) -> bytes:
    """What stood for a step's argument before fields were appended."""
    return digest_of(encode(without_appended(argument)))


def asked_digest(prefix: bytes, content: object, data: bytes) -> bytes:
    """What stands for what a caller asked for: the same whether or not its message has been appended to since."""
    appended = getattr(type(content), "appended", ())
    return content_digest(prefix, encode(without_appended(content)) if appended else data)


def _at_default(value: msgspec.Struct) -> set[str]:
    """Fields that are not encoded, or were not before they were appended."""
    config = type(value).__struct_config__
    assert config.tag_field is None, "a tagged message is no payload of a step"
    names = value.__struct_fields__ if config.omit_defaults else getattr(type(value), "appended", ())
    if not names:
        return set()
    defaults = {each.name: each for each in msgspec.structs.fields(type(value))}
    return {name for name in names if getattr(value, name) == _default(defaults[name])}


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
