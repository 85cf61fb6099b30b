"""What is sent to workflows: signals, updates, queries, and what an operator or the platform asks of them."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, Unpack

import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound, Unavailable
from kessai.sdk.workflow.executor import LEASE_S, Executor, Options
from kessai.sdk.workflow.history import load_history, rehearse
from kessai.sdk.workflow.messages import MessageKind
from kessai.sdk.workflow.operate import Operator
from kessai.sdk.workflow.outcome import decode_error
from kessai.sdk.workflow.run import Workflow

D = TypeVar("D")
T = TypeVar("T")

ANSWER_LOOK_S_MAX = 0.5
SYSTEM = "system"
"""Who acts when the platform itself does."""


class Sending(Executor[D]):
    """An executor that sends to workflows, wherever they are carried."""

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        deps: D,
        clock: Clock,
        lease_s: float = LEASE_S,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(database, service=service, deps=deps, clock=clock, lease_s=lease_s, **options)
        self.operator = Operator(database, service, clock, options.get("codec"), seals=options.get("seals", True))
        """An operator's verbs, each with who and why."""

    async def signal(
        self, workflow_id: str, name: str, content: object = None, *, signal_id: str | None = None
    ) -> None:
        """Send a signal, durable when this returns; one sent again under `signal_id` counts once. Raises NotOpen."""
        await self.operator.send(workflow_id, MessageKind.SIGNAL, name, content, signal_id)
        await self._hand_over(scan=workflow_id not in self._runs)

    async def update(
        self,
        workflow_id: str,
        name: str,
        content: object,
        result_type: type[T],
        *,
        update_id: str,
        timeout_s: float = 30.0,
    ) -> T:
        """Send a synchronous update and wait for the workflow's answer, which is kept under `update_id`.

        Raises the error that it refuses with; NotOpen; Unavailable `update_not_answered` after `timeout_s` of real
        time: ask again with the same id.
        """
        if (answer := await self._answer(workflow_id, update_id, result_type)) is not None:
            return answer[0]
        await self.operator.send(workflow_id, MessageKind.UPDATE, name, content, update_id)
        await self._hand_over(scan=workflow_id not in self._runs)
        deadline, pause_s = asyncio.get_running_loop().time() + timeout_s, 0.005
        while asyncio.get_running_loop().time() < deadline:
            if (answer := await self._answer(workflow_id, update_id, result_type)) is not None:
                return answer[0]
            await asyncio.sleep(pause_s)
            pause_s = min(ANSWER_LOOK_S_MAX, pause_s * 2)
        raise Unavailable("update_not_answered", "The work has not taken this up yet; ask again with the same id.")

    async def _answer(self, workflow_id: str, update_id: str, kind: type[T]) -> tuple[T] | None:
        rows = await self._database.fetch(self._role, self.statements["answer_find"], workflow_id, update_id)
        for row in rows:
            outcome = self.payloads.open(row["outcome"])
            if row["failed"]:
                raise decode_error(outcome)
            return (msgspec.json.decode(outcome, type=kind),)
        return None

    async def query(self, workflow_id: str, name: str, kind: type[T]) -> T:
        """What the workflow exposes under `name` now: asked of its run here, else of a replay of its journal.

        Raises NotFound `workflow_not_found` or `query_not_found`, Forgotten.
        """
        run: Workflow[Any] | None = self._runs.get(workflow_id)
        if run is None:
            history = await load_history(self._database, self.service, workflow_id, self.payloads)
            run = (await rehearse(history, self.deps)).run
        try:
            answer = None if run is None else run.answer(name)
        except KeyError as error:
            raise NotFound("query_not_found", f"The workflow does not expose {name} now.") from error
        return msgspec.convert(answer, kind)

    async def cancel(self, workflow_id: str, *, who: str = SYSTEM, why: str) -> None:
        """Ask it to stop where it next can; what it did is undone. Raises NotOpen."""
        await self.operator.cancel(workflow_id, who=who, why=why)
        await self._hand_over(scan=True)

    async def terminate(self, workflow_id: str, *, who: str = SYSTEM, why: str) -> None:
        """End it where it stands; nothing is undone. Raises NotOpen."""
        await self.operator.terminate(workflow_id, who=who, why=why)
        await self._hand_over(scan=True)

    async def pause(self, workflow_id: str, *, who: str = SYSTEM, why: str) -> None:
        """Let it begin no further step until it is resumed. Raises NotOpen."""
        await self.operator.pause(workflow_id, who=who, why=why)
        await self._hand_over()

    async def resume(self, workflow_id: str, *, who: str = SYSTEM, why: str) -> None:
        """Let a paused workflow go on. Raises NotOpen."""
        await self.operator.resume(workflow_id, who=who, why=why)
        await self._hand_over()

    async def _hand_over(self, *, scan: bool = False) -> None:
        """What was just sent to a run of this process need not wait for the next look."""
        if self._runs:
            await self._take_messages()
        if scan:
            self._scan.set()
