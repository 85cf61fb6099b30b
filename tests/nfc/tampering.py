"""Rows that are changed, taken away or forged, one at a time, each within a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from kessai.foundation.db import Connection

T = TypeVar("T")

TABLES = (
    *("pan_vault", "pan_lookup", "issue_batch", "issue_step", "issue_error", "pool_card", "customer_card", "card"),
    *("phone_check", "sms_quota", "device", "card_step", "feed_place", "id_authorization", "id_reversal"),
    *("id_refused_payment", "id_refund", "card_usage", "clearing_file", "clearing_line", "clearing_line_wrong"),
    *("clearing_sale", "clearing_finding", "clearing_finding_note", "clearing_day", "clearing_total"),
)
ROWS_MAX = 6
"""Of a table, that are tampered with: the first and the last in the order of their text."""

Row = str
"""Its place on disk."""

OTHERS = {
    "text": ("{c} || '9'", "'x' || {c}", "left({c}, -1) || '0'", "reverse({c})", "'APPROVED'", "'x'"),
    "bigint": ("{c} + 1", "{c} - 1", "0"),
    "boolean": ("NOT {c}",),
    "timestamp with time zone": ("{c} + interval '3 hours'", "now()"),
    "date": ("{c} + 1", "{c} - 1"),
    "uuid": ("gen_random_uuid()",),
    "ARRAY": ("ARRAY[gen_random_uuid()]",),
    "bytea": ("set_byte({c}, length({c}) - 1, (get_byte({c}, length({c}) - 1) + 1) % 256)", "{c} || '\\x00'::bytea"),
}
"""What a column may be changed to, by its type; the first that the table's own rules allow is taken."""


@dataclass(frozen=True, slots=True)
class Tamper:
    """One thing that is done to a row: a column that is changed, or, without one, the row that is gone or copied."""

    table: str
    row: Row
    column: str | None
    type: str = ""
    copied: tuple[str, ...] = ()
    """Columns of a copy that are its own."""

    @property
    def name(self) -> str:
        """As a test tells of it."""
        if self.copied:
            return f"forged a {self.table} with another {', '.join(self.copied)}"
        return f"deleted a {self.table}" if self.column is None else f"changed {self.table}.{self.column}"

    def statements(self, columns: Sequence[tuple[str, str]]) -> list[str]:
        """Ways to do it."""
        if self.column is not None:
            return [
                f'UPDATE nfc.{self.table} SET "{self.column}" = {value}'
                f" WHERE ctid = '{self.row}' AND \"{self.column}\" IS DISTINCT FROM {value}"
                for value in (each.format(c=f'"{self.column}"') for each in OTHERS[self.type])
            ]
        if not self.copied:
            return [f"DELETE FROM nfc.{self.table} WHERE ctid = '{self.row}'"]
        names = ", ".join(f'"{name}"' for name, _ in columns)
        values = ", ".join(
            OTHERS[kind][0].format(c=f'"{name}"') if name in self.copied else f'"{name}"' for name, kind in columns
        )
        return [
            f"INSERT INTO nfc.{self.table} ({names}) SELECT {values} FROM nfc.{self.table} WHERE ctid = '{self.row}'"
        ]

    async def tried(self, connection: Connection, look: Callable[[], Awaitable[list[T]]]) -> list[T] | None:
        """What was found after it; None when the table's own rules do not let it be done, or it would be no change."""
        columns = await _types(connection, self.table)
        for statement in self.statements(columns):
            transaction = connection.transaction()
            await transaction.start()
            try:
                if not (await connection.execute(statement)).endswith(" 0"):
                    return await look()
            except asyncpg.IntegrityConstraintViolationError:
                continue
            finally:
                await transaction.rollback()
        return None


WHOLE = (
    "WHERE state <> 'REFUSED' AND file_id NOT IN (SELECT w.file_id FROM nfc.clearing_line_wrong AS w)",
    "WHERE file_id NOT IN (SELECT w.file_id FROM nfc.clearing_line_wrong AS w)",
)
ONLY = {
    "clearing_file": WHOLE[0],
    "clearing_line": WHOLE[1],
    "id_authorization": "WHERE kind <> 'clearing' AND token IS NOT NULL",
    "card_usage": "WHERE day_count > 0 AND card_id NOT IN (SELECT a.card_id FROM nfc.id_authorization AS a"
    " WHERE a.card_id IS NOT NULL AND a.state = 'CLEARED' AND a.stands_minor < a.amount_minor)",
}
"""Less is known of files that were refused, or of which a line could not be read; of what a line made, which no message
told of; of cards that are nobody's; and of what a card paid of which something was given back after its clearing."""


async def rows_of(connection: Connection, table: str) -> list[Row]:
    """Some rows of a table."""
    only = ONLY.get(table, "")
    rows = await connection.fetch(f"SELECT ctid::text AS place FROM nfc.{table} AS t {only} ORDER BY t::text")
    places = [row["place"] for row in rows]
    half = ROWS_MAX // 2
    return places if len(places) <= ROWS_MAX else places[:half] + places[-half:]


async def columns_of(connection: Connection, table: str, rows: Sequence[Row]) -> list[Tamper]:
    """Each column of some of the rows, where it has a value: two of a column."""
    found: list[Tamper] = []
    for name, kind in await _types(connection, table):
        filled = await connection.fetch(
            f'SELECT ctid::text AS place FROM nfc.{table} WHERE "{name}" IS NOT NULL AND ctid::text = ANY ($1::text[])',
            list(rows),
        )
        found += [Tamper(table, row["place"], name, kind) for row in filled[:2]]
    return found


async def copies_of(connection: Connection, table: str, rows: Sequence[Row]) -> list[Tamper]:
    """A copy of a row that has each column of the primary key for itself."""
    types = dict(await _types(connection, table))
    keys = await connection.fetch(
        "SELECT a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY (i.indkey) WHERE i.indisprimary AND i.indrelid = $1::regclass",
        f"nfc.{table}",
    )
    own = tuple(row["attname"] for row in keys if row["attname"] in types)
    return [Tamper(table, rows[0], None, copied=(each,)) for each in own]


async def _types(connection: Connection, table: str) -> list[tuple[str, str]]:
    rows = await connection.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'nfc' AND table_name = $1"
        " ORDER BY ordinal_position",
        table,
    )
    return [(row["column_name"], row["data_type"]) for row in rows]
