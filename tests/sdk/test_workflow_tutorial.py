"""docs/tutorials/workflow.md runs as it stands: its files are written, and print what it says."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import SharedServer

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "workflow.md").read_text(encoding="utf-8")
FILES = re.compile(r"^`([\w/]+\.\w+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("shop.main", "shop.crashes")
"""What the page has run, in its order; each is followed by what it prints."""


@pytest.fixture
async def dsn(postgres: SharedServer) -> AsyncIterator[str]:
    """An empty database."""
    name = f"tutorial_{uuid4().hex[:12]}"
    await postgres.execute(f'CREATE DATABASE "{name}"')
    yield postgres.dsn_of(name)
    await postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def test_the_tutorials_files_run_and_print_what_it_says(dsn: str, tmp_path: Path) -> None:
    for name, text in FILES.findall(PAGE):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for module, expected in zip(RUN, PRINTED.findall(PAGE), strict=True):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, dsn),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaint = await program.communicate()
        assert program.returncode == 0, complaint.decode()
        assert _without_log(printed.decode()) == expected


def test_every_python_block_of_the_page_is_in_a_file_that_is_run() -> None:
    assert len(re.findall(r"^```python$", PAGE, re.MULTILINE)) == sum(
        name.endswith(".py") for name, _ in FILES.findall(PAGE)
    )


def _without_log(printed: str) -> str:
    return "".join(line for line in printed.splitlines(keepends=True) if not re.match(r"^(\{|\d{4}-|\x1b)", line))
