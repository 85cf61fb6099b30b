"""Administrators who revoke each other at the same instant: one of them stays, whatever the interleaving."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import pytest

from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Refused
from kessai.foundation.ids import ApiKeyId
from kessai.services.identity import store
from kessai.services.identity.api import ApiKey, CreateKey, ListKeys, RevokeKey, Scope
from kessai.services.identity.service import IdentityService


async def _admins(identity: IdentityService, count: int) -> list[ApiKey]:
    request = CreateKey(name="admin", scopes=[Scope.IDENTITY_ADMIN])
    return [(await identity.create_key(request)).key for _ in range(count)]


async def _left(identity: IdentityService) -> list[str]:
    return [key.key_id for key in (await identity.list_keys(ListKeys())).keys if "identity:admin" in key.scopes]


async def test_of_two_who_revoke_each_other_at_once_one_stays(database_url: str) -> None:
    processes = [Database(database_url) for _ in range(2)]
    first, second = (IdentityService(each, SandboxClock()) for each in processes)
    try:
        for _ in range(10):
            one, other = await _admins(first, 2)
            for key_id in set(await _left(first)) - {one.key_id, other.key_id}:
                await first.revoke_key(RevokeKey(key_id=key_id))
            outcomes = await asyncio.gather(
                first.revoke_key(RevokeKey(key_id=other.key_id)),
                second.revoke_key(RevokeKey(key_id=one.key_id)),
                return_exceptions=True,
            )
            refusals = [each for each in outcomes if isinstance(each, BaseException)]
            assert [getattr(each, "code", each) for each in refusals] == ["last_admin_key"]
            assert len(await _left(first)) == 1
    finally:
        for each in processes:
            await each.close()


async def test_a_revocation_that_is_not_yet_committed_is_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = [Database(database_url) for _ in range(2)]
    first, second = (IdentityService(each, SandboxClock()) for each in processes)
    written, may_commit = asyncio.Event(), asyncio.Event()
    revoke = store.revoke_keys

    async def slow(connection: Connection, key_ids: Sequence[ApiKeyId], at: datetime) -> None:
        await revoke(connection, key_ids, at)
        written.set()
        await may_commit.wait()

    try:
        one, other = await _admins(first, 2)
        monkeypatch.setattr(store, "revoke_keys", slow)
        early = asyncio.create_task(first.revoke_key(RevokeKey(key_id=other.key_id)))
        await written.wait()
        late = asyncio.create_task(second.revoke_key(RevokeKey(key_id=one.key_id)))
        done, _ = await asyncio.wait([late], timeout=0.2)
        assert not done
        may_commit.set()
        assert (await early).revoked_at is not None
        with pytest.raises(Refused, match="last_admin_key"):
            await late
        assert await _left(first) == [one.key_id]
    finally:
        for each in processes:
            await each.close()


async def test_keys_that_administer_nothing_are_revoked_without_waiting(database: Database) -> None:
    identity = IdentityService(database, SandboxClock())
    (admin,) = await _admins(identity, 1)
    reader = await identity.create_key(CreateKey(name="reader", scopes=[Scope.LEDGER_READ]))
    assert (await identity.revoke_key(RevokeKey(key_id=reader.key.key_id))).revoked_at is not None
    assert await _left(identity) == [admin.key_id]
