"""Clearing's rows: files and their lines, and what a flush that decides lines reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

from kessai.foundation import events
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.groupcommit import Conflicted
from kessai.services.nfc.api.clearing import (
    TOPIC_CLEARING,
    ClearingFileChanged,
    ClearingFileState,
    ClearingLineWrong,
    LineKind,
    LineOutcome,
)
from kessai.services.nfc.domain.clearing import ClearingCard, ClearingPage, Line, Place, Sale
from kessai.services.nfc.store import ROLE, SCHEMA
from kessai.services.nfc.store.findings import add_findings

_SQL = load_queries("kessai.services.nfc", file="sql/clearing.sql")
LAST_SEQUENCE = 2**62
MERCHANT_SALES_MAX = 2_000


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A clearing file as it is kept; counts and sums are the trailer's."""

    file_id: str
    sequence: int
    day: date
    state: ClearingFileState
    code: str | None
    sha256: bytes
    lines: int
    sales_count: int = 0
    sales_minor: int = 0
    refunds_count: int = 0
    refunds_minor: int = 0
    reversals_count: int = 0
    reversals_minor: int = 0
    taken_at: datetime
    cleared_at: datetime | None = None
    version: int = 1


# -- files ----------------------------------------------------------------------------------------------------------


async def files_named(database: Database, file_ids: Sequence[str]) -> dict[str, File]:
    """Those of them that were heard of."""
    rows = await database.fetch(ROLE, _SQL["files_named"], list(file_ids))
    return {row["file_id"]: _file(row) for row in rows}


async def files_before(database: Database, sequence: int, limit: int) -> list[File]:
    """Files below a sequence, the highest first."""
    return [_file(row) for row in await database.fetch(ROLE, _SQL["files_before"], sequence, limit)]


async def sequences_between(database: Database, first: int, last: int) -> set[int]:
    """Which sequences of these are those of files that we know."""
    return {row["sequence"] for row in await database.fetch(ROLE, _SQL["sequences_between"], first, last)}


async def files_in(database: Database, state: ClearingFileState, limit: int) -> list[File]:
    """Files in a state, the lowest sequence first."""
    return [_file(row) for row in await database.fetch(ROLE, _SQL["files_in_state"], state.value, limit)]


async def write_file(
    connection: Connection,
    file: File,
    lines: Sequence[Line],
    wrong: Sequence[ClearingLineWrong] | None,
    now: datetime,
) -> bool:
    """Keep a new file (version 1), or the next version of one, with its lines; False: another process was first.

    `wrong` None: what was kept of unreadable lines stays.
    """
    name = "insert_files" if file.version == 1 else "update_files"
    if not await connection.fetch(_SQL[name], *_columns([_file_row(file)])):
        return False
    if wrong is not None:
        await connection.execute(_SQL["delete_wrong_lines"], [file.file_id])
    if wrong:
        await connection.execute(
            _SQL["insert_wrong_lines"],
            *_columns([(file.file_id, each.line, each.position, each.code) for each in wrong]),
        )
    if lines:
        await connection.execute(_SQL["insert_lines"], *_columns(map(_line_row, lines)))
    changed = ClearingFileChanged(
        file_id=file.file_id,
        sequence=file.sequence,
        day=file.day,
        state=file.state,
        code=file.code,
        lines=file.lines,
        occurred_at=now,
    )
    rows = [events.outbox_row(TOPIC_CLEARING, [changed], now)]
    await connection.execute(events.outbox_insert(SCHEMA.service), *_columns(rows))
    return True


async def wrong_lines(database: Database, file_id: str, limit: int) -> list[ClearingLineWrong]:
    """Lines of a file that could not be read, in their order."""
    rows = await database.fetch(ROLE, _SQL["wrong_lines_of"], file_id, limit)
    return [ClearingLineWrong(line=row["record"], position=row["place"], code=row["code"]) for row in rows]


async def outcomes(database: Database, file_id: str) -> dict[str | None, int]:
    """How many lines of a file came to what; None: to nothing yet."""
    rows = await database.fetch(ROLE, _SQL["outcomes_of"], file_id)
    return {row["outcome"]: row["lines"] for row in rows}


async def undecided(database: Database, file_ids: Sequence[str]) -> dict[str, int]:
    """How many lines of files have no outcome; a file without such lines is left out."""
    rows = await database.fetch(ROLE, _SQL["undecided_of"], list(file_ids))
    return {row["file_id"]: row["lines"] for row in rows}


async def lines_after(
    database: Database, file_id: str, after: int, limit: int, outcome: LineOutcome | None = None
) -> list[Line]:
    """A page of a file's lines, in their order."""
    rows = await database.fetch(ROLE, _SQL["lines_after"], file_id, after, outcome and outcome.value, limit)
    return [_line(row) for row in rows]


async def undecided_lines(database: Database, file_id: str, limit: int) -> list[Line]:
    """The first lines of a file that have no outcome, in their order."""
    return [_line(row) for row in await database.fetch(ROLE, _SQL["undecided_after"], file_id, limit)]


# -- deciding lines ---------------------------------------------------------------------------------------------------


async def read_page(database: Database, page: ClearingPage, lines: Sequence[Line]) -> list[str]:
    """What is to be known to decide these lines; gives the authorizations that they may be about."""

    async def read(connection: Connection) -> None:
        await _read_lines(connection, page, [each.place for each in lines])
        sales = await connection.fetch(_SQL["sales_of"], [each.reference for each in lines])
        page.sales.update({row["reference"]: _sale(row) for row in sales})
        await _read_merchants(connection, page, [each for each in lines if each.kind is LineKind.REFUND])
        for row in await connection.fetch(_SQL["authorizations_of_rrns"], list({each.rrn for each in lines})):
            name = f"{row['acquirer']:0>11}", row["rrn"]
            page.candidates.setdefault(name, []).append(row["authorization_id"].hex)
        for row in await connection.fetch(_SQL["cards_cleared"], list({each.card for each in lines})):
            page.cards[row["reference"]] = ClearingCard(
                card_id=f"vpc_{row['card_id'].hex}",
                customer_id=row["customer_id"],
                token=row["token"],
                last_four=row["last_four"],
            )
        ids = [each for found in page.candidates.values() for each in found]
        rows = await connection.fetch(_SQL["taken_back"], ids)
        page.taken_back.update(row["authorization_id"].hex for row in rows)

    await database.transaction(ROLE, read, isolation="repeatable_read")
    candidates = {each for found in page.candidates.values() for each in found}
    return sorted(candidates | {each for sale in page.sales.values() for each in sale.borne_by})


async def _read_lines(connection: Connection, page: ClearingPage, places: Sequence[Place]) -> None:
    rows = await connection.fetch(_SQL["lines_at"], *_columns(places))
    page.lines.update({(row["file_id"], row["line"]): _line(row) for row in rows})


async def _read_merchants(connection: Connection, page: ClearingPage, refunds: Sequence[Line]) -> None:
    """What a refund may be of that does not name its sale: those of its card at its merchant."""
    wanted = {(each.card, each.merchant) for each in refunds if each.reference not in page.sales}
    if not wanted:
        return
    for row in await connection.fetch(_SQL["sales_at"], *_columns(sorted(wanted)), MERCHANT_SALES_MAX):
        sale = _sale(row)
        page.sales[sale.reference] = sale
        page.of_merchant.setdefault((sale.card, sale.merchant), []).append(sale.reference)


async def write_page(connection: Connection, page: ClearingPage, now: datetime) -> None:
    """Lines that were decided, the sales that they make, and what was found; Conflicted when others were first."""
    decided = [
        (each.file_id, each.line, each.outcome, each.moved_minor, each.authorization_id, each.decided_at)
        for each in page.decided
    ]
    if decided and len(await connection.fetch(_SQL["decide_lines"], *_columns(decided))) != len(decided):
        raise Conflicted
    sold = [
        (each.reference, each.file_id, each.line, each.card, each.merchant, each.amount_minor, ",".join(each.borne_by))
        for each in page.sold
    ]
    if sold and len(await connection.fetch(_SQL["insert_sales"], *_columns(sold))) != len(sold):
        raise Conflicted
    await add_findings(connection, page.found, now)


# -- rows -----------------------------------------------------------------------------------------------------------


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _file(row: asyncpg.Record) -> File:
    values: dict[str, Any] = dict(row)
    values["state"] = ClearingFileState(values["state"])
    return File(**values)


def _file_row(file: File) -> tuple[object, ...]:
    return tuple(getattr(file, name) for name in File.__struct_fields__)


def _line(row: asyncpg.Record) -> Line:
    values: dict[str, Any] = dict(row)
    values["kind"] = LineKind(values["kind"])
    values["outcome"] = values["outcome"] and LineOutcome(values["outcome"])
    values["authorization_id"] = values["authorization_id"] and values["authorization_id"].hex
    return Line(**values)


def _line_row(each: Line) -> tuple[object, ...]:
    return (
        each.file_id, each.line, each.kind.value, each.card, each.amount_minor, each.currency, each.authorized_on,
        each.approval_code, each.rrn, each.merchant, each.mcc, each.acquirer, each.reference, each.processed_on,
    )  # fmt: skip


def _sale(row: asyncpg.Record) -> Sale:
    values: dict[str, Any] = dict(row)
    values["borne_by"] = tuple(each.hex for each in row["borne_by"])
    return Sale(**values)
