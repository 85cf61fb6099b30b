"""Identity's door: API keys and their scopes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, PageLimit, verb

KeyId = Annotated[str, msgspec.Meta(pattern=r"^key_[0-9a-f]{32}$")]
KeyName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Scope(StrEnum):
    """What an API key may do."""

    LEDGER_READ = "ledger:read"
    LEDGER_WRITE = "ledger:write"
    LEDGER_EXPORT = "ledger:export"
    PAYMENT_READ = "payment:read"
    PAYMENT_WRITE = "payment:write"
    IDENTITY_ADMIN = "identity:admin"
    SANDBOX_WRITE = "sandbox:write"
    OPERATIONS_READ = "operations:read"
    INTERNAL = "internal"
    """For the platform's own services: the processing id that a call names is believed."""


Scopes = Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=len(Scope))]


class CreateKey(Message):
    """Make an API key; grant no more scopes than its holder needs."""

    name: KeyName
    """For people: who holds it, what for."""
    scopes: Scopes


class ApiKey(Message):
    """An API key without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    last_four: str
    """The end of the secret, to tell keys apart."""
    created_at: datetime
    created_by: str
    """The key that made it, or `internal`."""
    revoked_at: datetime | None


class CreatedKey(Message):
    """The new key. This is the only time that its secret is shown."""

    key: ApiKey
    secret: str


class ListKeys(Message):
    """A page of keys, newest first; `cursor` comes from the page before."""

    include_revoked: bool = False
    limit: PageLimit = 100
    cursor: Annotated[str, msgspec.Meta(max_length=128)] | None = None


class ApiKeyPage(Message):
    """A page; `next_cursor` is None on the last one."""

    keys: list[ApiKey]
    next_cursor: str | None


class RevokeKey(Message):
    """Which key; revoking it again changes nothing."""

    key_id: KeyId


class Identity(Protocol):
    """認証・権限: who may call, and what for."""

    @verb("POST /v1/identity/keys", scope=Scope.IDENTITY_ADMIN.value, status=201)
    async def create_key(self, request: CreateKey, /) -> CreatedKey:
        """Make an API key; the answer shows its secret, once."""
        ...

    @verb("GET /v1/identity/keys", scope=Scope.IDENTITY_ADMIN.value, errors=("bad_cursor",))
    async def list_keys(self, request: ListKeys, /) -> ApiKeyPage:
        """API keys, newest first."""
        ...

    @verb("POST /v1/identity/keys/{key_id}/revoke", scope=Scope.IDENTITY_ADMIN.value,
          errors=("api_key_not_found", "last_admin_key"))  # fmt: skip
    async def revoke_key(self, request: RevokeKey, /) -> ApiKey:
        """Revoke an API key for good; the last one that may administer keys stays."""
        ...
