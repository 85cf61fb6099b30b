"""What is on its way is in flight, and open once it is late; what was never told is found in the ledger's own log."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from kessai.foundation.clock import business_date
from kessai.foundation.db import Database
from kessai.services.bank.api import Bank
from kessai.services.books.api.reconciling import (
    DifferenceKind,
    DifferenceState,
    ListDifferences,
    ListReconciliationFindings,
    Reconcile,
    Reconciliation,
    ReconciliationDifference,
    ReconciliationFindingState,
    ReconciliationName,
)
from kessai.services.books.api.statutory import MakeStatutoryDay
from kessai.services.books.domain.reconciling import read_reconciling
from kessai.services.books.service.reconciling import ReconcilingDesk
from kessai.services.books.service.reconciling.runs import Doors
from kessai.services.books.service.statutory.desk import StatutoryDesk
from kessai.services.payment.api import Payment
from kessai.services.tracer.api import Tracer
from tests.books.town import Town, config, town

LEDGER, STATUTORY = ReconciliationName.LEDGER, ReconciliationName.STATUTORY
TOLERANCE_S = max(read_reconciling().tolerance(name).total_seconds() for name in (LEDGER, STATUTORY))

LOSE_EVENTS = "DELETE FROM ledger.outbox WHERE position IS NULL AND topic = 'ledger.exchange'"


def desk_of(t: Town) -> ReconcilingDesk:
    """A desk that the ledger alone answers."""
    nobody = object()
    doors = Doors(
        ledger=t.book.ledger, payment=cast("Payment", nobody), tracer=cast("Tracer", nobody), bank=cast("Bank", nobody)
    )
    return ReconcilingDesk(t.database, t.clock, config(), doors, read_reconciling())


async def reconciled(t: Town, name: ReconciliationName) -> tuple[Reconciliation, list[ReconciliationDifference]]:
    """A run a second later, and what it found."""
    t.clock.advance(seconds=1)
    desk = desk_of(t)
    run = await desk.reconcile(Reconcile(name=name))
    page = await desk.list_differences(ListDifferences(reconciliation_id=run.reconciliation_id))
    return run, page.differences


async def states(t: Town) -> set[ReconciliationFindingState]:
    """Those of all findings."""
    desk, found = desk_of(t), set[ReconciliationFindingState]()
    for state in ReconciliationFindingState:
        if (await desk.list_reconciliation_findings(ListReconciliationFindings(state=state))).findings:
            found.add(state)
    return found


async def test_an_event_on_its_way_is_in_flight_and_is_open_when_it_is_late(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        await t.heard()
        await t.book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", kind="charge")
        await t.relayed()
        for name in (LEDGER, STATUTORY):
            run, found = await reconciled(t, name)
            assert (run.differences, run.explained) == (0, 0)
            assert run.in_flight == len(found) > 0
            assert {(each.kind, each.state) for each in found} <= {
                (DifferenceKind.MISSING, DifferenceState.IN_FLIGHT), (DifferenceKind.TOTAL, DifferenceState.IN_FLIGHT)
            }  # fmt: skip
        assert await states(t) == set()
        t.clock.advance(seconds=TOLERANCE_S)
        for name in (LEDGER, STATUTORY):
            run, found = await reconciled(t, name)
            assert run.in_flight == 0
            assert run.differences == len(found) > 0
            assert DifferenceKind.MISSING in {each.kind for each in found}
        assert await states(t) == {ReconciliationFindingState.OPEN}
        await t.heard()
        for name in (LEDGER, STATUTORY):
            run, found = await reconciled(t, name)
            assert (run.differences, run.in_flight, found) == (0, 0, [])
        assert await states(t) == {ReconciliationFindingState.CLOSED}


async def test_an_effect_without_any_event_is_found_in_a_processing_that_the_books_never_heard_of(
    database: Database,
) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        await t.heard()
        await t.book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", kind="charge", name="lost")
        await t.database.fetch(None, LOSE_EVENTS)
        await t.heard()
        t.clock.advance(seconds=TOLERANCE_S)
        run, found = await reconciled(t, LEDGER)
        assert {each.subject.split("/")[1] for each in found} == {"funds", "unsettled_sales"}
        assert {(each.kind, each.state, abs(each.theirs_minor), each.ours_minor) for each in found} == {
            (DifferenceKind.MISSING, DifferenceState.OPEN, 300, 0)
        }
        run, found = await reconciled(t, STATUTORY)
        assert run.differences == len(found) > 0


async def test_a_run_of_the_last_hours_starts_from_the_last_day_that_was_made(database: Database) -> None:
    async with town(database) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        await t.heard()
        first = business_date(t.clock.now())
        t.clock.advance(days=2)
        await t.book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", kind="charge")
        await t.heard()
        await StatutoryDesk(database, t.clock, config().statutory).make_statutory_day(MakeStatutoryDay(day=first))
        t.clock.advance(seconds=TOLERANCE_S)
        since, desk = t.clock.now() - timedelta(hours=1), desk_of(t)
        run = await desk.reconcile(Reconcile(name=STATUTORY, since=since))
        assert (run.differences, {each.subject: each.ours_minor for each in run.figures}["funds"]) == (0, 700)
        await database.fetch(None, "UPDATE books.book_day SET closing = closing + 1, told = told + 1")
        run = await desk.reconcile(Reconcile(name=STATUTORY, since=since))
        assert (run.since, run.differences) == (None, 0), "it was done again from the beginning, from the lines alone"
        await database.fetch(None, "UPDATE books.book_day SET closing = closing - 1, told = told - 1")
        await database.fetch(None, "UPDATE books.statement_line SET amount = amount + 1 WHERE book_on = $1", first)
        assert (await desk.reconcile(Reconcile(name=STATUTORY, since=since))).differences == 0
        assert (await desk.reconcile(Reconcile(name=STATUTORY))).differences > 0
