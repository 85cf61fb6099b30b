"""What an operator does beside a running platform, or without one: run a job, make an API key."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from kessai.apps.jobs import job_named
from kessai.apps.outside import running
from kessai.apps.place import settled, shared_place
from kessai.apps.wiring import SERVICES, Platform, prepare
from kessai.foundation.clock import SystemClock
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError
from kessai.services.identity.api import CreateKey, Scope
from kessai.services.identity.service import IdentityService


@asynccontextmanager
async def beside(settings: Settings) -> AsyncGenerator[Platform]:
    """A platform of this process's own, open, at a place where another one may be running."""
    async with shared_place(settings) as place:
        await prepare(place.dsn, settings)
        platform = Platform(place.dsn, running(settled(settings, place)))
        await platform.open()
        try:
            yield platform
        finally:
            await platform.close()


async def run_job(settings: Settings, name: str) -> int:
    """Run one job by name; gives how much it did."""
    job = job_named(name)
    async with beside(settings) as platform:
        return await job.run(platform)


async def create_key(settings: Settings, name: str, scopes: list[str], service: str | None = None) -> str:
    """Make an API key with some scopes, or all of them, in a service's name or its own; gives its secret."""
    wanted = {"name": name, "scopes": scopes or [each.value for each in Scope], "service": service}
    try:
        request = msgspec.convert(wanted, CreateKey)
    except msgspec.ValidationError as error:
        raise OperatorError(f"No key was made: {error}; scopes are {', '.join(Scope)}.") from error
    async with shared_place(settings) as place:
        await prepare(place.dsn, settings)
        database = Database(place.dsn)
        try:
            return (await IdentityService(database, SystemClock(), platform=SERVICES).create_key(request)).secret
        finally:
            await database.close()
