"""The door `Books`: its desks, each with its own verbs, and the bookkeeper who books what the other services tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kessai.foundation.clock import Clock
from kessai.foundation.contract import verbs_of
from kessai.foundation.db import Database
from kessai.services.books.api import Books
from kessai.services.books.domain.accruals import Closing
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.reconciling import ReconcilingRules, read_reconciling
from kessai.services.books.service.accounting import AccountingDesk
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.books.service.feeds import Feeds
from kessai.services.books.service.periods import Approvals
from kessai.services.books.service.reconciling.desk import ReconcilingDesk
from kessai.services.books.service.reconciling.runs import Doors
from kessai.services.books.service.reporting import ReportingDesk
from kessai.services.books.service.reports import Reports
from kessai.services.books.service.statutory.desk import StatutoryDesk


class BooksService:
    """Implements the door `Books` for one process: each verb is its desk's."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        books: BooksConfig,
        *,
        doors: Doors,
        reconciling: ReconcilingRules | None = None,
        closing: Closing | None = None,
        approvals: Approvals | None = None,
    ) -> None:
        """`doors`: whom the books are reconciled with; `approvals`: whom locking asks where two persons stand for it.

        `closing`, `reconciling`: an operator's own rules.
        """
        self.config = books
        self._doors = doors
        self.bookkeeper = Bookkeeper(database, clock, books)
        self.accounting = AccountingDesk(
            database,
            clock,
            books,
            bookkeeper=self.bookkeeper,
            closing=closing,
            approvals=approvals,
            require_told=Feeds(database, clock, books).require_told,
        )
        self.statutory = StatutoryDesk(database, clock, books.statutory)
        self.reconciling = ReconcilingDesk(database, clock, books, doors, reconciling or read_reconciling())
        self.reports = Reports(self.accounting.offers(), self.statutory.offers, self.reconciling.offers())
        self.reporting = ReportingDesk(database, clock, books, self.reports, self.accounting.fiscal_year)
        self._verbs = _verbs_of_desks(self.accounting, self.statutory, self.reconciling, self.reporting)

    async def open(self) -> None:
        """Count what stands unposted; of a ledger that is older than the books, take note of every account first."""
        await self.bookkeeper.learn_if_new(self._doors.ledger)
        await self.bookkeeper.refresh()

    async def learn_accounts(self) -> int:
        """Where an event waits for an account: take note of the ledger's accounts; gives how many were new."""
        return await self.bookkeeper.look_after_unknown(self._doors.ledger)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A verb of the door, by its name."""
        try:
            return self.__dict__["_verbs"][name]
        except KeyError:
            raise AttributeError(name) from None


def _verbs_of_desks(*desks: object) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for bound in verbs_of(Books):
        (desk,) = (each for each in desks if hasattr(each, bound.spec.name))
        found[bound.spec.name] = getattr(desk, bound.spec.name)
    return found
