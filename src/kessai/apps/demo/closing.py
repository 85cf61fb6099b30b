"""The day is closed in the books (締め): sheets are printed and written for signature, everything is reconciled."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from kessai.apps.demo.client import Client
from kessai.apps.demo.diary import PATIENCE_S, PAUSE_S, Diary, expect

TOKYO = ZoneInfo("Asia/Tokyo")
SHEETS = ("trial_balance", "funds_transfer_day", "prepaid_ledger")
"""What is printed, and written as PDF."""
LEFT_OUT = {
    "trial_balance": ("section",),
    "funds_transfer_day": (
        "base_date",
        "account_type",
        "receipts",
        "fees",
        "payouts",
        "returns",
        "customers",
        "late_lines",
    ),
    "prepaid_ledger": ("base_date", "denomination", "issued_count", "redeemed_count", "repaid", "told"),
}
"""Columns that the PDF has and a terminal has no room for."""
RECONCILIATIONS = {
    "ledger": "accounting ↔ ledger · 会計帳簿と台帳",
    "payment": "accounting ↔ payments · 会計帳簿と決済",
    "statutory": "statutory ↔ ledger · 法定帳簿と台帳",
    "bank": "accounting ↔ bank · 会計帳簿と銀行",
    "tracer": "accounting ↔ verdicts · 会計帳簿と処理の判定",
}


def today(client: Client) -> str:
    """The platform's business day."""
    now = datetime.fromisoformat(client.get("/v1/sandbox/clock")["now"])
    return now.astimezone(TOKYO).date().isoformat()


def close_day(diary: Diary, console: Console, folder: Path, *, since: str) -> bool:
    """Close the day that it is, print and write its sheets from the day `since` on; True when nothing differs."""
    client, until = diary.client, today(diary.client)
    diary.advance(_until_midnight(diary.now()))
    day = _statutory_day(client, until)
    for name in SHEETS:
        console.print(_sheet(client, name, since, until))
    files = list(_write(client, folder, since, until))
    console.print(_told(files))
    runs = _reconciled(client)
    console.print(_reconciliations(runs))
    closed = day["day"] == until and not any(run["differences"] or run["in_flight"] for run in runs)
    if closed:
        console.print(f"[green]{until} is closed, all reconciliations are at zero · 締め完了、照合差異なし[/green]")
    return closed


def _until_midnight(now: datetime) -> timedelta:
    local = now.astimezone(TOKYO)
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=5, second=0, microsecond=0)
    return midnight - local


def _statutory_day(client: Client, day: str) -> dict[str, Any]:
    """The day's statutory books, once the ledger's feed has told all of it."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        answer = client.try_post("/v1/books/statutory-days", {"day": day})
        if not answer.refused:
            return answer.body
        expect(time.monotonic() < ends, f"the statutory books of {day} should have been made: {answer.body}")
        time.sleep(PAUSE_S)


def _reconciled(client: Client) -> list[dict[str, Any]]:
    """A run of each reconciliation, once nothing is on its way any more."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        runs = [client.post("/v1/books/reconciliations", {"name": name}) for name in RECONCILIATIONS]
        if time.monotonic() > ends or not any(run["differences"] or run["in_flight"] for run in runs):
            return runs
        time.sleep(PAUSE_S)


# -- sheets -------------------------------------------------------------------------------------------------------


def _sheet(client: Client, name: str, since: str, until: str) -> Table:
    file = client.get(f"/v1/books/reports/{name}?since={since}&until={until}")
    report = json.loads(file["content"])
    shown = [n for n, each in enumerate(report["columns"]) if each["name"] not in LEFT_OUT.get(name, ())]
    table = Table(title=f"{report['title']} · {report['title_ja']}", title_justify="left", caption_justify="left")
    for number in shown:
        column = report["columns"][number]
        right = column["kind"] in ("money", "integer")
        heading = f"{column['title']}\n{column['title_ja']}"
        table.add_column(
            heading, justify="right" if right else "left", no_wrap=column["kind"] == "date", overflow="fold"
        )
    if name == "trial_balance":
        _name_in_english(client, report, since, until)
    for row in report["rows"]:
        table.add_row(*_cells(row, shown, report))
    if report["totals"]:
        table.add_section()
        for row in report["totals"]:
            table.add_row(*_cells(row, shown, report))
    return table


def _name_in_english(client: Client, report: dict[str, Any], since: str, until: str) -> None:
    """Put the accounts' English names before their Japanese ones."""
    names = [each["name"] for each in report["columns"]]
    account, title = names.index("account"), names.index("account_name")
    lines = client.get(f"/v1/books/trial-balance?since={since}&until={until}")["lines"]
    english = {line["account"]: line["name"] for line in lines}
    for row in report["rows"]:
        row[title] = f"{english.get(row[account], '')} {row[title]}".strip()


def _cells(row: Sequence[Any], shown: Sequence[int], report: dict[str, Any]) -> Iterator[str]:
    """Money as people read it: by the exponent of the row's asset, or of its column's."""
    names = [each["name"] for each in report["columns"]]
    own = row[names.index("asset")] if "asset" in names else None
    for number in shown:
        column, cell = report["columns"][number], row[number]
        if column["kind"] == "money" and isinstance(cell, int):
            exponent = report["exponents"].get(own or column.get("asset"), 0)
            yield f"{cell:,}" if exponent == 0 else f"{cell / 10**exponent:,.{exponent}f}"
        else:
            yield "" if cell is None else str(cell)


# -- files --------------------------------------------------------------------------------------------------------


def _write(client: Client, folder: Path, since: str, until: str) -> Iterator[tuple[str, Path, int]]:
    """Write the sheets for signature, and the journal for another program; gives what, where, how many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = [(name, "pdf") for name in (*SHEETS, "reconciliation")]
    for name, form in [*asked, ("journal", "beancount")]:
        file = client.get(f"/v1/books/reports/{name}?since={since}&until={until}&format={form}")
        content = base64.b64decode(file["content"]) if file["base64"] else file["content"].encode()
        path = folder / file["file_name"]
        path.write_bytes(content)
        yield name, path, len(content)


def _told(files: Sequence[tuple[str, Path, int]]) -> Table:
    table = Table(title="Written for signature and for other programs · 出力ファイル", title_justify="left")
    table.add_column("report · 帳票")
    table.add_column("file · ファイル", overflow="fold")
    table.add_column("bytes", justify="right")
    for name, path, size in files:
        table.add_row(name, str(path), f"{size:,}")
    return table


def _reconciliations(runs: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Reconciliations · 照合", title_justify="left")
    table.add_column("what with what · 対象")
    for heading in ("compared · 件数", "in flight · 配送中", "explained · 説明済み", "differences · 差異"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for run in runs:
        counts = (run["compared"], run["in_flight"], run["explained"], run["differences"])
        mark = "✗" if run["differences"] or run["in_flight"] else "✓"
        table.add_row(RECONCILIATIONS[run["name"]], *(f"{each:,}" for each in counts), mark)
    return table
