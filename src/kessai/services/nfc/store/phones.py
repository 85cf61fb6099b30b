"""Limits on text messages, and phone numbers that lie under an old key of the vault."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.vault import Vault
from kessai.services.nfc.store import ROLE

_SQL = load_queries("kessai.services.nfc", file="sql/cards.sql")
_CONTEXT = "nfc.phone"
_FIRST = "00000000-0000-0000-0000-000000000000"
PAGE = 200


def seal_phone(vault: Vault, card_id: str, number: str) -> tuple[bytes, bytes]:
    """A phone number as it is stored for a card, and what equal ones are found by."""
    return vault.seal(number, context=f"{_CONTEXT}:{card_id}"), phone_marks(vault, number)[0]


def open_phone(vault: Vault, card_id: str, sealed: bytes) -> str:
    """The phone number."""
    return vault.open(sealed, context=f"{_CONTEXT}:{card_id}")


def phone_marks(vault: Vault, number: str) -> list[bytes]:
    """What a phone number is found by, under each key in use."""
    return vault.fingerprints(number, context=_CONTEXT)


async def count_message(connection: Connection, subjects: Sequence[bytes], day: date, limit: int) -> bool:
    """Count a message to each of the subjects; False when one has had as many as it may (then roll back)."""
    made = await connection.fetch(_SQL["count_sms"], sorted(set(subjects)), day, limit)
    return len(made) == len(set(subjects))


async def reseal(database: Database, vault: Vault) -> int:
    """Seal phone numbers that lie under an old key anew, under the newest; gives how many those were."""
    done, after = 0, _FIRST
    while page := await database.fetch(ROLE, _SQL["phones_under_old_keys"], vault.head, after, PAGE):
        done += await _reseal(database, vault, page)
        after = page[-1]["card_id"]
    return done


async def _reseal(database: Database, vault: Vault, page: Sequence[asyncpg.Record]) -> int:
    cards = [row["card_id"].hex for row in page]
    anew = [
        seal_phone(vault, card_id, open_phone(vault, card_id, row["sealed"]))
        for card_id, row in zip(cards, page, strict=True)
    ]
    befores, sealed, marks = [row["sealed"] for row in page], [each[0] for each in anew], [each[1] for each in anew]
    return len(await database.fetch(ROLE, _SQL["reseal_phones"], cards, befores, sealed, marks))
