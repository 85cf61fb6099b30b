"""Taking part in the Processing Tracer cannot be forgotten: every row of an effect tells its processing and caller."""

from __future__ import annotations

from importlib import import_module

import pytest

from kessai.apps.wiring import SCHEMAS
from kessai.foundation.db import Database

EFFECTS: dict[str, tuple[str, ...]] = {
    "ledger": ("exchange", "exchange_action"),
    "payment": ("payment", "payment_step", "refund"),
    "cardgateway": ("card_authorization", "card_operation"),
    "bank": ("instruction", "instruction_step"),
    "settlement": ("movement",),
    "nfc": ("id_authorization",),
}
"""Tables whose rows are effects, by service."""
OTHERS: dict[str, tuple[str, ...]] = {
    "identity": ("admin_turn", "api_key", "approval", "approval_step", "first_key"),
    "sandbox": ("clock",),
    "ledger": (
        "account", "account_event", "account_log", "account_type", "exchange_reference", "exchange_state", "flush",
        "hot_log", "hot_subtotal", "lot", "lot_log", "seal_anchor", "writer", "request_key",
    ),
    "payment": ("came_back", "code_attempt", "net_order", "net_order_step", "one_time_code", "payment_due", "spending"),
    "cardgateway": ("card",),
    "merchant": (
        "change", "company", "master_conflict", "master_head", "master_id", "master_import", "master_import_error",
        "master_step", "merchant",
    ),
    "bank": (
        "account", "feed_cursor", "file_approval", "file_line", "file_step", "line_step", "statement_day",
        "statement_difference", "statement_line", "transfer_file", "unmatched_result", "unread_result",
    ),
    "settlement": (
        "claim", "claim_part", "claim_step", "clearing", "daily_summary", "fee", "fee_base", "fee_part",
        "issued_statement", "open_transaction", "payout", "payout_step", "sales_summary", "settlement_day", "standing",
        "transaction_data",
    ),
    "nfc": (
        "card", "card_step", "card_usage", "clearing_day", "clearing_file", "clearing_finding",
        "clearing_finding_note", "clearing_line", "clearing_line_wrong", "clearing_sale", "clearing_total",
        "customer_card", "device", "feed_place", "id_refund", "id_refused_payment", "id_reversal", "issue_batch",
        "issue_error", "issue_step", "pan_lookup", "pan_vault", "phone_check", "pool_card", "sms_quota",
    ),
}  # fmt: skip
"""Tables that hold something else: settings, people's cards and accounts, projections of effects, what is asked for."""
TOLD = (("settlement", "transaction_data"),)
"""Tables of what another service did, each row with the processing that it was done in."""
SHARED = ("job_", "lease", "outbox", "outbox_head", "parked_event", "subscription_cursor", "workflow_")
"""Of the components that several schemas have."""
WITHOUT_EFFECTS = ("tracer", "books")
"""Services that only record what others did."""

_COLUMNS = """
SELECT c.table_schema AS schema, c.table_name AS name, array_agg(c.column_name::text) AS columns
FROM information_schema.columns AS c
JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = ANY ($1::text[]) AND t.table_type = 'BASE TABLE'
GROUP BY c.table_schema, c.table_name
"""
_INDEXES = "SELECT schemaname || '.' || tablename AS name, indexdef FROM pg_indexes WHERE schemaname = ANY ($1::text[])"


async def _columns(database: Database) -> dict[tuple[str, str], set[str]]:
    rows = await database.fetch(None, _COLUMNS, [spec.service for spec in SCHEMAS])
    return {
        (row["schema"], row["name"]): set(row["columns"])
        for row in rows
        if not row["name"].startswith(SHARED) and row["name"] != "schema_migration"
    }


async def test_every_row_of_an_effect_tells_its_processing_and_caller(database: Database) -> None:
    columns = await _columns(database)
    wanted = [(schema, name) for schema, names in EFFECTS.items() for name in names]
    assert {each: {"processing_id", "caller"} - columns[each] for each in wanted} == {each: set() for each in wanted}


async def test_every_table_is_known_to_hold_effects_or_something_else(database: Database) -> None:
    known = {(schema, name) for tables in (EFFECTS, OTHERS) for schema, names in tables.items() for name in names}
    there = {each for each in await _columns(database) if each[0] not in WITHOUT_EFFECTS}
    assert sorted(there - known) == []


async def test_a_table_with_a_processing_is_a_table_of_effects(database: Database) -> None:
    found = {each for each, columns in (await _columns(database)).items() if "processing_id" in columns}
    assert sorted(each for each in found if each[0] not in WITHOUT_EFFECTS and each not in TOLD) == sorted(
        (schema, name) for schema, names in EFFECTS.items() for name in names
    )


async def test_effects_of_a_processing_are_found_by_an_index(database: Database) -> None:
    rows = await database.fetch(None, _INDEXES, list(EFFECTS))
    indexed = {row["name"] for row in rows if "(processing_id)" in row["indexdef"]}
    assert {f"{schema}.{name}" for schema, names in EFFECTS.items() for name in names} <= indexed


@pytest.mark.parametrize("service", sorted(EFFECTS))
def test_every_service_with_effects_can_tell_them(service: str) -> None:
    there: dict[str, object] = vars(import_module(f"kessai.services.{service}.effects"))
    views = [each for each in there.values() if hasattr(each, "own_view") and hasattr(each, "list_effects")]
    assert len(views) == 1
