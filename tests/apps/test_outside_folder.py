"""A platform that hands files over by a drop folder has a simulated bank that looks into that folder."""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path

from kessai.apps.outside import simulated
from kessai.foundation.config import Settings

FILE = "btf_" + "a" * 32


async def test_the_simulated_bank_takes_files_out_of_the_folder_that_the_terms_name(tmp_path: Path) -> None:
    drop, terms = tmp_path / "drop", tmp_path / "bank.toml"
    own = resources.files("kessai.config").joinpath("bank.toml").read_text(encoding="utf-8")
    own = own.replace('way = "http"', 'way = "folder"').replace('folder = ""', f'folder = "{drop}"')
    terms.write_text(own, encoding="utf-8")
    (drop / "in").mkdir(parents=True)
    (drop / "in" / f"{FILE}.txt").write_bytes(b"cannot be read")
    async with simulated(Settings(data=str(tmp_path / "data"), bank_terms=str(terms))), asyncio.timeout(60):
        while not (drop / "taken" / f"{FILE}.txt").exists():
            await asyncio.sleep(0.02)
        while not list((drop / "out").glob("entries-*.json")):
            await asyncio.sleep(0.02)
    assert not (drop / "in" / f"{FILE}.txt").exists()
