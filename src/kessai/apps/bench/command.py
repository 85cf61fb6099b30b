"""The command `kessai bench`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import uvloop
from rich.console import Console

from kessai.apps.bench.books import bench_books
from kessai.apps.bench.charge import bench_charge
from kessai.apps.bench.dbos_peer import require_dbos
from kessai.apps.bench.figures import Report, print_report
from kessai.apps.bench.isolation import bench_isolation
from kessai.apps.bench.ledger import bench_ledger
from kessai.apps.bench.nfc import NfcReport, bench_nfc, print_nfc
from kessai.apps.bench.options import Mode, Options, Steps, read
from kessai.apps.bench.scene import open_scene
from kessai.apps.bench.settlement import SettlementReport, bench_settlement, print_settlement
from kessai.apps.bench.tracer import bench_tracer
from kessai.apps.bench.workflow import bench_workflow
from kessai.apps.bench.zengin import bench_zengin, print_zengin
from kessai.foundation.errors import OperatorError

BENCHES = {
    "ledger": bench_ledger,
    "charge": bench_charge,
    "workflow": bench_workflow,
    "isolation": bench_isolation,
    "tracer": bench_tracer,
    "books": bench_books,
}


def run(argv: Sequence[str] | None = None) -> int:
    """Run one measurement: 0 done and verified, 1 an invariant is broken, 2 it could not be run."""
    options = read(sys.argv[1:] if argv is None else argv)
    if options.name == "zengin":
        return _zengin(options)
    if options.name == "settlement":
        return _settlement(options)
    if options.name == "nfc":
        return _nfc(options)
    try:
        report = uvloop.run(_measure(options))
    except OperatorError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    print_report(report, as_json=options.as_json)
    return 0 if report.verified else 1


def _zengin(options: Options) -> int:
    """The one that needs no database."""
    with Steps("bench zengin") as steps:
        report = uvloop.run(bench_zengin(options, steps))
    print_zengin(report, as_json=options.as_json)
    return 0 if report.verified else 1


def _settlement(options: Options) -> int:
    """The one that tells of a day, of fees and of a month."""

    async def measure() -> SettlementReport:
        with Steps("bench settlement") as steps:
            async with open_scene(options.database_url) as scene:
                return await bench_settlement(options, scene, steps)

    try:
        report = uvloop.run(measure())
    except OperatorError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    print_settlement(report, as_json=options.as_json)
    return 0 if report.verified else 1


def _nfc(options: Options) -> int:
    """The one that tells of a wait and of a rate."""

    async def measure() -> NfcReport:
        with Steps("bench nfc") as steps:
            async with open_scene(options.database_url) as scene:
                return await bench_nfc(options, scene, steps)

    try:
        report = uvloop.run(measure())
    except OperatorError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    print_nfc(report, as_json=options.as_json)
    return 0 if report.verified else 1


async def _measure(options: Options) -> Report:
    if options.name == "workflow" and options.mode is not Mode.RECOVERY:
        require_dbos()  # before anything is started
    with Steps(f"bench {options.name}") as steps:
        async with open_scene(options.database_url) as scene:
            return await BENCHES[options.name](options, scene, steps)
