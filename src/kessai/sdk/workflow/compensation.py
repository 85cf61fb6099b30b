"""Undoing: every compensable activity that was attempted, last first, until all are undone or an operator is needed.

What is away is tried again for as long as it takes. Only a compensation that is refused, or fails by a bug, parks; what
was done before it then stays, too: it may be what the one that is stuck stands on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import structlog

from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow.attempt import pause
from kessai.sdk.workflow.branch import label_of, path_of
from kessai.sdk.workflow.course import encoded
from kessai.sdk.workflow.definition import name_of
from kessai.sdk.workflow.ending import Park
from kessai.sdk.workflow.model import DEFAULT_RETRY, Activity, Conflicted
from kessai.sdk.workflow.outcome import digest_of
from kessai.sdk.workflow.steps import UNDONE, Step
from kessai.sdk.workflow.waits import Waits

D = TypeVar("D")

log = structlog.get_logger(__name__)

COMPENSATION_DELAY_S_MAX = 60.0
REFUSALS_MAX = 5
"""Attempts of a compensation that were refused, or met a bug, before it is given to an operator."""


@dataclass(slots=True)
class Undo:
    """A compensable activity that was, or is about to be, attempted."""

    seq: int
    key: str
    function: Callable[[Any, Any], Awaitable[object]]
    argument: Any


class Compensation(Waits[D]):
    """The backward half of a run."""

    @cached_property
    def _undo(self) -> list[Undo]:
        """What is to be undone if the workflow fails."""
        return []

    async def compensate(self) -> None:
        """Undo every compensable activity so far, last first; returns when all are undone. Then the code goes on.

        Activities of parallel branches are let come to their outcome first. Neither deadline nor cancel ends it; one
        that cannot be undone parks the workflow, and alerts.
        """
        self._owes = False
        await self._settled()
        if not self._undo:
            return
        if not self._compensating or self._must_settle:
            self._compensating = True
            self.entry.mark = (self.workflow_id, True, None, max(self._written, self._writes_settled))
            try:
                await self._flush()
            except Conflicted as error:
                raise Park(f"before compensation: {error}") from error
        for undo in sorted(self._undo, key=lambda each: path_of(each.seq), reverse=True):
            await self._undone(undo)
        self._undo.clear()

    async def _undone(self, undo: Undo) -> None:
        """Compensate one activity; no deadline ends it, and neither does whatever is away meanwhile."""
        name = name_of(undo.function)
        digest = digest_of(encoded(undo.argument, name))
        step = Step(self.workflow_id, undo.seq, UNDONE, name, digest, False, b"", self._now, argument=undo.argument)
        if self._recorded(step) is not None:
            return
        attempt = refusals = 0
        while True:
            attempt += 1
            activity = Activity(
                self.workflow_id, undo.seq, f"{undo.key}:undo", attempt, self._engine.deps, undoes=undo.key
            )
            try:
                await self._attempts.once(undo.function, activity, undo.argument, DEFAULT_RETRY, None)
                break
            except Exception as error:
                self._engine.counts.compensation_failures += 1
                log.warning("compensation_retried", workflow_id=self.workflow_id, step=name, error=repr(error))
                refusals += not (isinstance(error, PaymentError) and error.retryable)
                if refusals >= REFUSALS_MAX:
                    raise Park(f"step {label_of(undo.seq)} cannot be undone by {name}: {error}", step) from error
                if attempt == self._engine.compensation_attempts:
                    self.alert(f"step {label_of(undo.seq)} is not undone yet by {name}: {error}", parked=False)
            await self.nap(pause(attempt, 0.05, COMPENSATION_DELAY_S_MAX, None))
        self._engine.counts.compensations += 1
        self._note(step, b"null")
