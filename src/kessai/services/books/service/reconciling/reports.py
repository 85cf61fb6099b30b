"""The report of reconciliations (照合表): of each the last run of some days, with everything that it found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta

from kessai.foundation.clock import TOKYO
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid
from kessai.foundation.ids import bare
from kessai.services.books.api.reconciling import Reconciliation, ReconciliationName
from kessai.services.books.domain.table import Cell, Column, Kind, Report, Row
from kessai.services.books.service.asked import Asked, Offer, Offers
from kessai.services.books.store import reconciling as store

ROWS_AT_ONCE = 1_000
NAMES_JA = {
    ReconciliationName.LEDGER: "会計帳簿と台帳",
    ReconciliationName.PAYMENT: "会計帳簿と決済",
    ReconciliationName.STATUTORY: "法定帳簿と台帳",
    ReconciliationName.BANK: "会計帳簿と銀行",
    ReconciliationName.TRACER: "会計帳簿と処理の判定",
}
COLUMNS = (
    Column(name="reconciliation", title="Reconciliation", title_ja="照合"),
    Column(name="through", title="Through", title_ja="基準時点", kind=Kind.INSTANT),
    Column(name="kind", title="Kind", title_ja="差異の種類"),
    Column(name="state", title="State", title_ja="状態"),
    Column(name="subject", title="Subject", title_ja="対象"),
    Column(name="asset", title="Asset", title_ja="資産"),
    Column(name="theirs", title="Theirs", title_ja="相手方", kind=Kind.MONEY),
    Column(name="ours", title="Books", title_ja="帳簿", kind=Kind.MONEY),
    Column(name="at", title="Recorded", title_ja="記録日時", kind=Kind.INSTANT),
    Column(name="text", title="What", title_ja="内容"),
    Column(name="finding", title="Finding", title_ja="指摘番号"),
)


def offers_of(database: Database) -> Offers:
    """What can be asked for."""

    async def build(asked: Asked) -> Report:
        return await _report(database, asked)

    return {"reconciliation": Offer(build=build, optional=("name",))}


async def _report(database: Database, asked: Asked) -> Report:
    runs = [run for name in _names(asked) if (run := await _last(database, name, asked.since, asked.until)) is not None]
    facts: list[tuple[str, str, Cell]] = []
    for run in runs:
        english, japanese = f"{run.name}: {{}}", f"{NAMES_JA[run.name]}: {{}}"
        facts += [
            (english.format("differences"), japanese.format("差異"), run.differences),
            (english.format("explained"), japanese.format("説明済み"), run.explained),
            (english.format("in flight"), japanese.format("配送中"), run.in_flight),
            (english.format("compared"), japanese.format("照合件数"), run.compared),
        ]
    return Report(
        name=asked.name,
        title="Reconciliation of the books",
        title_ja="帳簿照合表",
        since=asked.since,
        until=asked.until,
        columns=COLUMNS,
        chunks=_rows(database, runs),
        facts=tuple(facts),
    )


def _names(asked: Asked) -> list[ReconciliationName]:
    if (name := asked.filters.get("name")) is None:
        return list(ReconciliationName)
    if name not in list(ReconciliationName):
        raise Invalid("reconciliation_unknown", f"There is no reconciliation {name}.", field="name")
    return [ReconciliationName(name)]


async def _last(database: Database, name: ReconciliationName, since: date, until: date) -> Reconciliation | None:
    """The run of a name that ended last within some days."""
    begins, ends = (datetime.combine(day, time(), TOKYO) for day in (since, until + timedelta(days=1)))
    runs = await store.list_runs(database, name, before=ends, before_id="0" * 32, limit=1)
    return runs[0] if runs and runs[0].finished_at >= begins else None


async def _rows(database: Database, runs: list[Reconciliation]) -> AsyncIterator[list[Row]]:
    for run in runs:
        after = 0
        while page := await store.list_differences(
            database, bare(run.reconciliation_id), after=after, limit=ROWS_AT_ONCE
        ):
            yield [
                (run.name.value, run.through, each.kind.value, each.state.value, each.subject, each.asset,
                 each.theirs_minor, each.ours_minor, each.at, each.text, each.finding_id)
                for each in page
            ]  # fmt: skip
            after = page[-1].line
