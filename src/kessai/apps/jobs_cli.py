"""`kessai job …`: list the batches, run one now, see how runs stand."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kessai.foundation.errors import OperatorError

if TYPE_CHECKING:
    from kessai.apps.dated import DatedJobs
    from kessai.apps.wiring import Platform
    from kessai.foundation.config import Settings
    from kessai.sdk.jobs import DatedJob, JobRun, Started

job = typer.Typer(help="Batches (バッチ).", no_args_is_help=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings as TOML.")]
Data = Annotated[str | None, typer.Option(help="Folder of the embedded PostgreSQL.", show_default=".kessai")]
DatabaseUrl = Annotated[str | None, typer.Option(help="A PostgreSQL of yours instead of the embedded one.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

FOLLOW_S = 0.2
"""How often the progress bar looks."""
LISTED_MAX = 1_000


@job.command("list")
def list_() -> None:
    """The batches there are, and when the dated ones fall due by themselves."""
    from kessai.apps.jobs import JOBS
    from kessai.apps.wiring import DATED_JOBS

    for each in DATED_JOBS:
        print(f"{each.name:24} {each.summary} ({_when(each)})")
    for name, batch in JOBS.items():
        print(f"{name:24} {batch.summary}")


def _when(each: DatedJob) -> str:
    days = "business days" if each.business_days else "every day"
    back = {0: "", 1: ", for the day before"}.get(each.days_back, f", for {each.days_back} days before")
    return f"{days} at {each.at}{back}"


@job.command("run")
def run(
    name: Annotated[str, typer.Argument(help="Which; kessai job list names them.")],
    *,
    day: Annotated[
        str | None,
        typer.Option("--date", help="The business date, YYYY-MM-DD.", show_default="that which fell due last"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
) -> None:
    """Run one batch now, beside a running platform or without one; one that is under way is joined."""
    from kessai.apps.wiring import DATED_JOBS

    settings = _settings(data, database_url, config)
    if any(each.name == name for each in DATED_JOBS):
        ended = _to_its_end(settings, name, _date(day), dry_run=dry_run)
        if as_json or ended.state != "FAILED":
            _print_runs([ended], as_json=as_json)
        if ended.state == "FAILED":
            raise OperatorError(f"The run of {name} for {ended.day} failed: {ended.note}")
        return
    if day is not None or dry_run:
        _refuse_day(name)
    _run_undated(settings, name, as_json=as_json)


@job.command()
def status(
    name: Annotated[str | None, typer.Argument(help="Only of this one.")] = None,
    *,
    limit: Annotated[int, typer.Option(help="How many runs at most.")] = 20,
    as_json: AsJson = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: ConfigFile = None,
) -> None:
    """How the newest runs of the dated batches stand."""
    if not 0 < limit <= LISTED_MAX:
        raise OperatorError(f"--limit is from 1 to {LISTED_MAX}.")
    settings = _settings(data, database_url, config)
    _print_runs(asyncio.run(_statuses(settings, _known(name), limit)), as_json=as_json)


def _known(name: str | None) -> str | None:
    from kessai.apps.wiring import DATED_JOBS

    names = [each.name for each in DATED_JOBS]
    if name is not None and name not in names:
        raise OperatorError(f"There is no dated job {name}; there are {', '.join(names)}.")
    return name


async def _statuses(settings: Settings, name: str | None, limit: int) -> list[JobRun]:
    from kessai.apps.place import shared_place
    from kessai.apps.wiring import DATED_JOBS, prepare
    from kessai.foundation.db import Database
    from kessai.sdk.jobs import service_of
    from kessai.sdk.jobs import status as status_of

    services = sorted({service_of(each.name) for each in DATED_JOBS if name in (None, each.name)})
    async with shared_place(settings) as place:
        await prepare(place.dsn, settings)
        database = Database(place.dsn)
        try:
            found = [run for each in services for run in await status_of(database, each, name=name, limit=limit)]
        finally:
            await database.close()
    return sorted(found, key=lambda run: run.started_at, reverse=True)[:limit]


def _run_undated(settings: Settings, name: str, *, as_json: bool) -> None:
    import msgspec

    from kessai.apps.operate import run_job

    done = asyncio.run(run_job(settings, name))
    print(msgspec.json.encode({"name": name, "done": done}).decode() if as_json else f"{name}: {done}")


def _refuse_day(name: str) -> None:
    from kessai.apps.jobs import job_named

    job_named(name)
    raise OperatorError(f"The job {name} is for no day in particular: it takes neither --date nor --dry-run.")


def _date(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise OperatorError(f"--date {text} is not a date such as 2026-01-31.") from error


def _to_its_end(settings: Settings, name: str, day: date | None, *, dry_run: bool) -> JobRun:
    started: list[Started] = []
    try:
        return asyncio.run(_run_dated(settings, name, day, dry_run=dry_run, started=started))
    except KeyboardInterrupt:
        for each in started:
            print(
                f"\n{name} for {each.run.day} is left where it stands, and loses nothing: a running platform goes on"
                " with it, as does the same command.",
                file=sys.stderr,
            )
        raise


async def _run_dated(
    settings: Settings, name: str, day: date | None, *, dry_run: bool, started: list[Started]
) -> JobRun:
    from kessai.apps.operate import beside

    async with beside(settings) as platform:
        dated = platform.dated
        wanted = dated.named(name)
        if day is not None and not dry_run:
            dated.refuse_day_to_come(wanted, day)
        begun = await dated.start(wanted, day or dated.usual_day(wanted), dry_run=dry_run)
        started.append(begun)
        return await _followed(platform, begun)


async def _followed(platform: Platform, begun: Started) -> JobRun:
    ending = asyncio.create_task(platform.dated.finish(begun))
    try:
        with _bar(begun) as bar:
            while not (await asyncio.wait((ending,), timeout=FOLLOW_S))[0]:
                await _show(platform.dated, begun, bar)
        return ending.result()
    finally:
        ending.cancel()


async def _show(dated: DatedJobs, begun: Started, bar: Any) -> None:
    if bar is not None:
        seen = await dated.seen(begun.run)
        bar.update(bar.task_ids[0], completed=seen.done, total=seen.total, note=seen.note)


def _bar(begun: Started) -> AbstractContextManager[Any]:
    """A progress bar at a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=True)
    progress.add_task(f"{begun.run.name} {begun.run.day}", total=None, note="")
    return progress


def _print_runs(runs: list[JobRun], *, as_json: bool) -> None:
    import msgspec

    for each in runs:
        if as_json:
            print(msgspec.json.encode(each).decode())
            continue
        if each.since is not None:
            print(f"{each.name:20} {each.day} {each.state.value}: {each.note}, {_days(each.since, each.day)}")
            continue
        of = "" if each.total is None else f"/{each.total}"
        dry = " (dry run)" if each.dry_run else ""
        note = f": {each.note}" if each.note else ""
        print(f"{each.name:20} {each.day} #{each.attempt} {each.state.value:7} {each.done}{of}{dry}{note}")


def _days(since: date, until: date) -> str:
    return "on that day" if since == until else f"since {since}"


def _settings(data: str | None, database_url: str | None, config: Path | None) -> Settings:
    from kessai.foundation.config import load_settings
    from kessai.foundation.telemetry import configure_logging

    settings = load_settings({"data": data, "database_url": database_url}, file=config)
    configure_logging(level="warning", form=settings.log_format)
    return settings
