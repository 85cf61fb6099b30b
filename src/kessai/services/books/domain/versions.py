"""Versions of data that hold from one day to another: complete, in order, without gaps or overlaps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Generic, Protocol, TypeVar, cast

from kessai.foundation.config import KeyPath, TomlDocument

ONE_DAY = timedelta(days=1)


class Version(Protocol):
    """What holds from a day on."""

    @property
    def number(self) -> int:
        """1, 2, 3 …"""
        ...

    @property
    def valid_from(self) -> date:
        """The first day."""
        ...

    @property
    def valid_until(self) -> date | None:
        """The last day, where it is written."""
        ...


V = TypeVar("V", bound=Version)
T = TypeVar("T")


class Versions(Generic[V]):
    """All versions, the earliest first."""

    def __init__(self, versions: Sequence[V]) -> None:
        self._versions = list(versions)
        self._starts = [each.valid_from for each in versions]

    def __iter__(self) -> Iterator[V]:
        return iter(self._versions)

    def on(self, day: date) -> V | None:
        """The version that holds on a day; None before the first one."""
        place = bisect_right(self._starts, day)
        return self._versions[place - 1] if place else None

    @property
    def latest(self) -> V:
        """The one that holds from some day on for good."""
        return self._versions[-1]

    def during(self, version: Version) -> list[V]:
        """Those that hold on some day on which another's version does (whose `valid_until` is filled in)."""
        last = version.valid_until or date.max
        return [
            each
            for each in self._versions
            if each.valid_from <= last and (each.valid_until is None or each.valid_until >= version.valid_from)
        ]


def tables_of(document: TomlDocument, beside: Collection[str] = ()) -> list[Any]:
    """The `[[version]]` tables of a file; ConfigError where something else stands there (and not `beside` them)."""
    for key in document.data:
        if key != "version" and key not in beside:
            expected = " and ".join(f"[{each}]" for each in ("[version]", *beside))
            raise document.error((key,), f"unknown key; only {expected} is expected here")
    tables: Any = document.data.get("version")
    if not isinstance(tables, list) or not tables:
        raise document.error(("version",), "at least one [[version]] is needed")
    return cast("list[Any]", tables)


def convert_each(document: TomlDocument, path: KeyPath, names: Iterable[str], into: type[T]) -> dict[str, T]:
    """Like tables under a key, each converted alone, so that a ConfigError names the one that is wrong."""
    return {name: document.convert((*path, name), into) for name in names}


def check_order(document: TomlDocument, versions: Sequence[Version]) -> list[date | None]:
    """The last day of each version; ConfigError names the one that overlaps another or leaves a gap before it."""
    until: list[date | None] = []
    for place, each in enumerate(versions):
        if each.number != place + 1:
            raise document.error(("version", place, "number"), f"must be {place + 1}: versions are numbered in order")
        following = versions[place + 1] if place + 1 < len(versions) else None
        if following is None:
            if each.valid_until is not None:
                raise document.error(("version", place, "valid_until"), "the last version has no end")
            until.append(None)
            continue
        if following.valid_from <= each.valid_from:
            why = f"overlaps version {each.number}, which holds from {each.valid_from} on"
            raise document.error(("version", place + 1, "valid_from"), why)
        last = following.valid_from - ONE_DAY
        if each.valid_until is not None and each.valid_until > last:
            why = f"overlaps version {following.number}, which holds from {following.valid_from} on"
            raise document.error(("version", place, "valid_until"), why)
        if each.valid_until is not None and each.valid_until < last:
            why = f"leaves a gap before version {following.number}, which holds from {following.valid_from} on"
            raise document.error(("version", place, "valid_until"), why)
        until.append(last)
    return until
