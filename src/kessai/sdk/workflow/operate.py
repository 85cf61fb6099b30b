"""What an operator does to workflows, and what is sent to them. Whoever acts says who and why; that is kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import uuid_utils.compat

from kessai.foundation.clock import Clock
from kessai.foundation.db import MAINTENANCE_ROLE, Connection, Database, load_queries, role_of
from kessai.foundation.errors import Conflict, Invalid, PaymentError
from kessai.foundation.ids import new_hex
from kessai.sdk.workflow.branch import label_of
from kessai.sdk.workflow.history import load_history
from kessai.sdk.workflow.host import operations
from kessai.sdk.workflow.messages import MESSAGE_ID_MAX, MessageKind
from kessai.sdk.workflow.model import WORKFLOW_ID_MAX, NotOpen
from kessai.sdk.workflow.outcome import encode, encode_error
from kessai.sdk.workflow.sealing import Codec, Payloads
from kessai.sdk.workflow.steps import OUTCOME, UNDONE, Step

FORKED = "forked"
"""The executor of a fork that nobody has taken up yet."""


class Operator:
    """Verbs on the workflows of one service, from any process."""

    def __init__(
        self, database: Database, service: str, clock: Clock, codec: Codec | None = None, *, seals: bool = True
    ) -> None:
        self._database = database
        self._service = service
        self._role = role_of(service)
        self._clock = clock
        self._payloads = Payloads(codec, seals=seals)
        self._queries = operations(service)
        self._journal_queries = load_queries("kessai.sdk.workflow", schema=service)

    # -- messages -------------------------------------------------------------------------------------------------

    async def send(
        self, workflow_id: str, kind: MessageKind, name: str, content: object, message_id: str | None = None
    ) -> str:
        """Put a message into a workflow's inbox, once per `message_id`; gives that id. Raises NotOpen."""
        message_id = message_id or new_hex()
        assert len(message_id) <= MESSAGE_ID_MAX, "the length of a message id"

        async def work(connection: Connection) -> None:
            await self._send(connection, workflow_id, kind, name, content, message_id)

        await self._database.transaction(self._role, work)
        return message_id

    async def _send(
        self, connection: Connection, workflow_id: str, kind: MessageKind, name: str, content: object, message_id: str
    ) -> None:
        payload = encode(content)
        if kind in (MessageKind.SIGNAL, MessageKind.UPDATE):
            payload = self._payloads.seal(payload)
        opened = await connection.fetchrow(self._queries["message_turn"], workflow_id)
        if opened is None and await connection.fetchval(self._queries["queue_find"], workflow_id) is None:
            if await connection.fetchval(self._queries["message_find"], workflow_id, message_id) is None:
                raise NotOpen
            return
        now = self._clock.now()
        row = (workflow_id, message_id, int(kind), name, payload, now)
        sent = await connection.fetchval(self._queries["message_send"], *row) is not None
        if sent and opened is not None and opened["resting"]:
            await connection.execute(self._queries["message_wakes"], workflow_id, now)

    async def counts(self) -> dict[str, int]:
        """How many are `open`, `parked` (of those) and `queued`."""
        (row,) = await self._database.fetch(self._role, self._queries["counts"])
        return dict(row)

    # -- verbs with a reason --------------------------------------------------------------------------------------

    async def cancel(self, workflow_id: str, *, who: str, why: str) -> None:
        """Ask it to stop where it next can; what it did is undone. Past its pivot it goes on. Raises NotOpen."""
        await self._ask(workflow_id, MessageKind.CANCEL, who, why)

    async def terminate(self, workflow_id: str, *, who: str, why: str) -> None:
        """End it where it stands; nothing is undone. Raises NotOpen."""
        await self._ask(workflow_id, MessageKind.TERMINATE, who, why)

    async def pause(self, workflow_id: str, *, who: str, why: str) -> None:
        """Let it begin no further step until it is resumed; what is under way comes to its outcome. Raises NotOpen."""
        await self._ask(workflow_id, MessageKind.PAUSE, who, why)

    async def resume(self, workflow_id: str, *, who: str, why: str) -> None:
        """Let a paused workflow go on. Raises NotOpen."""
        await self._ask(workflow_id, MessageKind.RESUME, who, why)

    async def _ask(self, workflow_id: str, kind: MessageKind, who: str, why: str) -> None:
        async def work(connection: Connection) -> None:
            await self._send(connection, workflow_id, kind, kind.name.lower(), why, new_hex())
            await self._audit(connection, workflow_id, kind.name.lower(), who, why, "")
            if kind in (MessageKind.CANCEL, MessageKind.TERMINATE):
                await connection.execute(self._journal_queries["unpark"], workflow_id, "unparked")

        await self._database.transaction(self._role, work)

    async def retry(self, workflow_id: str, *, who: str, why: str) -> None:
        """Take a parked workflow up again from its journal, once its cause was mended. Raises NotOpen, NotParked."""

        async def work(connection: Connection) -> None:
            await self._unpark(connection, workflow_id)
            await self._audit(connection, workflow_id, "retry", who, why, "")

        await self._database.transaction(self._role, work)

    async def skip(self, workflow_id: str, *, who: str, why: str) -> None:
        """Take the step that a parked workflow stands at for done, without a result: a compensation was made by hand.

        Raises NotOpen, NotParked; Invalid `step_not_settled_by_hand` when it stands at no step that can be.
        """
        await self._settle(workflow_id, "skip", False, b"null", who, why)

    async def resolve(
        self, workflow_id: str, *, who: str, why: str, result: object = None, error: PaymentError | None = None
    ) -> None:
        """Give the step that a parked workflow stands at its outcome: what is known of it from elsewhere.

        Raises as `skip`.
        """
        data = encode(result) if error is None else encode_error(error)
        await self._settle(workflow_id, "resolve", error is not None, data, who, why)

    async def _settle(self, workflow_id: str, verb: str, failed: bool, data: bytes, who: str, why: str) -> None:
        async def work(connection: Connection) -> None:
            stuck = await connection.fetchrow(self._queries["stuck_find"], workflow_id)
            opened = await connection.fetchrow(self._queries["open_one"], workflow_id)
            if opened is None:
                raise NotOpen
            if opened["parked_error"] is None:
                raise not_parked()
            if stuck is None or stuck["kind"] not in (OUTCOME, UNDONE) or (stuck["kind"] == UNDONE and failed):
                raise Invalid("step_not_settled_by_hand", "It stands at no step whose outcome can be given by hand.")
            key = (workflow_id, stuck["seq"], stuck["kind"])
            outcome = self._payloads.seal(data)
            if not await connection.fetch(self._queries["log_replace"], *key, failed, outcome):
                last = (failed, outcome, opened["writes"], self._clock.now(), opened["started_at"])
                row = (*key, stuck["name"], stuck["argument_hash"], *last)
                await connection.execute(self._queries["log_insert_one"], *row)
            detail = f"step {label_of(stuck['seq'])} {stuck['name']}"
            await self._audit(connection, workflow_id, verb, who, why, detail)
            await self._unpark(connection, workflow_id)

        await self._database.transaction(MAINTENANCE_ROLE, work)

    async def fork(self, workflow_id: str, *, new_id: str, keep_to: str, who: str, why: str) -> None:
        """Start another workflow of the same request that has the first steps of this one behind it, up to `keep_to`.

        Their effects are not made again, and are undone under their own keys if the fork fails; rows recorded before
        them are not made again either. Raises NotFound, Conflict `workflow_exists`, Invalid `no_such_step`.
        """
        assert 0 < len(new_id) <= WORKFLOW_ID_MAX, "the length of a workflow id"
        history = await load_history(self._database, self._service, workflow_id, self._payloads)
        kept = history.steps_to(keep_to)
        origins = await self._origins(workflow_id, kept)

        async def work(connection: Connection) -> None:
            digest = bytes.fromhex(history.digest)
            if await connection.fetchval(self._queries["fork_claim"], new_id, digest, history.started_at) is None:
                raise Conflict("workflow_exists", "There already is a workflow of this id.")
            writes = max((step.writes for step in kept), default=0)
            first = (new_id, history.name, history.version, digest)
            request = self._payloads.seal(bytes(history.request))
            row = (*first, request, bytes(history.call), FORKED, writes, history.started_at, None)
            await connection.execute(self._queries["fork_open"], *row)
            await connection.execute(self._queries["fork_insert"], new_id, workflow_id, msgspec.json.encode(origins))
            for step in kept:
                row = _log_row(new_id, step, self._payloads.seal(step.outcome), history.started_at)
                await connection.execute(self._queries["log_insert_one"], *row)
            await self._audit(connection, new_id, "fork", who, why, f"of {workflow_id} after step {keep_to}")

        await self._database.transaction(MAINTENANCE_ROLE, work)

    async def _origins(self, workflow_id: str, kept: list[Step]) -> dict[int, str]:
        """Under whose id each kept step was made: this one's, or that of the one it was itself forked from."""
        rows = await self._database.fetch(self._role, self._queries["fork_find"], workflow_id)
        earlier = msgspec.json.decode(rows[0]["origins"], type=dict[int, str]) if rows else {}
        return {step.seq: earlier.get(step.seq, workflow_id) for step in kept}

    async def _unpark(self, connection: Connection, workflow_id: str) -> None:
        if not await connection.fetch(self._journal_queries["unpark"], workflow_id, "unparked"):
            if await connection.fetchrow(self._queries["open_one"], workflow_id) is None:
                raise NotOpen
            raise not_parked()
        await connection.execute(self._queries["stuck_delete"], workflow_id)

    async def _audit(
        self, connection: Connection, workflow_id: str, verb: str, who: str, why: str, detail: str
    ) -> None:
        assert who, "an operator has a name"
        audit_id = uuid_utils.compat.uuid7()
        row = (workflow_id, audit_id, verb, who, why, detail, self._clock.now())
        await connection.execute(self._queries["audit_insert"], *row)


def not_parked() -> Conflict:
    """What is told when a workflow does not wait for an operator."""
    return Conflict("workflow_not_parked", "This workflow does not wait for an operator.")


def _log_row(workflow_id: str, step: Step, outcome: bytes, started_at: datetime) -> tuple[Any, ...]:
    first = (workflow_id, step.seq, step.kind, step.name, step.argument_hash, step.failed)
    return (*first, outcome, step.writes, step.recorded_at, started_at)
