"""Batches of the books; each may be run at any time, by any process, again and again."""

from __future__ import annotations

from kessai.services.books.service.verbs import BooksService


async def learn_accounts(books: BooksService) -> int:
    """Where an event waits for an account that nobody told of: take note of it, and book what waited; gives how many.

    The ledger tells of every account as it is opened; only what is older than that, or was lost, is found here.
    """
    return await books.learn_accounts()


async def accrue_month(books: BooksService) -> int:
    """Book what the month that ended last asks for (決算整理), unless it is closed; gives how many journals."""
    return await books.accounting.accruals.accrue_last_month()


async def make_statutory_days(books: BooksService) -> int:
    """Make every statutory day (法定帳簿) that is over, once the ledger's feed has told all of it; gives how many."""
    return await books.statutory.make_due_days()


async def reconcile_books(books: BooksService) -> int:
    """Reconcile (照合) the books with every other service, once a day; gives how many reconciliations that were."""
    return await books.reconciling.reconcile_due()
