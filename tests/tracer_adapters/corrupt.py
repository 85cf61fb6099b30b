"""Single rows of effects changed by SQL, by a seed: deleted, doubled, or with another amount, asset, state or party.

Refusals that are remembered, refused operations and refused refunds moved nothing: they are no effects, and are left
alone, but where another row tells the same.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from kessai.foundation.db import Database

Row: TypeAlias = "dict[str, Any]"
Change: TypeAlias = Callable[[Row, random.Random], bool]
"""Changes a row in place; False where there is nothing of the kind in it."""


@dataclass(frozen=True)
class Table:
    """A table of effects: its key, which rows of it are effects, and how each kind of change is made."""

    name: str
    key: tuple[str, ...]
    changes: Mapping[str, Change]
    where: str = "true"
    processing: str = "t.processing_id"
    joins: str = ""

    @property
    def service(self) -> str:
        """Whose it is."""
        return self.name.partition(".")[0]

    @property
    def select(self) -> str:
        """Its rows with their processings, in order of their keys."""
        order = ", ".join(f"t.{each}" for each in self.key)
        source = f"FROM {self.name} AS t {self.joins} WHERE ({self.where}) AND {self.processing} IS NOT NULL"
        return f"SELECT to_jsonb(t) AS row, {self.processing} AS processing_id {source} ORDER BY {order}"

    @property
    def remove(self) -> str:
        """Delete the row that has the key of a document."""
        same = " AND ".join(f"to_jsonb(t) ->> '{each}' = $1::jsonb ->> '{each}'" for each in self.key)
        return f"DELETE FROM {self.name} AS t WHERE {same}"

    @property
    def insert(self) -> str:
        """Put a row back."""
        return f"INSERT INTO {self.name} SELECT (jsonb_populate_record(NULL::{self.name}, $1::jsonb)).*"


@dataclass(frozen=True)
class Corruption:
    """One row, and what is done to it."""

    table: Table
    kind: str
    processing_id: str
    before: Row
    after: Row | None
    """None: it is deleted."""

    def __str__(self) -> str:
        key = "/".join(str(self.before[each]) for each in self.table.key)
        changed = {n: (v, self.after[n]) for n, v in self.before.items() if self.after and self.after[n] != v}
        return f"{self.table.name} {key}: {self.kind} {changed if self.kind != 'duplicate' else ''}"

    async def make(self, database: Database) -> None:
        """Do it."""
        if self.kind != "duplicate":
            await database.fetch(None, self.table.remove, json.dumps(self.before))
        if self.after is not None:
            await database.fetch(None, self.table.insert, json.dumps(self.after))

    async def mend(self, database: Database) -> None:
        """Undo it."""
        if self.after is not None:
            await database.fetch(None, self.table.remove, json.dumps(self.after))
        if self.kind != "duplicate":
            await database.fetch(None, self.table.insert, json.dumps(self.before))


# -- changes ----------------------------------------------------------------------------------------------------------


def delete(row: Row, draw: random.Random) -> bool:
    """The engine deletes it."""
    return True


def under_new(*columns: str) -> Change:
    """The same row under another key."""

    def change(row: Row, draw: random.Random) -> bool:
        for column in columns:
            is_number = isinstance(row[column], int)
            row[column] = row[column] + draw.randint(1, 3) if is_number else str(UUID(int=draw.getrandbits(128)))
        return True

    return change


def another(*columns: str, by: Callable[[Any, random.Random], Any]) -> Change:
    """One of these columns, where it has a value, gets another one."""

    def change(row: Row, draw: random.Random) -> bool:
        there = [each for each in columns if row[each] is not None]
        if not there:
            return False
        column = draw.choice(there)
        row[column] = by(row[column], draw)
        return True

    return change


def off(value: int, draw: random.Random) -> int:
    """A whole number nearby that is none below zero."""
    return value + draw.choice([step for step in (-100, -1, 1, 7, 10_000) if value + step >= 0])


def foreign(value: str, draw: random.Random) -> str:
    """Another asset."""
    return draw.choice([each for each in ("JPY", "USD", "BTC") if each != value])


def somebody(value: str, draw: random.Random) -> str:
    """Another participant."""
    return f"cus:{draw.getrandbits(64):x}"


def stranger(value: str, draw: random.Random) -> str:
    """Another id."""
    return str(UUID(int=draw.getrandbits(128)))


def one_of(*states: str) -> Callable[[str, random.Random], str]:
    """Another state."""
    return lambda value, draw: draw.choice([each for each in states if each != value])


def document(column: str, change: Callable[[Any, random.Random], bool], *, text: bool = False) -> Change:
    """A change within a JSON document that a column holds, as bytes or as text."""

    def changed(row: Row, draw: random.Random) -> bool:
        if row[column] is None:
            return False
        raw = row[column] if text else bytes.fromhex(row[column][2:]).decode()
        value = json.loads(raw)
        if not change(value, draw):
            return False
        out = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        row[column] = out if text else "\\x" + out.encode().hex()
        return True

    return changed


def either(*changes: Change) -> Change:
    """One of several, the first in a drawn order that applies."""

    def change(row: Row, draw: random.Random) -> bool:
        return any(each(row, draw) for each in draw.sample(changes, len(changes)))

    return change


def _moved(value: Any) -> list[Any]:
    """Arrays of a record that tell of a movement: postings, and legs of what is held."""
    is_action = value["action"] in ("captured", "voided", "expired")
    return [*value.get("postings", []), *(() if is_action else value.get("legs", []))]


def record_amount(value: Any, draw: random.Random) -> bool:
    """One amount of a ledger's record."""
    places = [(each, 3 if len(each) > 4 else 2) for each in _moved(value)]
    places = [(each, at) for each, at in places if each[at]]
    if not places:
        return False
    each, at = draw.choice(places)
    each[at] += draw.choice((-1, 1, 100))
    return True


def record_asset(value: Any, draw: random.Random) -> bool:
    """The asset of one movement of a record, or of all."""
    places = [(each, 2 if len(each) > 4 else 1) for each in _moved(value)]
    if not places:
        return False
    for each, at in draw.choice((places, [draw.choice(places)])):
        each[at] = "USD"
    return True


def record_party(value: Any, draw: random.Random) -> bool:
    """The account of one movement."""
    places = [(each, 1 if len(each) > 4 else 0) for each in _moved(value)]
    if not places:
        return False
    each, at = draw.choice(places)
    each[at] = f"acc_{draw.getrandbits(128):032x}"
    return True


def record_state(value: Any, draw: random.Random) -> bool:
    """The state that a record leaves an exchange in."""
    value["state"] = draw.choice([s for s in ("AUTHORIZED", "CAPTURED", "VOIDED", "EXPIRED") if s != value["state"]])
    return True


def progress_amount(value: Any, draw: random.Random) -> bool:
    """How much of a leg was captured, or given back, or is what it is about."""
    leg = draw.choice([each for each in value[1] if each[2]])
    leg[draw.choice((2, 4, 5))] += draw.choice((-1, 1, 100))
    return True


def progress_state(value: Any, draw: random.Random) -> bool:
    """The state in the progress."""
    value[0] = draw.choice([s for s in ("AUTHORIZED", "CAPTURED", "VOIDED", "EXPIRED") if s != value[0]])
    return True


def row_state(row: Row, draw: random.Random) -> bool:
    """The state of an exchange's row, with the mark that goes with it."""
    row["state"] = one_of("AUTHORIZED", "CAPTURED", "VOIDED", "EXPIRED")(row["state"], draw)
    row["is_held"] = row["state"] == "AUTHORIZED"
    return True


def funding_amount(value: Any, draw: random.Random) -> bool:
    """What a source of a payment gave, or got back."""
    if not value:
        return False
    part = draw.choice(value)
    name = draw.choice(("amount_minor", "returned_minor"))
    part[name] = part.get(name, 0) + draw.choice((1, 50))
    return True


def settled_state(row: Row, draw: random.Random) -> bool:
    """An operation that was done was refused, or the other way round, with what goes with that."""
    row["state"] = "REFUSED" if row["state"] == "DONE" else "DONE"
    row["refusal_code"] = "gateway_refused" if row["state"] == "REFUSED" else None
    return True


def instruction_state(row: Row, draw: random.Random) -> bool:
    """Another end of an instruction, with what goes with that."""
    states = ("ACCEPTED", "SENT", "DONE", "FAILED", *(("RETURNED",) if row["kind"] == "transfer" else ()))
    row["state"] = one_of(*states)(row["state"], draw)
    row["failure_code"] = "other" if row["state"] in ("FAILED", "RETURNED") else None
    return True


# -- tables -----------------------------------------------------------------------------------------------------------

_PAYMENT_STATES = one_of(
    "PENDING", "REQUIRES_ACTION", "AUTHORIZED", "PARTIALLY_CAPTURED", "CAPTURED", "CANCELED", "REFUSED", "EXPIRED",
    "UNKNOWN", "IN_FLIGHT", "RETURNED",
)  # fmt: skip
_CARD_STATES = one_of("PENDING", "REQUIRES_ACTION", "AUTHORIZED", "CAPTURED", "VOIDING", "VOIDED", "REFUSED")
_NO_REFUSAL = "substr(t.record, 65, 8) <> 'refused\"'::bytea"

TABLES = (
    Table(
        "payment.payment", ("payment_id",),
        {
            "delete": delete,
            "duplicate": under_new("payment_id"),
            "amount": either(
                another("amount_minor", "captured_minor", "refunded_minor", "fee_minor", by=off),
                document("funding", funding_amount, text=True),
            ),
            "asset": another("asset", by=foreign),
            "state": another("state", by=_PAYMENT_STATES),
            "party": another("payer_id", "payee_id", "beneficiary_id", by=somebody),
        },
    ),
    Table(
        "payment.payment_step", ("payment_id", "sequence"),
        {
            "delete": delete,
            "duplicate": under_new("sequence"),
            "amount": another("amount_minor", by=off),
            "state": another("state", by=_PAYMENT_STATES),
            "party": another("refund_id", by=stranger),
        },
    ),
    Table(
        "payment.refund", ("payment_id", "refund_id"),
        {
            "delete": delete,
            "duplicate": under_new("refund_id"),
            "amount": another("amount_minor", by=off),
            "asset": another("asset", by=foreign),
            "state": another("state", by=one_of("PENDING", "SUCCEEDED", "REFUSED", "UNKNOWN")),
            "party": another("exchange_id", by=stranger),
        },
        where="t.state = 'SUCCEEDED'",
    ),
    Table(
        "ledger.exchange", ("exchange_id",),
        {
            "delete": delete,
            "duplicate": under_new("exchange_id"),
            "amount": document("record", record_amount),
            "asset": document("record", record_asset),
            "state": document("record", record_state),
            "party": either(document("record", record_party), another("caller", by=somebody)),
        },
        where=_NO_REFUSAL,
    ),
    Table(
        "ledger.exchange_action", ("exchange_id", "action_id"),
        {
            "delete": delete,
            "duplicate": under_new("action_id"),
            "amount": document("record", record_amount),
            "asset": document("record", record_asset),
            "state": document("record", record_state),
            "party": either(document("record", record_party), another("caller", by=somebody)),
        },
        where=_NO_REFUSAL,
    ),
    Table(
        "ledger.exchange_state", ("exchange_id",),
        {
            "delete": delete,
            "amount": document("progress", progress_amount),
            "state": either(document("progress", progress_state), row_state),
        },
        processing="e.processing_id",
        joins="JOIN ledger.exchange AS e ON e.exchange_id = t.exchange_id",
    ),
    Table(
        "cardgateway.card_authorization", ("authorization_id",),
        {
            "delete": delete,
            "duplicate": under_new("authorization_id"),
            "amount": another("amount_minor", "captured_minor", "refunded_minor", by=off),
            "asset": another("asset", by=foreign),
            "state": another("state", by=_CARD_STATES),
            "party": either(another("customer_id", "caller", by=somebody), another("card_id", by=stranger)),
        },
        where="t.card_id IS NOT NULL",
    ),
    Table(
        "cardgateway.card_operation", ("authorization_id", "operation_id"),
        {
            "delete": delete,
            "duplicate": under_new("operation_id"),
            "amount": another("amount_minor", by=off),
            "state": settled_state,
        },
        where="t.state = 'DONE'",
    ),
    Table(
        "bank.instruction", ("instruction_id", "kind"),
        {
            "delete": delete,
            "duplicate": under_new("instruction_id"),
            "amount": another("amount_minor", by=off),
            "state": instruction_state,
            "party": either(another("owner_id", "caller", by=somebody), another("account_id", by=stranger)),
        },
    ),
    Table(
        "bank.instruction_step", ("instruction_id", "kind", "sequence"),
        {
            "delete": delete,
            "duplicate": under_new("sequence"),
            "state": another("state", by=one_of("UNKNOWN", "SENT", "DONE", "FAILED", "RETURNED")),
        },
    ),
)  # fmt: skip
SERVICES = ("payment", "ledger", "cardgateway", "bank")


async def drawn(database: Database, seed: int, number: int, among: Collection[str] | None = None) -> list[Corruption]:
    """So many corruptions, equally many of each service, of each of its tables and of each kind of change.

    `among`: only rows of these processings; None: any.
    """
    draw = random.Random(seed)
    stock: dict[str, list[tuple[Row, str]]] = {}
    for table in TABLES:
        rows = await database.fetch(None, table.select)
        rows = [row for row in rows if among is None or row["processing_id"] in among]
        stock[table.name] = [(json.loads(row["row"]), row["processing_id"]) for row in rows]
    wishes = {name: _in_turn([each for each in TABLES if each.service == name]) for name in SERVICES}
    found: list[Corruption] = []
    while len(found) < number:
        for turn in wishes.values():
            found += [_one(turn, stock, draw)]
    return found[:number]


def _in_turn(tables: list[Table]) -> Iterator[tuple[Table, str]]:
    while True:
        for table in tables:
            yield from ((table, kind) for kind in table.changes)


def _one(
    turn: Iterator[tuple[Table, str]], stock: Mapping[str, list[tuple[Row, str]]], draw: random.Random
) -> Corruption:
    """The next kind of change, on a row that it can be made to."""
    for table, kind in turn:
        for before, processing_id in draw.sample(stock[table.name], len(stock[table.name])):
            after = json.loads(json.dumps(before))
            if table.changes[kind](after, draw):
                return Corruption(table, kind, processing_id, before, None if kind == "delete" else after)
    raise AssertionError("turns do not end")
