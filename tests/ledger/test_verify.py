"""`kessai verify` finds nothing in a ledger that was only ever written by itself, and every row that was not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from kessai.apps.verify import Finding, verify
from kessai.apps.verify.audit import PACKAGE, Configuration, audit
from kessai.apps.verify.finding import Report
from kessai.apps.verify.gains import GAINS
from kessai.apps.wiring import load_payment_kinds, read_books_of
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.config import Settings
from kessai.foundation.db import AUDITOR_ROLE, Connection, Database, load_queries
from kessai.foundation.errors import PaymentError
from kessai.foundation.events import Relay
from kessai.services.ledger.api import CaptureExchange, Freeze, VoidExchange
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.settlement.domain.configuration import read_settlement
from tests.house.dialect import EVERYWHERE
from tests.house.sources import shards

from .book import Another, Book, action_id, exchange_id

TABLES = (
    "writer", "flush", "seal_anchor", "account", "account_event", "account_log", "hot_log", "hot_subtotal", "lot",
    "lot_log", "exchange", "exchange_reference", "exchange_action", "exchange_state", "outbox", "outbox_head",
)  # fmt: skip
EMPTY_TABLES = ("lease", "subscription_cursor", "parked_event", "account_type", "request_key")
"""Of shared components; the ledger subscribes to nothing. A lease is real time and no fact, a type is configuration,
a key is a client's and stands for what was asked, of which only the digest is known."""

NOT_DERIVED = {
    ("writer", "lease_until"): "real time",
    ("writer", "holder"): "a process that may be gone",
    ("writer", "stable_id"): "a promise about the future; it must be at or past the last flush, no more",
    ("outbox", "outbox_id"): "made at random",
    ("hot_subtotal", "through_id"): "any place is right up to which the sum is; see the test of subtotals",
}
NOT_MISSED = {
    "hot_subtotal": "without it the entries themselves are summed",
    "seal_anchor": "nothing comes after the newest; whoever keeps its seal elsewhere sees that it is gone",
}
"""Tables whose (last) row may be deleted without contradicting anything that is left."""

EDITS: dict[str, tuple[str, ...]] = {
    "int2": ("{c} + 1",),
    "int4": ("{c} + 1", "{c} - 1"),
    "numeric": ("{c} + 1", "{c} - 1", "{c} + 100000000000000000000"),
    "int8": ("{c} + 1", "{c} - 1", "{c} + 1000000"),
    "bool": ("NOT {c}",),
    "text": ("{c} || 'x'", "coalesce(nullif(reverse({c}), {c}), 'x')", "nullif(coalesce({c}, 'x'), {c})"),
    "uuid": ("gen_random_uuid()",),
    "timestamptz": ("{c} + interval '1 second'", "nullif(coalesce({c}, '2026-05-01Z'), {c})"),
    "bytea": (
        "set_byte({c}, 0, (get_byte({c}, 0) + 1) % 128)",
        "set_byte({c}, length({c}) * 3 / 5, CASE get_byte({c}, length({c}) * 3 / 5) WHEN 49 THEN 50 ELSE 49 END)",
        "substr({c}, 1, length({c}) - 1)",
    ),
}
"""Other values a column of a type might have been given."""
SPECIAL_EDITS: dict[tuple[str, str], tuple[str, ...]] = {
    ("account", "frozen"): ("CASE {c} WHEN 'NONE' THEN 'OUT' ELSE 'NONE' END",),
    ("account", "account_type"): ("'sales'", "'credit'", "'fee_income'"),
    ("account", "asset"): ("CASE {c} WHEN 'JPY' THEN 'BTC' ELSE 'JPY' END",),
    ("exchange_state", "state"): ("CASE {c} WHEN 'CAPTURED' THEN 'VOIDED' ELSE 'CAPTURED' END",),
    ("seal_anchor", "heads"): ("translate({c}, '0123', '1234')", "'[]'", "'x'"),
    ("outbox", "topic"): ("CASE {c} WHEN 'ledger.expiry' THEN 'ledger.exchange' ELSE 'ledger.expiry' END",),
}
ROWS_EACH = int(os.environ.get("KESSAI_TEST_TAMPER_ROWS", "2"))
"""How many rows of each table are edited, from its whole length."""


@dataclass
class Tamper:
    """A ledger of every kind of row, edited by the database's superuser in transactions that are rolled back."""

    connection: Connection

    async def findings(self, statement: str, *arguments: object) -> tuple[list[Finding], asyncpg.Record | None] | None:
        """What is found after an edit, and the row as it was left; None when the database itself refuses the edit."""
        transaction = self.connection.transaction(isolation="repeatable_read")
        await transaction.start()
        try:
            row = await self.connection.fetchrow(f"{statement} RETURNING *", *arguments)
            if row is None:
                return [], None
            await self.connection.execute(f"SET LOCAL ROLE {AUDITOR_ROLE}")
            report = Report()
            configuration = Configuration(
                load_account_types(), load_payment_kinds(), read_books_of(Settings()), read_settlement()
            )
            await audit(self.connection, configuration, report)
        except asyncpg.IntegrityConstraintViolationError:
            return None
        finally:
            await transaction.rollback()
        return report.findings, row

    async def columns(self, table: str) -> dict[str, str]:
        """A table's columns with their types."""
        rows = await self.connection.fetch(
            "SELECT attname, typname FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid"
            " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            f"ledger.{table}",
        )
        return {row["attname"]: row["typname"] for row in rows}

    async def rows(self, table: str, column: str | None = None) -> list[asyncpg.Record]:
        """Some rows of a table, from its whole length; of a nullable column, rows that have a value first."""
        order = "ctid" if column is None else f'"{column}" IS NULL, ctid'
        every = await self.connection.fetch(f"SELECT ctid, * FROM ledger.{table} ORDER BY {order}")
        if column is not None:
            every = [row for row in every if row[column] is not None] or every
        step = max(1, (len(every) - 1) // (ROWS_EACH - 1) if len(every) > 1 else 1)
        return every[::step][: ROWS_EACH - 1] + every[-1:] if len(every) > ROWS_EACH else every


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database as the migrations leave it, with a head in its outbox."""
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def tamper(full_book: Book, database: Database) -> AsyncIterator[Tamper]:
    """The ledger of `full_book` under the superuser's hand."""
    del full_book
    connection = await asyncpg.connect(database.dsn, server_settings={"timezone": "UTC"})
    yield Tamper(connection)
    await connection.close()


@pytest.fixture
async def full_book(book: Book, database: Database) -> Book:
    """A ledger in which everything that a ledger can do was done."""
    await _open_and_set(book)
    await _move(book)
    await _hold(book)
    await book.run("roll_up", "anchor_seals")
    await _undo(book)
    await _refuse(book)
    await _let_expire(book)
    await book.run("roll_up", "anchor_seals")
    await book.give("cus:1/funds 5")
    await Relay(database, "ledger").assign()
    return book


async def _open_and_set(book: Book) -> None:
    await book.open("cus:1/funds", metadata={"name": "one", "tier": "gold"})
    await book.open("cus:2/funds", "cus:1/btc", "cus:1/trading_funds", "cus:3/funds", "cus:4/funds")
    await book.open("cus:1/credit", limit=1_000)
    await book.update("cus:1/credit", overdraft_limit_minor=2_000)
    await book.update("cus:2/funds", metadata={"name": "two"})
    await book.freeze("cus:3/funds", Freeze.BOTH)
    await book.freeze("cus:4/funds", Freeze.IN)
    await book.freeze("cus:4/funds", Freeze.NONE)
    await book.close("cus:4/funds")


async def _move(book: Book) -> None:
    token = enter_call(Call(caller="key_1", processing_id="prc_1"))
    await book.give("cus:1/funds 10000", name="first", reference="T-1", metadata={"memo": 'a "quoted" word'})
    leave_call(token)
    await book.give("cus:1/free_points 300 expires=5d")
    await book.give("cus:1/free_points 200 expires=90d")
    await book.give("cus:2/funds 1000")
    await book.give("cus:1/trading_funds 100000")
    await book.batch(
        book.request("cus:1/funds 10 > cus:2/funds 10", name="b1", reference="B-1"),
        book.request("cus:2/funds 20 > cus:1/funds 20", linked=True),
        book.request("cus:2/funds 30 > cus:1/funds 30"),
        book.request("cus:3/funds 30 > cus:1/funds 30"),
    )
    await book.move("cus:1/free_points 100 + cus:1/funds 400 > mer:1/unsettled_sales 480 + kessai/fee_income 20",
                    name="sale")  # fmt: skip
    await book.move("cus:1/funds 60 + cus:1/funds 40 > cus:2/funds 99 + cus:2/funds 1", name="doubled")
    await book.move("cus:1/credit 800 > mer:1/unsettled_sales 800", name="on credit")
    await book.give("cus:1/credit 300")
    await book.move("cus:1/sales <=500 + cus:1/funds <=500 > mer:1/unsettled_sales 50", name="nothing from sales")
    await book.move("cus:1/trading_funds 30000 > cus:1/btc 300000 BTC", rate="10000000", name="buy")
    await book.move("cus:1/btc 100000 BTC > cus:1/trading_funds 12000", rate="12000000", name="sell")


async def _hold(book: Book) -> None:
    sources = "cus:1/free_points 50 + cus:1/funds 250"
    await book.hold(f"{sources} > mer:1/unsettled_sales 300", name="whole", reference="H-1")
    await book.capture("whole")
    await book.hold(f"{sources} > mer:1/unsettled_sales 300", name="parts")
    await book.capture("parts", 40, final=False, action="part one")
    await book.capture("parts", 100, action="part two")
    await book.hold(f"{sources} > mer:1/unsettled_sales 300", name="let go")
    await book.void("let go")
    await book.hold("cus:1/funds 70 > mer:1/unsettled_sales 70", name="part void")
    await book.capture("part void", 30, final=False)
    await book.void("part void")
    await book.hold("cus:1/credit 100 > mer:1/unsettled_sales 100", name="credit hold")
    await book.capture("credit hold", 60)
    await book.hold("bank/deposit 500 > cus:2/funds 500", name="hot hold")
    await book.capture("hot hold", 200)
    await book.hold("cus:1/funds 80 > cus:2/funds 80", name="still held")
    await book.hold("cus:1/funds 90 > cus:2/funds 90", name="lapsing", expires_at=book.clock.now() + timedelta(days=1))
    await asyncio.gather(
        book.hold("cus:1/funds 11 > cus:2/funds 11", name="at once"), book.capture("at once"), return_exceptions=True
    )


async def _undo(book: Book) -> None:
    await book.reverse("sale", 150, reference="R-1", reversal="sale back")
    await book.reverse("sale")
    await book.reverse("doubled", legs={1: 40, 2: 40})
    await book.reverse("whole", 120)
    await book.reverse("parts")
    await book.reverse("on credit", 100)
    await book.reverse("sell", legs={0: 40_000, 1: 4_800, 2: 40_000, 3: 4_800}, reversal="sell back")
    await book.reverse("sell")
    await book.reverse("sell back")
    await book.reverse("nothing from sales", 20)
    await book.move("cus:1/funds 70 > cus:2/funds 70", name="gift")
    await book.move("cus:2/funds 1060 > mer:1/unsettled_sales 1060")
    await book.reverse("gift", 30, reversal="gift back")
    await book.reverse("gift back", 10)


async def _refuse(book: Book) -> None:
    refused = [
        book.move("cus:1/funds 900000 > cus:2/funds 900000", name="too much", remember_refusal=True),
        book.reverse("let go", reversal="nothing back", remember_refusal=True),
        book.ledger.capture_exchange(
            CaptureExchange(exchange_id=exchange_id("whole"), action_id=action_id("again"), remember_refusal=True)
        ),
        book.ledger.void_exchange(
            VoidExchange(exchange_id=exchange_id("nothing"), action_id=action_id("void"), remember_refusal=True)
        ),
    ]
    token = enter_call(Call(caller="key_2", processing_id="prc_2"))
    outcomes = await asyncio.gather(*refused, return_exceptions=True)
    leave_call(token)
    assert [isinstance(outcome, PaymentError) for outcome in outcomes] == [True] * 4


async def _let_expire(book: Book) -> None:
    book.clock.advance(days=6)
    await book.run("expire_exchanges", "expire_lots")
    await book.move("cus:1/free_points 20 > mer:1/unsettled_sales 20", name="points")
    book.clock.advance(days=200)
    await book.run("expire_exchanges", "expire_lots")
    await book.reverse("points")


# -- what must be found -----------------------------------------------------------------------------------------


async def test_nothing_is_found_in_a_ledger_that_only_itself_has_written(full_book: Book, database: Database) -> None:
    del full_book
    assert await verify(database.dsn) == []


async def test_nothing_is_found_after_two_processes_have_written(
    full_book: Book, another: Another, database: Database
) -> None:
    second = await another()
    for number in range(5):
        await full_book.give(f"cus:1/sales {number + 1}")
        await second.move("cus:1/sales 1 > cus:2/funds 1")
        await second.give("mer:1/unsettled_sales 3")
    await second.run("anchor_seals", "roll_up")
    assert await verify(database.dsn) == []


async def test_nothing_is_found_in_a_database_without_the_platform(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.close()
    assert await verify(empty_database_url) == []


async def test_every_table_of_the_ledger_is_tampered_with(tamper: Tamper) -> None:
    rows = await tamper.connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace"
                                         " AND relkind IN ('r', 'p')")  # fmt: skip
    assert {row["relname"] for row in rows} == {*TABLES, *EMPTY_TABLES}
    for table in TABLES:
        assert await tamper.rows(table), table


@pytest.mark.parametrize("table", TABLES)
async def test_an_edited_row_is_found_and_named(tamper: Tamper, table: str) -> None:
    unnoticed: list[str] = []
    for column, kind in (await tamper.columns(table)).items():
        for row in await tamper.rows(table, column):
            for edit in SPECIAL_EDITS.get((table, column), EDITS[kind]):
                text = edit.replace("{c}", f'"{column}"')
                where = f'ctid = $1 AND "{column}" IS DISTINCT FROM {text}'
                try:
                    found = await tamper.findings(
                        f'UPDATE ledger.{table} SET "{column}" = {text} WHERE {where}', row["ctid"]
                    )
                except asyncpg.DataError:
                    continue  # no such value
                if found is None or found[1] is None:
                    continue  # refused by the database, or nothing changed
                if not any(_names(found[0], table, each) for each in (row, found[1])):
                    unnoticed.append(f"{column} := {edit} of {_key(table, row)} -> {found[0][:3]}")
    not_derived = [column for relation, column in NOT_DERIVED if relation == table]
    assert [each for each in unnoticed if each.split(" ")[0] not in not_derived] == []


@pytest.mark.parametrize("table", TABLES)
async def test_a_deleted_row_is_found_and_named(tamper: Tamper, table: str) -> None:
    unnoticed: list[str] = []
    for row in await tamper.rows(table):
        found = await tamper.findings(f"DELETE FROM ledger.{table} WHERE ctid = $1", row["ctid"])
        if found is not None and not _names(found[0], table, row, loosely=True):
            unnoticed.append(f"{_key(table, row)} -> {found[0][:3]}")
    if table in NOT_MISSED:
        assert table == "hot_subtotal" or len(unnoticed) <= 1
    else:
        assert unnoticed == []


async def test_a_subtotal_that_claims_to_reach_elsewhere_is_found(tamper: Tamper) -> None:
    where = "account_id = (SELECT account_id FROM ledger.hot_log LIMIT 1)"
    edited = f"UPDATE ledger.hot_subtotal SET through_id = {{}} WHERE {where}"
    for place in ("-1", "9223372036854775807"):
        found = await tamper.findings(edited.format(place))
        assert found is not None
        assert [each.table for each in found[0]] == ["ledger.hot_subtotal"]


async def test_a_gain_that_is_not_proceeds_less_cost_is_found(tamper: Tamper) -> None:
    sales = {exchange_id(name) for name in ("sell", "sell back")}
    found = await tamper.findings("UPDATE ledger.lot SET rate = '9000000' WHERE rate = '10000000'")
    assert found is not None
    assert sales <= {each.key for each in found[0] if each.invariant == GAINS}


async def test_a_writer_that_takes_back_its_promise_is_found(tamper: Tamper) -> None:
    found = await tamper.findings("UPDATE ledger.writer SET stable_id = 0")
    assert found is not None
    assert ("ledger.writer", "0") in [(each.table, each.key) for each in found[0]]


KEYS = {
    "writer": ("slot",), "flush": ("flush_id",), "seal_anchor": ("anchor_id",), "account": ("account_id",),
    "account_event": ("account_id", "version"), "account_log": ("account_id", "sequence"),
    "hot_log": ("account_id", "ordinal"), "hot_subtotal": ("account_id",), "lot": ("account_id", "sequence"),
    "lot_log": ("account_id", "sequence", "lot_sequence"), "exchange": ("exchange_id",),
    "exchange_reference": ("reference",), "exchange_action": ("exchange_id", "action_id"),
    "exchange_state": ("exchange_id",), "outbox": ("outbox_id",), "outbox_head": ("source",),
}  # fmt: skip
FORGED = {
    "writer": "slot = slot + 7", "flush": "flush_id = flush_id + 4096", "seal_anchor": "anchor_id = anchor_id + 1",
    "account": "account_id = gen_random_uuid()", "account_event": "version = version + 1000",
    "account_log": "sequence = sequence + 1000", "hot_log": "ordinal = ordinal + 1000",
    "hot_subtotal": "account_id = gen_random_uuid()", "lot": "sequence = sequence + 1000",
    "lot_log": "lot_sequence = lot_sequence + 1000", "exchange": "exchange_id = gen_random_uuid()",
    "exchange_reference": "reference = reference || 'x'", "exchange_action": "action_id = gen_random_uuid()",
    "exchange_state": "exchange_id = gen_random_uuid()", "outbox": "outbox_id = gen_random_uuid()",
    "outbox_head": "source = 'other'",
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
async def test_a_forged_row_is_found(tamper: Tamper, table: str) -> None:
    changed, value = FORGED[table].split(" = ", 1)
    names = list(await tamper.columns(table))
    into = ", ".join(names)
    selected = ", ".join(value if name == changed else name for name in names)
    for row in await tamper.rows(table):
        statement = f"INSERT INTO ledger.{table} ({into}) SELECT {selected} FROM ledger.{table} WHERE ctid = $1"
        found = await tamper.findings(statement, row["ctid"])
        assert found is None or any(each.table == f"ledger.{table}" for each in found[0]), found[0]


def _names(findings: list[Finding], table: str, row: asyncpg.Record, *, loosely: bool = False) -> bool:
    """Whether a finding names the row: by its key, or what is left to name it by when it is gone."""
    key = _key(table, row)
    for each in findings:
        if each.table != f"ledger.{table}":
            continue
        if each.key == key or key in each.key.split(", "):
            return True
        if loosely and (table in ("outbox", "seal_anchor", "outbox_head") or key.startswith(each.key)):
            return True
    return False


PREFIXES = {"account_id": "acc_", "exchange_id": "exc_", "action_id": "act_"}


def _key(table: str, row: asyncpg.Record) -> str:
    return "/".join(PREFIXES[name] + row[name].hex if name in PREFIXES else str(row[name]) for name in KEYS[table])


# -- the queries ------------------------------------------------------------------------------------------------


def _queries() -> list[tuple[str, str]]:
    files = [load_queries(PACKAGE, file=f"sql/{name}.sql") for name in ("ledger", "payment")]
    files += [load_queries(PACKAGE, schema=schema, file="sql/shared.sql") for schema in ("payment",)]
    return [(name, text) for file in files for name, text in file]


async def test_queries_are_prepared_by_the_auditor_and_keep_to_the_dialect(database: Database) -> None:
    columns: dict[str, Any] = {name.split(".", 1)[1]: shard for name, shard in shards().items()}
    connection = await database.connect(AUDITOR_ROLE)
    for name, text in _queries():
        await connection.prepare(text)
        assert [(name, wrong) for rule in EVERYWHERE for wrong in rule(text, columns)] == []
    await connection.close()
