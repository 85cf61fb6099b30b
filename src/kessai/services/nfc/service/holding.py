"""Holds, asked of the payment service together: whatever is asked for at one moment shares a call.

There is no timer: what one flush of the journal has instructed comes here in one turn of the loop, and leaves in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from kessai.foundation.call import Call, enter_call
from kessai.foundation.errors import DeadlineExceeded, Invalid, PaymentError, Refused, Unavailable, Unknown
from kessai.services.payment.api import HOLDS_MAX, Hold, HoldOutcome, HoldPayments, Payment

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Asked:
    """One hold, until when its answer is waited for, and its answer."""

    hold: Hold
    until: float
    answer: asyncio.Future[HoldOutcome]


class Holding:
    """One process's holds of one kind."""

    def __init__(self, payment: Payment, service: str, kind: str, margin_s: float) -> None:
        """`margin_s`: of a call's deadline, the payment service keeps this to answer in."""
        self._payment = payment
        self._service = service
        self._kind = kind
        self._margin_s = margin_s
        self._gathered: list[_Asked] = []
        self._calls: dict[asyncio.Task[None], float] = {}
        """What is being waited for, oldest first, and since when (of the loop's time)."""

    async def ask(self, hold: Hold, until: float) -> HoldOutcome:
        """What became of it; raises what the payment service raised, DeadlineExceeded when nothing came until then.

        Raises Unavailable `payment_crowded`, and nothing was asked, where others have been waited for for longer than
        this may be: what is not asked need not be undone, which is more work than to do it.
        """
        loop = asyncio.get_running_loop()
        if self._calls and 2 * loop.time() - next(iter(self._calls.values())) > until:
            raise Unavailable("payment_crowded", "The payment service is too slow just now.")
        asked = _Asked(hold, until, loop.create_future())
        if not self._gathered:
            loop.call_soon(self._depart)
        self._gathered.append(asked)
        await asyncio.wait((asked.answer,), timeout=max(0.0, until - loop.time()))
        if not asked.answer.done():
            asked.answer.cancel()
            raise DeadlineExceeded("payment_slow", "The payment service has not answered in time.")
        return asked.answer.result()

    def _depart(self) -> None:
        gathered, self._gathered = self._gathered, []
        for at in range(0, len(gathered), HOLDS_MAX):
            call = asyncio.ensure_future(self._call(gathered[at : at + HOLDS_MAX]))
            self._calls[call] = asyncio.get_running_loop().time()
            call.add_done_callback(self._calls.pop)

    async def _call(self, asked: Sequence[_Asked]) -> None:
        until = max(each.until for each in asked)
        enter_call(Call(caller=self._service, deadline=until + self._margin_s))
        try:
            request = HoldPayments(kind=self._kind, holds=[each.hold for each in asked])
            outcomes = (await self._payment.hold_payments(request)).outcomes
        except asyncio.CancelledError:
            _fail(asked, Unknown("payment_cut_off", "The payment service was cut off."))
            raise
        except (Invalid, Refused) as error:  # of the whole page, and nothing of it was done: which of them is it?
            if len(asked) == 1:
                _fail(asked, error)
                return
            half = len(asked) // 2
            await asyncio.gather(self._call(asked[:half]), self._call(asked[half:]))
            return
        except Exception as error:
            if not isinstance(error, PaymentError):
                log.exception("id_payment_failed", holds=len(asked))
            _fail(asked, error)
            return
        for each, outcome in zip(asked, outcomes, strict=True):
            if not each.answer.done():
                each.answer.set_result(outcome)


def _fail(asked: Sequence[_Asked], error: Exception) -> None:
    for each in asked:
        if not each.answer.done():
            each.answer.set_exception(error)
