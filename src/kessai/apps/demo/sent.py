"""The files that the bank got (総合振込), opened with the vault's keys and written down for all to see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import asyncpg

from kessai.apps.place import shared_place
from kessai.apps.verify.command import vault_of
from kessai.foundation.config import Settings
from kessai.foundation.db import AUDITOR_ROLE, Database, load_queries
from kessai.foundation.vault import Vault
from kessai.services.bank.store.files import content_context


async def write_bank_files(settings: Settings, folder: Path) -> str:
    """Write every file as the bank got it, one record a line; gives what was written."""
    sql = load_queries("kessai.apps.verify", file="sql/bank_files.sql")
    async with shared_place(settings) as place:
        database = Database(place.dsn)
        try:
            rows = await database.fetch(AUDITOR_ROLE, sql["contents"])
        finally:
            await database.close()
    return _write(rows, vault_of(settings), folder)


def _write(rows: Sequence[asyncpg.Record], vault: Vault, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        file_id = f"btf_{row['file_id'].hex}"
        content = vault.open(row["content_sealed"], context=content_context(file_id))
        (folder / f"zengin-{row['transfer_on']}-{file_id[-8:]}.txt").write_bytes(content.encode("cp932"))
    total = sum(row["total_minor"] for row in rows)
    return f"{len(rows)} files to the bank, {total:,} yen, are there too · 総合振込ファイル"
