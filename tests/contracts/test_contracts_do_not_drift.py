"""contracts/ is what the doors say, and numbers once given to fields stay theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kessai.apps.contracts import drifted, emitted, main, write
from kessai.apps.wiring import DOORS
from kessai.sdk.processing.api import Processing

FOLDER = Path(__file__).parents[2] / "contracts"


def test_the_committed_contracts_agree_with_the_doors() -> None:
    assert drifted(FOLDER) == [], "run: make contracts"


def test_every_door_has_its_proto_file() -> None:
    doors = (*DOORS, Processing)
    assert set(emitted()) == {"openapi.json", "asyncapi.json", *(f"{door.__name__.lower()}.proto" for door in doors)}


def test_a_stale_missing_or_left_over_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    assert drifted(tmp_path) == []
    (tmp_path / "ledger.proto").write_text("edited by hand")
    (tmp_path / "identity.proto").unlink()
    (tmp_path / "gone.proto").touch()
    assert drifted(tmp_path) == ["gone.proto", "identity.proto", "ledger.proto"]
    write(tmp_path)
    assert drifted(tmp_path) == []
    monkeypatch.chdir(tmp_path)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
