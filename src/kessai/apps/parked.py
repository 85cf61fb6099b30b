"""What waits for an operator: events whose handler failed, and workflows that cannot go on by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.table import Table

from kessai.apps.place import settled, shared_place
from kessai.apps.wiring import SOURCES, Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.events import parked as parked_events


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that waits, under the name by which it is tried again."""

    kind: str
    name: str
    error: str
    since: datetime | None = None


async def list_parked(settings: Settings) -> list[Waiting]:
    """Everything that waits: events first, then workflows."""
    async with shared_place(settings) as place:
        await prepare(place.dsn, settings)
        platform = Platform(place.dsn, settled(settings, place))
        try:
            return await _waiting(platform)
        finally:
            await platform.database.close()


async def _waiting(platform: Platform) -> list[Waiting]:
    found = [
        Waiting("event", f"{each.subscription} {each.event.position} {each.event.ordinal}", each.error, each.parked_at)
        for service in SOURCES
        for each in await parked_events(platform.database, service)
    ]
    found += [
        Waiting("workflow", each.workflow_id, f"{engine.service} {each.name}: {each.error}")
        for engine in platform.engines
        for each in await engine.parked()
    ]
    return found


async def retry(settings: Settings, name: str) -> bool:
    """Try again what is listed under `name`; False when it failed once more (its error is stored) or is not there."""
    async with shared_place(settings) as place:
        await prepare(place.dsn, settings)
        platform = Platform(place.dsn, settled(settings, place))
        await platform.open()
        try:
            match name.split():
                case [workflow_id]:
                    unparked = [await engine.unpark(workflow_id) for engine in platform.engines]
                    return any(unparked)
                case [subscription, position, ordinal] if position.isdigit() and ordinal.isdigit():
                    for each in platform.subscriptions:
                        if each.name == subscription:
                            return await each.unpark(int(position), int(ordinal))
                case _:
                    pass
            return False
        finally:
            await platform.close()


def show(waiting: list[Waiting]) -> None:
    """A readable table."""
    console = Console()
    if not waiting:
        console.print("Nothing waits for an operator.")
        return
    table = Table("kind", "name", "since", "error")
    for each in waiting:
        table.add_row(each.kind, each.name, f"{each.since:%Y-%m-%d %H:%M:%S}" if each.since else "", each.error)
    console.print(table)
