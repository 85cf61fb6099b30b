"""API keys: made, listed, revoked, and asked for at every door; approvals: asked for, given, used up.

`authenticate` answers from a bounded memory for a moment (real time, so that a frozen sandbox clock does not keep a
revoked key alive); a revocation in another process therefore acts within `CACHE_TTL_S`.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, role_of
from kessai.foundation.door.principal import Principal
from kessai.foundation.errors import Conflict, Invalid, NotFound, Refused, Unauthenticated, Unavailable
from kessai.foundation.ids import ApiKeyId, bare, new_id, require_id
from kessai.services.identity import store
from kessai.services.identity.api import (
    ApiKey,
    ApiKeyPage,
    Approval,
    ApprovalPage,
    ApproveApproval,
    ConsumeApproval,
    CreatedKey,
    CreateKey,
    GetApproval,
    ListApprovals,
    ListKeys,
    RejectApproval,
    RequestApproval,
    RevokeKey,
    Scope,
    SharedHands,
    ShareHands,
)
from kessai.services.identity.domain import (
    KeyRecord,
    approved,
    as_of,
    consumed,
    digest_of,
    key_id_of,
    new_approval,
    new_secret,
    opens,
    record_of,
    rejected,
    require_free_name,
    same_request,
)

CACHE_TTL_S = 2.0
CACHE_KEYS_MAX = 4096
FIRST_KEY_NAME = "first key"
STEP_ATTEMPTS_MAX = 5
_ROLE = role_of("identity")
_NEWEST = datetime(9999, 1, 1, tzinfo=UTC)
_HIGHEST = "f" * 32


class _Overtaken(Exception):
    """Another step of the same approval was written first."""


class IdentityService:
    """Implements the door `Identity`, and `authenticate` for all doors."""

    def __init__(self, database: Database, clock: Clock, *, platform: Collection[str] = ()) -> None:
        """`platform`: names of the platform's own services, in which nobody from outside may act."""
        self._database = database
        self._clock = clock
        self._platform = frozenset(platform)
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._asked: dict[bytes, asyncio.Task[Principal]] = {}

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Forget every key."""
        self._known.clear()

    # -- the door -----------------------------------------------------------------------------------------------

    async def create_key(self, request: CreateKey, /) -> CreatedKey:
        """Make an API key; the answer shows its secret, once."""
        require_free_name(request.service, self._platform)
        secret = new_secret()
        record = self._record(
            secret, request.name, list(request.scopes), current_call().caller, service=request.service
        )
        await self._database.transaction(_ROLE, lambda connection: store.insert_keys(connection, [record]))
        return CreatedKey(key=_shown(record), secret=secret)

    async def list_keys(self, request: ListKeys, /) -> ApiKeyPage:
        """API keys, newest first."""
        before, before_id = (_NEWEST, _HIGHEST) if request.cursor is None else _position(request.cursor, "key")

        async def read(connection: Connection) -> list[KeyRecord]:
            return await store.list_keys(
                connection,
                before=before,
                before_id=before_id,
                include_revoked=request.include_revoked,
                limit=request.limit + 1,
            )

        records = await self._database.transaction(_ROLE, read)
        page = records[: request.limit]
        return ApiKeyPage(
            keys=[_shown(record) for record in page],
            next_cursor=_cursor(page[-1].created_at, page[-1].key_id) if len(records) > request.limit else None,
        )

    async def revoke_key(self, request: RevokeKey, /) -> ApiKey:
        """Revoke an API key for good; the last one that may administer keys stays."""
        key_id = ApiKeyId(request.key_id)

        async def write(connection: Connection) -> KeyRecord:
            record = await _fetch(connection, key_id)
            if record.revoked_at is None:
                await _require_another_admin(connection, record)
                await store.revoke_keys(connection, [key_id], self._clock.now())
            return await _fetch(connection, key_id)

        record = await self._database.transaction(_ROLE, write)
        self._forget(key_id)
        return _shown(record)

    # -- approvals ----------------------------------------------------------------------------------------------

    async def request_approval(self, request: RequestApproval, /) -> Approval:
        """Ask a second person to approve one content."""
        by = current_call().caller
        asked = new_approval(request, request.approval_id or new_id("apv"), by=by, now=self._clock.now())

        async def write(connection: Connection) -> Approval:
            if await store.insert_approvals(connection, [asked]):
                return asked
            (there,) = await store.fetch_approvals(connection, [asked.approval_id])
            if not same_request(there, request, by=by):
                raise Conflict("approval_id_reused", "This approval id was used with different content.")
            return there

        return self._as_shown(await self._database.transaction(_ROLE, write))

    async def share_hands(self, request: ShareHands, /) -> SharedHands:
        """Which of some keys may be in the same hands as this one: one made the other, or both have a maker."""

        async def read(connection: Connection) -> list[str]:
            mine = await _hands(connection, request.key_id)
            return [each for each in request.others if mine & await _hands(connection, each)]

        return SharedHands(key_ids=await self._database.transaction(_ROLE, read))

    async def approve(self, request: ApproveApproval, /) -> Approval:
        """Approve what another key asked for; approving again by the same key changes nothing."""
        by, now = current_call().caller, self._clock.now()

        async def read(connection: Connection) -> set[str]:
            asked_by = (await _fetch_approval(connection, request.approval_id)).requested_by
            return await _hands(connection, by) & await _hands(connection, asked_by)

        shared = await self._database.transaction(_ROLE, read)
        return await self._step(
            request.approval_id, lambda approval: approved(approval, request, by=by, shared=shared, now=now)
        )

    async def reject(self, request: RejectApproval, /) -> Approval:
        """Reject a request that nobody has used yet, approved or not; rejecting again changes nothing."""
        by, now = current_call().caller, self._clock.now()
        return await self._step(request.approval_id, lambda approval: rejected(approval, request, by=by, now=now))

    async def consume_approval(self, request: ConsumeApproval, /) -> Approval:
        """Use an approval up for one act; idempotent by `consumer_id`."""
        by, now = current_call().caller, self._clock.now()
        return await self._step(request.approval_id, lambda approval: consumed(approval, request, by=by, now=now))

    async def get_approval(self, request: GetApproval, /) -> Approval:
        """An approval with its history."""
        return self._as_shown(
            await self._database.transaction(_ROLE, lambda connection: _fetch_approval(connection, request.approval_id))
        )

    async def list_approvals(self, request: ListApprovals, /) -> ApprovalPage:
        """Approvals, newest first."""
        before, before_id = (_NEWEST, _HIGHEST) if request.cursor is None else _position(request.cursor, "apv")
        now = self._clock.now()

        async def read(connection: Connection) -> list[Approval]:
            return await store.list_approvals(
                connection,
                before=before,
                before_id=before_id,
                state=request.state and request.state.value,
                now=now,
                limit=request.limit + 1,
            )

        found = await self._database.transaction(_ROLE, read)
        page = found[: request.limit]
        more = len(found) > request.limit
        return ApprovalPage(
            approvals=[as_of(each, now) for each in page],
            next_cursor=_cursor(page[-1].requested_at, page[-1].approval_id) if more else None,
        )

    async def _step(self, approval_id: str, decide: Callable[[Approval], Approval]) -> Approval:
        """Decide on what is stored and write it; anew when another step came first."""

        async def write(connection: Connection) -> Approval:
            before = await _fetch_approval(connection, approval_id)
            after = decide(before)
            if after is not before and not await store.change_approvals(connection, [after]):
                raise _Overtaken
            return after

        for _ in range(STEP_ATTEMPTS_MAX):
            try:
                return self._as_shown(await self._database.transaction(_ROLE, write))
            except _Overtaken:
                continue
        raise Unavailable("contention", "Too many concurrent changes to the same approval; try again.")

    def _as_shown(self, approval: Approval) -> Approval:
        return as_of(approval, self._clock.now())

    # -- for the doors and the operator -------------------------------------------------------------------------

    async def authenticate(self, secret: str) -> Principal:
        """Whose secret it is; raises Unauthenticated `invalid_api_key` for unknown, wrong and revoked ones alike."""
        digest = digest_of(secret)
        known = self._known.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        task = self._asked.get(digest)
        if task is None:
            task = self._asked[digest] = asyncio.get_running_loop().create_task(self._look_up(secret, digest))
            task.add_done_callback(lambda done: self._settle(digest, done))
        return await asyncio.shield(task)

    async def ensure_first_key(self) -> str | None:
        """The secret of a key with all scopes when the database has none yet; None in every other case.

        Of several processes that start at once, one gets the secret.
        """
        secret = new_secret()
        record = self._record(secret, FIRST_KEY_NAME, [scope.value for scope in Scope], "internal")

        async def write(connection: Connection) -> bool:
            first = await store.claim_first_key(connection, record.key_id)
            if first:
                await store.insert_keys(connection, [record])
            return first

        return secret if await self._database.transaction(_ROLE, write) else None

    # -- parts --------------------------------------------------------------------------------------------------

    def _record(
        self, secret: str, name: str, scopes: list[str], created_by: str, *, service: str | None = None
    ) -> KeyRecord:
        now = self._clock.now()
        return record_of(secret, name=name, scopes=scopes, created_at=now, created_by=created_by, service=service)

    async def _look_up(self, secret: str, digest: bytes) -> Principal:
        key_id = key_id_of(secret)
        if key_id is None:
            raise _invalid()
        asked_at = time.monotonic()

        async def read(connection: Connection) -> list[KeyRecord]:
            return await store.fetch_keys(connection, [key_id])

        records = await self._database.transaction(_ROLE, read)
        if not records or not opens(records[0], digest):
            self._known.pop(digest, None)
            raise _invalid()
        principal = Principal(key_id, frozenset(records[0].scopes), records[0].service)
        self._remember(digest, principal, asked_at + CACHE_TTL_S)
        return principal

    def _settle(self, digest: bytes, task: asyncio.Task[Principal]) -> None:
        self._asked.pop(digest, None)
        if not task.cancelled():
            task.exception()  # looked at, even when everyone who asked has left

    def _remember(self, digest: bytes, principal: Principal, until: float) -> None:
        if len(self._known) >= CACHE_KEYS_MAX:
            self._known.pop(next(iter(self._known)))  # the one that came first
        self._known[digest] = (principal, until)

    def _forget(self, key_id: ApiKeyId) -> None:
        for digest in [digest for digest, (principal, _) in self._known.items() if principal.key_id == key_id]:
            del self._known[digest]


async def _fetch(connection: Connection, key_id: ApiKeyId) -> KeyRecord:
    records = await store.fetch_keys(connection, [key_id])
    if not records:
        raise NotFound("api_key_not_found", f"There is no API key {key_id}.", key_id=key_id)
    return records[0]


async def _require_another_admin(connection: Connection, record: KeyRecord) -> None:
    """Of two that are revoked at once, the second waits for the first to commit, and then sees that it is the last."""
    if Scope.IDENTITY_ADMIN not in record.scopes:
        return
    await store.take_admin_turn(connection)
    if await store.list_holders(connection, Scope.IDENTITY_ADMIN) == [record.key_id]:
        raise Refused("last_admin_key", "This is the last key that may administer keys; make another one first.")


async def _fetch_approval(connection: Connection, approval_id: str) -> Approval:
    found = await store.fetch_approvals(connection, [approval_id])
    if not found:
        raise NotFound("approval_not_found", f"There is no approval {approval_id}.", approval_id=approval_id)
    return found[0]


async def _hands(connection: Connection, caller: str) -> set[str]:
    """The keys that whoever holds this one may be holding too: who made it saw its secret, and so on upwards.

    A key that the platform itself made for its operator ends the line: whose it is, the operator answers for.
    """
    hands: set[str] = set()
    while caller.startswith("key_") and caller not in hands:
        hands.add(caller)
        records = await store.fetch_keys(connection, [ApiKeyId(caller)])
        if records:
            caller = records[0].created_by
    return hands


def _invalid() -> Unauthenticated:
    return Unauthenticated("invalid_api_key", "This API key is unknown or revoked.")


def _shown(record: KeyRecord) -> ApiKey:
    return ApiKey(
        key_id=record.key_id,
        name=record.name,
        scopes=list(record.scopes),
        last_four=record.last_four,
        created_at=record.created_at,
        created_by=record.created_by,
        revoked_at=record.revoked_at,
        service=record.service,
    )


def _cursor(at: datetime, identifier: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {identifier}".encode()).decode()


def _position(cursor: str, prefix: str) -> tuple[datetime, str]:
    try:
        at, identifier = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        return datetime.fromisoformat(at).astimezone(UTC), bare(require_id(identifier, prefix, "cursor"))
    except (ValueError, OverflowError, Invalid):
        raise Invalid("bad_cursor", "This cursor does not come from a page of this list.", field="$.cursor") from None
