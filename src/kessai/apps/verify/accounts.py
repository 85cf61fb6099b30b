"""Accounts' settings, told again from their events."""

from __future__ import annotations

import asyncpg
import msgspec

from kessai.apps.verify.finding import Report
from kessai.apps.verify.records import decode_account_event
from kessai.foundation.db import Connection, Queries
from kessai.services.ledger.domain.types import AccountTypes

TOLD = "an account is what its events tell"
PROMISED = "what is to come to an account is what held exchanges may bring it"
ROWS_AT_ONCE = 2_000

encode = msgspec.json.Encoder().encode


async def check_accounts(
    connection: Connection, sql: Queries, types: AccountTypes, report: Report, incoming: dict[str, int]
) -> None:
    """Owner, type, asset, limits, freezes, closing, metadata and what is to come, of every account."""
    assets = {each.code: each.asset for each in types}
    log_only = {each.code for each in types if each.log_only}
    async for row in connection.cursor(sql["accounts"], prefetch=ROWS_AT_ONCE):
        _check(row, assets, report)
        key = "acc_" + row["account_id"].hex
        promised = 0 if row["account_type"] in log_only else incoming.get(key, 0)
        if row["incoming"] != promised:
            text = f"it expects {row['incoming']}, exchanges hold {promised} for it"
            report.add(PROMISED, "ledger.account", key, text)


def _check(row: asyncpg.Record, assets: dict[str, str], report: Report) -> None:
    account_type = row["account_type"]
    key = "acc_" + row["account_id"].hex
    if assets.get(account_type) != row["asset"]:
        known = account_type in assets
        text = f"its asset is {row['asset']}, not its type's" if known else f"its type {account_type} is not configured"
        report.add("an account's asset is its type's", "ledger.account", key, text)
    if (records := row["records"]) is None:
        return  # told by the check of versions
    try:
        told = _told(records)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return  # told by the pass over the pages
    there = {name: row[name] for name in told}
    if there != told:
        text = "; ".join(f"{n} is {there[n]}, its events tell {told[n]}" for n in told if there[n] != told[n])
        report.add(TOLD, "ledger.account", key, text)


def _told(records: list[bytes]) -> dict[str, object]:
    owner, account_type, overdraft, frozen, closed = None, None, 0, "NONE", False
    metadata: dict[str, str] = {}
    for record in records:
        event = decode_account_event(record)
        owner = owner if event.owner is None else event.owner
        account_type = account_type if event.account_type is None else event.account_type
        overdraft = overdraft if event.overdraft is None else event.overdraft
        frozen = frozen if event.freeze is None else event.freeze
        closed = closed if event.closed is None else event.closed
        metadata = metadata if event.metadata is None else event.metadata
    return {
        "owner": owner,
        "account_type": account_type,
        "overdraft": overdraft,
        "frozen": frozen,
        "closed": closed,
        "metadata": encode(metadata).decode(),
    }
