"""`kessai workflow …`: what an operator sees of workflows and does to them, and the rehearsal of recorded histories."""

from __future__ import annotations

import asyncio
import importlib
import operator
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kessai.foundation.errors import Conflict, OperatorError, Refused

if TYPE_CHECKING:
    from kessai.foundation.config import Settings
    from kessai.foundation.db import Database
    from kessai.sdk.workflow import Operator
    from kessai.sdk.workflow.listing import Listed, Shown
    from kessai.sdk.workflow.sealing import Codec, Payloads

R = TypeVar("R")

workflow = typer.Typer(help="Workflows: look, mend, replay.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The workflow's id.")]
By = Annotated[str, typer.Option("--by", help="Who you are; kept with what you do.")]
Why = Annotated[str, typer.Option("--why", help="Why you do it; kept too.")]
Service = Annotated[str | None, typer.Option(help="Whose workflows.", show_default="found by the id; all")]
Data = Annotated[str | None, typer.Option(help="Folder of the embedded PostgreSQL.", show_default=".kessai")]
DatabaseUrl = Annotated[str | None, typer.Option(help="A PostgreSQL of yours instead of the embedded one.")]
STATES = ("open", "parked", "queued", "done", "all")


@workflow.command("list")
def list_(
    *,
    state: Annotated[str, typer.Option(help=f"One of {', '.join(STATES)}.")] = "open",
    parked: Annotated[bool, typer.Option("--parked", help="What waits for an operator: as --state parked.")] = False,
    name: Annotated[str | None, typer.Option(help="Only of this name.")] = None,
    after: Annotated[str, typer.Option(help="Beyond this id: the last of the page before.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most.")] = 100,
    service: Service = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List workflows by their state, of every service or of one."""
    from kessai.sdk.workflow.listing import list_workflows

    state = "parked" if parked else state
    if state not in STATES:
        raise OperatorError(f"--state is one of {', '.join(STATES)}.")

    async def work(desk: Desk) -> list[tuple[str, Listed]]:
        return [
            (each, listed)
            for each in desk.services
            for listed in await list_workflows(desk.database, each, state, name=name, after=after, limit=limit)
        ]

    _print_list(_run(work, service, data, database_url))


@workflow.command()
def show(
    workflow_id: Id,
    *,
    history: Annotated[Path | None, typer.Option(help="Write its whole history, with payloads, to this file.")] = None,
    payloads: Annotated[bool, typer.Option("--payloads", help="Its request, and what each step came to, too.")] = False,
    service: Service = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show one: steps, messages, what it stands at, and who did what to it."""
    from kessai.sdk.workflow.history import load_history
    from kessai.sdk.workflow.listing import show_workflow

    async def work(desk: Desk) -> Shown:
        of = await desk.service_of(workflow_id)
        if history is not None:
            found = await load_history(desk.database, of, workflow_id, desk.payloads(of))
            history.write_bytes(found.to_json())
        return await show_workflow(desk.database, of, workflow_id, desk.payloads(of) if payloads else None)

    _print_one(_run(work, service, data, database_url))


def _plainly(name: str, sense: str) -> None:
    """Make the command of a verb that needs nothing but the workflow, and who did it and why."""

    @workflow.command(name, help=sense)
    def command(  # pyright: ignore[reportUnusedFunction]  (typer keeps it)
        workflow_id: Id,
        *,
        by: By,
        why: Why,
        service: Service = None,
        data: Data = None,
        database_url: DatabaseUrl = None,
    ) -> None:
        verb = operator.methodcaller(name, workflow_id, who=by, why=why)
        _act(workflow_id, verb, service, data, database_url)


for _name, _sense in (
    ("cancel", "Let it stop where it next can, and undo what it did."),
    ("terminate", "End it where it stands; nothing is undone."),
    ("pause", "Let it begin no further step."),
    ("resume", "Let a paused one go on."),
    ("retry", "Take a parked one up again, once its cause was mended."),
    ("skip", "Take the step that a parked one stands at for done: it was done, or undone, by hand."),
):
    _plainly(_name, _sense)


@workflow.command()
def resolve(
    workflow_id: Id,
    *,
    by: By,
    why: Why,
    result: Annotated[str | None, typer.Option(help="Its result, as JSON.")] = None,
    refused: Annotated[str | None, typer.Option(help="Instead: the code with which it was refused.")] = None,
    service: Service = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give the step that a parked one stands at its outcome, as it is known from elsewhere."""
    import msgspec

    if (result is None) == (refused is None):
        raise OperatorError("Give either --result or --refused.")
    try:
        value = None if result is None else msgspec.json.decode(result)
    except msgspec.DecodeError as error:
        raise OperatorError(f"--result is no JSON: {error}.") from error
    error = None if refused is None else Refused(refused, f"Refused, as {by} found: {why}")
    _act(
        workflow_id,
        lambda verbs: verbs.resolve(workflow_id, who=by, why=why, result=value, error=error),
        service,
        data,
        database_url,
    )


@workflow.command()
def fork(
    workflow_id: Id,
    *,
    new_id: Annotated[str, typer.Option(help="The id of the new one.")],
    keep_to: Annotated[str, typer.Option(help="The last of its steps that the new one has behind it; 0: none.")],
    by: By,
    why: Why,
    service: Service = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Start another one of the same request, with the first steps of this one behind it."""
    _act(
        workflow_id,
        lambda verbs: verbs.fork(workflow_id, new_id=new_id, keep_to=keep_to, who=by, why=why),
        service,
        data,
        database_url,
    )


@workflow.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="Recorded histories: JSON files.")],
    *,
    module: Annotated[list[str] | None, typer.Option(help="Where the workflows are defined, besides kessai's.")] = None,
) -> None:
    """Replay recorded histories with the code of today; exit 1 when it no longer follows one of them."""
    import kessai.apps.wiring  # noqa: F401  # pyright: ignore[reportUnusedImport]  (defines the platform's workflows)

    for each in module or []:
        _import(each)
    if not asyncio.run(_replayed(folder)):
        raise typer.Exit(1)


def _import(name: str) -> None:
    """A module of the installation, or of the folder where the command is given."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise OperatorError(f"--module {name} cannot be imported: {error}.") from error


async def _replayed(folder: Path) -> bool:
    from kessai.sdk.workflow.history import read_histories, rehearse

    histories = read_histories(folder)
    if not histories:
        raise OperatorError(f"There are no histories in {folder}.")
    agreed = True
    for name, history in histories.items():
        rehearsal = await rehearse(history)
        agreed &= rehearsal.agrees
        print(f"{'agrees' if rehearsal.agrees else 'DIFFERS'}  {name}: {rehearsal.reason}")
    return agreed


# -- where it is done -------------------------------------------------------------------------------------------


class Desk:
    """Where an operator works: the services whose workflows are meant, and what opens and seals their payloads."""

    def __init__(self, database: Database, services: list[str], settings: Settings) -> None:
        from kessai.foundation.vault import Vault, read_vault_keys

        self.database = database
        self.services = services
        self._vault = Vault(read_vault_keys(settings.vault_keys))
        self._seals = settings.seal_workflows

    def _codec(self, service: str) -> Codec | None:
        from kessai.apps.watching import VaultCodec

        return VaultCodec(self._vault, service) if self._vault.configured else None

    def payloads(self, service: str) -> Payloads:
        """Payloads of a service: in the clear where the vault has the key."""
        from kessai.sdk.workflow.sealing import Payloads

        return Payloads(self._codec(service), seals=self._seals)

    def operator(self, service: str) -> Operator:
        """The verbs on a service's workflows."""
        from kessai.foundation.clock import SystemClock
        from kessai.sdk.workflow import Operator

        return Operator(self.database, service, SystemClock(), self._codec(service), seals=self._seals)

    async def service_of(self, workflow_id: str) -> str:
        """Whose the workflow is; where nobody knows it, the first of all: its verb then says so."""
        from kessai.sdk.workflow.listing import is_known

        if len(self.services) == 1:
            return self.services[0]
        found = [each for each in self.services if await is_known(self.database, each, workflow_id)]
        if len(found) > 1:
            raise OperatorError(f"Several services have a workflow of this id; give --service: {', '.join(found)}.")
        return found[0] if found else self.services[0]


def _act(
    workflow_id: str,
    verb: Callable[[Operator], Awaitable[None]],
    service: str | None,
    data: str | None,
    database_url: str | None,
) -> None:
    async def work(desk: Desk) -> None:
        await verb(desk.operator(await desk.service_of(workflow_id)))

    _run(work, service, data, database_url)
    print("Done; whoever carries the workflow is told.")


def _run(work: Callable[[Desk], Awaitable[R]], service: str | None, data: str | None, database_url: str | None) -> R:
    from kessai.foundation.config import load_settings
    from kessai.foundation.telemetry import configure_logging

    settings = load_settings({"data": data, "database_url": database_url}, file=None)
    configure_logging(level="warning", form=settings.log_format)

    async def run() -> R:
        from kessai.apps.place import settled, shared_place
        from kessai.apps.wiring import prepare
        from kessai.foundation.db import Database
        from kessai.sdk.workflow.sealing import Sealed

        services = _services(service)
        async with shared_place(settings) as place:
            await prepare(place.dsn, settings)
            database = Database(place.dsn)
            try:
                return await work(Desk(database, services, settled(settings, place)))
            except Conflict as error:
                raise OperatorError(error.message) from error
            except Sealed as error:
                raise OperatorError("Its payloads are sealed; set the vault's keys (KESSAI_VAULT_KEYS).") from error
            finally:
                await database.close()

    return asyncio.run(run())


def _services(asked: str | None) -> list[str]:
    from kessai.apps.wiring import WITH_WORKFLOWS

    known = list(WITH_WORKFLOWS)
    if asked is not None and asked not in known:
        raise OperatorError(f"--service is one of {', '.join(known)}.")
    return known if asked is None else [asked]


def _print_list(found: list[tuple[str, Listed]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("service", "id", "workflow", "state", "since", "detail")
    for service, each in found:
        name, since = f"{each.name} v{each.version}", f"{each.since:%Y-%m-%d %H:%M:%S}"
        table.add_row(service, each.workflow_id, name, each.state, since, escape(each.detail))
    Console().print(table if found else "There are none.")


def _print_one(shown: Shown) -> None:
    from rich.console import Console
    from rich.table import Table

    console, listed = Console(), shown.listed
    head = f"{listed.workflow_id}  {listed.name} v{listed.version}  {listed.state}  {listed.detail}"
    console.print(head, highlight=False, markup=False)
    table = Table("step", "what", "name", "argument", "failed", "at")
    for step in shown.steps:
        at = f"{step.recorded_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(step.label, step.kind, step.name, step.argument_hash, "yes" if step.failed else "", at)
    console.print(table)
    for title, lines in (
        ("payload", shown.payloads),
        ("stands at", [shown.stuck] if shown.stuck else []),
        ("attributes", [f"{name} = {value}" for name, value in shown.attributes.items()]),
        ("messages", shown.messages),
        ("audit", shown.audit),
    ):
        for line in lines:
            console.print(f"{title}: {line}", highlight=False, markup=False)
