"""Merchants' inner movements in bulk: each is decided by itself, then all that are new go through one workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kessai.foundation.call import current_call
from kessai.foundation.contract import Message
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import bare, new_hex, new_id
from kessai.sdk.workflow import Conflicted, Definition, Handle
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import MerchantMovement, MovedMerchants, MovementOutcome, MoveMerchants, PaymentState
from kessai.services.payment.service.desk import ANSWER_MARGIN_S, CLAIM_ATTEMPTS_MAX, UNDECIDED, Desk
from kessai.services.payment.store import KnownMovement
from kessai.services.payment.workflows import Deps, Move, Moved, Moves, Path
from kessai.services.payment.workflows.movements import ANSWER_S

ANSWER_WAIT_S = ANSWER_S + 1.0
"""How long a caller waits for the outcomes before it is told which are not there yet."""
REUSED = "idempotency_key_reused"


@dataclass(slots=True)
class _Plan:
    """What a call asks for."""

    moves: dict[str, Move] = field(default_factory=dict[str, Move])
    """By the digits of their payment ids, each once."""
    paths: dict[str, Path] = field(default_factory=dict[str, Path])
    asked: list[Move | MovementOutcome] = field(default_factory=list[Move | MovementOutcome])
    """In the order of the request; what is refused by its content alone is so already."""


class InBulk(Desk):
    """Fees, clearings and the like, by hundreds."""

    async def move_merchants(self, request: MoveMerchants, /) -> MovedMerchants:
        """Fees, clearings and the like of many merchants at once; each is refused by itself."""
        plan = self._planned(request.movements)
        known = await self._known(plan)
        refused: dict[str, str] | None = None
        if fresh := [each for digits, each in plan.moves.items() if digits not in known]:
            refused = await self._move(request, plan, fresh, known)
        else:
            await self._check_key(request, workflows.move)
        if await self._waited_for_others(known, workflows.move) or refused is None:
            known = await self._known(plan)
        return MovedMerchants(outcomes=[_outcome(each, known, refused or {}) for each in plan.asked])

    def _planned(self, movements: Iterable[MerchantMovement]) -> _Plan:
        plan = _Plan()
        for each in movements:
            try:
                kind = domain.kind_of(each, self._kinds)
            except PaymentError as refusal:
                plan.asked.append(_refused(each.payment_id, refusal.code))
                continue
            payee_id = domain.payee_of(each, kind)
            move = Move(each.payment_id, each.kind, each.merchant_id, payee_id, each.amount_minor, each.reference)
            plan.paths[kind.name] = Path(kind.asset, kind.payer_account_types[0], kind.payee_account_type)
            same = plan.moves.setdefault(bare(each.payment_id), move) == move
            plan.asked.append(move if same else _refused(each.payment_id, REUSED))
        return plan

    async def _known(self, plan: _Plan) -> dict[str, KnownMovement]:
        return await store.movements(self._database, list(plan.moves)) if plan.moves else {}

    # -- what is new ----------------------------------------------------------------------------------------------

    async def _move(
        self, request: MoveMerchants, plan: _Plan, fresh: list[Move], known: dict[str, KnownMovement]
    ) -> dict[str, str] | None:
        """Which of the new ones were refused, and why; None when what became of them is to be read."""
        workflow_id = key_of_call() or new_hex()
        for _ in range(CLAIM_ATTEMPTS_MAX):
            try:
                handle = await self._start_moves(request, plan, fresh, workflow_id)
            except Conflicted:  # another call has made some of them meanwhile
                known |= await self._known(plan)
                fresh = [each for each in fresh if bare(each.payment_id) not in known]
                if not fresh:
                    return None
                continue
            moved: Moved | None = await self._in_time(handle)
            current_call().replayed |= handle.replayed
            return None if moved is None or handle.replayed else moved.refused
        raise domain.Busy("payment_busy", "Other calls make the same payments; try again.")

    async def _start_moves(
        self, request: MoveMerchants, plan: _Plan, fresh: list[Move], workflow_id: str
    ) -> Handle[Moved]:
        call = current_call()
        moves = Moves(
            moves=fresh,
            paths=plan.paths,
            caller=call.caller,
            processing_id=call.processing_id or new_id("prc"),
            created_at=self._clock.now(),
        )
        begins = call.processing_id is None
        rows = [
            store.movement_insertion(payment, workflow_id, call.caller, begins=begins)
            for payment in workflows.payments_of(moves)
        ]
        return await self._engine.start(
            workflows.move, moves, workflow_id=workflow_id, writes=rows, content=request, conflict="refuse"
        )

    # -- what is known --------------------------------------------------------------------------------------------

    async def _check_key(self, request: Message, by: Definition[Deps, Any, Any]) -> None:
        """Raises KeyReused: the call's key came with other content before."""
        if (key := key_of_call()) is not None:
            earlier = await self._engine.attach(by, key, content=request)
            current_call().replayed |= earlier is not None

    async def _waited_for_others(self, known: Mapping[str, KnownMovement], by: Definition[Deps, Any, Any]) -> bool:
        """Whether some of them are another call's to end, which was waited for."""
        under_way = {each.busy_with for each in known.values() if each.busy_with and each.state in UNDECIDED}
        for workflow_id in sorted(under_way):
            handle = await self._engine.attach(by, workflow_id)
            if handle is not None:
                await self._in_time(handle)
        return bool(under_way)

    async def _in_time(self, handle: Handle[Any]) -> Any:
        """A workflow's outcome; None when it does not come in time."""
        until = asyncio.get_running_loop().time() + ANSWER_WAIT_S
        if (deadline := current_call().deadline) is not None:
            until = min(until, deadline - ANSWER_MARGIN_S)
        try:
            with self._engine.deadlines.limit(until):
                return await handle.result()
        except TimeoutError:
            return None


def key_of_call() -> str | None:
    """The key that the call stands under. Services need none: each movement stands under its own id, and what is left
    of a page may be asked for again with others."""
    call = current_call()
    return call.request_key if call.caller.startswith("key_") else None


def _outcome(
    asked: Move | MovementOutcome, known: Mapping[str, KnownMovement], refused: Mapping[str, str]
) -> MovementOutcome:
    if isinstance(asked, MovementOutcome):
        return asked
    found = known.get(bare(asked.payment_id))
    if found is not None:
        if found[:5] != asked[1:]:
            return _refused(asked.payment_id, REUSED)
        return MovementOutcome(payment_id=asked.payment_id, state=found.state, code=found.code)
    code = refused.get(asked.payment_id)
    if code is not None:
        return _refused(asked.payment_id, code)
    return MovementOutcome(payment_id=asked.payment_id, state=PaymentState.CAPTURED)


def _refused(payment_id: str, code: str) -> MovementOutcome:
    return MovementOutcome(payment_id=payment_id, state=PaymentState.REFUSED, code=code)
