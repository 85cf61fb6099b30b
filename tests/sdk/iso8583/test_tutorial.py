"""docs/tutorials/iso8583.md runs as it stands: its files are written, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from kessai.sdk.iso8583 import FIELDS, PROFILES

PAGE = (Path(__file__).parents[3] / "docs" / "tutorials" / "iso8583.md").read_text(encoding="utf-8")
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
    """What a file prints; all but the first take up `purchase.py`, and print its three lines before their own."""
    lines = printed.splitlines(keepends=True)
    return "".join(lines if name == "purchase.py" else lines[3:])


def test_every_python_block_of_the_page_is_run() -> None:
    assert len(re.findall(r"^```python$", PAGE, re.MULTILINE)) == len(FILES.findall(PAGE)) == 4


def test_the_page_names_every_field() -> None:
    named = {int(each) for row in re.findall(r"^\| ([0-9, ]+) \| `", PAGE, re.MULTILINE) for each in row.split(", ")}
    assert named == {each.number for each in FIELDS}
    assert [each.name for each in FIELDS if f"`{each.name}`" not in PAGE] == []


def test_the_page_says_which_type_has_which_fields() -> None:
    said: dict[str, tuple[set[int], set[int]]] = {}
    for types, needed, others in re.findall(r"^\| ([0-9, ]+) \| \*\*([0-9 ]+)\*\*([^|;]*)", PAGE, re.MULTILINE):
        optional = {int(each) for each in re.findall(r"[0-9]+", others)}
        for mti in types.split(", "):
            said[mti] = {int(each) for each in needed.split()}, optional
    assert said == {
        mti.value: (set(each.required), set(each.allowed - each.required)) for mti, each in PROFILES.items()
    }
