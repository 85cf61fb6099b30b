"""What the tracer says of the day: every processing with its verdict, and the one that was found wrong and mended."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from kessai.apps.demo.client import Client
from kessai.apps.demo.diary import PATIENCE_S, PAUSE_S, Diary, expect

VERDICTS_JA = {"CONSISTENT": "一致", "INCONSISTENT": "不一致", "INCOMPLETE": "未完", "PENDING": "判定中"}
COLOURS = {"CONSISTENT": "green", "PENDING": "yellow"}
ROUND = 100
"""Processings of one page."""


def show_verdicts(diary: Diary, console: Console, *, broken: str) -> bool:
    """All processings once all are decided; True when all are consistent, the broken payment's by its repair.

    `broken` is the payment of whose hold the card company said that it was let go of, and kept it.
    """
    client = diary.client
    finding = _closed(client, broken)
    _decided(client)
    known = [client.get(f"/v1/tracer/processings/{each}") for each in _all_ids(client)]
    names = {payment_id: name for name, payment_id in diary.payments.items()}
    console.print(_table(known, names))
    console.print(_story(finding))
    proved = [each["verdict"] for each in known if each["processing_id"] == finding["processing_id"]]
    return {each["verdict"] for each in known} == {"CONSISTENT"} and proved == ["CONSISTENT"]


def _closed(client: Client, payment_id: str) -> dict[str, Any]:
    """The finding on a payment, once it was repaired by rule and proved anew."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        answer = client.ask("GET", f"/v1/tracer/payments/{payment_id}", None, None)
        if not answer.refused and answer.body["finding_id"] is not None:
            finding = client.get(f"/v1/tracer/findings/{answer.body['finding_id']}")
            if finding["state"] == "CLOSED":
                return finding
        expect(time.monotonic() < ends, f"what the card company kept of {payment_id} should have been found and mended")
        time.sleep(PAUSE_S)


def _decided(client: Client) -> None:
    """Wait until nothing is pending."""
    ends = time.monotonic() + PATIENCE_S
    while client.get("/v1/tracer/processings?verdict=PENDING")["processings"]:
        expect(time.monotonic() < ends, "every processing should have its verdict")
        time.sleep(PAUSE_S)


def _all_ids(client: Client) -> list[str]:
    found: list[dict[str, Any]] = []
    for verdict in VERDICTS_JA:
        cursor = ""
        while cursor is not None:
            after = f"&cursor={quote(cursor, safe='')}" if cursor else ""
            page = client.get(f"/v1/tracer/processings?verdict={verdict}&limit={ROUND}{after}")
            found += page["processings"]
            cursor = page["next_cursor"]
    return [each["processing_id"] for each in sorted(found, key=lambda each: each["opened_at"])]


def _table(known: list[dict[str, Any]], names: dict[str, str]) -> Table:
    table = Table(title="Every processing and its verdict · 全処理の判定", title_justify="left")
    table.add_column("#", justify="right")
    for heading in ("processing · 処理", "what · 内容"):
        table.add_column(heading, overflow="fold")
    table.add_column("amount 金額", justify="right")
    for heading in ("compared · 照合した者", "verdicts by revision · 改訂ごとの判定"):
        table.add_column(heading, overflow="fold")
    for number, each in enumerate(known, 1):
        kind, amount, effect_id = _subject(each)
        what = names.get(effect_id, kind)
        others = [*each["participants"], *_outside(each)]
        table.add_row(str(number), f"…{each['processing_id'][-12:]}", what, amount, ", ".join(others), _course(each))
    return table


def _subject(processing: dict[str, Any]) -> tuple[str, str, str]:
    """What it is about: the first effect where it began."""
    for told in reversed(processing["reports"]):
        effects = told["report"]["effects"]
        if told["participant"] == processing["entry"] and effects:
            return effects[0]["kind"], f"¥{abs(effects[0]['amount_minor']):,}", effects[0]["effect_id"]
    return "", "", ""


def _outside(processing: dict[str, Any]) -> list[str]:
    """Parties outside with which a participant compared itself."""
    named = {name for told in processing["reports"] for name in told["report"]["dependencies"]}
    return sorted(named - set(processing["participants"]))


def _course(processing: dict[str, Any]) -> str:
    given = [each["verdict"] for each in processing["verdicts"]]
    course = [*(each for at, each in enumerate(given[:-1]) if each != given[at + 1]), processing["verdict"]]
    last = f"{course[-1]} {VERDICTS_JA[course[-1]]}"
    shown = " → ".join([*(f"[red]{each}[/red]" if each not in COLOURS else each for each in course[:-1]), ""])
    return f"{shown}[{COLOURS.get(course[-1], 'red')}]{last}[/]"


def _story(finding: dict[str, Any]) -> Table:
    table = Table(title="One was broken on purpose · 故意に壊した処理の発見と修復", title_justify="left")
    for heading in ("state · 状態", "by · 担当", "what · 内容"):
        table.add_column(heading, overflow="fold")
    for step in finding["steps"]:
        table.add_row(step["state"], step["by"], step["reason"])
    return table
