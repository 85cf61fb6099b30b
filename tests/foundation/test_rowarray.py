"""Arrays of rows that are encoded ahead arrive as they were."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kessai.foundation.db import Connection, Database, everything_sent
from kessai.foundation.rowarray import BLOCK, RowType, accept_encoded

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
