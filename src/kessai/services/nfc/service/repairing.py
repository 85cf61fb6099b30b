"""The repairer: it brings to an end what was journalled and not done, as often as it takes.

`ask`: a process died while it asked the payment service; nobody was told 00, so it is given up and undone. `undo`: the
payment shrinks to what stands. `charge`: an advice, or what was approved while the payment service was down, is borne
by the wallet, and what the wallet lacks is owed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.lease import Lease, hold
from kessai.services.nfc.api.authorizations import AuthorizationState
from kessai.services.nfc.domain.authorization import Authorization, Plan, Work
from kessai.services.nfc.domain.carrying import Done, Lapse, Planned, Standing
from kessai.services.nfc.domain.decide import Abandon, Heard
from kessai.services.nfc.domain.rules import Window
from kessai.services.nfc.service.asking import Bearing, NotYet
from kessai.services.nfc.service.journal import Journal
from kessai.services.nfc.store import SCHEMA
from kessai.services.nfc.store import authorizations as store
from kessai.services.payment.api import PaymentState

log = structlog.get_logger(__name__)

PAGE = 200
AT_ONCE = 16
"""Authorizations that are worked on at the same time."""
LEASE = "nfc/repair"
_ENDED = (PaymentState.EXPIRED, PaymentState.CANCELED, PaymentState.REFUSED)


def real_now() -> datetime:
    """Real time: how long something has been open is not business time."""
    return datetime.now(UTC)


class Repairer:
    """One process at a time looks for open work; whoever began some carries it as well."""

    def __init__(self, database: Database, clock: Clock, journal: Journal, bearing: Bearing, window: Window) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._bearing = bearing
        self._window = window
        self._lease = Lease(database, SCHEMA.service, LEASE)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop, and let another process go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            try:
                await self.repair()
            except PaymentError as error:
                log.warning("id_repair_waits", error=error.code)
            except Exception:
                log.exception("id_repair_failed")
            await asyncio.sleep(self._window.repair_every_ms / 1000)

    async def repair(self, *, open_for_ms: int | None = None) -> int:
        """Carry everything that has been open for so long (None: as configured); gives how many came to their end."""
        patience = self._window.repair_after_ms if open_for_ms is None else open_for_ms
        before, after, done = real_now() - timedelta(milliseconds=patience), store.OLDEST, 0
        while page := await store.open_work(self._database, before, after, PAGE):
            done += await self._carry_all([each for _, each in page])
            after = page[-1]
        return done

    async def _carry_all(self, ids: list[str]) -> int:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(authorization_id: str) -> bool:
            async with gate:
                try:
                    return await self.carry(authorization_id)
                except PaymentError as error:
                    log.warning("id_repair_waits", authorization_id=authorization_id, error=error.code)
                    return False

        return sum(await asyncio.gather(*map(one, ids)))

    async def carry(self, authorization_id: str) -> bool:
        """Do what is open for one authorization; False when it has to wait."""
        turn = self._turns[authorization_id]
        try:
            async with turn:
                return await self._carried(authorization_id)
        except NotYet as reason:
            log.info("id_repair_waits", authorization_id=authorization_id, error=str(reason))
            return False
        finally:
            if not turn.locked():
                self._turns.pop(authorization_id, None)

    async def _carried(self, authorization_id: str) -> bool:
        row = (await store.load(self._database, [authorization_id])).get(authorization_id)
        while row is not None and row.work is not None:
            match row.work:
                case Work.ASK:
                    row = await self._journal.submit(
                        Abandon(authorization_id, None, self._clock.now(), real_now(), told=False)
                    )
                case Work.UNDO:
                    row = await self._undone(row)
                case Work.CHARGE:
                    row = await self._charged(row)
        return row is not None

    async def _undone(self, row: Authorization) -> Authorization:
        payment, refunds = await self._bearing.shrink(row)
        return await self._journal.submit(
            Done(row.authorization_id, Work.UNDO, row.stands_minor, payment, self._clock.now(), refunds=refunds)
        )

    # -- charging -----------------------------------------------------------------------------------------------

    async def _charged(self, row: Authorization) -> Authorization:
        """Have it borne by whichever plan can; each is journalled before it is asked for. Raises NotYet."""
        assert row.plan is not None
        answer = await self._bearing.hold(row, row.plan)
        match answer.heard:
            case Heard.HELD:
                payment, code = Standing(answer.payment_id, answer.payment_state), None
            case Heard.REFUSED:
                if (following := _FOLLOWING.get(row.plan)) is not None:
                    return await self._journal.submit(
                        Planned(row.authorization_id, following, answer.payment_id, self._clock.now())
                    )
                payment, code = Standing(answer.payment_id, answer.payment_state), answer.code
                log.error("id_charge_unborne", authorization_id=row.authorization_id, code=code)
            case Heard.DOWN | Heard.LOST:
                raise NotYet(answer.code or "payment_unresolved")
        return await self._journal.submit(
            Done(row.authorization_id, Work.CHARGE, row.stands_minor, payment, self._clock.now(), code=code)
        )

    # -- expiry -------------------------------------------------------------------------------------------------

    async def expire(self, before: datetime) -> int:
        """Mark what was received before an instant and whose payment has lapsed; gives how many."""
        after, done = store.OLDEST, 0
        while page := await store.standing_before(self._database, before, after, PAGE):
            rows = await store.load(self._database, [each for _, each in page])
            for row in rows.values():
                done += await self.lapse(row)
            after = page[-1]
        return done

    async def lapse(self, row: Authorization) -> bool:
        """Mark it if its payment has lapsed."""
        if row.payment_id is None:
            return False
        payment = await self._bearing.standing(row.payment_id)
        if payment.state not in _ENDED or row.state is not AuthorizationState.APPROVED:
            return False
        await self._journal.submit(Lapse(row.authorization_id, payment, self._clock.now()))
        return True


_FOLLOWING = {Plan.CHARGE: Plan.FORCED, Plan.FORCED: Plan.OWED}
"""What is asked when the one before was refused for good."""
