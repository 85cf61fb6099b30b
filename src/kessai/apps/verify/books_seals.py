"""What somebody wrote and no event can prove: each record under one seal, each seal over the one before it."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from kessai.apps.verify.checks import BROKEN_MAX
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries
from kessai.services.books.store.seals import Chain, digest_of, next_seal, read_sealed

SEALED = "what is written by hand stays as it was sealed"
SEALS_AT_ONCE = 200
RECORDS_AT_ONCE = 5_000


async def check_seals(connection: Connection, sql: Queries, report: Report) -> None:
    """Recompute every chain from the rows that it is over."""
    for row in await connection.fetch(sql["unsealed"], BROKEN_MAX):
        report.add(SEALED, f"books.{row['relation'] or row['chain']}", row["key"], row["sentence"])
    for chain in Chain:
        await _Followed(connection, sql, report, chain).run()


class _Followed:
    """One chain, from its beginning to its head."""

    def __init__(self, connection: Connection, sql: Queries, report: Report, chain: Chain) -> None:
        self._connection = connection
        self._sql = sql
        self._report = report
        self._chain = chain
        self._number = 0
        self._seal = b""

    async def run(self) -> None:
        page, records = list[asyncpg.Record](), 0
        async for row in self._connection.cursor(self._sql["seals"], self._chain.value, prefetch=SEALS_AT_ONCE):
            page.append(row)
            records += len(row["records"])
            if records >= RECORDS_AT_ONCE:
                await self._follow(page)
                page, records = [], 0
        await self._follow(page)
        head = await self._connection.fetchrow(self._sql["seal_head"], self._chain.value)
        if head is None or (head["number"], head["seal"]) != (self._number, self._seal):
            told = "there is none" if head is None else f"it is number {head['number']}"
            self._add("seal_head", self._chain.value, f"{told}; the last seal is number {self._number}")

    async def _follow(self, seals: Sequence[asyncpg.Record]) -> None:
        rows = await read_sealed(
            self._connection, self._chain, [record for each in seals for record in each["records"]]
        )
        for each in seals:
            key, digest = f"{self._chain}/{each['number']}", each["digest"]
            if digest_of(each["records"], rows) != digest:
                self._add(self._chain.value, ", ".join(each["records"]), f"it is not as seal {each['number']} has it")
            if each["number"] != self._number + 1:
                self._add("seal", key, f"the one before it is number {self._number}")
            elif each["seal"] != next_seal(self._seal, each["number"], digest):
                self._add("seal", key, "it does not follow from its digest and the seal before it")
            self._number, self._seal = each["number"], each["seal"]

    def _add(self, table: str, key: str, sentence: str) -> None:
        self._report.add(SEALED, f"books.{table}", key, sentence)
