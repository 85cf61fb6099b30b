"""docs/tutorials/zengin.md runs as it stands: its files are written, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "tutorials" / "zengin.md").read_text(encoding="utf-8")
FILES = re.compile(r"^`(\w+\.py)`\n\n```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_tutorials_files_run_and_print_what_it_says(tmp_path: Path) -> None:
    for name, text, expected in FILES.findall(PAGE):
        (tmp_path / name).write_text(text, encoding="utf-8")
        program = subprocess.run(
            [sys.executable, "-X", "utf8", name], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
        )
        assert program.returncode == 0, program.stderr
        assert _own(program.stdout, name) == expected


def _own(printed: str, name: str) -> str:
    """What a file prints; those that take up `payday.py` print its five lines first."""
    lines = printed.splitlines(keepends=True)
    return "".join(lines[5:] if name in ("debits.py", "long.py") else lines)


def test_every_python_block_of_the_page_is_run() -> None:
    assert len(re.findall(r"^```python$", PAGE, re.MULTILINE)) == len(FILES.findall(PAGE)) == 5
