"""The repairer: it brings to an end what was journalled and not done, as often as it takes.

`ask`: a process died while it asked the payment service; nobody was told 00, so it is given up and undone. `undo`: the
payment shrinks to what stands. `capture`: a clearing file claimed what stands. `charge`: an advice, or what was
approved while the payment service was down, is borne by the wallet, and what the wallet lacks is owed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import structlog

from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_id
from kessai.foundation.lease import LEASE_S, Lease, hold
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.domain.authorization import Authorization, Plan, Work
from kessai.services.nfc.domain.carrying import Done, Lapse, Planned, Standing
from kessai.services.nfc.domain.decide import Abandon, Heard
from kessai.services.nfc.domain.forcing import Miss, Relinquish
from kessai.services.nfc.domain.rules import Window
from kessai.services.nfc.service.asking import Bearing, NotYet
from kessai.services.nfc.service.journal import Journal
from kessai.services.nfc.store import SCHEMA
from kessai.services.nfc.store import authorizations as store
from kessai.services.payment.api import PaymentState

log = structlog.get_logger(__name__)

PAGE = 200
IDLE_LOOK_S = 16.0
"""Between two looks while nothing is open and nothing was left here, where no longer pause is configured."""
AT_ONCE = 16
"""Authorizations that are worked on at the same time."""
LEASE = "nfc/repair"
_ENDED = (PaymentState.EXPIRED, PaymentState.CANCELED, PaymentState.REFUSED)
_FORCED = AuthorizationKind.CLEARING
"""What a clearing line made is never charged in place of itself."""


def real_now() -> datetime:
    """Real time: how long something has been open is not business time."""
    return datetime.now(UTC)


class Repairer:
    """One process at a time looks for open work; whoever began some carries it as well."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        journal: Journal,
        bearing: Bearing,
        window: Window,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._bearing = bearing
        self._window = window
        self._lease = Lease(database, SCHEMA.service, LEASE, lease_s=lease_s)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._left = asyncio.Event()
        """This process had to leave something for later."""
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
        """Look every so often, and seldom while nothing is open and nothing was left."""
        pause_s, patience_s = self._window.repair_every_ms / 1000, self._window.repair_after_ms / 1000
        while True:
            found = 1
            try:
                found, _ = await self._look(self._window.repair_after_ms)
            except PaymentError as error:
                log.warning("id_repair_waits", error=error.code)
            except Exception:
                log.exception("id_repair_failed")
            await asyncio.sleep(pause_s)
            if not found:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._left.wait(), max(0.0, IDLE_LOOK_S - pause_s))
                    await asyncio.sleep(patience_s)  # until then it is not open for long enough
            self._left.clear()

    async def repair(self, *, open_for_ms: int | None = None) -> int:
        """Carry everything that has been open for so long (None: as configured); gives how many came to their end."""
        _, done = await self._look(self._window.repair_after_ms if open_for_ms is None else open_for_ms)
        return done

    async def _look(self, open_for_ms: int) -> tuple[int, int]:
        """As `repair`; gives how many were open, too."""
        before, after, found, done = real_now() - timedelta(milliseconds=open_for_ms), store.OLDEST, 0, 0
        while page := await store.open_work(self._database, before, after, PAGE):
            done += await self._carry_all([each for _, each in page])
            found, after = found + len(page), page[-1]
        return found, done

    async def _carry_all(self, ids: list[str]) -> int:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(authorization_id: str) -> bool:
            async with gate:
                try:
                    return await self.carry(authorization_id)
                except PaymentError as error:
                    log.warning("id_repair_waits", authorization_id=authorization_id, error=error.code)
                except Exception:  # those after it are carried all the same
                    log.exception("id_repair_failed", authorization_id=authorization_id)
                return False

        return sum(await asyncio.gather(*map(one, ids)))

    def call(self) -> None:
        """Something may have been left here: look once it has been open for long."""
        self._left.set()

    async def carry(self, authorization_id: str) -> bool:
        """Do what is open for one authorization; False when it has to wait."""
        turn = self._turns[authorization_id]
        try:
            async with turn:
                return await self._carried(authorization_id)
        except NotYet as reason:
            log.info("id_repair_waits", authorization_id=authorization_id, error=str(reason))
            self.call()
            return False
        except PaymentError:
            self.call()
            raise
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
                case Work.CAPTURE | Work.UNDO:
                    row = await self._brought(row)
                case Work.CHARGE:
                    row = await self._charged(row)
        return row is not None

    async def _brought(self, row: Authorization) -> Authorization:
        """Have the payment be what stands: captured, let go of, or given back."""
        assert row.work is not None
        payment, refunds = await self._bearing.shrink(row, business_date(self._clock.now()))
        now = self._clock.now()
        lapsed = payment.state in _ENDED and not payment.captured_minor
        if lapsed and row.state is AuthorizationState.CLEARED and row.stands_minor and row.kind is not _FORCED:
            missed = Miss(row.authorization_id, payment, new_id("prc"), now, real_now())
            after = await self._journal.submit(missed)
            await self.carry(missed.forced_id)
            return after
        return await self._journal.submit(
            Done(row.authorization_id, row.work, row.stands_minor, payment, now, refunds=refunds)
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
            case Heard.DOWN | Heard.FAILED | Heard.LOST:
                raise NotYet(answer.code or "payment_unresolved")
        return await self._journal.submit(
            Done(row.authorization_id, Work.CHARGE, row.stands_minor, payment, self._clock.now(), code=code)
        )

    # -- what the processor does not have -----------------------------------------------------------------------

    async def relinquish(self, authorization_id: str, stands_minor: int) -> bool:
        """Leave so much of it; False when it has to wait."""
        await self._journal.submit(Relinquish(authorization_id, stands_minor, self._clock.now(), real_now()))
        return await self.carry(authorization_id)

    # -- expiry -------------------------------------------------------------------------------------------------

    async def expire(self, before: datetime) -> int:
        """Mark what was received before an instant and whose payment has lapsed; gives how many."""
        after, done = store.OLDEST, 0
        while page := await store.standing_before(self._database, before, after, PAGE):
            rows = await store.load(self._database, [each for _, each in page])
            for row in rows.values():
                try:
                    done += await self.lapse(row)
                except NotYet as reason:  # the next run sees what became of it
                    log.info("id_expiry_waits", authorization_id=row.authorization_id, error=str(reason))
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
