"""The sagas of cards: each carries one instruction to a known outcome, however long that takes and whoever does it.

The instruction is durable, with its row, before the gateway hears of it. The process that made it sends it once. From
then on, in this process or another, its outcome is inquired; only what surely has not arrived is sent again, under the
same id, which the gateway does once. An authorization whose abort is journalled meanwhile is voided instead.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from msgspec.structs import replace

from kessai.foundation.contract import Message
from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable
from kessai.sdk.workflow import Activity, Retry, Workflow, define
from kessai.services.cardgateway import domain, store
from kessai.services.cardgateway.api import CardAuthorization
from kessai.services.cardgateway.api import OperationKind as K
from kessai.services.cardgateway.domain import Instruction, Outcome, Patience, Plastic
from kessai.services.cardgateway.gateways import Gateway


@dataclass(slots=True)
class Unsent:
    """Instructions of this process that surely have not left it, with the moment (loop time) of each."""

    since: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, operation_id: str) -> None:
        """It is about to be journalled, and sent after that."""
        self.since[operation_id] = asyncio.get_running_loop().time()

    def take(self, operation_id: str) -> float | None:
        """Seconds that it has waited, and from now on it may have been sent; None when it may have been before."""
        since = self.since.pop(operation_id, None)
        return None if since is None else asyncio.get_running_loop().time() - since


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Whom the workflows work with, and what this process knows of them."""

    database: Database
    gateway: Gateway
    patience: Patience
    unsent: Unsent = field(default_factory=Unsent)
    waiting: set[str] = field(default_factory=set[str])
    """Authorizations whose first caller still waits, in this process."""
    heard: set[str] = field(default_factory=set[str])
    """Those of them whose outcome came in time."""


Run: TypeAlias = Workflow[Deps]


class Task(Message):
    """An instruction on an authorization that is claimed for it; `authorization` is as it was right after that."""

    authorization: CardAuthorization
    instruction: Instruction
    sent_at: datetime
    """Real time: doubt is measured from here."""


class Registration(Message):
    """A card to register."""

    card_id: str
    customer_id: str
    form_token: str


# -- workflows ----------------------------------------------------------------------------------------------------


@define("cardgateway.authorize", version=1)
async def authorize(wf: Run, task: Task) -> CardAuthorization:
    """Hold an amount."""
    return await _carry(wf, task)


@define("cardgateway.complete", version=1)
async def complete(wf: Run, task: Task) -> CardAuthorization:
    """Take up an authorization after 3-D Secure."""
    return await _carry(wf, task)


@define("cardgateway.capture", version=1)
async def capture(wf: Run, task: Task) -> CardAuthorization:
    """Take what is held."""
    return await _carry(wf, task)


@define("cardgateway.void", version=1)
async def void(wf: Run, task: Task) -> CardAuthorization:
    """Release what is held."""
    return await _carry(wf, task)


@define("cardgateway.refund", version=1)
async def refund(wf: Run, task: Task) -> CardAuthorization:
    """Give captured value back."""
    return await _carry(wf, task)


@define("cardgateway.register", version=1)
async def register(wf: Run, registration: Registration) -> Plastic:
    """Have the gateway keep a card."""
    plastic = await wf.activity(keep, registration, retry=Retry(), repeatable=True)
    wf.record(store.card_settlement(registration.card_id, plastic))
    if plastic.refusal_code is not None:
        raise domain.refusal(plastic, card_id=registration.card_id)
    return plastic


@define("cardgateway.forget", version=1)
async def forget(wf: Run, card_id: str) -> None:
    """Have the gateway forget a card."""
    await wf.activity(drop, card_id, retry=Retry(delay_s_max=30), repeatable=True)


async def _carry(wf: Run, task: Task) -> CardAuthorization:
    outcome = await wf.activity(converge, task, retry=RETRY, repeatable=True)
    after = replace(domain.settled(task.authorization, task.instruction, outcome), updated_at=wf.now())
    unheard_since = None if outcome.heard else datetime.now(UTC)
    for row in store.settlement(after, task.instruction, outcome, wf.workflow_id, unheard_since):
        wf.record(row)
    if outcome.aborted:
        raise domain.aborted(after.authorization_id)
    if outcome.refusal_code is not None:
        raise domain.refusal(outcome, authorization_id=after.authorization_id)
    return after


# -- activities ---------------------------------------------------------------------------------------------------

RETRY = Retry(delay_s=0.05, delay_s_max=5.0)


async def converge(activity: Activity[Deps], task: Task) -> Outcome:
    """What became of the instruction, for sure; Unavailable or Unknown while that cannot be said."""
    deps, operation_id = activity.deps, task.instruction.operation_id
    waited_s = deps.unsent.take(operation_id)
    if waited_s is not None:
        outcome = await _sent(deps, task, waited_s)
    else:
        outcome = replace(await _found_out(deps, task), doubt_ms=_since_ms(task.sent_at))
    if task.instruction.kind not in (K.AUTHORIZE, K.COMPLETE):
        return outcome
    if heard := operation_id in deps.waiting:
        deps.heard.add(operation_id)
    return replace(outcome, heard=heard)


async def _sent(deps: Deps, task: Task, waited_s: float) -> Outcome:
    """The answer to an instruction that surely was never sent; while it cannot be, that stays so."""
    instruction = task.instruction
    if waited_s > deps.patience.reach_s and instruction.kind in (K.AUTHORIZE, K.COMPLETE):
        return Outcome(refusal_code=domain.UNAVAILABLE)
    try:
        return await deps.gateway.instruct(instruction)
    except Unavailable:
        deps.unsent.since[instruction.operation_id] = asyncio.get_running_loop().time() - waited_s
        raise


async def _found_out(deps: Deps, task: Task) -> Outcome:
    """The outcome of an instruction that may have been sent."""
    instruction = task.instruction
    if instruction.kind is K.AUTHORIZE:
        authorization_id = instruction.authorization_id
        if await store.aborted(deps.database, [authorization_id]):
            await deps.gateway.instruct(_undoing(authorization_id))
            return Outcome(aborted=True, refusal_code=domain.ABORTED)
    found = await deps.gateway.inquire(instruction)
    return found if found is not None else await deps.gateway.instruct(instruction)


def _undoing(authorization_id: str) -> Instruction:
    """The void of an authorization that may or may not have arrived; under an id of its own, always the same."""
    return Instruction(kind=K.VOID, authorization_id=authorization_id, operation_id=f"cop_{authorization_id[4:]}")


async def keep(activity: Activity[Deps], registration: Registration) -> Plastic:
    """The card as the gateway keeps it, or its refusal."""
    deps, card_id = activity.deps, registration.card_id
    waited_s = deps.unsent.take(card_id)
    if waited_s is None:
        found = await deps.gateway.find_card(card_id)
        return found if found is not None else await deps.gateway.register(card_id, registration.form_token)
    if waited_s > deps.patience.reach_s:
        return Plastic(refusal_code=domain.UNAVAILABLE)
    try:
        return await deps.gateway.register(card_id, registration.form_token)
    except Unavailable:
        deps.unsent.since[card_id] = asyncio.get_running_loop().time() - waited_s
        raise


async def drop(activity: Activity[Deps], card_id: str) -> None:
    """The gateway keeps the card no longer."""
    await activity.deps.gateway.forget(card_id)


def _since_ms(moment: datetime) -> int:
    return max(0, int((datetime.now(UTC) - moment).total_seconds() * 1000))
