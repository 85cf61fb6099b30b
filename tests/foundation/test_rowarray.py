"""Arrays of rows that are encoded ahead arrive as they were."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kessai.foundation.db import Connection, Database, everything_sent
from kessai.foundation.rowarray import ARRAYS, BLOCK, RowType, accept_columns, accept_encoded

SAMPLE = RowType("sample", "uuid", "bigint", "int", "boolean", "timestamptz", "text", "bytea")
INT64 = st.integers(-(2**63), 2**63 - 1)
ROW = st.tuples(
    st.uuids().map(lambda each: each.hex),
    INT64 | st.none(),
    st.integers(-(2**31), 2**31 - 1),
    st.booleans() | st.none(),
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)) | st.none(),  # noqa: DTZ001
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5) | st.none(),
    st.binary(max_size=5) | st.none(),
)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    connection = await database.connect(None)
    await connection.execute(
        "CREATE SCHEMA samples; CREATE TYPE samples.sample AS"
        " (id uuid, a bigint, b int, c boolean, d timestamptz, e text, f bytea)"
    )
    await accept_encoded(connection, "samples", [SAMPLE])
    yield connection
    await connection.close()


async def arrived(connection: Connection, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    found = await connection.fetch(
        "SELECT id, a, b, c, d, e, f FROM unnest($1::samples.sample[]) AS u", SAMPLE.encode(rows)
    )
    return [(row["id"].hex, *list(row)[1:]) for row in found]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_rows_of_any_shape_arrive_as_they_were(connection: Connection, data: st.DataObject) -> None:
    rows = data.draw(st.lists(ROW, max_size=2 * BLOCK + 3))
    assert await arrived(connection, rows) == rows


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 1])
async def test_rows_of_one_shape_arrive_as_they_were(connection: Connection, count: int) -> None:
    rows: list[tuple[Any, ...]] = [
        (f"{number:032x}", number, -number, number % 2 == 0, None, "same", b"long") for number in range(count)
    ]
    assert await arrived(connection, rows) == rows


@pytest.mark.parametrize("row", [("00" * 15, 1, 1, True, None, "", b""), ("zz" * 16, 1, 1, True, None, "", b"")])
def test_a_malformed_uuid_is_not_encoded(row: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"uuid|hexadecimal"):
        SAMPLE.encode([row])


def test_a_number_beyond_its_column_is_not_encoded() -> None:
    with pytest.raises(struct.error):
        SAMPLE.encode([("00" * 16, 2**63, 1, True, None, "", b"")])


async def test_a_large_statement_is_sent_while_others_wait(connection: Connection) -> None:
    rows = [(f"{number:032x}", number, 0, True, None, "x" * 100, b"") for number in range(20_000)]
    pending = connection.fetchval("SELECT count(*) FROM unnest($1::samples.sample[])", SAMPLE.encode(rows))
    task = asyncio.ensure_future(pending)
    await everything_sent(connection)
    assert await task == len(rows)


# -- plain columns ----------------------------------------------------------------------------------------------


@pytest.fixture
async def plain(database: Database) -> AsyncIterator[Connection]:
    connection = await database.connect(None)
    accept_columns(connection)
    yield connection
    await connection.close()


COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids(),
    "int8": INT64,
    "int4": st.integers(-(2**31), 2**31 - 1),
    "int2": st.integers(-(2**15), 2**15 - 1),
    "bool": st.booleans(),
    "timestamptz": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    "bytea": st.binary(max_size=5),
}


@pytest.mark.parametrize("kind", ARRAYS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_columns_arrive_as_they_were(plain: Connection, kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(COLUMNS[kind] | st.none(), max_size=40) | st.lists(COLUMNS[kind], max_size=40))
    found = await plain.fetch(f"SELECT value FROM unnest($1::{kind}[]) AS u (value)", values)
    assert [row["value"] for row in found] == values


async def test_uuids_are_taken_as_digits_too(plain: Connection) -> None:
    digits = [f"{number:032x}" for number in range(3)]
    for values in (digits, [digits[0], None, digits[2]]):
        found = await plain.fetch("SELECT value FROM unnest($1::uuid[]) AS u (value)", values)
        assert [row["value"] and row["value"].hex for row in found] == values


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uuid", "00" * 15), ("uuid", "zz" * 16), ("uuid", 5), ("int8", 2**63), ("int8", "5"), ("int4", 2**31),
        ("int2", 2**15), ("bool", "true"), ("timestamptz", datetime(2026, 1, 1)), ("timestamptz", "now"),  # noqa: DTZ001
        ("text", 5), ("text", b"a"), ("bytea", "a"),
    ],
)  # fmt: skip
async def test_a_value_that_does_not_fit_its_column_is_refused_and_nothing_is_sent(
    plain: Connection, kind: str, value: object
) -> None:
    with pytest.raises(asyncpg.DataError):
        await plain.fetch(f"SELECT value FROM unnest($1::{kind}[]) AS u (value)", [value, value])
    assert await plain.fetchval("SELECT 1") == 1
