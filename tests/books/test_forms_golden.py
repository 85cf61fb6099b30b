"""Small files kept beside the tests, byte for byte; binary forms are the same in another process, zone and time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.books.reports import report, written
from tests.books.test_forms_journals import written_journals

GOLDEN = Path(__file__).parent / "forms"
BINARY = ("xlsx", "pdf", "parquet")
PROGRAM = """
import asyncio, hashlib, sys
from tests.books.reports import report, written
for form in sys.argv[1:]:
    print(hashlib.sha256(asyncio.run(written(form, report()))).hexdigest())
"""


@pytest.mark.parametrize(
    ("form", "file"),
    [("json", "report.json"), ("csv", "report.csv"), ("csv_bom", "bom.csv"), ("csv_cp932", "cp932.csv")],
)
async def test_a_report_is_the_file_it_was(form: str, file: str) -> None:
    assert await written(form, report()) == _golden(file)


@pytest.mark.parametrize(
    ("form", "file"), [("beancount", "journal.beancount"), ("hledger", "journal.journal"), ("yayoi", "yayoi.csv")]
)
async def test_journals_are_the_file_they_were(form: str, file: str) -> None:
    assert (await written_journals(form))[0] == _golden(file)


def _golden(file: str) -> bytes:
    return (GOLDEN / file).read_bytes()


async def test_binary_forms_depend_on_no_clock_and_no_zone() -> None:
    ours = [hashlib.sha256(await written(form, report())).hexdigest() for form in BINARY]
    assert _digests_elsewhere() == ours


def _digests_elsewhere() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *BINARY],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TZ": "America/New_York", "SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()
