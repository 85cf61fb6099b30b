"""Batches of the payment service; each calls what the verbs call."""

from __future__ import annotations

from kessai.services.payment.service import PaymentService


async def expire_authorizations(payments: PaymentService) -> int:
    """Release every authorization past its time; gives how many lapsed."""
    return await payments.expire_due()
