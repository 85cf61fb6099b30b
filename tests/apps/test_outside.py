"""The simulated parties: the bank takes files where its terms say that they are put."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from kessai.apps.outside import simulated
from kessai.foundation.config import Settings


async def test_the_simulated_bank_looks_into_the_drop_folder_that_the_terms_name(tmp_path: Path) -> None:
    terms = (files("kessai.config") / "bank.toml").read_text(encoding="utf-8")
    drop = tmp_path / "drop"
    terms = terms.replace('way = "http"', 'way = "folder"').replace('folder = ""', f'folder = "{drop}"')
    (tmp_path / "bank.toml").write_text(terms, encoding="utf-8")
    settings = Settings(data=str(tmp_path / "data"), bank_terms=str(tmp_path / "bank.toml"))
    async with simulated(settings):
        assert sorted(each.name for each in drop.iterdir() if each.is_dir()) == ["in", "out", "taken"]
