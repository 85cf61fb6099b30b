"""Whom a payment needs besides the ledger, the card gateway and the bank (which it enters by their own doors)."""

from __future__ import annotations

from typing import Protocol

from kessai.services.identity.api import Approval, ConsumeApproval


class Approvals(Protocol):
    """Where a second person's consent is kept; identity's door is one."""

    async def consume_approval(self, request: ConsumeApproval, /) -> Approval:
        """Use an approval up for one act; idempotent by its consumer. Refuses one that is not for this very content."""
        ...
