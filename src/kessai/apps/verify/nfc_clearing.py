"""Clearing: files are their lines, lines are sales or findings, and a sale is borne as far as it was not given back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import asyncpg

from kessai.apps.verify.checks import Check, run_check
from kessai.apps.verify.finding import Report
from kessai.apps.verify.payments import ROWS_AT_ONCE
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.foundation.ids import derived_hex
from kessai.services.nfc.domain.reconciling import FIGURES

FILE = "a clearing file is its lines"
SALE = "what bears a sale is what of it was not given back"
COMPARED = "a day that was compared agrees where its figures do"
FOUND = "a finding of the clearing is as it was published"
ROWS = (
    Check("broken_clearing_files", FILE),
    Check("stray_clearing_rows", FILE),
    Check("broken_clearing_lines", "a line of a clearing file is a sale, gives one back, or is a finding"),
    Check("broken_sales", SALE),
    Check("cleared_without_sale", SALE),
    Check("forced_against_lines", SALE),
    Check("broken_clearing_findings", FOUND),
    Check("broken_days", COMPARED),
)


async def check_clearing(connection: Connection, report: Report) -> None:
    """Report every file, line, sale and finding that does not follow from the rows it was made from."""
    sql = load_queries("kessai.apps.verify", file="sql/nfc_clearing.sql")
    for check in ROWS:
        await run_check(connection, sql, check, report, schema="nfc", types={})
    for row in await connection.fetch(sql["whole_files"]):
        if row["sha256"] != await _digest_of(connection, sql, row):
            report.add(FILE, "nfc.clearing_file", row["file_id"], "written anew from its lines it is another file")
    for row in await connection.fetch(sql["figures"]):
        if sorted(row["figures"]) != sorted(FIGURES):
            report.add(COMPARED, "nfc.clearing_day", row["day"], "it was not compared in every figure, or twice in one")
    async for row in connection.cursor(sql["findings"], prefetch=ROWS_AT_ONCE):
        if row["finding_id"].hex != derived_hex("nfc", "finding", row["kind"], row["about"]):
            key = f"cfd_{row['finding_id'].hex}"
            report.add(FOUND, "nfc.clearing_finding", key, "its id is not that of what it is about")
    async for row in connection.cursor(sql["notes"], prefetch=ROWS_AT_ONCE):
        if row["note_id"].hex != derived_hex("nfc", "finding_note", row["noted_by"], row["note"], str(row["closes"])):
            key = f"cfd_{row['finding_id'].hex}/{row['note_id'].hex}"
            report.add(FOUND, "nfc.clearing_finding_note", key, "its id is not that of what it says")


# -- files ------------------------------------------------------------------------------------------------------------


async def _digest_of(connection: Connection, sql: Queries, file: asyncpg.Record) -> bytes:
    """Of a file as its lines and its trailer's sums make it: docs/services/cardnetwork_simulator.md has the layout."""
    digest = hashlib.sha256()
    digest.update(_record(f"HCL{file['file_id']:<32}{file['day']:%Y%m%d}{file['sequence']:06d}"))
    async for row in connection.cursor(sql["lines_of_file"], file["file_id"], prefetch=ROWS_AT_ONCE):
        digest.update(_record("".join(_detail(row))))
    sums = (f"{file[f'{kind}_count']:06d}{file[f'{kind}_minor']:015d}" for kind in ("sales", "refunds", "reversals"))
    digest.update(_record(f"T{file['lines']:06d}{''.join(sums)}"))
    return digest.digest()


def _record(text: str) -> bytes:
    return f"{text:<160}\n".encode()


def _detail(row: asyncpg.Record) -> Iterator[str]:
    yield f"D{row['line']:06d}{row['kind']}{row['card']:<16}{row['amount_minor']:012d}{row['currency']:<3}"
    yield f"{row['authorized_on']:%Y%m%d}{row['approval_code'] or '':<6}{row['rrn']:<12}{row['merchant']:<15}"
    yield f"{row['mcc']:<4}{row['acquirer']:<11}{row['reference']:<23}{row['processed_on']:%Y%m%d}"
