"""`bench zengin`: a transfer file of so many lines is written to disk and read again, record by record.

It stands on no database. The work is done in a process of its own, whose memory is what is told; then the file is read
once more beside the lines that were to be written, and each is compared.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.sdk import zengin
from kessai.sdk.zengin import DepositType, Header, Kind, Line

DAY = date(2026, 4, 30)
CHUNK_BYTES = 1 << 16
NAMES = ("ﾔﾏﾀﾞ ﾀﾛｳ", "ｶ)ｺﾝﾋﾞﾆｴﾝｽ ﾆﾂﾎﾟﾝ", "KESSAI STORE 24", "ﾌﾞﾝﾎﾞｳｸﾞﾃﾝ(ｲ", "ユ）サーバー　ショップ")
"""Payees; one in five is still to be folded."""


class ZenginReport(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of standard output, as one JSON object."""

    name: str = "zengin"
    lines: int
    seconds: float
    """Written and read again, together."""
    write_s: float
    read_s: float
    rate: float
    """Lines written and read again a second."""
    bytes: int
    rss_mb: float
    """Peak resident memory of the process that did it."""
    verified: bool
    finding: str | None = None
    """The first line that was not read as it was written."""


class Worked(NamedTuple):
    """What the process that does it tells."""

    write_s: float
    read_s: float
    bytes: int
    finding: str | None


async def bench_zengin(options: Options, steps: Steps) -> ZenginReport:
    """Write and read a file of `--lines` lines."""
    steps.next(f"{options.lines:,} lines")
    async with Spawned[int, Worked](_serve) as child, MemoryWatch(lambda: [child.pid]) as memory:
        worked = await child.order(options.lines)
        memory.look()
    seconds = worked.write_s + worked.read_s
    return ZenginReport(
        lines=options.lines,
        seconds=round(seconds, 3),
        write_s=round(worked.write_s, 3),
        read_s=round(worked.read_s, 3),
        rate=round(options.lines / seconds, 1),
        bytes=worked.bytes,
        rss_mb=round(memory.peak_mb, 1),
        verified=worked.finding is None,
        finding=worked.finding,
    )


def print_zengin(report: ZenginReport, *, as_json: bool) -> None:
    """A table for people on standard error; with `as_json`, the object as the last line of standard output."""
    table = Table(title="bench zengin", show_header=False)
    for key, value in msgspec.structs.asdict(report).items():
        table.add_row(key, str(value))
    Console(stderr=True).print(table)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()


def work(count: int) -> Worked:
    """Write a file of so many lines and read it again, in memory that does not grow with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transfers.txt"
        began = time.perf_counter()
        with path.open("wb") as file:
            file.writelines(zengin.encode(_HEADER, _lines(count)))
            file.flush()
            os.fsync(file.fileno())
        written = time.perf_counter()
        read = sum(isinstance(each, Line) for each in _read(path))
        done = time.perf_counter()
        finding = _difference(path, count) if read == count else f"{read} lines of {count}"
        return Worked(written - began, done - written, path.stat().st_size, finding)


def _serve(pipe: Connection) -> None:
    asyncio.run(follow_orders(pipe, _worked))


async def _worked(count: int) -> Worked:
    return work(count)


_HEADER = Header(
    kind=Kind.TRANSFER,
    client_code="0123456789",
    client_name="ｶ)ｹﾂｻｲ",
    day=DAY,
    bank_code="0005",
    bank_name="ﾐﾂﾋﾞｼUFJ",
    branch_code="001",
    branch_name="ﾎﾝﾃﾝ",
    deposit_type=DepositType.ORDINARY,
    account_number="1234567",
)


def _lines(count: int) -> Iterator[Line]:
    for number in range(1, count + 1):
        yield Line(
            bank_code="0009",
            bank_name="ﾐﾂｲｽﾐﾄﾓ",
            branch_code=f"{number % 1000:03d}",
            branch_name="ｼﾝｼﾞﾕｸ",
            deposit_type=DepositType.ORDINARY,
            account_number=f"{number:07d}",
            name=NAMES[number % len(NAMES)],
            amount=number * 7 % 999_983 + 1,
            customer_code_1=f"{number:010d}",
        )


def _read(path: Path) -> Iterator[Header | Line | zengin.Trailer]:
    with path.open("rb") as file:
        yield from zengin.decode(iter(partial(file.read, CHUNK_BYTES), b""), near=DAY)


def _difference(path: Path, count: int) -> str | None:
    """The first line that was not read as it was written."""
    read = (each for each in _read(path) if isinstance(each, Line))
    for number, (wanted, found) in enumerate(zip(_lines(count), read, strict=True), start=1):
        if wanted.as_written() != found:
            return f"line {number} was read otherwise than it was written"
    return None
