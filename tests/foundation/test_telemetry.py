"""Secrets never reach a log, whatever they are called and wherever they stand."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.telemetry import MASK, configure_logging, exposition, mask, new_registry

Logs = Callable[[], list[dict[str, Any]]]
SECRET = "kes_0123456789abcdef_" + "x" * 43


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"key {SECRET} was used", f"key {MASK} was used"),
        ("postgresql://me:hunter2@host/db", f"postgresql://me:{MASK}@host/db"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}"),
        ({"password": "hunter2", "name": "a"}, {"password": MASK, "name": "a"}),
        ({"deep": [{"card_number": "4111111111111111"}]}, {"deep": [{"card_number": MASK}]}),
        ({"key_id": "key_" + "0" * 32, "count": 3}, {"key_id": "key_" + "0" * 32, "count": 3}),
        (ValueError(f"bad {SECRET}"), f"bad {MASK}"),
    ],
)
def test_secret_is_masked(value: object, shown: object) -> None:
    assert mask(value) == shown


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logs]:
    """Log lines as objects; logging is put back afterwards."""
    stream, root = io.StringIO(), logging.getLogger()
    monkeypatch.setattr(sys, "stderr", stream)
    handlers, level = root.handlers[:], root.level
    configure_logging(level="info", form="json")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_log_line_is_one_json_object_with_the_calls_ids(logs: Logs) -> None:
    token = enter_call(Call(caller="key_1", request_id="r1", processing_id="prc_1"))
    structlog.get_logger("kessai.x").info("charged", api_key=SECRET, amount_minor=1)
    leave_call(token)
    (line,) = logs()
    assert (line["event"], line["request_id"], line["caller"], line["processing_id"]) == (
        "charged",
        "r1",
        "key_1",
        "prc_1",
    )
    assert line["api_key"] == MASK
    assert line["amount_minor"] == 1


def test_standard_logging_and_tracebacks_are_masked_too(logs: Logs) -> None:
    try:
        raise RuntimeError(f"could not use {SECRET}")
    except RuntimeError:
        logging.getLogger("somebody.else").exception("failed with %s", SECRET)
    (line,) = logs()
    assert SECRET not in json.dumps(line)
    assert line["event"] == f"failed with {MASK}"


def test_debug_is_left_out_at_info(logs: Logs) -> None:
    structlog.get_logger("kessai.x").debug("detail")
    assert logs() == []


def test_metrics_tell_of_the_process() -> None:
    assert b"process_resident_memory_bytes" in exposition(new_registry())
