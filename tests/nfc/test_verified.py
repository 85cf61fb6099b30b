"""What `kessai verify` makes of nfc: clean histories are clean, and nothing that was changed, taken or forged hides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from kessai.apps.verify import verify
from kessai.apps.verify.card_network import compare
from kessai.apps.verify.finding import Finding, Report
from kessai.apps.verify.nfc import check_nfc, verify_sealed
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.ids import new_hex
from kessai.services.ledger.api import CreateExchange, Leg
from kessai.services.nfc.domain.decide import Abandon
from kessai.services.nfc.service.repairing import real_now
from kessai.services.payment.api import CreatePayment
from tests.nfc import lives
from tests.nfc.tampering import TABLES, Tamper, columns_of, copies_of, rows_of
from tests.nfc.whole_world import WholeWorld, whole
from tests.nfc.wire_world import rules_with

FREE = {
    "id_authorization": {"caller", "digest", "place", "entry_mode", "stood_in", "received_at"},
    "id_reversal": {"answer", "recorded_at"},
    "card_usage": {"version"},
    "card_step": {"act_id", "digest", "note", "caller"},
    "issue_step": {"state", "detail", "caller", "recorded_at"},
    "issue_error": {"line", "code", "reason"},
    "issue_batch": {"code", "sent_at"},
    "phone_check": {"code_digest", "expires_at"},
    "pan_vault": {"created_at"},
    "pool_card": {"reference"},
    "sms_quota": {"subject"},
    "device": {"platform", "asked_at"},
    "feed_place": {"feed", "position"},
    "id_refund": {"recorded_at"},
    "clearing_line": {"decided_at"},
    "clearing_finding": {"detail", "ours_minor", "theirs_minor", "remedy"},
    "clearing_finding_note": {"noted_at"},
    "clearing_day": {"records_after", "records_until", "looked_at"},
    "clearing_total": {"ours_count", "ours_minor", "theirs_count", "theirs_minor"},
}
"""Columns of which an edit may go unseen, for a reason that docs/verify.md gives."""
KEPT = {"feed_place", "issue_error", "clearing_finding_note"}
"""Tables of which a row may be missing, likewise."""

OF_LINES = {"acquirer", "rrn", "merchant", "currency", "amount_minor", "stands_minor", "payment_id", "token"}
"""Of what a clearing line made."""


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WholeWorld]:
    async with whole(database, rules_with(stand_in=lives.FLOOR)) as running:
        yield running


def differing(world: WholeWorld, rows: list[Any], done: set[str] | None) -> list[Finding]:
    """What the network's books and our rows do not agree on."""
    report, books = Report(), world.network.books
    compare(rows, books, books, report, done=done)
    return report.findings


async def test_a_file_that_is_still_to_be_cleared_is_no_difference_with_the_network(world: WholeWorld) -> None:
    sql = load_queries("kessai.apps.verify", file="sql/nfc_authorizations.sql")
    _, card = await world.holder(funds=5_000)
    assert (await world.tap(card, 700)).approved
    world.network.books.clearing.close(world.today)
    rows, done = [await world.database.fetch(None, sql[each]) for each in ("for_network", "files_done")]
    assert differing(world, rows, {each["file_id"] for each in done}) == []
    assert len(differing(world, rows, None)) == 1  # as it would be had the file been cleared
    await world.job("nfc.clear")
    rows, done = [await world.database.fetch(None, sql[each]) for each in ("for_network", "files_done")]
    assert len(done) == 1
    assert differing(world, rows, {each["file_id"] for each in done}) == []


async def looked(world: WholeWorld, connection: Connection) -> list[Finding]:
    """What the proof tells, as one connection sees the rows."""
    report = Report()
    rows = await connection.fetch("SELECT schemaname, tablename FROM pg_tables")
    tables = {f"{row['schemaname']}.{row['tablename']}" for row in rows}
    try:
        await check_nfc(connection, world.terms.phone, report, world.clock.now(), tables=tables)
        await verify_sealed(connection, world.vault, report)
    except asyncpg.DataError as error:  # the audit tells of it as its last finding
        report.add("every row can be computed with", "database", "", str(error))
    return report.findings


async def test_whatever_cards_and_authorizations_went_through_is_found_to_be_right(world: WholeWorld) -> None:
    await lives.led(world)
    assert await world.findings() == []
    assert await verify(world.database.dsn) == []


async def test_every_row_that_was_changed_taken_or_forged_is_found(world: WholeWorld) -> None:
    await lives.led(world)
    connection = await world.database.connect(None)
    unseen: list[str] = []
    tried = 0
    try:
        for tamper in await _tampers(connection):
            outcome = await tamper.tried(connection, lambda: looked(world, connection))
            tried += outcome is not None
            if outcome == []:
                unseen.append(tamper.name)
    finally:
        await connection.close()
    assert tried > 150
    assert not unseen, "\n".join(unseen)


async def _tampers(connection: Connection) -> list[Tamper]:
    found: list[Tamper] = []
    for table in TABLES:
        rows = await rows_of(connection, table)
        assert rows, f"no row of {table} to tamper with"
        free: Sequence[str] = sorted(FREE.get(table, set()))
        found += [each for each in await columns_of(connection, table, rows) if each.column not in free]
        if table not in KEPT:
            found += [Tamper(table, row, None) for row in rows]
            found += await copies_of(connection, table, rows)
    return found


async def test_what_a_clearing_line_made_is_as_the_line_says(world: WholeWorld) -> None:
    await lives.cleared(world)
    world.pass_time(minutes=30)
    assert await world.findings() == []
    connection = await world.database.connect(None)
    try:
        rows = await connection.fetch("SELECT ctid::text AS place FROM nfc.id_authorization WHERE kind = 'clearing'")
        tampers = await columns_of(connection, "id_authorization", [rows[0]["place"]])
        for tamper in [each for each in tampers if each.column in OF_LINES]:
            assert await tamper.tried(connection, lambda: looked(world, connection)), tamper.name
    finally:
        await connection.close()


async def test_a_refund_that_was_given_up_after_it_was_approved_leaves_no_approval_code(world: WholeWorld) -> None:
    _, card = await world.holder(funds=5_000)
    message = await world.request(card, 300, processing="refund")
    assert (await world.ask(message)).response == "00"
    (row,) = await world.database.fetch(None, "SELECT authorization_id FROM nfc.id_authorization")
    given_up = Abandon(row["authorization_id"].hex, message, world.clock.now(), real_now(), told=True)
    await world.desk.journal.submit(given_up)
    assert await world.findings() == []


async def test_what_an_insider_moves_by_the_payment_service_or_the_ledger_is_found(world: WholeWorld) -> None:
    customer_id, card = await world.holder(funds=5_000)
    assert (await world.tap(card, 1_000)).approved
    assert await world.findings() == []
    for kind, capture in (("id_charge", False), ("id_forced", True)):
        await world.payments.create_payment(
            CreatePayment(kind=kind, payer_id=customer_id, amount_minor=100, capture=capture)
        )
    found = await world.findings()
    assert {each.table for each in found} == {"payment.payment"}
    assert len(found) == 2
    for sources, targets in ((("funds", customer_id), ("network_payable", "internal:id_network")),):
        legs = [
            Leg(owner=owner, account_type=account_type, amount_minor=50, asset="JPY")
            for account_type, owner in (sources, targets)
        ]
        for capture in (True, False):
            await world.ledger.create_exchange(
                CreateExchange(
                    exchange_id=f"exc_{new_hex()}", kind="grant", sources=legs[:1], targets=legs[1:], capture=capture
                )
            )
    found = await world.findings()
    assert sorted(each.table for each in found) == ["ledger.exchange"] * 2 + ["payment.payment"] * 2


async def test_a_doubt_that_nobody_ends_is_found(world: WholeWorld) -> None:
    _, card = await world.holder(funds=5_000)
    assert (await world.tap(card, 1_000)).approved
    await world.database.fetch(
        None, "UPDATE nfc.id_authorization SET work = 'charge', work_since = now() - interval '1 hour'"
    )
    assert "still to charge" in " ".join(each.sentence for each in await world.findings())
