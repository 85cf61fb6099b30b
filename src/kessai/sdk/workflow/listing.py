"""What an operator sees: workflows of a service by state, and one of them in full."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import asyncpg

from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import NotFound
from kessai.sdk.workflow.archive import read_archive
from kessai.sdk.workflow.branch import label_of
from kessai.sdk.workflow.host import operations
from kessai.sdk.workflow.messages import MessageKind
from kessai.sdk.workflow.sealing import Payloads
from kessai.sdk.workflow.steps import Step

State: TypeAlias = Literal["open", "parked", "queued", "done", "all"]
LISTED_MAX = 1_000
KINDS = {0: "intent", 1: "outcome", 2: "undone"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One workflow in a list."""

    workflow_id: str
    name: str
    version: int
    state: str
    """QUEUED, OPEN, COMPENSATING, PARKED, DONE, REFUSED or FORGOTTEN."""
    since: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A journalled step."""

    label: str
    kind: str
    name: str
    argument_hash: str
    failed: bool
    recorded_at: datetime
    outcome: bytes = b""
    """As it is stored."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One workflow in full."""

    listed: Listed
    steps: list[ShownStep]
    attributes: dict[str, str]
    messages: list[str]
    audit: list[str]
    stuck: str | None
    payloads: list[str]
    """Request, what each step came to, and outcome; only where they were asked for."""

    @property
    def state(self) -> str:
        """As in a list."""
        return self.listed.state


async def list_workflows(
    database: Database, service: str, state: State, *, name: str | None = None, after: str = "", limit: int = 100
) -> list[Listed]:
    """Workflows in a state, of one name or of all, in order of id beyond `after`."""
    queries, limit = operations(service), min(limit, LISTED_MAX)
    found: list[Listed] = []
    if state in ("open", "parked", "all"):
        arguments = (after, name, None if state == "all" else state == "parked", limit)
        found += [_open(row) for row in await database.fetch(role_of(service), queries["list_open"], *arguments)]
    if state in ("done", "all"):
        rows = await database.fetch(role_of(service), queries["list_done"], after, name, limit)
        found += [_done(row) for row in rows]
    if state in ("queued", "all"):
        rows = await database.fetch(role_of(service), queries["list_queued"], after, name, limit)
        found += [_queued(row) for row in rows]
    return sorted(found, key=lambda each: each.workflow_id)[:limit]


async def is_known(database: Database, service: str, workflow_id: str) -> bool:
    """Whether a service has a workflow of this id, in whatever state."""
    (row,) = await database.fetch(role_of(service), operations(service)["is_known"], workflow_id)
    return row["known"]


async def show_workflow(database: Database, service: str, workflow_id: str, payloads: Payloads | None = None) -> Shown:
    """Everything, and payloads where it is told how they are opened; raises NotFound `workflow_not_found`."""
    queries, role = operations(service), role_of(service)

    async def rows(name: str) -> list[asyncpg.Record]:
        return await database.fetch(role, queries[name], workflow_id)

    steps = [_step(row) for row in await rows("log_of")]
    listed: Listed | None = None
    request = result = b""
    for row in await rows("done_one"):
        listed, result = _done(row), row["outcome"]
        if (archive := read_archive(workflow_id, row["steps"])) is not None:
            request, steps = archive[0], [*steps, *(_archived(step) for step in archive[2])]
    for row in [] if listed is not None else await rows("open_one"):
        listed, request = _open(row), row["request"]
    for row in [] if listed is not None else await rows("queue_one"):
        listed = _queued(row)
    for row in [] if listed is not None else await rows("taken_one"):
        listed = Listed(workflow_id, "", 0, "FORGOTTEN", row["started_at"])
    if listed is None:
        raise NotFound("workflow_not_found", "There is no workflow of this id.")
    return Shown(
        listed,
        steps,
        {row["name"]: row["value"] for row in await rows("attributes_of")},
        [_message(row) for row in await rows("messages_of")],
        [_audited(row) for row in await rows("audit_of")],
        next((_stuck(row) for row in await rows("stuck_find")), None),
        [] if payloads is None else _payloads(payloads, request, steps, result),
    )


def _payloads(payloads: Payloads, request: bytes, steps: list[ShownStep], result: bytes) -> list[str]:
    outcomes = [(f"step {step.label} {step.kind}", step.outcome) for step in steps]
    every = [("request", request), *outcomes, ("outcome", result)]
    return [f"{what}: {payloads.shown(data)}" for what, data in every if data]


def _open(row: asyncpg.Record) -> Listed:
    error = row["parked_error"]
    state = "PARKED" if error is not None else "COMPENSATING" if row["compensating"] else "OPEN"
    return Listed(row["workflow_id"], row["name"], row["version"], state, row["started_at"], error or "")


def _done(row: asyncpg.Record) -> Listed:
    state = "REFUSED" if row["failed"] else "DONE"
    return Listed(row["workflow_id"], row["name"], row["version"], state, row["finished_at"])


def _queued(row: asyncpg.Record) -> Listed:
    return Listed(row["workflow_id"], row["name"], row["version"], "QUEUED", row["queued_at"], row["queue"])


def _step(row: Any) -> ShownStep:
    digest = row["argument_hash"].hex()
    first = (label_of(row["seq"]), KINDS[row["kind"]], row["name"], digest)
    return ShownStep(*first, row["failed"], row["recorded_at"], row["outcome"])


def _archived(step: Step) -> ShownStep:
    first = (label_of(step.seq), KINDS[step.kind], step.name, step.argument_hash.hex())
    return ShownStep(*first, step.failed, step.recorded_at, step.outcome)


def _message(row: asyncpg.Record) -> str:
    consumed = "taken" if row["consumed"] else "waiting"
    return f"{row['sent_at']:%Y-%m-%d %H:%M:%S} {MessageKind(row['kind']).name.lower()} {row['name']} ({consumed})"


def _audited(row: asyncpg.Record) -> str:
    detail = f" [{row['detail']}]" if row["detail"] else ""
    return f"{row['acted_at']:%Y-%m-%d %H:%M:%S} {row['verb']} by {row['who']}: {row['why']}{detail}"


def _stuck(row: asyncpg.Record) -> str:
    return f"step {label_of(row['seq'])} {row['name']}: {row['error']}"
