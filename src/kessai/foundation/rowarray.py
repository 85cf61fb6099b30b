"""Arrays of rows in PostgreSQL's binary form, encoded before the connection that will carry them is free.

The driver encodes a statement's arguments only when it sends them, field by field. A page of many rows is cheaper
encoded here, column by column, and while the page before it is still being written. Format: array_recv and
record_recv of PostgreSQL (src/backend/utils/adt); integers are big-endian, a NULL has length -1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, cast

from kessai.foundation.db import Connection

Kind = Literal["uuid", "bigint", "int", "boolean", "timestamptz", "text", "bytea"]
Row = Sequence[Any]

OIDS: dict[Kind, int] = {
    "uuid": 2950, "bigint": 20, "int": 23, "boolean": 16, "timestamptz": 1184, "text": 25, "bytea": 17,
}  # fmt: skip
FIXED: dict[Kind, tuple[int, str]] = {
    "uuid": (16, "16s"), "bigint": (8, "q"), "int": (4, "i"), "boolean": (1, "?"), "timestamptz": (8, "q"),
}  # fmt: skip
"""Length and struct format of the kinds whose length is always the same."""
BLOCK = 32
"""Rows packed by one call."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LENGTH = struct.Struct(">i")
_HEADER = struct.Struct(">iiiii")
_NOTHING = struct.pack(">iii", 0, 0, 0)
_NULL = _LENGTH.pack(-1)
_LOW = 0xFFFFFFFF


class EncodedRows:
    """Rows of one composite type, ready to be sent."""

    __slots__ = ("body", "count")

    def __init__(self, count: int, body: bytes) -> None:
        self.count = count
        self.body = body


class RowType:
    """How rows of one composite type are encoded; `kinds` are its columns' types in their order."""

    def __init__(self, name: str, *kinds: Kind) -> None:
        self.name = name
        self._kinds = kinds
        self._heads = [_LENGTH.pack(OIDS[kind]) for kind in kinds]

    def encode(self, rows: Sequence[Row]) -> EncodedRows:
        """Rows with a value (or None) a column: uuids as 32 hex digits, instants as aware datetimes."""
        if not rows:
            return EncodedRows(0, b"")
        columns = [_binary(kind, column) for kind, column in zip(self._kinds, zip(*rows, strict=True), strict=True)]
        lengths = [_common_length(kind, column) for kind, column in zip(self._kinds, columns, strict=True)]
        if None in lengths:
            return EncodedRows(len(rows), self._one_by_one(columns))
        return EncodedRows(len(rows), self._in_blocks(columns, cast("list[int]", lengths)))

    def _in_blocks(self, columns: list[Sequence[Any]], lengths: list[int]) -> bytes:
        """All rows have the same shape: their values go in between the same heads."""
        single, block = _packers(self._kinds, tuple(lengths))
        size = sum(4 + 4 + max(length, 0) for length in lengths)
        template: list[Any] = [((4 + size) << 32) | len(columns)]
        places: list[tuple[int, Sequence[Any]]] = []
        for kind, column, length in zip(self._kinds, columns, lengths, strict=True):
            template.append((OIDS[kind] << 32) | (length & _LOW))
            if length >= 0:
                places.append((len(template), column))
                template.append(None)
        width, count = len(template), len(columns[0])
        flat = template * count
        for place, column in places:
            flat[place::width] = column
        whole = count - count % BLOCK
        parts = [block.pack(*flat[at : at + BLOCK * width]) for at in range(0, whole * width, BLOCK * width)]
        parts += [single.pack(*flat[at : at + width]) for at in range(whole * width, count * width, width)]
        return b"".join(parts)

    def _one_by_one(self, columns: list[Sequence[Any]]) -> bytes:
        """Rows of different shapes: each value with its own length."""
        fields = [
            _with_lengths(kind, head, column)
            for kind, head, column in zip(self._kinds, self._heads, columns, strict=True)
        ]
        count, length = _LENGTH.pack(len(columns)), _LENGTH.pack
        parts: list[bytes] = []
        for values in zip(*fields, strict=True):
            row = b"".join(values)
            parts += (length(4 + len(row)), count, row)
        return b"".join(parts)


def _binary(kind: Kind, column: Sequence[Any]) -> Sequence[Any]:
    """A column's values as they are packed: text and uuids as bytes, instants as microseconds since 2000."""
    match kind:
        case "uuid":
            joined = bytes.fromhex("".join(column))
            if len(joined) != 16 * len(column):
                raise ValueError("a uuid is 32 hexadecimal digits")
            return [joined[at : at + 16] for at in range(0, len(joined), 16)]
        case "text":
            return [None if value is None else value.encode() for value in column]
        case "timestamptz":
            return [None if value is None else (value - _EPOCH) // _MICROSECOND for value in column]
        case _:
            return column


def _common_length(kind: Kind, column: Sequence[Any]) -> int | None:
    """The length of every value (-1: all are NULL); None when they differ."""
    nulls = column.count(None)
    if nulls == len(column):
        return -1
    if nulls:
        return None
    if kind in FIXED:
        return FIXED[kind][0]
    lengths = set(map(len, column))
    return lengths.pop() if len(lengths) == 1 else None


def _with_lengths(kind: Kind, head: bytes, column: Sequence[Any]) -> list[bytes]:
    if kind in FIXED:
        length, form = FIXED[kind]
        pack, before = struct.Struct(f">{form}").pack, head + _LENGTH.pack(length)
        return [head + _NULL if value is None else before + pack(value) for value in column]
    length_of = _LENGTH.pack
    return [head + _NULL if value is None else head + length_of(len(value)) + value for value in column]


@lru_cache(maxsize=512)
def _packers(kinds: tuple[Kind, ...], lengths: tuple[int, ...]) -> tuple[struct.Struct, struct.Struct]:
    """Packers of one row of this shape, and of a block of them."""
    row = "q"
    for kind, length in zip(kinds, lengths, strict=True):
        row += "q"
        if length >= 0:
            row += FIXED[kind][1] if kind in FIXED else f"{length}s"
    return struct.Struct(f">{row}"), struct.Struct(">" + row * BLOCK)


async def accept_encoded(connection: Connection, schema: str, types: Sequence[RowType]) -> None:
    """Have a connection take `EncodedRows` for arrays of these composite types.

    The driver's public `set_type_codec` does not take arrays, although its codecs can carry them: this goes one
    layer below (a test holds the pinned version to it).
    """
    settings = cast("Any", connection)._protocol.get_settings()
    for each in types:
        row = await connection.fetchrow(
            "SELECT oid::int8 AS oid, typarray::int8 AS array_oid FROM pg_catalog.pg_type"
            " WHERE typname = $1 AND typnamespace = to_regnamespace($2)",
            each.name,
            schema,
        )
        assert row is not None, f"{schema}.{each.name} is not there"
        settings.add_python_codec(
            row["array_oid"], f"_{each.name}", schema, [], "scalar", _framed(row["oid"]), _refuse, "binary"
        )


def _framed(element_oid: int) -> Any:
    def encode(rows: EncodedRows) -> bytes:
        if not rows.count:
            return _NOTHING
        return _HEADER.pack(1, 0, element_oid, rows.count, 1) + rows.body

    return encode


def _refuse(_: bytes) -> Any:
    raise NotImplementedError("such arrays are only sent")


# -- plain columns --------------------------------------------------------------------------------------------------


ARRAYS: dict[str, tuple[int, int]] = {
    "uuid": (2951, 2950), "int8": (1016, 20), "int4": (1007, 23), "int2": (1005, 21), "bool": (1000, 16),
    "timestamptz": (1185, 1184), "text": (1009, 25), "bytea": (1001, 17),
}  # fmt: skip
"""Of each type that columns are made of: its array's OID, and its own."""
_WHOLE = {"int8": (_LENGTH.pack(8), ">q"), "int4": (_LENGTH.pack(4), ">i"), "int2": (_LENGTH.pack(2), ">h")}
_TRUTHS = {None: _NULL, True: _LENGTH.pack(1) + b"\1", False: _LENGTH.pack(1) + b"\0"}
_16 = _LENGTH.pack(16)
_8 = _LENGTH.pack(8)
_MOMENT = struct.Struct(">q")


def accept_columns(connection: Connection) -> None:
    """Have a connection take lists of plain values for arrays of them, encoded here.

    The driver looks at every element whether it is an array itself, which takes longer than to encode it. Such arrays
    are only sent on this connection, never read. A value that does not fit its column is refused before anything is
    sent, as the driver does it.
    """
    settings = cast("Any", connection)._protocol.get_settings()
    for name, (array_oid, element_oid) in ARRAYS.items():
        settings.add_python_codec(
            array_oid, f"_{name}", "pg_catalog", [], "scalar", _column(name, element_oid), _refuse, "binary"
        )


def _column(name: str, element_oid: int) -> Callable[[Sequence[Any]], bytes]:
    values, nothing = _values_of(name), struct.pack(">iii", 0, 0, element_oid)

    def encode(column: Sequence[Any]) -> bytes:
        if not column:
            return nothing
        return _HEADER.pack(1, 0, element_oid, len(column), 1) + b"".join(values(column))

    return encode


def _values_of(name: str) -> Callable[[Sequence[Any]], list[bytes]]:
    match name:
        case "uuid":
            return _uuids
        case "text":
            return _texts
        case "bytea":
            return _blobs
        case "timestamptz":
            return _moments
        case "bool":
            return lambda column: [_TRUTHS[value] for value in column]
        case _:
            head, form = _WHOLE[name]
            pack = struct.Struct(form).pack
            return lambda column: [_NULL if value is None else head + pack(value) for value in column]


def _uuids(column: Sequence[Any]) -> list[bytes]:
    try:
        joined = bytes.fromhex("".join(column)) if set(map(len, column)) == {32} else b""
    except TypeError:  # some are NULL, or no text
        joined = b""
    if len(joined) == 16 * len(column):
        return [_16 + joined[at : at + 16] for at in range(0, len(joined), 16)]
    return [_NULL if value is None else _16 + _uuid(value) for value in column]


def _uuid(value: Any) -> bytes:
    """Of 32 hexadecimal digits, or of a UUID."""
    data = bytes.fromhex(value) if isinstance(value, str) else bytes(value.bytes)
    if len(data) != 16:
        raise ValueError("a uuid is 32 hexadecimal digits")
    return data


def _texts(column: Sequence[Any]) -> list[bytes]:
    length = _LENGTH.pack
    return [
        _NULL if value is None else length(len(data := str.encode(value))) + data  # a type error where it is no text
        for value in column
    ]


def _blobs(column: Sequence[Any]) -> list[bytes]:
    length = _LENGTH.pack
    return [_NULL if value is None else length(len(value)) + value for value in column]


def _moments(column: Sequence[Any]) -> list[bytes]:
    pack = _MOMENT.pack
    return [_NULL if value is None else _8 + pack((value - _EPOCH) // _MICROSECOND) for value in column]
