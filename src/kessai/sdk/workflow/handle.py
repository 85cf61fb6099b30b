"""A handle to a workflow: wait for its outcome, wherever it is carried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kessai.foundation.errors import Unavailable, Unknown
from kessai.sdk.workflow.definition import Definition
from kessai.sdk.workflow.ending import Interrupted, parked_error
from kessai.sdk.workflow.model import Forgotten
from kessai.sdk.workflow.outcome import decode_error
from kessai.sdk.workflow.run import Workflow
from kessai.sdk.workflow.store import Found

if TYPE_CHECKING:
    from kessai.sdk.workflow.engine import Engine

R = TypeVar("R")

RESTING_LOOK_S = 15.0
"""How often, at most, a workflow that waits for long is looked at by whoever waits for it."""


class Handle(Generic[R]):
    """A started or found workflow."""

    __slots__ = ("_definition", "_engine", "_found", "_run", "replayed", "workflow_id")

    def __init__(
        self,
        engine: Engine[Any],
        definition: Definition[Any, Any, R],
        workflow_id: str,
        *,
        run: Workflow[Any] | None = None,
        found: Found | None = None,
    ) -> None:
        self._engine = engine
        self._definition = definition
        self._run = run
        self._found = found
        self.workflow_id = workflow_id
        self.replayed = found is not None and found.finished
        """True when it had already finished before this start; its stored outcome is given."""

    async def result(self) -> R:
        """The workflow's result, or its PaymentError (refusals are stored and come back the same).

        Raises Unknown: `workflow_parked` while it waits for an operator, `workflow_interrupted` when this process is
        closing, or cannot see what another one makes of it; Forgotten when it finished longer ago than outcomes are
        kept. Cancelling the wait does not cancel the work.
        """
        pause_s = self._engine.poll_s
        while True:
            if self._run is not None:
                try:
                    failed, value = await self._run.ended.get()
                except Interrupted:
                    self._run = None  # taken over by another executor, unless this one is closing
                except Unknown:
                    self._run = None  # parked: whoever asks again later may find it mended
                    raise
                else:
                    if failed:
                        raise value
                    return value
            if self._engine.closing:
                raise Interrupted
            found = self._found or await self._look()
            if found is not None and found.finished:
                return self._stored(found)
            if found is not None and found.parked:
                raise parked_error(self.workflow_id)
            self._found = None
            resting = found is not None and found.resting
            pause_s = min(RESTING_LOOK_S, pause_s * 2) if resting else self._engine.poll_s
            await asyncio.sleep(pause_s)
            self._run = self._engine.run_of(self.workflow_id)

    async def _look(self) -> Found | None:
        try:
            return await self._engine.find(self.workflow_id)
        except Unavailable as error:  # of the look, not of the work: that was started
            raise Interrupted from error

    def _stored(self, found: Found) -> R:
        if not found.outcome:
            raise Forgotten
        if found.failed:
            raise decode_error(self._engine.payloads.open(found.outcome))
        return self._engine.payloads.decode(found.outcome, self._definition.result_type)
