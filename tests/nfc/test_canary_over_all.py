"""The canary over the whole suite bites: a card number in whichever form, wherever it is shown, fails the test."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from kessai.simulators.cardnetwork.numbers import number_of
from tests.canary import rows_seen, search, sightings

ROOT = Path(__file__).parents[2]
PAN, DEVICE = number_of(7, seed=0), number_of(8, seed=3, of="device")
FORMS = {
    "digits": PAN,
    "within": f"approved {DEVICE}, thanks",
    "groups": f"{PAN[:4]} {PAN[4:8]} {PAN[8:12]} {PAN[12:]}",
    "hyphens": f"{PAN[:4]}-{PAN[4:8]}-{PAN[8:12]}-{PAN[12:]}",
    "hexadecimal": PAN.encode().hex(),
    "HEXADECIMAL": f"\\x00{PAN.encode().hex().upper()}ff",
    "a list": json.dumps(list(b"2=" + PAN.encode() + b";")),
    "a list without spaces": str(list(PAN.encode())).replace(" ", ""),
    **{
        f"base64 after {begin}": base64.b64encode(b"x" * begin + PAN.encode() + b"y" * end).decode()
        for begin in range(4)
        for end in (0, 1)
    },
    "base64 for URLs": base64.urlsafe_b64encode(b"\xff\xfe" + PAN.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_number_is_known_in_any_form(form: str) -> None:
    (seen,) = sightings(FORMS[form])
    assert PAN not in seen


@pytest.mark.parametrize(
    "text",
    [
        "9990000000000000",
        f"1{PAN}",
        f"{PAN}2",
        "4111111111111111",
        "999000",
        "tok_" + "9" * 32,
        PAN[:6] + "…" + PAN[-4:],
    ],
)
def test_what_is_no_number_of_ours_is_left_alone(text: str) -> None:
    assert sightings(text) == []


@pytest.mark.parametrize("column", ["note", "digest", "nothing"])
async def test_a_number_in_any_table_is_found(database_url: str, column: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO nfc.card_step (card_id, version, act_id, digest, kind, card_state, detail, note, caller,"
            " recorded_at)"
            " VALUES (gen_random_uuid(), 1, gen_random_uuid(), $1, 'locked', 'LOCKED', '{}', $2, 'nfc', now())",
            FORMS["base64 after 1"].encode() if column == "digest" else b"",
            PAN if column == "note" else "",
        )
        await connection.execute("INSERT INTO nfc.pan_lookup VALUES (decode(repeat('00', 32), 'hex'), 'tok')")
        seen = await rows_seen(connection)
        assert [each.split()[0] for each in seen] == ([] if column == "nothing" else ["nfc.card_step"])
        await connection.execute(
            "INSERT INTO nfc.issue_batch (batch_id, state, version, sequence, count, imported, wrong, digest,"
            " requested_by, requested_at) VALUES (gen_random_uuid(), 'REQUESTED', 1, 1, 1, 0, 0, '', 'key', now())"
        )
        if column != "nothing":
            with pytest.raises(AssertionError, match=r"nfc\.card_step"):
                await search(database_url)
        await connection.execute("DELETE FROM nfc.card_step")
        await search(database_url)
    finally:
        await connection.close()


PLANTED = f"""
import logging, sys
import pytest
import structlog
from kessai.foundation import telemetry
from kessai.foundation.errors import Refused

PAN = {PAN!r}

def test_printed():
    print("it was", PAN)

def test_standard_log():
    logging.getLogger("x").warning("it was %s", PAN)

def test_log():
    structlog.get_logger().warning("tapped", card=PAN)

def test_error():
    with pytest.raises(Refused):
        raise Refused("no_such_card", "No such card.", number=PAN)

def test_metric():
    from prometheus_client import CollectorRegistry, Counter
    Counter("taps", "Taps.", ["card"], registry=CollectorRegistry()).labels(card=PAN).inc()

def test_span():
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    telemetry.open_traces(SimpleSpanProcessor(InMemorySpanExporter()))
    with telemetry.span("tap") as span:
        span.set_attribute("card", PAN)

def test_file(tmp_path):
    (tmp_path / "network.jsonl").write_text(PAN)

def test_clean():
    print(PAN[:6], PAN[-4:])
"""


def test_a_test_that_shows_a_number_fails_where_it_happened(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.canary import Canary\n\n\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(Canary())\n"
    )
    (tmp_path / "test_planted.py").write_text(PLANTED)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    told = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    failed = {line.split("::")[1].split(" ")[0] for line in told.splitlines() if line.startswith(("FAILED", "ERROR"))}
    planted = {line[4:].split("(")[0] for line in PLANTED.splitlines() if line.startswith("def test_")}
    assert failed == planted - {"test_clean"}, told.replace(PAN, "(the number)")
