"""Batches of the payment service; each calls what the verbs call."""

from __future__ import annotations

from kessai.services.payment.service import PaymentService


async def expire_authorizations(payments: PaymentService) -> int:
    """Release every authorization past its time; gives how many lapsed."""
    return await payments.expire_due()


async def look_after_waiting(payments: PaymentService) -> int:
    """Ask after payments that have waited for a card's issuer or a bank; gives how many went on."""
    return await payments.look_after_waiting()


async def expire_orders(payments: PaymentService) -> int:
    """End every order that nobody confirmed in time; gives how many ended."""
    return await payments.expire_orders()


async def forget_codes(payments: PaymentService) -> int:
    """Remove one-time codes that ran out unused; gives how many."""
    return await payments.forget_codes()
