"""The vault of card numbers: a number goes in, and is a token from then on. Numbers leave it only to be sealed anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.ids import new_id
from kessai.foundation.vault import Vault
from kessai.sdk.iso8583 import Pan
from kessai.services.nfc.api import DeviceState, LockReason, NumberStanding, Platform, PrepaidCardState
from kessai.services.nfc.domain.devices import expiry_of
from kessai.services.nfc.store import ROLE

_SQL = load_queries("kessai.services.nfc", file="sql/pans.sql")
_CONTEXT = "nfc.pan"
PAGE = 200

PanKind = Literal["card", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPan:
    """A number that may be stored: nobody can read it without the vault's keys."""

    token: str
    kind: PanKind
    sealed: bytes = field(repr=False)
    fingerprint: bytes
    last_four: str


def marks_of(vault: Vault, pan: Pan) -> list[bytes]:
    """What a number is looked up by: its HMAC under each key in use, the newest first."""
    return vault.fingerprints(pan.digits, context=_CONTEXT)


def sealed_pan(vault: Vault, pan: Pan, expiry: str, kind: PanKind) -> SealedPan:
    """A number under a token of its own."""
    token = new_id("tok")
    return SealedPan(
        token=token,
        kind=kind,
        sealed=vault.seal(f"{pan.digits} {expiry}", context=_context(token)),
        fingerprint=marks_of(vault, pan)[0],
        last_four=pan.last4,
    )


def open_pan(vault: Vault, token: str, sealed: bytes) -> str:
    """A number and its expiry (YYMM) with a space between, for whoever proves the vault; raises VaultSealBroken."""
    return vault.open(sealed, context=_context(token))


def _context(token: str) -> str:
    return f"{_CONTEXT}:{token}"


async def tokens_of(connection: Connection, marks: Sequence[bytes]) -> dict[bytes, str]:
    """The tokens of those numbers that are in the vault, by what they are looked up by."""
    return dict(await connection.fetch(_SQL["tokens_of"], marks))


async def insert_pans(connection: Connection, pans: Sequence[SealedPan], at: datetime) -> bool:
    """Put numbers into the vault; False when one is there already (then roll back)."""
    if not pans:
        return True
    ordered = sorted(pans, key=lambda each: each.fingerprint)
    marks, tokens = [each.fingerprint for each in ordered], [each.token for each in ordered]
    if len(await connection.fetch(_SQL["insert_lookups"], marks, tokens)) != len(pans):
        return False
    rows = [(each.token, each.kind, each.sealed, each.fingerprint, each.last_four, at) for each in ordered]
    await connection.execute(_SQL["insert_pans"], *[list(column) for column in zip(*rows, strict=True)])
    return True


async def token_for(
    connection: Connection, vault: Vault, pan: Pan, expiry: str, kind: PanKind, at: datetime
) -> str | None:
    """A number's token: the one that it has, or a new one; None when another process was first (then roll back)."""
    if known := await tokens_of(connection, marks_of(vault, pan)):
        return next(iter(known.values()))
    sealed = sealed_pan(vault, pan, expiry, kind)
    return sealed.token if await insert_pans(connection, [sealed], at) else None


async def reseal(database: Database, vault: Vault) -> int:
    """Seal numbers that lie under an old key anew, under the newest; gives how many those were."""
    done, after = 0, ""
    while page := await database.fetch(ROLE, _SQL["pans_under_old_keys"], vault.head, after, PAGE):

        async def anew(connection: Connection, page: Sequence[asyncpg.Record] = page) -> int:
            return await _reseal(connection, vault, page)

        done += await database.transaction(ROLE, anew)
        after = page[-1]["token"]
    return done


async def _reseal(connection: Connection, vault: Vault, page: Sequence[asyncpg.Record]) -> int:
    rows: dict[str, tuple[bytes, bytes, bytes, bytes]] = {}
    for row in page:
        text = open_pan(vault, row["token"], row["sealed"])
        mark = vault.fingerprints(text.partition(" ")[0], context=_CONTEXT)[0]
        sealed = vault.seal(text, context=_context(row["token"]))
        rows[row["token"]] = (row["sealed"], sealed, mark, row["fingerprint"])
    befores, anews, marks, _ = [list(column) for column in zip(*rows.values(), strict=True)]
    made = await connection.fetch(_SQL["reseal_pans"], list(rows), befores, anews, marks)
    mine = {each["token"] for each in made}
    moved = [(mark, old, token) for token, (_, _, mark, old) in rows.items() if token in mine and mark != old]
    if moved:
        await connection.fetch(_SQL["insert_lookups"], [each[0] for each in moved], [each[2] for each in moved])
        await connection.execute(_SQL["delete_lookups"], [each[1] for each in moved])
    return len(mine)


# -- whose a number is --------------------------------------------------------------------------------------------


async def numbers_of(database: Database, marks: Sequence[bytes]) -> dict[bytes, NumberStanding]:
    """Whose each number is that the vault has, by what it was looked up by: one statement."""
    rows = await database.fetch(ROLE, _SQL["numbers_of"], marks)
    return {row["fingerprint"]: _number(row) for row in rows if row["expires_on"] is not None}


def _number(row: asyncpg.Record) -> NumberStanding:
    expires_on: date = row["expires_on"]
    return NumberStanding(
        token=row["token"],
        last_four=row["last_four"],
        expiry=expiry_of(expires_on),
        expires_on=expires_on,
        card_id=row["card_id"] and f"vpc_{row['card_id'].hex}",
        customer_id=row["customer_id"],
        card_state=row["state"] and PrepaidCardState(row["state"]),
        lock_reason=row["lock_reason"] and LockReason(row["lock_reason"]),
        device_id=row["device_id"] and f"dev_{row['device_id'].hex}",
        platform=row["platform"] and Platform(row["platform"]),
        device_state=row["device_state"] and DeviceState(row["device_state"]),
        version=row["version"] or 0,
    )
