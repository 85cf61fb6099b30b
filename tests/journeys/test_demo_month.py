"""The month that `kessai demo` plays, over HTTP and with the simulated bank; and that every edit of it is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kessai.apps.demo.cast import CHAIN, COBBLER, PAYEES, STALL, SWEETS, Staff
from kessai.apps.demo.month import Month
from kessai.apps.demo.month_proof import Proof
from kessai.apps.demo.parties import BankCounter
from kessai.apps.demo.show import APPROVER_SCOPES
from kessai.apps.verify.bank_files import check_bank_files
from kessai.apps.verify.finding import Finding, Report
from kessai.apps.verify.merchants import check_merchants
from kessai.apps.verify.settlement import check_settlement
from kessai.foundation.db import AUDITOR_ROLE
from kessai.services.identity.api import CreateKey, Scope
from kessai.services.settlement.domain.configuration import read_settlement
from tests.journeys.town import Town, opened

EDITS = {
    "settlement.transaction_data": "amount_minor = amount_minor + 1",
    "settlement.settlement_day": "net_minor = net_minor + 1",
    "settlement.daily_summary": "sales_minor = sales_minor + 1, net_minor = net_minor + 1",
    "settlement.sales_summary": "fees_minor = fees_minor + 1",
    "settlement.clearing": "amount_minor = amount_minor + 1",
    "settlement.payout": "cleared_minor = cleared_minor + 1, payable_minor = payable_minor + 1, amount_minor = 0",
    "settlement.payout_step": "state = 'PAID'",
    "settlement.claim": "amount_minor = amount_minor + 1, collected_minor = collected_minor + 1",
    "settlement.claim_step": "amount_minor = amount_minor + 1",
    "settlement.movement": "amount_minor = amount_minor + 1",
    "settlement.fee": "amount_minor = amount_minor + 1",
    "settlement.standing": "closed_through = closed_through - 1",
    "merchant.merchant": "version = version + 1",
    "merchant.company": "version = version + 1",
    "merchant.change": "version = version + 100",
    "bank.transfer_file": "total_minor = total_minor + 1",
    "bank.file_line": "amount_minor = amount_minor + 1",
    "bank.line_step": "state = 'RECALLED'",
    "bank.file_step": "state = 'DISCARDED'",
    "bank.file_approval": "approver = 'bank'",
    "bank.statement_day": "moved_minor = moved_minor + 1",
    "bank.statement_line": "amount_minor = amount_minor - 1",
}
"""An edit of one column of each table that settlement and the bank's files rest on."""
SELDOM = {
    "settlement.standing": "name = 'days'",
    "settlement.payout_step": "state = 'CLEARED'",
    "bank.line_step": "state = 'ACCEPTED'",
    "settlement.daily_summary": "cycle_id IS NOT NULL",
    "settlement.fee": "kind = 'fee' AND state = 'ISSUED'",
    "settlement.movement": "refund_of IS NULL",
    "settlement.payout": "state = 'PAID'",
    "bank.statement_line": "instruction_id IS NOT NULL",
}
"""Which rows, where not any."""

TABLES = {"payment.payment", "ledger.flush"}


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A platform with a simulated bank."""
    async with opened(database_url, tmp_path) as found:
        yield found


async def _played(town: Town) -> tuple[Month, Proof, bool]:
    scopes = [Scope(each) for each in APPROVER_SCOPES]
    made = [await town.platform.identity.create_key(CreateKey(name="approver", scopes=scopes)) for _ in range(2)]
    month = Month(Staff(town.client, [town.client_of(each.secret) for each in made]))

    def play() -> tuple[Proof, bool]:
        month.play()
        proof = Proof(town.client, BankCounter(town.bank.url), month.sold, month.refunded, PAYEES)
        return proof, month.until_proved(proof)

    return month, *(await asyncio.to_thread(play))


async def test_every_yen_of_the_month_is_accounted_for_and_every_edit_of_it_is_found(
    town: Town, tmp_path: Path
) -> None:
    _, proof, holds = await _played(town)
    assert holds, [each for each in proof.sums if not each.holds]
    sums = {each.payee_id: each for each in proof.sums}
    assert sums[STALL].collected > 0
    assert sums[STALL].owed == 0
    assert [claim["state"] for claim in proof.claims[STALL]] == ["SETTLED"]
    assert {payout["state"] for payout in proof.payouts[SWEETS]} >= {"CARRIED_OVER"}
    failed = [payout for payout in proof.payouts[COBBLER] if payout["state"] == "FAILED"]
    assert failed
    assert all(payout["taken_by"] is not None for payout in failed)
    assert {payout["payee_id"] for payout in proof.payouts[CHAIN]} == {CHAIN}
    assert await town.findings() == []
    await town.platform.dated.settle()
    await _every_edit_is_found(town)


async def _every_edit_is_found(town: Town) -> None:
    operator: Any = await asyncpg.connect(town.dsn)
    missed: list[str] = []
    try:
        for table, change in EDITS.items():
            where = SELDOM.get(table, "true")
            before = await operator.fetchrow(f"SELECT ctid, * FROM {table} WHERE {where} LIMIT 1")
            assert before is not None, table
            await _edit(operator, table, change, before["ctid"])
            missed += [] if await _findings(town) else [table]
            await _restore(operator, table)
        assert missed == []
        assert await town.findings() == []
    finally:
        await operator.close()


async def _findings(town: Town) -> list[Finding]:
    """What the checks of merchants, settlement and files find."""
    report, connection = Report(), await town.platform.database.connect(AUDITOR_ROLE)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await check_merchants(connection, report)
            await check_settlement(connection, read_settlement(), report, tables=TABLES)
            await check_bank_files(connection, report)
    finally:
        await connection.close()
    return report.findings


async def _edit(operator: Any, table: str, change: str, ctid: tuple[int, int]) -> None:
    """Without the checks that the table makes itself: those of a forger who may do anything."""
    await operator.execute("DROP TABLE IF EXISTS public.kept")
    await operator.execute(f"CREATE TABLE public.kept AS SELECT * FROM {table} WHERE ctid = '{ctid}'::tid")
    for row in await operator.fetch(
        "SELECT conname FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'", table
    ):
        await operator.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{row["conname"]}"')
    await operator.execute(f"CREATE TABLE public.marked AS SELECT * FROM {table} WHERE ctid = '{ctid}'::tid")
    await operator.execute(f"UPDATE public.marked SET {change}")
    await operator.execute(f"DELETE FROM {table} WHERE ctid = '{ctid}'::tid")
    await operator.execute(f"INSERT INTO {table} SELECT * FROM public.marked")


async def _restore(operator: Any, table: str) -> None:
    names = [
        row["attname"]
        for row in await operator.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped", table
        )
    ]
    same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM m.{name}" for name in names)
    await operator.execute(f"DELETE FROM {table} AS t USING public.marked AS m WHERE {same}")
    await operator.execute(f"INSERT INTO {table} SELECT * FROM public.kept")
    await operator.execute("DROP TABLE public.marked; DROP TABLE public.kept")
