"""The repairer (document 002): what is in doubt converges in the workflows, and what nobody wants is voided here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from kessai.foundation.db import Database
from kessai.foundation.errors import Refused
from kessai.foundation.ids import bare
from kessai.services.cardgateway import store
from kessai.services.cardgateway.api import CardAuthorization, OperationKind
from kessai.services.cardgateway.domain import Instruction, Patience, is_undone
from kessai.services.cardgateway.gateways import Gateway

log = structlog.get_logger(__name__)

REPAIRED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is not known just now, and how long it ever took."""

    operations: int
    """Instructions without an outcome for longer than a caller waits."""
    oldest_s: float
    longest_s: float
    """The longest that it took to find an outcome out, of the last day."""


async def abandon(database: Database, patience: Patience) -> None:
    """Journal the abort of every authorization whose outcome nobody came for."""
    now = datetime.now(UTC)
    before = now - timedelta(seconds=patience.abandon_after_s)
    abandoned = REPAIRED_AT_ONCE
    while abandoned == REPAIRED_AT_ONCE:
        abandoned = len(await store.abandon(database, before, now, REPAIRED_AT_ONCE))


async def unfinished(database: Database) -> list[str]:
    """Authorizations whose abort is journalled and not done, and that nothing works on."""
    found: list[str] = []
    while page := await store.unfinished_aborts(database, bare(found[-1]) if found else store.FIRST, REPAIRED_AT_ONCE):
        found += page
    return found


async def release_outside(gateway: Gateway, authorization: CardAuthorization, operation_id: str) -> None:
    """Have the gateway let go of what is undone here, whatever it was told before."""
    if not is_undone(authorization):
        raise Refused("authorization_not_undone", "Only what is voided or refused here is released once more outside.")
    instruction = Instruction(
        kind=OperationKind.VOID, authorization_id=authorization.authorization_id, operation_id=operation_id
    )
    outcome = await gateway.instruct(instruction)
    if outcome.refusal_code is not None and not outcome.aborted:
        raise Refused(outcome.refusal_code, "The card gateway does not let go of it.")


async def doubt(database: Database, patience: Patience) -> Doubt:
    """What is not known just now, and how long it ever took; an alarm when that is past its bound."""
    now = datetime.now(UTC)
    operations, since = await store.in_doubt(database, now - timedelta(seconds=patience.answer_s))
    longest_ms = await store.doubt_longest(database, now - timedelta(days=1))
    oldest_s = 0.0 if since is None else (now - since).total_seconds()
    if oldest_s > patience.converge_within_s:
        log.error("card_outcome_unknown_too_long", operations=operations, oldest_s=oldest_s)
    return Doubt(operations, oldest_s, (longest_ms or 0) / 1000)
