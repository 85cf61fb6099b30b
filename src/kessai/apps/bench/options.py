"""What a run was asked for, and how it tells of its progress."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

ROUNDS = 2
SECONDS = 8.0
ACCOUNTS_MIN = 100
LINES_MAX = 999_999
"""Of a Zengin file."""
NAMES = ("ledger", "charge", "workflow", "isolation", "tracer", "books", "zengin", "settlement", "nfc")


class Mode(StrEnum):
    """Modes of `bench ledger`, and one of `bench workflow`."""

    BULK = "bulk"
    SINGLE = "single"
    HOT = "hot"
    GROWN = "grown"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, read."""

    name: str
    mode: Mode
    seconds: float
    rounds: int
    batch: int
    clients: int
    connections: int
    processes: int
    accounts: int
    logs: int
    workflows: int
    mix: bool
    alone: bool
    stored: int
    events: int
    pace: int
    entries: int
    lines: int
    transactions: int
    merchants: int
    database_url: str | None
    as_json: bool

    @property
    def stretch_s(self) -> float:
        """How long one measured stretch lasts."""
        return self.seconds / self.rounds


def read(argv: Sequence[str]) -> Options:
    """Options of a command line; argparse prints usage and exits 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="kessai bench", description="Measure the platform on this machine.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument(
        "--mode", type=Mode, choices=list(Mode), default=Mode.BULK, help="of `ledger`; `recovery` of `workflow`"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="measured seconds of ours, all rounds together")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="ours and the peer take turns this many times")
    parser.add_argument("--batch", type=int, default=1_000, help="exchanges a call, in bulk")
    parser.add_argument(
        "--clients",
        type=int,
        default=64,
        help="concurrent callers of `--mode single` and `workflow`, terminals of `nfc`",
    )
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections of `charge`")
    parser.add_argument("--processes", type=int, default=1, help="server processes of `--mode hot` and `nfc`")
    parser.add_argument("--accounts", type=int, default=20_000, help="of `--mode grown`, and of a day of `books`")
    parser.add_argument("--logs", type=int, default=100_000, help="of `--mode grown`")
    parser.add_argument("--workflows", type=int, default=10_000, help="left open by the kill of `--mode recovery`")
    parser.add_argument("--mix", action="store_true", help="of `charge`: transfers, top-ups, escrows, refunds, cards")
    parser.add_argument(
        "--alone", action="store_true", help="of `charge`: ledger and payment only, without who listens to them"
    )
    parser.add_argument("--stored", type=int, default=0, help="of `tracer`: processings of long ago, stored before")
    parser.add_argument("--events", type=int, default=100_000, help="of `books`: booked from the outbox, all rounds")
    parser.add_argument("--pace", type=int, default=2_000, help="of `books`: exchanges a second that they follow")
    parser.add_argument("--entries", type=int, default=200_000, help="of `books`: stored before the trial balance")
    parser.add_argument(
        "--lines", type=int, default=100_000, help="of `books`: movements of the statutory day; of `zengin`"
    )
    parser.add_argument("--transactions", type=int, default=100_000, help="of `settlement`: of the day")
    parser.add_argument("--merchants", type=int, default=1_000, help="of `settlement`")
    parser.add_argument("--database-url", help="a PostgreSQL server to make throwaway databases on")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object as the last line")
    options = Options(**vars(parser.parse_args(list(argv))))
    if options.mode is Mode.RECOVERY and options.name != "workflow":
        parser.error("--mode recovery is one of workflow")
    if options.accounts < ACCOUNTS_MIN:
        parser.error(f"--accounts must be at least {ACCOUNTS_MIN}")
    if options.name == "zengin" and not 0 < options.lines <= LINES_MAX:
        parser.error(f"--lines of zengin must be 1 to {LINES_MAX}")
    return options


class Steps:
    """A progress line on standard error: which step a run is at."""

    def __init__(self, title: str) -> None:
        self._progress = Progress(
            TextColumn(f"[bold]{title}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)

    def next(self, what: str) -> None:
        """Say what is being done now."""
        self._progress.reset(self._task, description=what, total=None)
        if not self._progress.console.is_terminal:
            self._progress.console.print(f"· {what}")

    def part(self, done: int, of: int) -> None:
        """Say how much of the current step is done."""
        tenths = 10 * done // of
        told = 10 * int(self._progress.tasks[0].completed) // (self._progress.tasks[0].total or of)
        self._progress.update(self._task, completed=done, total=of)
        if not self._progress.console.is_terminal and tenths > told:
            self._progress.console.print(f"  {done:,} of {of:,}")

    def __enter__(self) -> Steps:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
