"""What this process remembers of payments, and whose turn it is on each."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from kessai.services.payment.api import PaymentRecord, PaymentState

RECENT_MAX = 8_192
"""Authorized payments kept in memory, so that a capture soon after needs no read; the guard finds stale ones."""


class Recent:
    """Authorized payments of a moment ago, oldest out first."""

    def __init__(self) -> None:
        self._payments: OrderedDict[str, PaymentRecord] = OrderedDict()

    def take(self, payment_id: str) -> PaymentRecord | None:
        """What is known of it; whoever takes it is about to change it."""
        return self._payments.pop(payment_id, None)

    def keep(self, payment: PaymentRecord) -> None:
        """Remember it while something of it is held."""
        if payment.state in (PaymentState.AUTHORIZED, PaymentState.PARTIALLY_CAPTURED):
            self._payments[payment.payment_id] = payment
            if len(self._payments) > RECENT_MAX:
                self._payments.popitem(last=False)


class Turns:
    """One at a time per payment in this process; across processes the claim decides."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def of(self, payment_id: str) -> _Turn:
        """Enter it (`async with`) to have the payment to oneself."""
        turn = self._turns.get(payment_id)
        if turn is None:
            turn = self._turns[payment_id] = _Turn(self._turns, payment_id)
        turn.users += 1
        return turn


class _Turn:
    """A lock that is forgotten with its last user."""

    def __init__(self, turns: dict[str, _Turn], payment_id: str) -> None:
        self._turns = turns
        self._payment_id = payment_id
        self._lock = asyncio.Lock()
        self.users = 0

    async def __aenter__(self) -> None:
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self.users -= 1
        if self.users == 0:
            del self._turns[self._payment_id]
