"""API keys on a real database: made, listed, revoked, asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import Invalid, NotFound, Refused, Unauthenticated
from kessai.services.identity import service as identity_service
from kessai.services.identity.api import CreatedKey, CreateKey, ListKeys, RevokeKey, Scope
from kessai.services.identity.domain import digest_of, key_id_of, new_secret, opens, record_of
from kessai.services.identity.service import IdentityService

ROLE = role_of("identity")


@pytest.fixture
async def identity(database: Database) -> AsyncIterator[IdentityService]:
    service = IdentityService(database, SandboxClock())
    await service.open()
    yield service
    await service.close()


async def _key(identity: IdentityService, *scopes: Scope, name: str = "shop") -> CreatedKey:
    return await identity.create_key(CreateKey(name=name, scopes=list(scopes)))


async def test_a_key_opens_the_door_with_its_scopes(identity: IdentityService) -> None:
    created = await _key(identity, Scope.PAYMENT_WRITE, Scope.PAYMENT_READ, Scope.PAYMENT_READ)
    principal = await identity.authenticate(created.secret)
    assert principal.key_id == created.key.key_id
    assert principal.scopes == {"payment:read", "payment:write"}
    assert created.key.scopes == ["payment:read", "payment:write"]


async def test_a_secret_is_kept_only_as_its_digest(identity: IdentityService, database: Database) -> None:
    created = await _key(identity, Scope.LEDGER_READ)
    (row,) = await database.fetch(ROLE, "SELECT k::text AS all, secret_sha256 FROM identity.api_key k")
    assert created.secret not in row["all"]
    assert created.secret.split("_", 2)[2] not in row["all"]
    assert row["secret_sha256"] == digest_of(created.secret)
    assert created.key.last_four == created.secret[-4:]
    assert created.secret not in msgspec.json.encode(await identity.list_keys(ListKeys())).decode()


async def test_the_maker_of_a_key_is_written_down(identity: IdentityService) -> None:
    token = enter_call(Call(caller="key_" + "1" * 32))
    created = await _key(identity, Scope.LEDGER_READ)
    leave_call(token)
    assert created.key.created_by == "key_" + "1" * 32


def _others(secret: str) -> list[str]:
    """Secrets that are not quite this one."""
    return [
        "",
        "kes_",
        secret[:-1],
        secret + "x",
        secret + "\n",
        secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        secret.upper(),
        "kes_" + "0" * 16 + secret[20:],
        "日本語" * 30,
        new_secret(),
    ]


async def test_any_other_secret_is_refused_alike(identity: IdentityService) -> None:
    created = await _key(identity, Scope.LEDGER_READ)
    messages: set[str] = set()
    for other in _others(created.secret):
        with pytest.raises(Unauthenticated) as caught:
            await identity.authenticate(other)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert await identity.authenticate(created.secret)


async def test_a_revoked_key_stops_at_once_here(identity: IdentityService) -> None:
    created = await _key(identity, Scope.LEDGER_READ)
    await identity.authenticate(created.secret)
    revoked = await identity.revoke_key(RevokeKey(key_id=created.key.key_id))
    assert revoked.revoked_at is not None
    with pytest.raises(Unauthenticated):
        await identity.authenticate(created.secret)


async def test_a_revoked_key_stops_soon_in_other_processes(
    identity: IdentityService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = IdentityService(database, SandboxClock())
    created = await _key(identity, Scope.LEDGER_READ)
    await other.authenticate(created.secret)
    await identity.revoke_key(RevokeKey(key_id=created.key.key_id))
    await other.authenticate(created.secret)  # still remembered
    now = identity_service.time.monotonic()
    monkeypatch.setattr(identity_service.time, "monotonic", lambda: now + identity_service.CACHE_TTL_S)
    with pytest.raises(Unauthenticated):
        await other.authenticate(created.secret)


async def test_revoking_again_changes_nothing(identity: IdentityService) -> None:
    created = await _key(identity, Scope.LEDGER_READ)
    first = await identity.revoke_key(RevokeKey(key_id=created.key.key_id))
    assert await identity.revoke_key(RevokeKey(key_id=created.key.key_id)) == first


async def test_an_unknown_key_cannot_be_revoked(identity: IdentityService) -> None:
    with pytest.raises(NotFound) as caught:
        await identity.revoke_key(RevokeKey(key_id="key_" + "0" * 32))
    assert caught.value.code == "api_key_not_found"


async def test_the_last_administrator_stays(identity: IdentityService) -> None:
    first = await _key(identity, Scope.IDENTITY_ADMIN)
    with pytest.raises(Refused) as caught:
        await identity.revoke_key(RevokeKey(key_id=first.key.key_id))
    assert caught.value.code == "last_admin_key"
    await _key(identity, Scope.IDENTITY_ADMIN)
    assert (await identity.revoke_key(RevokeKey(key_id=first.key.key_id))).revoked_at is not None


async def test_keys_are_listed_newest_first_page_by_page(identity: IdentityService) -> None:
    made = [(await _key(identity, Scope.LEDGER_READ, name=f"n{number}")).key for number in range(5)]
    await identity.revoke_key(RevokeKey(key_id=made[2].key_id))
    found: list[str] = []
    cursor = None
    while True:
        page = await identity.list_keys(ListKeys(limit=2, cursor=cursor))
        found += [key.name for key in page.keys]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ["n4", "n3", "n1", "n0"]
    everything = await identity.list_keys(ListKeys(include_revoked=True))
    assert [key.name for key in everything.keys] == ["n4", "n3", "n2", "n1", "n0"]


@pytest.mark.parametrize(
    "cursor",
    ["x", "====", "日本", "MjAyNi0wNC0wMVQwMDowMDowMCswMDowMCBrZXlfMQ==", "MDAwMS0wMS0wMVQwMDowMDowMCsyMzowMCBrZXk="],
)
async def test_a_made_up_cursor_is_refused(identity: IdentityService, cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        await identity.list_keys(ListKeys(cursor=cursor))
    assert caught.value.code == "bad_cursor"


async def test_the_first_key_is_made_once_by_whoever_comes_first(database: Database) -> None:
    services = [IdentityService(database, SandboxClock()) for _ in range(6)]
    secrets = [secret for secret in await asyncio.gather(*(s.ensure_first_key() for s in services)) if secret]
    assert len(secrets) == 1
    assert await services[0].ensure_first_key() is None
    principal = await services[0].authenticate(secrets[0])
    assert principal.scopes == {scope.value for scope in Scope}


async def test_no_first_key_is_made_beside_others(identity: IdentityService) -> None:
    await _key(identity, Scope.IDENTITY_ADMIN)
    assert await identity.ensure_first_key() is None


async def test_many_who_ask_at_once_cost_one_look_up(
    identity: IdentityService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await _key(identity, Scope.LEDGER_READ)
    asked = 0
    transaction = database.transaction

    async def counted(*arguments: object) -> object:
        nonlocal asked
        asked += 1
        return await transaction(*arguments)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]

    monkeypatch.setattr(database, "transaction", counted)
    await asyncio.gather(*(identity.authenticate(created.secret) for _ in range(50)))
    assert asked == 1


async def test_memory_of_keys_is_bounded(identity: IdentityService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_service, "CACHE_KEYS_MAX", 3)
    for _ in range(5):
        await identity.authenticate((await _key(identity, Scope.LEDGER_READ)).secret)
    assert len(identity._known) == 3  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM identity.api_key",
        "UPDATE identity.api_key SET scopes = '{internal}'",
        "UPDATE identity.api_key SET secret_sha256 = secret_sha256",
        "DELETE FROM identity.first_key",
        "TRUNCATE identity.api_key",
    ],
)
async def test_the_service_may_do_no_more_than_it_needs(database: Database, statement: str) -> None:
    pool = await database.pool(ROLE)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


def test_a_secret_says_its_key_and_nothing_else_does() -> None:
    secret = new_secret()
    record = record_of(secret, name="n", scopes=["b", "a", "a"], created_at=SandboxClock().now(), created_by="internal")
    assert record.key_id == key_id_of(secret)
    assert record.scopes == ("a", "b")
    assert opens(record, digest_of(secret))
    assert not opens(record, digest_of(new_secret()))
    assert new_secret() != secret
    assert key_id_of(secret[4:]) is None
