"""What every reconciliation has: its run, the doors it enters, what it gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from kessai.foundation.clock import business_date
from kessai.foundation.db import Database
from kessai.services.bank.api import Bank
from kessai.services.books.api.reconciling import DifferenceState, ReconciliationFigure, ReconciliationName
from kessai.services.books.domain.reconciling import Difference
from kessai.services.books.store.reconciling import Staged, stage
from kessai.services.ledger.api import Ledger
from kessai.services.payment.api import Payment
from kessai.services.tracer.api import Tracer

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
NAMED_MAX = 1_000
"""Differences of each state that are named one by one; all are counted."""
STAGED_AT_ONCE = 10_000
PROCESSINGS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Doors:
    """The services that the books are compared with, each entered through its door."""

    ledger: Ledger
    payment: Payment
    tracer: Tracer
    bank: Bank


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One reconciliation under way."""

    run_id: UUID
    name: ReconciliationName
    database: Database
    doors: Doors
    statutory_types: Mapping[str, str]
    """Account types that stand in a statutory book, each with its asset."""
    deposit_accounts: frozenset[str]
    """Accounts of the chart that stand for the platform's own at the bank."""
    started_at: datetime
    through: datetime
    since: datetime | None
    tolerance_s: int
    cutoff: datetime
    """What was recorded later may still be on its way."""

    @property
    def boundary(self) -> datetime:
        """What was recorded later may stand before the run's instant with one service and after it with another."""
        return min(self.cutoff, self.through - timedelta(seconds=self.tolerance_s))

    @property
    def first(self) -> datetime:
        """The instant of the first record that is compared one by one."""
        return self.since or EARLIEST

    @property
    def first_day(self) -> date:
        """The first day whose book such a record may stand in."""
        return business_date(self.first)

    @property
    def last_day(self) -> date:
        """The first day whose book a record may stand in that came later."""
        return business_date(self.through)


@dataclass(slots=True)
class Outcome:
    """What a comparison found."""

    compared: int = 0
    figures: list[ReconciliationFigure] = field(default_factory=list[ReconciliationFigure])
    differences: list[Difference] = field(default_factory=list[Difference])
    counts: Counter[DifferenceState] = field(default_factory=Counter[DifferenceState])
    """All of them, those that are not named included."""

    def add(self, found: Difference) -> None:
        """One more, named."""
        self.differences.append(found)
        self.counts[found.state] += 1

    def name(self, found: Difference) -> None:
        """Name one that is counted already."""
        self.differences.append(found)

    @property
    def complete(self) -> bool:
        """Whether every difference that is there is named."""
        return sum(self.counts.values()) == len(self.differences)


class Staging:
    """Gathers what another service tells, and copies it in by many."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rows: list[Staged] = []
        self.count = 0

    async def add(self, rows: Iterable[Staged]) -> None:
        """Some more."""
        self._rows += rows
        if len(self._rows) >= STAGED_AT_ONCE:
            await self.finish()

    async def finish(self) -> None:
        """Copy what is left."""
        if self._rows:
            await stage(self._run.database, self._run.run_id, self._rows, first=self.count + 1)
            self.count += len(self._rows)
            self._rows = []
