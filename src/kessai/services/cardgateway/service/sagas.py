"""Workflows as verbs need them: begun once, found again, waited for within the caller's time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import structlog

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.ids import bare
from kessai.sdk.workflow import Definition, Engine, Handle, Write
from kessai.services.cardgateway import domain, store, workflows
from kessai.services.cardgateway.api import CardAuthorization, OperationKind, OperationState
from kessai.services.cardgateway.domain import Instruction
from kessai.services.cardgateway.workflows import Deps, Task

log = structlog.get_logger(__name__)

ANSWER_MARGIN_S = 0.2
"""Kept of the caller's own deadline, to answer in."""

HOLDING = (OperationKind.AUTHORIZE, OperationKind.COMPLETE)
"""After these something is held, which somebody must want."""

R = TypeVar("R")
Saga: TypeAlias = Definition[Deps, Task, CardAuthorization]

SAGAS: dict[OperationKind, Saga] = {
    OperationKind.AUTHORIZE: workflows.authorize,
    OperationKind.COMPLETE: workflows.complete,
    OperationKind.CAPTURE: workflows.capture,
    OperationKind.VOID: workflows.void,
    OperationKind.REFUND: workflows.refund,
}


class Sagas:
    """The workflows of this process."""

    def __init__(self, database: Database, clock: Clock, deps: Deps, **engine: Any) -> None:
        self.deps = deps
        self.engine = Engine(database, service="cardgateway", deps=deps, clock=clock, **engine)
        self._database = database
        self._clock = clock

    async def instruct(
        self,
        authorization: CardAuthorization,
        instruction: Instruction,
        claim: Write,
        content: Any,
    ) -> Handle[CardAuthorization]:
        """Journal an instruction with its claim, and let its workflow begin; Conflicted when the claim fails."""
        call, sent_at = current_call(), datetime.now(UTC)
        row = store.instructed(
            instruction,
            caller=call.caller,
            processing_id=call.processing_id or authorization.processing_id,
            instructed_at=self._clock.now(),
            sent_at=sent_at,
        )
        task = Task(authorization=authorization, instruction=instruction, sent_at=sent_at)
        operation_id = instruction.operation_id
        if instruction.kind in HOLDING and self.engine.run_of(bare(operation_id)) is None:
            self.deps.waiting.add(operation_id)
        try:
            return await self.start(
                SAGAS[instruction.kind], task, operation_id=operation_id, writes=[claim, row], content=content
            )
        except BaseException:
            self.deps.waiting.discard(operation_id)
            raise

    async def start(
        self, definition: Definition[Deps, Any, R], task: Any, *, operation_id: str, writes: list[Write], content: Any
    ) -> Handle[R]:
        """Start it, telling it that this process has surely not sent it yet; or find the one of that id."""
        workflow_id, unsent = bare(operation_id), self.deps.unsent
        if self.engine.run_of(workflow_id) is None:
            unsent.add(operation_id)
        try:
            handle = await self.engine.start(definition, task, workflow_id=workflow_id, writes=writes, content=content)
        except BaseException:
            unsent.since.pop(operation_id, None)
            raise
        if self.engine.run_of(workflow_id) is None:
            unsent.since.pop(operation_id, None)  # it is another process's, or over
        return handle

    async def earlier(self, definition: Definition[Deps, Any, R], content: Any, workflow_id: str) -> Handle[R] | None:
        """The same request's earlier run; raises KeyReused when the id came with other content."""
        return await self.engine.attach(definition, workflow_id, content=content)

    async def earlier_unless_open(
        self, definition: Definition[Deps, Any, R], content: Any, workflow_id: str
    ) -> Handle[R] | None:
        """None when the gateway may be asked; else the earlier run, or Unavailable."""
        try:
            self.deps.gateway.require_open()
        except Unavailable:
            earlier = await self.earlier(definition, content, workflow_id)
            if earlier is None:
                raise
            return earlier
        return None

    async def outcome(self, handle: Handle[R], operation_id: str) -> R:
        """The outcome, or Unknown when it does not come in time."""
        if handle.replayed:
            current_call().replayed = True
        try:
            async with asyncio.timeout_at(self.until()):
                return await handle.result()
        except TimeoutError:
            raise domain.unknown(operation_id=operation_id) from None

    async def hold(self, handle: Handle[R], operation_id: str, authorization_id: str) -> R:
        """The same for what holds an amount: it is written down whether anybody has heard the outcome.

        Raises Refused `authorization_voided` when it was given up before somebody came for it.
        """
        deps = self.deps
        try:
            result = await self.outcome(handle, operation_id)
            if operation_id not in deps.heard and not await store.mark_heard(self._database, authorization_id):
                raise domain.aborted(authorization_id)
            return result
        except Unknown:
            deps.waiting.discard(operation_id)
            await self._tell_unheard(authorization_id)
            raise
        finally:
            deps.waiting.discard(operation_id)
            deps.heard.discard(operation_id)

    async def _tell_unheard(self, authorization_id: str) -> None:
        try:
            await store.mark_unheard(self._database, authorization_id, datetime.now(UTC))
        except (Unavailable, Unknown) as error:
            log.warning("unheard_not_marked", authorization_id=authorization_id, error=str(error))

    def until(self) -> float:
        """When the caller is answered at the latest, whatever is known by then."""
        until = asyncio.get_running_loop().time() + self.deps.patience.answer_s
        deadline = current_call().deadline
        return until if deadline is None else min(until, deadline - ANSWER_MARGIN_S)

    async def settled(self, authorization_id: str, until: float) -> bool:
        """Wait until what is in doubt about an authorization is known; False when that takes too long."""
        made = await store.operations(self._database, [authorization_id])
        pending = next((each for each in made if each.state is OperationState.PENDING), None)
        if pending is None:
            return True
        handle = await self.engine.attach(SAGAS[pending.kind], bare(pending.operation_id))
        if handle is None:
            return False
        try:
            async with asyncio.timeout_at(until):
                await handle.result()
        except TimeoutError:
            return False
        except PaymentError as error:
            return not error.retryable
        return True
