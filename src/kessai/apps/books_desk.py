"""Where `kessai books` works, and how it shows what it finds: tables at a terminal, JSON for programs."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import msgspec

from kessai.foundation.clock import TOKYO, business_date
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.table import Table

    from kessai.apps.wiring import Platform
    from kessai.services.books.api.accounting import Accounting, Repost, Reposted, UnpostedEvent
    from kessai.services.books.domain.table import Report
    from kessai.services.books.service.asked import Asked
    from kessai.services.books.service.reporting import ReportingDesk, Written

M = TypeVar("M")

TABLE_ROWS_MAX = 500
"""What a terminal is shown of a report; a file holds all of it."""
_BLOCK_BYTES = 2**20
_WIDE = 240
"""Columns where there is no terminal to ask."""


@asynccontextmanager
async def platform_at(settings: Settings, *, opened: bool, by: str | None = None) -> AsyncGenerator[Platform]:
    """The platform's services on its data: to read from, or opened where something is to be done."""
    from kessai.apps.outside import running
    from kessai.apps.place import settled, shared_place
    from kessai.apps.wiring import Platform, prepare
    from kessai.foundation.call import Call, enter_call, leave_call

    async with shared_place(settings) as place:
        await prepare(place.dsn, settings)
        platform = Platform(place.dsn, running(settled(settings, place)))
        token = enter_call(Call(caller="operator" if by is None else f"operator:{by}"))
        try:
            if opened:
                await platform.open()
            else:
                await _tell_time(platform)
            yield platform
        finally:
            leave_call(token)
            await (platform.close() if opened else platform.database.close())


async def _tell_time(platform: Platform) -> None:
    """Let the platform's clock show what the sandbox's does."""
    from kessai.services.sandbox.api import GetClock, Sandbox

    for door, service in platform.doors():
        if door is Sandbox:
            clock: Any = service
            await clock.get_clock(GetClock())


def asked(message: type[M], **fields: object) -> M:
    """A request; OperatorError with one sentence where a field cannot be what it is."""
    try:
        return msgspec.convert({name: value for name, value in fields.items() if value is not None}, message)
    except msgspec.ValidationError as error:
        raise OperatorError(f"{error}.".replace("`$.", "`").replace("..", ".")) from error


# -- unposted events ------------------------------------------------------------------------------------------------


async def reposted(desk: Accounting, request: Repost) -> Reposted:
    """Try all unposted events again that a request asks for, a thousand after the other."""
    from msgspec.structs import replace

    posted, standing = 0, list["UnpostedEvent"]()
    while True:
        done = await desk.repost(request)
        posted, standing = posted + done.posted, standing + done.standing
        if done.next_cursor is None:
            return replace(done, posted=posted, standing=standing)
        request = replace(request, cursor=done.next_cursor)


# -- days -----------------------------------------------------------------------------------------------------------


def day_named(text: str, option: str) -> date:
    """A day as it is given; OperatorError otherwise."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise OperatorError(f"{option} is a day such as 2026-04-30, not {text}.") from error


def month_named(text: str, option: str) -> date:
    """The first day of a month as it is given; OperatorError otherwise."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=TOKYO).date()
    except ValueError as error:
        raise OperatorError(f"{option} is a month such as 2026-04, not {text}.") from error


def days_named(
    today: date, *, day: str | None, month: str | None, since: str | None, until: str | None
) -> tuple[date, date]:
    """The days that are meant: one, a month's so far, a range; none given: this month's."""
    given = [day is not None, month is not None, since is not None or until is not None]
    if sum(given) > 1:
        raise OperatorError("Give one of --date, --month, or --since and --until.")
    if day is not None:
        only = day_named(day, "--date")
        return only, only
    if since is not None or until is not None:
        last = today if until is None else day_named(until, "--until")
        return (last.replace(day=1) if since is None else day_named(since, "--since")), last
    first = today.replace(day=1) if month is None else month_named(month, "--month")
    end = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return first, min(end, today) if first <= today else end


def today_of(platform: Platform) -> date:
    """The platform's own day in Tokyo."""
    return business_date(platform.clock.now())


# -- showing --------------------------------------------------------------------------------------------------------


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, otherwise: str = "There are none."
) -> None:
    """A table of texts; figures stand to the right."""
    from rich.console import Console
    from rich.markup import escape

    table, some = _table([(name, False) for name in columns]), False
    for row in rows:
        table.add_row(*(escape(_text(each)) for each in row))
        some = True
    Console(width=_width()).print(table if some else "There are none.")


async def print_report(report: Report) -> None:
    """A report as a table: as many rows as a terminal is to be shown, facts, totals."""
    from rich.console import Console
    from rich.markup import escape

    from kessai.services.books.domain.table import Kind
    from kessai.services.books.service.forms.cells import Layout, fact_text, period

    console, layout = Console(width=_width()), Layout(report)
    console.print(f"{report.title_ja} ({report.title})  {period(report)}", highlight=False, markup=False)
    for label, label_ja, value in report.facts:
        console.print(f"{label_ja} ({label}): {fact_text(value)}", highlight=False, markup=False)
    right = (Kind.MONEY, Kind.INTEGER, Kind.RATE)
    table, count = _table([(column.title_ja, column.kind in right) for column in report.columns]), 0
    async for chunk in report.chunks:
        for row in chunk[: max(0, TABLE_ROWS_MAX - count)]:
            table.add_row(*map(escape, layout.shown(row)))
        count += len(chunk)
        if count > TABLE_ROWS_MAX:
            break
    table.add_section()
    for row in report.totals:
        table.add_row(*map(escape, layout.shown(row)), style="bold")
    console.print(table)
    if count > TABLE_ROWS_MAX:
        console.print(f"Only the first {TABLE_ROWS_MAX:,} rows are shown; --out FILE writes all.", highlight=False)


def _table(columns: Sequence[tuple[str, bool]]) -> Table:
    from rich.table import Table

    table = Table()
    for name, right in columns:
        table.add_column(name, justify="right" if right else "left")
    return table


def _width() -> int | None:
    return None if sys.stdout.isatty() else _WIDE


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return f"{value.astimezone(TOKYO):%Y-%m-%d %H:%M:%S}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


@contextmanager
def progress(what: str) -> Generator[Callable[[int], None]]:
    """Shows at a terminal how many rows are behind; says nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)

        def told(count: int) -> None:
            bar.update(task, completed=count)

        yield told


async def write_file(
    desk: ReportingDesk, wanted: Asked, form: str, out: Path | None, told: Callable[[int], None]
) -> tuple[Path, Written, str]:
    """A report in a file, whole or not at all: where, what became of it, and its SHA-256. None: under its own name."""
    folder = Path() if out is None else out.parent
    try:
        with _part_of(folder) as (part, name):
            written = await desk.write_report(wanted, form, part, told)
            file = folder / written.file_name if out is None else out
            return file, written, _put(part, name, file)
    except OSError as error:
        raise OperatorError(f"The report cannot be written to {out or folder}: {error.strerror}.") from error


@contextmanager
def _part_of(folder: Path) -> Generator[tuple[BinaryIO, Path]]:
    """A file that is gone afterwards unless it was put in its place."""
    handle, name = mkstemp(dir=folder, prefix=".kessai-")
    try:
        with open(handle, "w+b") as part:
            yield part, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _put(part: BinaryIO, name: Path, file: Path) -> str:
    """Put a part in its place, under the name that it is to have; gives its SHA-256."""
    part.seek(0)
    digest = hashlib.sha256()
    while block := part.read(_BLOCK_BYTES):
        digest.update(block)
    part.flush()
    name.chmod(0o640)
    name.replace(file)
    return digest.hexdigest()


def filters_named(texts: Sequence[str]) -> Mapping[str, str]:
    """`name:value` pairs; OperatorError where one is none."""
    filters: dict[str, str] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not (name and colon and value):
            raise OperatorError(f"--filter is a name and a value such as account:1110, not {text}.")
        filters[name] = value
    return filters
