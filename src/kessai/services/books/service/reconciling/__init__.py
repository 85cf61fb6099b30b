"""Reconciliation (照合): the books against the other services, and the work on what differs."""

from kessai.services.books.service.reconciling.desk import ReconcilingDesk
from kessai.services.books.service.reconciling.runs import Doors

__all__ = ["Doors", "ReconcilingDesk"]
