"""The command line's own words."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from kessai.apps.cli import app


@pytest.mark.parametrize(
    ("command", "hints"),
    [
        ("up", [".kessai", "127.0.0.1", "8080", "9090", "1", "on the embedded database only", "info", "json"]),
        ("job run", [".kessai"]),
        ("key create", ["everything", ".kessai"]),
    ],
)
def test_help_tells_what_holds_when_an_option_is_not_given(command: str, hints: list[str]) -> None:
    answer = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert answer.exit_code == 0
    for hint in hints:
        assert f"[default: ({hint})]" in answer.output
