"""`kessai books …`: what an accountant does at a terminal: reports, periods, what stands unposted, reconciliations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kessai.foundation.errors import OperatorError

if TYPE_CHECKING:
    from datetime import date

    from kessai.apps.wiring import Platform
    from kessai.services.books.api.accounting import Period
    from kessai.services.books.service.accounting import AccountingDesk

R = TypeVar("R")

books = typer.Typer(help="Books: reports, periods, exports.", no_args_is_help=True)

Month = Annotated[str, typer.Argument(help="A month, e.g. 2026-04.")]
By = Annotated[str, typer.Option("--by", help="Who you are; kept with what you do.")]
Why = Annotated[str, typer.Option("--why", help="Why you do it; kept too.")]
Day = Annotated[str | None, typer.Option("--date", help="One day.")]
OfMonth = Annotated[str | None, typer.Option("--month", help="A month.", show_default="this one")]
Since = Annotated[str | None, typer.Option(help="The first day.")]
Until = Annotated[str | None, typer.Option(help="The last day.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Out = Annotated[Path | None, typer.Option(help="A file, whose ending says the format unless --format does.")]
Format = Annotated[str | None, typer.Option("--format", help="One of those that kessai books reports names.")]
Filter = Annotated[list[str] | None, typer.Option("--filter", help="Such as account:1110; again for more.")]
Data = Annotated[str | None, typer.Option(help="Folder of the embedded PostgreSQL.", show_default=".kessai")]
DatabaseUrl = Annotated[str | None, typer.Option(help="A PostgreSQL of yours instead of the embedded one.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings as TOML.")]


# -- reports --------------------------------------------------------------------------------------------------------


@books.command("trial-balance")
def trial_balance(
    *,
    day: Day = None,
    month: OfMonth = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """The trial balance (合計残高試算表)."""
    days = (day, month, since, until)
    _run(lambda it: _shown(it, "trial_balance", days, {}, json=json), data, database_url, config)


@books.command()
def ledger(
    account: Annotated[str, typer.Argument(help="The account's code, e.g. 1110.")],
    *,
    asset: Annotated[str | None, typer.Option(help="In which asset.", show_default="JPY")] = None,
    day: Day = None,
    month: OfMonth = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """The general ledger (総勘定元帳) of an account."""
    days, filters = (day, month, since, until), {"account": account} | ({"asset": asset} if asset else {})
    _run(lambda it: _shown(it, "general_ledger", days, filters, json=json), data, database_url, config)


@books.command()
def report(
    name: Annotated[str, typer.Argument(help="Which; kessai books reports names them.")],
    *,
    day: Day = None,
    month: OfMonth = None,
    since: Since = None,
    until: Until = None,
    form: Format = None,
    out: Out = None,
    filters: Filter = None,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Show a report, or write it to a file of any size."""
    from kessai.apps.books_desk import filters_named

    if json and (form or out):
        raise OperatorError("Give either --json, or --format and --out.")
    days, taken = (day, month, since, until), dict(filters_named(filters or []))
    form = form or (None if out is None else _form_of(out))
    if form is None:
        _run(lambda it: _shown(it, name, days, taken, json=json), data, database_url, config)
    else:
        _run(lambda it: _written(it, name, days, taken, form, out), data, database_url, config)


@books.command("reports")
def reports(*, json: Json = False, data: Data = None, database_url: DatabaseUrl = None, config: Config = None) -> None:
    """The reports there are, and what each takes."""
    from kessai.apps.books_desk import print_json, print_table
    from kessai.services.books.api.reporting import ListReports

    offers = _run(lambda it: it.books.reporting.list_reports(ListReports()), data, database_url, config)
    if json:
        print_json(offers)
    else:
        rows = [
            (each.name, ", ".join(each.required_filters), ", ".join(each.optional_filters), ", ".join(each.formats))
            for each in offers.reports
        ]
        print_table(("report", "needs", "takes", "formats"), rows)


@books.command()
def export(
    *,
    beancount: Annotated[Path | None, typer.Option(help="Write journals for Beancount to this file.")] = None,
    hledger: Annotated[Path | None, typer.Option(help="Write journals for hledger to this file.")] = None,
    yayoi: Annotated[Path | None, typer.Option(help="Write journals for 弥生会計 to this file.")] = None,
    month: OfMonth = None,
    since: Since = None,
    until: Until = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Write the journals (仕訳帳) of some days for other books."""
    wanted = {"beancount": beancount, "hledger": hledger, "yayoi": yayoi}
    files = {form: file for form, file in wanted.items() if file is not None}
    if not files:
        raise OperatorError("Give --beancount, --hledger or --yayoi with a file.")

    async def work(it: Platform) -> None:
        for form, file in files.items():
            await _written(it, "journal", (None, month, since, until), {}, form, file)

    _run(work, data, database_url, config)


# -- periods --------------------------------------------------------------------------------------------------------


@books.command()
def periods(
    *,
    since: Annotated[str | None, typer.Option(help="The first month.", show_default="the first entry's")] = None,
    until: Annotated[str | None, typer.Option(help="The last month.", show_default="this one")] = None,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Months, and who opened, closed and locked them."""
    from kessai.apps.books_desk import asked, print_json, print_table
    from kessai.services.books.api.accounting import ListPeriods

    request = asked(ListPeriods, since=since, until=until)
    found = _run(lambda it: it.books.accounting.list_periods(request), data, database_url, config)
    if json:
        print_json(found)
        return
    rows = list[tuple[object, ...]]()
    for each in found.periods:
        last = each.steps[-1] if each.steps else None
        rows.append(
            (each.month, each.state.value, *((last.by, last.reason, last.recorded_at) if last else ("", "", "")))
        )
    print_table(("month", "state", "by", "why", "at"), rows)


@books.command("close")
def close_period(
    month: Month, *, by: By, why: Why, data: Data = None, database_url: DatabaseUrl = None, config: Config = None
) -> None:
    """Close a month: its accruals are booked, then nothing more is."""
    from kessai.apps.books_desk import asked
    from kessai.services.books.api.accounting import ClosePeriod

    request = asked(ClosePeriod, month=month, reason=why)
    _step(lambda desk: desk.close_period(request), (data, database_url, config), by=by)


@books.command("open")
def open_period(
    month: Month, *, by: By, why: Why, data: Data = None, database_url: DatabaseUrl = None, config: Config = None
) -> None:
    """Open the last closed month again."""
    from kessai.apps.books_desk import asked
    from kessai.services.books.api.accounting import ReopenPeriod

    request = asked(ReopenPeriod, month=month, reason=why)
    _step(lambda desk: desk.reopen_period(request), (data, database_url, config), by=by)


@books.command("lock")
def lock_period(
    month: Month,
    *,
    by: By,
    why: Why,
    approval: Annotated[str | None, typer.Option(help="Where a second person is asked for: the approval's id.")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Lock a closed month, and all before it, for good."""
    from kessai.apps.books_desk import asked
    from kessai.services.books.api.accounting import LockPeriod

    request = asked(LockPeriod, month=month, reason=why, approval_id=approval)
    _step(lambda desk: desk.lock_period(request), (data, database_url, config), by=by)


# -- what no rule booked --------------------------------------------------------------------------------------------


@books.command()
def unposted(
    *,
    after: Annotated[str | None, typer.Option(help="Beyond this cursor: that of the page before.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 100,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Events that no rule booked, and why."""
    from kessai.apps.books_desk import asked, print_json, print_table
    from kessai.services.books.api.accounting import ListUnposted

    request = asked(ListUnposted, cursor=after, limit=limit)
    page = _run(lambda it: it.books.accounting.list_unposted(request), data, database_url, config)
    if json:
        print_json(page)
        return
    rows = [(e.event_id, e.topic, e.reason, e.detail, e.attempts, e.parked_at) for e in page.events]
    print_table(("event", "topic", "reason", "detail", "tries", "since"), rows)
    if page.next_cursor is not None:
        print(f"There are more: --after {page.next_cursor}")


@books.command()
def repost(
    event_ids: Annotated[list[str] | None, typer.Argument(help="Which; none: all of them.")] = None,
    *,
    reason: Annotated[str | None, typer.Option(help="Only those that stand for this, e.g. no_rule.")] = None,
    detail: Annotated[str | None, typer.Option(help="Only those with this detail: of no_rule the kind.")] = None,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Try unposted events again, after the rules were mended; exit 1 when some still stand."""
    from kessai.apps.books_desk import asked, print_json, print_table, reposted
    from kessai.services.books.api.accounting import Repost

    request = asked(Repost, event_ids=event_ids or [], reason=reason, detail=detail)
    done = _run(lambda it: reposted(it.books.accounting, request), data, database_url, config, opened=True)
    if json:
        print_json(done)
    else:
        print(f"{done.posted:,} booked, {len(done.standing):,} still stand.")
        if done.standing:
            print_table(("event", "reason", "detail"), [(e.event_id, e.reason, e.detail) for e in done.standing])
    if done.standing:
        raise typer.Exit(1)


# -- closing a day --------------------------------------------------------------------------------------------------


@books.command("statutory-day")
def statutory_day(
    day: Annotated[str, typer.Argument(help="Which day.")],
    *,
    make: Annotated[bool, typer.Option("--make", help="Make it, or make it again and compare.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who you are; kept with what you do.")] = None,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """The statutory books (法定帳簿) of a day."""
    from kessai.apps.books_desk import asked, day_named, print_json, print_table, progress
    from kessai.services.books.api.statutory import GetStatutoryDay, MakeStatutoryDay, StatutoryDay

    on = day_named(day, "DAY")

    async def work(it: Platform) -> StatutoryDay:
        if not make:
            return await it.books.statutory.get_statutory_day(asked(GetStatutoryDay, day=on))
        with progress(f"法定帳簿 {on}"):
            return await it.books.statutory.make_statutory_day(asked(MakeStatutoryDay, day=on))

    found = _run(work, data, database_url, config, by=by)
    if json:
        print_json(found)
        return
    print(f"{found.day}  {found.digest}")
    print(f"{found.lines:,} lines, {found.late_lines:,} of them late; {found.over_cap:,} customers over the cap (滞留)")
    rows = [(b.account_type, b.asset, b.opening_minor, b.closing_minor, b.accounts, b.differing) for b in found.books]
    print_table(("account type", "asset", "opening", "closing", "accounts", "differing"), rows)
    security = [(s.transfer_type, s.obligation_minor, s.procedure_cost_minor, s.required_minor) for s in found.security]
    print_table(("type", "未達債務", "手続費用", "要履行保証額"), security)


@books.command()
def reconcile(
    names: Annotated[list[str] | None, typer.Argument(help="With whom; none: with everybody.")] = None,
    *,
    by: Annotated[str | None, typer.Option("--by", help="Who you are; kept with what you do.")] = None,
    json: Json = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Compare the books with the other services; exit 1 when something differs that nothing explains."""
    from kessai.apps.books_desk import asked, print_json, print_table, progress
    from kessai.services.books.api.reconciling import Reconcile, Reconciliation, ReconciliationName

    requests = [asked(Reconcile, name=each) for each in names or list(ReconciliationName)]

    async def work(it: Platform) -> list[Reconciliation]:
        with progress("照合"):
            return [await it.books.reconciling.reconcile(request) for request in requests]

    runs = _run(work, data, database_url, config, by=by, opened=True)
    if json:
        print_json(runs)
    else:
        rows = [(r.reconciliation_id, r.name.value, r.compared, r.differences, r.explained, r.in_flight) for r in runs]
        print_table(("run", "with", "compared", "differences", "explained", "in flight"), rows)
    if any(each.differences for each in runs):
        raise typer.Exit(1)


# -- where it is done -----------------------------------------------------------------------------------------------

_Where = tuple[str | None, str | None, Path | None]
"""--data, --database-url, --config."""
_Days = tuple[str | None, str | None, str | None, str | None]
"""--date, --month, --since, --until."""


def _run(
    work: Callable[[Platform], Awaitable[R]],
    data: str | None,
    database_url: str | None,
    config: Path | None,
    *,
    by: str | None = None,
    opened: bool = False,
) -> R:
    from kessai.foundation.config import load_settings
    from kessai.foundation.telemetry import configure_logging

    settings = load_settings({"data": data, "database_url": database_url}, file=config)
    configure_logging(level="warning", form=settings.log_format)

    async def run() -> R:
        from kessai.apps.books_desk import platform_at

        async with platform_at(settings, opened=opened, by=by) as platform:
            return await work(platform)

    return asyncio.run(run())


def _step(work: Callable[[AccountingDesk], Awaitable[Period]], where: _Where, *, by: str) -> None:
    """Take a month a step on, and tell where it stands."""
    period = _run(lambda it: work(it.books.accounting), *where, by=by)
    print(f"{period.month}: {period.state.value}")


def _range(it: Platform, days: _Days) -> tuple[date, date]:
    from kessai.apps.books_desk import days_named, today_of

    day, month, since, until = days
    return days_named(today_of(it), day=day, month=month, since=since, until=until)


async def _shown(it: Platform, name: str, days: _Days, filters: dict[str, str], *, json: bool) -> None:
    """A report on standard output."""
    import sys

    from kessai.apps.books_desk import print_report
    from kessai.services.books.service.asked import Asked

    since, until = _range(it, days)
    wanted = Asked(name=name, since=since, until=until, filters=filters)
    if json:
        await it.books.reporting.write_report(wanted, "json", sys.stdout.buffer)
    else:
        await print_report(await it.books.reporting.build(wanted))


async def _written(it: Platform, name: str, days: _Days, filters: dict[str, str], form: str, out: Path | None) -> None:
    """A report in a file, whole or not at all."""
    from kessai.apps.books_desk import progress, write_file
    from kessai.services.books.service.asked import Asked

    since, until = _range(it, days)
    wanted = Asked(name=name, since=since, until=until, filters=filters)
    with progress(name) as told:
        file, done, sha256 = await write_file(it.books.reporting, wanted, form, out, told)
    print(f"{file}  {done.rows:,} rows  sha256 {sha256}")
    if done.left_out:
        print(f"{done.left_out:,} lines are left out, which this form cannot hold.")


def _form_of(out: Path) -> str:
    """The format that a file's ending asks for."""
    endings = {".yayoi.csv": "yayoi", ".beancount": "beancount", ".journal": "hledger", ".hledger": "hledger"}
    endings |= {".json": "json", ".csv": "csv", ".xlsx": "xlsx", ".pdf": "pdf", ".parquet": "parquet"}
    for ending, form in endings.items():
        if out.name.endswith(ending):
            return form
    raise OperatorError(f"{out.name} does not say which format is meant; give --format.")
