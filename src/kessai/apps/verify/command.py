"""The command `kessai verify`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import asyncpg
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from kessai.apps.outside import folder_of
from kessai.apps.place import data_folder, shared_place
from kessai.apps.verify.audit import Configuration, audit
from kessai.apps.verify.bank import verify_bank
from kessai.apps.verify.bank_files import note_unread, verify_contents, verify_lines
from kessai.apps.verify.card_network import verify_card_network
from kessai.apps.verify.cards import verify_cards
from kessai.apps.verify.finding import Finding, Report, TooMany
from kessai.apps.verify.nfc import verify_sealed
from kessai.apps.verify.outside import verify_outside
from kessai.apps.wiring import document_of, load_payment_kinds, read_books_of
from kessai.foundation.config import Settings, load_settings
from kessai.foundation.db import AUDITOR_ROLE, CONNECT_TIMEOUT_S, Connection, require_dsn
from kessai.foundation.errors import OperatorError
from kessai.foundation.telemetry import configure_logging
from kessai.foundation.vault import KEYS_FILE, Vault, read_vault_keys, vault_keys_in
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.nfc.domain.terms import read_card_terms
from kessai.services.settlement.domain.configuration import read_settlement

SHOWN_MAX = 20
"""Findings in the table that people read."""
PROGRESS_FROM = 200_000
"""Effects from which on a verification is long enough for a progress bar."""
CLOSE_TIMEOUT_S = 5.0
SESSION = {"application_name": "kessai verify", "timezone": "UTC"}


async def verify(dsn: str, settings: Settings | None = None) -> list[Finding]:
    """What is broken on a database, as seen at one instant; empty when every invariant holds.

    Raises OperatorError when the database cannot be read as the auditor.
    """
    return (await _verify(dsn, settings or Settings(), Report())).findings


async def _verify(dsn: str, settings: Settings, report: Report) -> Report:
    types = load_account_types(document_of(settings.account_types, "account_types.toml"))
    kinds = load_payment_kinds(settings.payment_kinds)
    settlement = read_settlement(document_of(settings.settlement, "settlement.toml"))
    phones = read_card_terms(document_of(settings.nfc, "nfc.toml")).phone
    configuration = Configuration(types, kinds, read_books_of(settings), settlement, phones)
    try:
        async with _auditor(dsn) as connection, _auditor(dsn) as second:
            beside = second if await _share_view(connection, second) else None
            await audit(connection, configuration, report, beside=beside)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError) as error:
        raise OperatorError(f"The database login may not read as {AUDITOR_ROLE}: {error}.") from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise OperatorError(f"The database cannot be reached: {error or 'no answer in time'}.") from error
    return report


@asynccontextmanager
async def _auditor(dsn: str) -> AsyncGenerator[Connection]:
    """A connection under the auditor's role, in a transaction that sees one instant and cannot write."""
    connection = await asyncpg.connect(require_dsn(dsn), timeout=CONNECT_TIMEOUT_S, server_settings=SESSION)
    try:
        await connection.execute(f'SET ROLE "{AUDITOR_ROLE}"')
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close(timeout=CLOSE_TIMEOUT_S)


async def _share_view(connection: Connection, second: Connection) -> bool:
    """Let the second connection see what the first one sees; False where the database cannot do that."""
    try:
        snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
        await second.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
    except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFunctionError, asyncpg.PostgresSyntaxError):
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Verify: 0 every invariant holds, 1 one is broken; OperatorError when the database cannot be read."""
    parser = argparse.ArgumentParser(prog="kessai verify", description="Prove every invariant anew on live data.")
    parser.add_argument("--database-url", help="a PostgreSQL of yours instead of the embedded one")
    parser.add_argument("--data", help="folder of the embedded PostgreSQL")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object as the last line")
    options = parser.parse_args(sys.argv[1:] if argv is None else list(argv))
    configure_logging(level="warning", form="text")
    settings = load_settings({"database_url": options.database_url, "data": options.data})
    console = Console(stderr=True)
    started = time.perf_counter()
    with _progress(console) as progress:
        report = Report(progress)
        uvloop.run(_run(settings, report))
    seconds = time.perf_counter() - started
    _show(console, report, seconds)
    if options.as_json:
        print(json.dumps(_answer(report, seconds), ensure_ascii=False))
    return 1 if report.findings else 0


async def _run(settings: Settings, report: Report) -> None:
    async with shared_place(settings) as place:
        await _verify(place.dsn, settings, report)
        await verify_parties(place.dsn, settings, report)


async def verify_parties(dsn: str, settings: Settings, report: Report) -> None:
    """Report where payments, the services that go outside, and the books of simulated parties disagree.

    A party that an operator has configured keeps books that cannot be read here: it sends its statement.
    """
    folder, vault = folder_of(settings), vault_of(settings)
    with suppress(TooMany):
        if vault.configured:
            async with _auditor(dsn) as connection:
                await verify_contents(connection, vault, report)
                await verify_sealed(connection, vault, report)
        else:
            async with _auditor(dsn) as connection:
                await note_unread(connection, report)
        async with _auditor(dsn) as connection:
            await verify_outside(connection, load_payment_kinds(settings.payment_kinds), report)
        if settings.card_gateway_url is None:
            async with _auditor(dsn) as connection:
                await verify_cards(connection, folder / "cardgateway.jsonl", report)
        if settings.card_network_url is None:
            async with _auditor(dsn) as connection:
                await verify_card_network(connection, folder / "cardnetwork.jsonl", report)
        if settings.bank_url is None:
            async with _auditor(dsn) as connection:
                await verify_bank(connection, folder / "bank.jsonl", report)
                await verify_lines(connection, folder / "bank.jsonl", report)


def vault_of(settings: Settings) -> Vault:
    """The keys of the settings, or of a data folder that has some; none elsewhere: what is sealed stays unread."""
    keys = settings.vault_keys
    if keys is None and settings.database_url is None and (data_folder(settings) / KEYS_FILE).exists():
        keys = vault_keys_in(data_folder(settings))
    return Vault(read_vault_keys(keys))


@contextmanager
def _progress(console: Console) -> Generator[Callable[[Report], None]]:
    """A bar for long verifications; short ones pass without."""
    columns = (
        TextColumn("[bold]verify"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("effects"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("effects", total=None)

    def tell(report: Report) -> None:
        if report.total < PROGRESS_FROM:
            return
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=report.effects, total=report.total)

    try:
        yield tell
    finally:
        if bar.live.is_started:
            bar.stop()


def _show(console: Console, report: Report, seconds: float) -> None:
    rate = f"{report.effects:,} effects in {seconds:.1f} s ({report.effects / max(seconds, 1e-9):,.0f}/s)"
    for note in report.notes:
        console.print(note, highlight=False)
    if not report.findings:
        console.print(f"[green]Every invariant holds:[/green] {rate}.")
        return
    columns = (Column(name, overflow="fold") for name in ("invariant", "table", "key", "what is wrong"))
    table = Table(*columns, title=f"{len(report.findings)} findings; {rate}")
    for finding in report.findings[:SHOWN_MAX]:
        table.add_row(finding.invariant, finding.table, finding.key, finding.sentence)
    console.print(table)
    broken = list(dict.fromkeys(finding.invariant for finding in report.findings))
    console.print(f"[red]Broken:[/red] {'; '.join(broken)}.", highlight=False)


def _answer(report: Report, seconds: float) -> dict[str, object]:
    return {
        "verified": not report.findings,
        "effects": report.effects,
        "seconds": round(seconds, 3),
        "rate": round(report.effects / max(seconds, 1e-9)),
        "notes": report.notes,
        "findings": [msgspec.to_builtins(finding) for finding in report.findings],
    }
