"""The verbs of all desks, as one door."""

from __future__ import annotations

from typing import Protocol

from kessai.services.books.api.accounting import Accounting
from kessai.services.books.api.reconciling import Reconciling
from kessai.services.books.api.reporting import Reporting
from kessai.services.books.api.statutory import Statutory


class Books(Accounting, Statutory, Reconciling, Reporting, Protocol):
    """帳簿: accounting books, statutory books, their reconciliation and their reports."""
