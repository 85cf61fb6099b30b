"""`bench zengin`: it writes and reads what it says, and tells when a line was read otherwise."""

from __future__ import annotations

import json

import pytest

from kessai.apps.bench import main, zengin
from kessai.apps.bench.zengin import work
from kessai.sdk.zengin import Line


def test_a_file_is_written_read_again_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zengin", "--lines", "200", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["name"], told["lines"], told["bytes"], told["verified"]) == ("zengin", 200, 203 * 122, True)
    assert told["seconds"] == pytest.approx(told["write_s"] + told["read_s"], abs=0.002)
    assert told["rss_mb"] > 0


def test_a_line_that_is_read_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, told = zengin._lines, iter((3, 4))  # pyright: ignore[reportPrivateUsage]  (what it writes, and compares with)

    def others(_: int) -> list[Line]:
        return list(lines(next(told)))[-3:]

    monkeypatch.setattr(zengin, "_lines", others)
    assert work(3).finding == "line 1 was read otherwise than it was written"


def test_more_lines_than_a_file_has_are_not_taken() -> None:
    with pytest.raises(SystemExit):
        main(["zengin", "--lines", "1000000"])
