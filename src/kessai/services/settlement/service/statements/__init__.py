"""Statements (精算明細書) and invoices (請求書)."""

from kessai.services.settlement.service.statements.desk import StatementDesk

__all__ = ["StatementDesk"]
