"""What no file of the repository may hold, and what its lock must."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")

_REGISTRY = re.compile(r"https?://[^\s\"')]*(?:pypi|pythonhosted|/simple\b|artifactory|nexus)", re.IGNORECASE)
_MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:root|home/\w+|Users/\w+|work|opt/\w+)/")
_PACKAGE = r"[a-z0-9][a-z0-9._-]*"
_EXAMPLES = ("/root/",)
"""Folders that texts may speak of: where the database's user cannot go."""


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    skipped = {".venv", ".git", ".kessai", "__pycache__", ".ruff_cache", ".hypothesis"}
    return [file for file in ROOT.rglob("*") if file.is_file() and not skipped.intersection(file.parts)]


@pytest.mark.parametrize("pattern", [_REGISTRY, _MACHINE_PATH], ids=["registry", "machine path"])
def test_no_file_names_a_registry_or_a_path_of_one_machine(pattern: re.Pattern[str]) -> None:
    found: list[str] = []
    for file in _files():
        if file == Path(__file__):
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {each}" for each in pattern.findall(text) if each not in _EXAMPLES]
    assert found == []


def test_rules_about_files_catch_what_they_are_for() -> None:
    assert _REGISTRY.search("--index-url https://pypi." + "org/simple")
    assert _MACHINE_PATH.search("/home/someone/" + "kessai/.venv")
    assert not _MACHINE_PATH.search("see src/work/main and /v1/work/")


def test_lock_pins_every_package_with_hashes() -> None:
    lines = re.findall(rf"^{_PACKAGE}==", LOCK, re.MULTILINE)
    pinned = re.findall(rf"^{_PACKAGE}==[^\n]*\\\n    --hash=sha256:[0-9a-f]{{64}}", LOCK, re.MULTILINE)
    assert len(pinned) == len(lines) > 20
    assert "--index" not in LOCK
    assert "--find-links" not in LOCK


def test_lock_covers_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    asked += [name for group in project["dependency-groups"].values() for name in group]
    names = {re.split(r"[<>=!~\[ ;]", each, maxsplit=1)[0].lower().replace("_", "-") for each in asked}
    locked = set(re.findall(rf"^({_PACKAGE})==", LOCK, re.MULTILINE))
    assert names - locked == set()
