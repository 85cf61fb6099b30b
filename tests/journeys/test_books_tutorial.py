"""docs/tutorials/books.md does what it says: its commands are typed in its order, beside a running platform."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from beancount import loader

from kessai.apps.bench.program import PlatformProcess
from tests.journeys.test_readme_tour import BETWEEN, NOT_TYPED, tour

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorials" / "books.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HEARD = {
    0: 'get "/v1/books/trial-balance?month=$MONTH" | grep -q \'"account":"2210"\'',
    2: "get /v1/books/unposted-events | grep -q raffle",
}
"""What is so, after some of the blocks, once the books have heard of them."""
PATIENCE_S = 300

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is made with curl")


@pytest.fixture
async def platform(database_url: str) -> AsyncIterator[PlatformProcess]:
    """A platform on a database of its own, whose clock can be moved."""
    platform = PlatformProcess("--database-url", database_url, "--sandbox")
    try:
        await platform.start()
        yield platform
        await platform.stop()
    finally:
        await platform.kill()
        await platform.close()


def script(url: str, key: str) -> str:
    """The page's commands with this platform's address and key, and what they say kept apart."""
    named = "\n".join(line for line in tour("sh")[1].splitlines() if line not in NOT_TYPED)
    text = f"set -eu\nKEY={key}\nURL={url}\n{named}\n"
    for number, block in enumerate(BLOCKS):
        waited = f"until {HEARD[number]}; do sleep 0.2; done\n" if number in HEARD else ""
        text += f"echo '{BETWEEN}'\n{block}{waited}"
    closing = r"^(\.venv/bin/kessai books close .*)$"
    text = re.sub(closing, r"until \1; do sleep 0.5; done", text, flags=re.MULTILINE)
    return text.replace(".venv/bin/kessai", f"{sys.executable} -m kessai.apps.cli")


async def typed(platform: PlatformProcess, database_url: str, folder: Path) -> list[str]:
    """What each block prints."""
    (folder / "src").symlink_to(ROOT / "src")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script(platform.url, platform.api_key)),
        cwd=folder,
        env=os.environ | {"KESSAI_DATABASE_URL": database_url, "KESSAI_SANDBOX": "true"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out.decode() + errors.decode()
    return out.decode().split(BETWEEN)[1:]


async def test_the_tutorials_commands_give_what_it_says(
    platform: PlatformProcess, database_url: str, tmp_path: Path
) -> None:
    paid, booked, raffle, aside, mended, ended, taken, late = await typed(platform, database_url, tmp_path)

    assert [paid.count(f" {status} ") for status in (201, 422)] == [3, 0]
    assert "△19,000" in booked
    assert "総勘定元帳 2110" in booked
    assert "201 Created" in raffle
    assert "no_rule" in aside
    assert "1 booked, 0 still stand." in mended
    assert "2678400" in ended
    assert re.search(r"│ funds +│ JPY +│ 0 +│ 19,000 +│", ended)
    assert re.search(r"^\d{4}-\d\d: CLOSED$", ended, re.MULTILINE)
    assert "the month is over" in ended
    assert "trial_balance.pdf  " in taken
    assert (tmp_path / "trial_balance.pdf").read_bytes().startswith(b"%PDF")
    entries, wrong, _ = loader.load_file(str(tmp_path / "books.beancount"))
    assert (bool(entries), wrong) == (True, [])
    assert '"code":"period_closed"' in late
