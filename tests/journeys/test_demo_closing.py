"""The day that `kessai demo` plays is closed in the books: sheets, files for signature, reconciliations at zero."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from rich.console import Console

from kessai.apps.demo.closing import close_day, today
from tests.journeys.town import opened


async def test_the_demonstrated_day_closes_with_everything_at_zero(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path / "platform") as town:
        began = await asyncio.to_thread(today, town.client)
        diary = await town.played()
        out = io.StringIO()
        console = Console(file=out, width=140)
        assert await asyncio.to_thread(close_day, diary, console, tmp_path / "sheets", since=began)
        printed = out.getvalue()
        for title in ("合計残高試算表", "未達債務日計表", "前払式支払手段", "照合差異なし", "Bank deposits 普通預金"):
            assert title in printed
        files = {path.suffix: path.read_bytes() for path in (tmp_path / "sheets").iterdir()}
        assert files[".pdf"].startswith(b"%PDF")
        assert b"open Assets:1110-Bank-Deposits" in files[".beancount"]
