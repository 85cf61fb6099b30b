"""Paths to endpoints: an exact look-up first, then one walk over the segments, whatever the number of routes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from kessai.foundation.errors import Invalid

E = TypeVar("E")


@dataclass(slots=True)
class _Node(Generic[E]):
    children: dict[str, _Node[E]] = field(default_factory=dict)
    parameter: _Node[E] | None = None
    methods: dict[str, E] = field(default_factory=dict)


class Routes(Generic[E]):
    """Endpoints by method and path template; a written segment wins over a parameter."""

    def __init__(self) -> None:
        self._root: _Node[E] = _Node()
        self._exact: dict[str, _Node[E]] = {}

    def add(self, method: str, template: str, endpoint: E) -> None:
        """Put an endpoint at `GET /v1/things/{thing_id}`; ValueError when another one is there."""
        node = self._root
        for segment in _segments(template):
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        if method in node.methods:
            raise ValueError(f"two verbs at {method} {template}")
        node.methods[method] = endpoint
        if "{" not in template:
            self._exact[template] = node

    def find(self, path: str, raw_path: bytes) -> tuple[dict[str, E], tuple[str, ...]] | None:
        """Endpoints by method at a path, and its parameters' values; None where nothing is.

        Raises Invalid when a parameter is not UTF-8.
        """
        if (node := self._exact.get(path)) is not None:
            return node.methods, ()
        segments = _segments(raw_path.decode("latin-1"))
        if (found := _straight(self._root, segments)) is not None:
            return found
        for methods, values in _walk(self._root, segments, 0):
            return methods, tuple(_text(value) for value in values)
        return None


def _segments(path: str) -> list[str]:
    return path.split("/")[1:]


def _straight(root: _Node[E], segments: list[str]) -> tuple[dict[str, E], tuple[str, ...]] | None:
    """Where there is no more than one way at any segment; None for all else, found or not."""
    node, values = root, list[str]()
    for segment in segments:
        child = node.children.get(segment)
        if child is None and node.parameter is not None and segment:
            values.append(segment)
            child = node.parameter
        elif child is None or node.parameter is not None:
            return None
        node = child
    return (node.methods, tuple(map(_text, values))) if node.methods else None


def _walk(node: _Node[E], segments: list[str], at: int) -> Iterator[tuple[dict[str, E], list[str]]]:
    if at == len(segments):
        if node.methods:
            yield node.methods, []
        return
    if (child := node.children.get(segments[at])) is not None:
        yield from _walk(child, segments, at + 1)
    if node.parameter is not None and segments[at]:
        for methods, values in _walk(node.parameter, segments, at + 1):
            yield methods, [segments[at], *values]


def _text(segment: str) -> str:
    if "%" not in segment and segment.isascii():
        return segment
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Invalid("invalid_request", "The path is not UTF-8.", field="$") from None
