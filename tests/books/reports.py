"""Reports made by hand, for the tests of the forms."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

from kessai.services.books.domain.table import Column, Kind, Report, Row
from kessai.services.books.service.forms import FORMS, write

COLUMNS = (
    Column(name="account", title="Account", title_ja="勘定科目"),
    Column(name="name", title="Name", title_ja="名称"),
    Column(name="asset", title="Asset", title_ja="資産"),
    Column(name="balance", title="Balance", title_ja="残高", kind=Kind.MONEY),
    Column(name="entries", title="Entries", title_ja="件数", kind=Kind.INTEGER),
    Column(name="rate", title="Rate", title_ja="税率", kind=Kind.RATE),
    Column(name="day", title="Day", title_ja="日付", kind=Kind.DATE),
    Column(name="at", title="At", title_ja="時刻", kind=Kind.INSTANT),
)
AT = datetime(2026, 4, 30, 15, 0, 1, tzinfo=UTC)
DAY = date(2026, 4, 30)
ROWS: list[Row] = [
    ("1110", "普通預金", "JPY", 1_234_567, 12, "0.10", DAY, AT),
    ("2110", "預り金", "JPY", -1_234_567, 3, "-0.5", DAY, None),
    ("1510", "暗号資産", "BTC", 10_000, 1, None, None, AT),
]
TOTALS: tuple[Row, ...] = (("", "合計", "JPY", 0, 16, None, None, None),)


def report(rows: list[Row] | None = None, *, chunk: int = 2, columns: tuple[Column, ...] = COLUMNS) -> Report:
    """A report of some rows, in small chunks."""
    given = ROWS if rows is None else rows

    async def chunks() -> AsyncIterator[list[Row]]:
        for at in range(0, len(given), chunk):
            yield given[at : at + chunk]

    return Report(
        name="trial_balance",
        title="Trial balance",
        title_ja="残高試算表",
        since=date(2026, 4, 1),
        until=DAY,
        columns=columns,
        chunks=chunks(),
        totals=TOTALS if columns is COLUMNS else (),
        facts=(("Unposted events", "未記帳", 0), ("Deposit", "供託額", 12_000_000)),
        basis="会社法 432条",
    )


async def written(form: str, made: Report) -> bytes:
    """A report in a form."""
    out = io.BytesIO()
    await write(FORMS[form], made, out)
    return out.getvalue()
