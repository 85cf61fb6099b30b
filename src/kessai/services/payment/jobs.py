"""Batches of the payment service; each calls what the verbs call."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from kessai.foundation.ids import bare
from kessai.services.payment.service import PaymentService
from kessai.services.payment.store import OLDEST

PAGE = 256
"""Authorizations let go at a time."""


async def expire_authorizations(payments: PaymentService) -> int:
    """Release every authorization past its time; gives how many lapsed. What is busy is left to the next run."""
    lapsed, after = 0, (datetime(1970, 1, 1, tzinfo=UTC), OLDEST)
    while page := await payments.overdue(after, PAGE):
        lapsed += sum(await asyncio.gather(*(payments.expire(payment) for payment in page)))
        last = page[-1]
        assert last.expires_at is not None
        after = (last.expires_at, bare(last.payment_id))
    return lapsed
