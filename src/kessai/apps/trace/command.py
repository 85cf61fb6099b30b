"""The command `kessai trace`: `ID`, `prove ID …`, `prove --all`, `export ID`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop
from rich.console import Console

from kessai.apps.evidence import main as export_evidence
from kessai.apps.place import shared_place
from kessai.apps.trace.kept import Life
from kessai.apps.trace.life import life_of, processing_of
from kessai.apps.trace.proof import BATCH
from kessai.apps.trace.prove import Result, answer, prove_these, show, timed_all
from kessai.apps.trace.tree import mermaid_of, tree_of
from kessai.apps.trace.view import open_view
from kessai.apps.wiring import load_payment_kinds
from kessai.foundation.config import Settings, load_settings
from kessai.foundation.errors import OperatorError
from kessai.foundation.telemetry import configure_logging

WIDTH = 140
"""Of the tree, where no terminal says how wide it is."""


def run(argv: Sequence[str] | None = None) -> int:
    """Trace or prove: 0 shown or nothing wrong, 1 something differs; OperatorError when the database cannot be read."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    configure_logging(level="warning", form="text")
    if arguments[:1] == ["export"]:
        return export_evidence(arguments[1:])
    return _prove(arguments[1:]) if arguments[:1] == ["prove"] else _trace(arguments)


def _trace(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="kessai trace",
        description="The whole life of one payment; `kessai trace prove` proves it, or all of them.",
    )
    parser.add_argument("id", help="a processing's id, or a payment's")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--mermaid", action="store_true", help="as a sequence drawing")
    form.add_argument("--json", action="store_true", dest="as_json", help="as one JSON object")
    options = _where(parser).parse_args(list(arguments))
    life = uvloop.run(_life(_settings(options), options.id))
    if options.as_json:
        print(msgspec.json.encode(life).decode())
    elif options.mermaid:
        print(mermaid_of(life), end="")
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        console.print(tree_of(life), highlight=False)
    return 0


async def _life(settings: Settings, named: str) -> Life:
    async with shared_place(settings) as place, open_view(place.dsn) as view:
        return await life_of(view, load_payment_kinds(settings.payment_kinds), named)


def _prove(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="kessai trace prove",
        description="Recompute every participant's account from its own rows, and reconcile both ways.",
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="processings, or payments")
    parser.add_argument("--all", action="store_true", dest="everything", help="all processings, and the chain of seals")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object as the last line")
    options = _where(parser).parse_args(list(arguments))
    if bool(options.ids) is options.everything:
        parser.error("name processings, or give --all")
    console = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH)
    result, seconds = uvloop.run(_proved(_settings(options), options.ids, console))
    show(console, result, seconds)
    if options.as_json:
        print(answer(result, seconds))
    return 0 if result.proved else 1


async def _proved(settings: Settings, named: Sequence[str], console: Console) -> tuple[Result, float]:
    kinds = load_payment_kinds(settings.payment_kinds)
    async with shared_place(settings) as place:
        if not named:
            return await timed_all(place.dsn, kinds, console)
        if len(named) > BATCH:
            raise OperatorError(f"Name at most {BATCH} processings, or give --all.")
        started = time.perf_counter()
        async with open_view(place.dsn) as view:
            ids = [await processing_of(view, each) for each in named]
        result = await prove_these(place.dsn, kinds, ids)
    if result.proof.unknown:
        raise OperatorError(f"There is no processing or payment {result.proof.unknown[0]}.")
    return result, time.perf_counter() - started


def _where(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--database-url", help="a PostgreSQL of yours instead of the embedded one")
    parser.add_argument("--data", help="folder of the embedded PostgreSQL")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    return load_settings({"database_url": options.database_url, "data": options.data})
