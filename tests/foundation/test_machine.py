"""How much memory there is: the machine's, or less where a container says so."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from kessai.foundation import machine


@pytest.mark.parametrize(("told", "expected_mb"), [("536870912\n", 512), ("max\n", None), (None, None)])
def test_memory_is_what_the_container_leaves_of_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, expected_mb: int | None
) -> None:
    limit = tmp_path / "memory.max"
    if told is not None:
        limit.write_text(told)
    monkeypatch.setattr(machine, "CONTAINER_LIMIT", limit)
    whole = psutil.virtual_memory().total // 2**20
    assert machine.memory_mb() == (whole if expected_mb is None else min(whole, expected_mb))
