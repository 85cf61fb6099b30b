"""A flush as one statement: parts that each become a CTE, and the token with what their guards counted. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kessai.sdk.workflow.steps import Row

SHAPES_MAX = 256
"""Statements kept composed; a service has a few dozen."""


@dataclass(frozen=True, slots=True)
class Part:
    """One statement of a flush."""

    statement: str
    arguments: list[Any]
    expected: int | None = None
    """Rows it has to give; None when it is not counted."""


def part_of_rows(statement: str, rows: Sequence[Row], *, counted: bool) -> Part:
    """A statement that takes one array a column, for these rows."""
    return Part(statement, columns_of(rows), len(rows) if counted else None)


def columns_of(rows: Sequence[Row]) -> list[Any]:
    """Rows turned into one array a column."""
    return [list(column) for column in zip(*rows, strict=True)]


def one_statement(parts: Sequence[Part], end: str, executor_id: str, number: int) -> tuple[str, list[Any]]:
    """The text and the arguments of a whole flush; `end` inserts its token and has the counts as its parameter $4."""
    shape = tuple((part.statement, len(part.arguments), part.expected is not None) for part in parts)
    arguments: list[Any] = []
    for part in parts:
        arguments += part.arguments
    expected = [part.expected for part in parts if part.expected is not None]
    arguments += (executor_id, number, expected)
    return _composed(shape, end), arguments


_PARAMETER = re.compile(r"\$(\d+)")


@lru_cache(maxsize=SHAPES_MAX)
def _composed(shape: tuple[tuple[str, int, bool], ...], end: str) -> str:
    """Each part a CTE with its parameters moved up; the main statement is the token with what the counted ones gave."""
    ctes: list[str] = []
    counts: list[str] = []
    offset = 0
    for index, (statement, width, counted) in enumerate(shape):
        ctes.append(f"w{index} AS ({_shifted(statement, offset)})")
        if counted:
            counts.append(f"(SELECT count(*)::int FROM w{index})")  # noqa: S608  (a number of our own)
        offset += width
    verified = f"ARRAY[{', '.join(counts)}]"
    return f"WITH {', '.join(ctes)} {_shifted(end.replace('$4::int[]', verified), offset)}"


def _shifted(statement: str, offset: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + offset}", statement)
