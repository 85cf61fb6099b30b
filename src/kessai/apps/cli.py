"""The command line. What the operator must mend is one sentence on stderr and exit 2, never a traceback."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kessai import __version__
from kessai.apps.books_cli import books
from kessai.apps.jobs_cli import job
from kessai.apps.workflow_cli import workflow
from kessai.foundation.config import Settings, load_settings
from kessai.foundation.errors import OperatorError, PaymentError

app = typer.Typer(
    name="kessai",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
key = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(job, name="job")
app.add_typer(key, name="key")
app.add_typer(workflow, name="workflow")
app.add_typer(books, name="books")

PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""These commands read their own arguments."""

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings as TOML.")]
Data = Annotated[str | None, typer.Option(help="Folder of the embedded PostgreSQL.", show_default=".kessai")]
DatabaseUrl = Annotated[str | None, typer.Option(help="A PostgreSQL of yours instead of the embedded one.")]


@app.callback()
def options(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False
) -> None:
    """kessai (決済): an open payment platform."""
    if version:
        print(f"kessai {__version__}")
        raise typer.Exit


@app.command()
def up(
    *,
    data: Data = None,
    database_url: DatabaseUrl = None,
    host: Annotated[str | None, typer.Option(help="Where to listen.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="REST; 0 takes a free one.", show_default="8080")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC; 0 takes a free one.", show_default="9090")] = None,
    nfc_port: Annotated[
        int | None, typer.Option(help="Card payments (ISO 8583 over TCP); 0 takes a free one.", show_default="0")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Serving processes.", show_default="1")] = None,
    sandbox: Annotated[
        bool | None, typer.Option(help="Whether the clock can be moved.", show_default="on the embedded database only")
    ] = None,
    account_types: Annotated[str | None, typer.Option(help="Account types as TOML, in place of the built-in.")] = None,
    payment_kinds: Annotated[str | None, typer.Option(help="Payment kinds as TOML, in place of the built-in.")] = None,
    outside: Annotated[str | None, typer.Option(help="How long is waited for whom outside, as TOML.")] = None,
    tracer: Annotated[str | None, typer.Option(help="The tracer's settings as TOML, in place of the built-in.")] = None,
    chart_of_accounts: Annotated[
        str | None, typer.Option(help="The chart of accounts (勘定科目表) as TOML, in place of the built-in.")
    ] = None,
    posting_rules: Annotated[
        str | None, typer.Option(help="Posting rules (仕訳ルール) as TOML, in place of the built-in.")
    ] = None,
    accruals: Annotated[
        str | None, typer.Option(help="How months are closed (決算整理) as TOML, in place of the built-in.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or text.", show_default="json")] = None,
    config: ConfigFile = None,
) -> None:
    """Start the platform on this machine; Ctrl-C stops it."""
    from kessai.apps.up import run

    flags = {name: value for name, value in locals().items() if name in Settings.__struct_fields__}
    run(_settings(flags, config))


@app.command(context_settings=PASS_ON)
def verify(context: typer.Context) -> None:
    """Prove every invariant anew on live data: exit 1 on the first that is broken."""
    from kessai.apps.verify import main as verify_main

    raise typer.Exit(verify_main(context.args))


@app.command(context_settings=PASS_ON)
def trace(context: typer.Context) -> None:
    """Show the whole life of one payment; `trace prove` proves it, or all of them: exit 1 when something differs."""
    from kessai.apps.trace import main as trace_main

    raise typer.Exit(trace_main(context.args))


@app.command(context_settings=PASS_ON)
def tap(context: typer.Context) -> None:
    """Tap a card on a terminal of the simulated card network: exit 1 when it is declined."""
    from kessai.apps.tap import main as tap_main

    raise typer.Exit(tap_main(context.args))


@app.command(context_settings=PASS_ON)
def bench(context: typer.Context) -> None:
    """Measure the platform on this machine."""
    from kessai.apps.bench import main as bench_main

    raise typer.Exit(bench_main(context.args))


@app.command()
def demo() -> None:
    """Play a business day on a throwaway platform, and prove that it balances."""
    from kessai.apps.demo import main as demo_main

    raise typer.Exit(demo_main())


@app.command(context_settings=PASS_ON)
def contracts(context: typer.Context) -> None:
    """Write contracts/ (OpenAPI and .proto) from the doors; with --check only say what drifted."""
    from kessai.apps.contracts import main as contracts_main

    raise typer.Exit(contracts_main(context.args))


@app.command()
def parked(
    *,
    retry: Annotated[str | None, typer.Option(help="Try one again, by its name as listed.")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
) -> None:
    """Show what waits for an operator: parked events and workflows."""
    from kessai.apps.parked import list_parked, show
    from kessai.apps.parked import retry as try_again

    settings = _settings({"data": data, "database_url": database_url}, config, quiet=True)
    if retry is not None and not asyncio.run(try_again(settings, retry)):
        raise OperatorError("It failed again, or is not parked.")
    show(asyncio.run(list_parked(settings)))


@key.command("create")
def key_create(
    *,
    name: Annotated[str, typer.Option(help="Who holds it, what for.")] = "operator",
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do; again for more.", show_default="everything")
    ] = None,
    service: Annotated[str | None, typer.Option(help="The service in whose name it acts.")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
) -> None:
    """Make an API key; its secret is printed once."""
    from kessai.apps.operate import create_key

    settings = _settings({"data": data, "database_url": database_url}, config, quiet=True)
    print(asyncio.run(create_key(settings, name, scope or [], service)))


def _settings(flags: dict[str, Any], config: Path | None, *, quiet: bool = False) -> Settings:
    from kessai.foundation.telemetry import configure_logging

    settings = load_settings(flags, file=config)
    configure_logging(level="warning" if quiet else settings.log_level, form=settings.log_format)
    return settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    try:
        app(arguments)
    except OperatorError as error:
        print(str(error), file=sys.stderr)
        return 2
    except PaymentError as error:
        print(error.message, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
