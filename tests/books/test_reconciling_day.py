"""A whole day of the platform: every reconciliation and every proof is at zero, and whatever is altered is found."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from kessai.services.books.api.reconciling import (
    ListReconciliationFindings,
    Reconcile,
    Reconciliation,
    ReconciliationFindingState,
    ReconciliationName,
)
from kessai.services.books.service.reconciling import ReconcilingDesk
from tests.journeys.town import Town, opened

HALF_AN_HOUR = {"seconds": 1_800}


def desk_of(town: Town) -> ReconcilingDesk:
    """The reconciling desk of a platform."""
    return town.platform.books.reconciling


async def at_rest(desk: ReconcilingDesk) -> dict[ReconciliationName, Reconciliation]:
    """Every reconciliation, once nothing is in flight any more."""
    while True:
        found = {name: await desk.reconcile(Reconcile(name=name)) for name in ReconciliationName}
        if not any(each.in_flight for each in found.values()):
            return found
        await asyncio.sleep(0.5)


async def test_a_whole_day_is_at_zero(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as town:
        await town.played()
        desk = desk_of(town)
        async with asyncio.timeout(60):
            found = await at_rest(desk)
            while findings := await town.findings():  # the hold that the card company kept is being let go of
                print(findings)
                await asyncio.sleep(0.5)
        assert {name: (each.differences, each.explained) for name, each in found.items()} == dict.fromkeys(
            ReconciliationName, (0, 0)
        )
        assert all(found[name].compared for name in ReconciliationName if name is not ReconciliationName.TRACER)


# -- alterations --------------------------------------------------------------------------------------------------

_SOME = (
    "(SELECT journal_id FROM books.journal WHERE kind = '{kind}' AND source = '{source}' ORDER BY journal_id LIMIT 1)"
)
A_CHARGE = _SOME.format(kind="charge", source="ledger")
A_TRANSFER = _SOME.format(kind="transfer", source="ledger")
A_BANK_TRANSFER = _SOME.format(kind="bank_debit", source="bank")
ALTERATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], set[ReconciliationName]]] = {
    "an entry is deleted": (
        ("entry",),
        (f"DELETE FROM books.entry WHERE journal_id = {A_CHARGE} AND line = 1",),
        {ReconciliationName.LEDGER},
    ),
    "a whole journal is deleted": (
        ("entry", "journal"),
        (
            f"DELETE FROM books.entry WHERE journal_id = {A_TRANSFER}",
            f"DELETE FROM books.journal WHERE journal_id = {A_TRANSFER}",
        ),
        {ReconciliationName.LEDGER, ReconciliationName.PAYMENT},
    ),
    "a journal is doubled": (
        ("entry", "journal"),
        (
            "INSERT INTO books.journal SELECT 'ffffffff-0000-4000-8000-000000000000', source, event_id, kind, action,"
            " rule, rule_version,"
            " booked_on, event_on, occurred_at, recorded_at, exchange_id, payment_id, processing_id, merchant, product,"
            f" reverses, description, posted_by FROM books.journal WHERE journal_id = {A_CHARGE}",
            "INSERT INTO books.entry SELECT j.journal_id, e.line, e.account, e.asset, e.amount, e.tax_code,"
            " e.account_type, e.owner, e.booked_on FROM books.entry AS e JOIN books.journal AS o USING (journal_id)"
            " JOIN books.journal AS j ON j.event_id = o.event_id AND j.journal_id <> o.journal_id"
            f" WHERE o.journal_id = {A_CHARGE}",
        ),
        {ReconciliationName.LEDGER, ReconciliationName.PAYMENT},
    ),
    "an amount is altered on both sides, and in the totals": (
        ("entry", "day_total"),
        (
            f"UPDATE books.entry SET amount = amount * 2 WHERE journal_id = {A_CHARGE}",
            "UPDATE books.day_total AS t SET debit = s.debit, credit = s.credit FROM (SELECT e.account, e.booked_on,"
            " j.event_on, e.asset, e.account_type, j.kind, e.tax_code,"
            " coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0) AS debit,"
            " coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0) AS credit FROM books.entry AS e"
            " JOIN books.journal AS j ON j.journal_id = e.journal_id GROUP BY 1, 2, 3, 4, 5, 6, 7) AS s"
            " WHERE (s.account, s.booked_on, s.event_on, s.asset, s.account_type, s.kind, s.tax_code)"
            " = (t.account, t.booked_on, t.event_on, t.asset, t.account_type, t.kind, t.tax_code)",
        ),
        {ReconciliationName.LEDGER, ReconciliationName.PAYMENT},
    ),
    "an entry is moved to another account": (
        ("entry",),
        (f"UPDATE books.entry SET account = '5120' WHERE journal_id = {A_CHARGE} AND line = 1",),
        set(),
    ),
    "an entry is moved to another account type": (
        ("entry",),
        (f"UPDATE books.entry SET account_type = 'sales' WHERE journal_id = {A_CHARGE} AND line = 1",),
        {ReconciliationName.LEDGER},
    ),
    "a journal is moved to another day": (
        ("entry", "journal", "day_total"),
        (
            f"UPDATE books.entry SET booked_on = booked_on + 1 WHERE journal_id = {A_TRANSFER}",
            f"UPDATE books.journal SET booked_on = booked_on + 1 WHERE journal_id = {A_TRANSFER}",
        ),
        set(),
    ),
    "a running total is altered": (
        ("day_total",),
        (
            "UPDATE books.day_total SET debit = debit + 1 WHERE account_type = 'funds'",
            "UPDATE books.day_total SET credit = credit + 1 WHERE account_type = 'unsettled_sales'",
        ),
        {ReconciliationName.LEDGER},
    ),
    "a statement's line is deleted": (
        ("statement_line",),
        ("DELETE FROM books.statement_line WHERE sequence = (SELECT min(sequence) FROM books.statement_line)",),
        {ReconciliationName.STATUTORY},
    ),
    "a statement's balance is altered": (
        ("statement_line",),
        ("UPDATE books.statement_line SET balance = balance + 1 WHERE sequence = 2",),
        {ReconciliationName.STATUTORY},
    ),
    "a statement's line is moved to another day": (
        ("statement_line",),
        ("UPDATE books.statement_line SET event_on = event_on - 1, book_on = book_on - 1 WHERE sequence = 2",),
        set(),
    ),
    "all that a payment told is deleted": (
        ("payment_step",),
        ("DELETE FROM books.payment_step WHERE kind = 'transfer'",),
        {ReconciliationName.PAYMENT},
    ),
    "an earlier step of a payment is deleted": (
        ("payment_step",),
        ("DELETE FROM books.payment_step WHERE kind = 'charge' AND action = 'authorize'",),
        set(),
    ),
    "a payment's step is altered": (
        ("payment_step",),
        ("UPDATE books.payment_step SET captured_minor = captured_minor + 1 WHERE kind = 'top_up'",),
        {ReconciliationName.PAYMENT},
    ),
    "a journal of the bank is deleted": (
        ("entry", "journal"),
        (
            f"DELETE FROM books.entry WHERE journal_id = {A_BANK_TRANSFER}",
            f"DELETE FROM books.journal WHERE journal_id = {A_BANK_TRANSFER}",
        ),
        {ReconciliationName.BANK},
    ),
    "an account of the ledger is another's": (
        ("ledger_account",),
        ("UPDATE books.ledger_account SET account_type = 'sales' WHERE account_type = 'funds'",),
        {ReconciliationName.LEDGER, ReconciliationName.STATUTORY},
    ),
    "an event stands unposted and is booked": (
        ("unposted_event",),
        (
            "INSERT INTO books.unposted_event SELECT event_id, 'ledger', 1, 0, 'ledger.exchange', '{}'::bytea,"
            " exchange_id, occurred_at,"
            f" 'no_rule', '', 1, recorded_at, NULL FROM books.journal WHERE journal_id = {A_CHARGE}",
        ),
        set(),
    ),
    "an account of the ledger has more": (
        ("",),
        ("UPDATE ledger.account SET balance = balance + 7 WHERE account_type = 'funds'",),
        {ReconciliationName.LEDGER, ReconciliationName.STATUTORY},
    ),
}
"""What is altered, in which tables, by which statements, and which reconciliations find it; `verify` finds all."""


async def test_whatever_is_altered_is_found(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as town:
        await town.played()
        await asyncio.to_thread(town.client.post, "/v1/sandbox/clock/advance", HALF_AN_HOUR)  # nothing is in flight
        desk, admin = desk_of(town), await asyncpg.connect(database_url)
        try:
            async with asyncio.timeout(60):
                await at_rest(desk)
                while await town.findings():
                    await asyncio.sleep(0.5)
            for name, (tables, statements, expected) in ALTERATIONS.items():
                await _keep(admin, tables)
                for statement in statements:
                    assert not (await admin.execute(statement)).endswith(" 0"), name
                found = {each: (await desk.reconcile(Reconcile(name=each))).differences for each in ReconciliationName}
                assert {each for each, count in found.items() if count} >= expected, (name, found)
                assert await town.findings(), name
                await _restore(admin, tables)
            found = await at_rest(desk)
            assert not any(each.differences for each in found.values())
            standing = await desk.list_reconciliation_findings(ListReconciliationFindings())
            closed = await desk.list_reconciliation_findings(
                ListReconciliationFindings(state=ReconciliationFindingState.CLOSED)
            )
            assert standing.findings == []
            assert all([step.state for step in each.steps][-2:] == ["OPEN", "CLOSED"] for each in closed.findings)
            assert closed.findings
        finally:
            await admin.close()


async def _keep(admin: asyncpg.Connection, tables: tuple[str, ...]) -> None:
    for table in filter(None, tables):
        await admin.execute(f"CREATE TABLE public.kept_{table} AS SELECT * FROM books.{table}")


async def _restore(admin: asyncpg.Connection, tables: tuple[str, ...]) -> None:
    if "" in tables:
        await admin.execute("UPDATE ledger.account SET balance = balance - 7 WHERE account_type = 'funds'")
    for table in filter(None, tables):
        await admin.execute(f"DELETE FROM books.{table}")
        await admin.execute(f"INSERT INTO books.{table} SELECT * FROM public.kept_{table}")
        await admin.execute(f"DROP TABLE public.kept_{table}")
