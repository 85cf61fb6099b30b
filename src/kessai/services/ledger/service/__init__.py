"""The class that implements the ledger's door."""

from kessai.services.ledger.service.verbs import LedgerService

__all__ = ["LedgerService"]
