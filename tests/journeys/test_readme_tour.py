"""The README's tour, as a reader would type it: every command is run, and answers what the README says."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kessai.apps.bench.program import PlatformProcess

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NOT_TYPED = ("make up", "KEY=kes_…", "URL=http://127.0.0.1:8080")
BETWEEN = "=== the next block ==="

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is made with curl")


def tour(language: str) -> list[str]:
    """The tour's code blocks."""
    section = README.split("## A two-minute tour")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def script(url: str, key: str, verify: str) -> str:
    """The tour's commands with this platform's address and key, and what they say kept apart."""
    blocks = ["\n".join(line for line in block.splitlines() if line not in NOT_TYPED) for block in tour("sh")]
    text = f"\necho '{BETWEEN}'\n".join(blocks).replace(".venv/bin/kessai verify", verify)
    return f"set -u\nKEY={key}\nURL={url}\n{text}"


def answers(block: str) -> list[tuple[int, dict[str, str], Any]]:
    """Status, headers and body of each of the answers that `post` has shown."""
    found: list[tuple[int, dict[str, str], Any]] = []
    for answer in re.split(r"^HTTP/1\.1 ", block.replace("\r", ""), flags=re.MULTILINE)[1:]:
        head, body = answer.split("\n\n", 1)
        status, *headers = head.splitlines()
        named = dict(line.lower().split(": ", 1) for line in headers)
        found.append((int(status.split()[0]), named, json.loads(body.splitlines()[0])))
    return found


@pytest.fixture
async def platform(database_url: str) -> AsyncIterator[PlatformProcess]:
    """A platform on a database of its own."""
    platform = PlatformProcess("--database-url", database_url)
    try:
        await platform.start()
        yield platform
        await platform.stop()
    finally:
        await platform.kill()
        await platform.close()


async def test_tour_answers_what_the_readme_says(platform: PlatformProcess, database_url: str) -> None:
    verify = f"{sys.executable} -m kessai.apps.cli verify --database-url '{database_url}'"
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script(platform.url, platform.api_key, verify),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    _, _, opening, repetition, refusal, charge, past, _ = out.decode().split(BETWEEN)

    assert [status for status, _, _ in answers(opening)] == [201, 201]
    (again, replayed, _), (other, _, reuse) = answers(repetition)
    assert (again, replayed["idempotent-replayed"]) == (201, "true")
    assert (other, reuse["code"]) == (422, "idempotency_key_reused")

    ((status, _, problem),) = answers(refusal)
    told = json.loads(tour("json")[0])
    assert status == told["status"] == problem["status"]
    assert set(told) == set(problem)
    assert {key: problem[key] for key in told if "…" not in str(told[key])} == {
        key: value for key, value in told.items() if "…" not in str(value)
    }

    held, captured, refunded = answers(charge)
    assert [held[0], captured[0], refunded[0]] == [201, 200, 201]
    assert (captured[2]["captured_minor"], refunded[2]["amount_minor"]) == (700, 200)
    steps = json.loads(charge.strip().splitlines()[-1])
    assert "CAPTURED" in json.dumps(steps)

    snapshot, logs, totals = (json.loads(line) for line in past.strip().splitlines() if line.startswith("{"))
    assert (snapshot["balance_minor"], snapshot["held_minor"]) == (20_000, 1_000)
    assert sum(lot["remaining_minor"] for lot in snapshot["lots"]) == 20_000
    assert len(logs["logs"]) >= 4
    sums: dict[str, int] = {}
    for each in totals["totals"]:
        sums[each["asset"]] = sums.get(each["asset"], 0) + each["balance_minor"]
    assert set(sums.values()) == {0}
