"""Authorizing over ISO 8583: what comes over the wire, decided, journalled and answered within the window.

Every 0100 is journalled before the payment service is asked, and its answer is journalled before it leaves. When the
window is over 91 leaves, whatever happens behind; what may have been held by then is let go of (`repairing`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

import structlog
from msgspec.structs import replace

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.ids import new_id
from kessai.foundation.lease import LEASE_S
from kessai.foundation.vault import Vault
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import REVERSALS, FormatError, Message, Mti, Response
from kessai.services.nfc.api.authorizations import AuthorizationState
from kessai.services.nfc.domain.authorization import Authorization, Plan, Work, digest_of, reversal_id_of
from kessai.services.nfc.domain.decide import Abandon, Conclude, Heard, Open, Opened
from kessai.services.nfc.domain.reversing import Reverse
from kessai.services.nfc.domain.rules import AuthorizationRules, read_rules
from kessai.services.nfc.effects import AuthorizationEffects
from kessai.services.nfc.service.answers import AuthorizationLookups
from kessai.services.nfc.service.asking import Answer, Bearing
from kessai.services.nfc.service.crowding import Crowding
from kessai.services.nfc.service.journal import Journal
from kessai.services.nfc.service.repairing import Repairer, real_now
from kessai.services.nfc.store import authorizations
from kessai.services.nfc.store.vault import marks_of
from kessai.services.payment.api import Payment

log = structlog.get_logger(__name__)

S = AuthorizationState

EXPIRES_AFTER = timedelta(days=1)
"""No hold lapses sooner."""
GIVE_UP_PAUSE_S = 0.5
"""Until what could not be written down is handed in again, where 91 was told and 00 may be what is stored."""
REPEAT_LOOK_S = 0.01
REPEAT_LOOK_S_MAX = 0.1
"""Between two looks at what another process is deciding."""


class Turn:
    """One request being answered: until when, whether it was given up, and what was told."""

    __slots__ = ("given_up", "told", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        """Of the loop's time: then an answer leaves."""
        self.given_up = False
        """91 was told; what is found out afterwards is undone."""
        self.told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The answer, as it leaves: a repeat gets the same, whatever is written down by then."""


Course = Callable[[Message, str, Turn], Coroutine[Any, Any, bytes]]


class AuthorizationDesk(AuthorizationLookups):
    """iD決済, 承認. Any number of processes may have one on the same database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        payment: Payment,
        vault: Vault,
        rules: AuthorizationRules | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        """`lease_s`: how long another process waits for one that is gone before it goes on with its repairs."""
        super().__init__(database)
        self.rules = rules or read_rules()
        self.effects = AuthorizationEffects(database)
        """What the service tells of itself to the Processing Tracer."""
        self.journal = Journal(database, clock, self.rules)
        self._clock = clock
        self._vault = vault
        self._bearing = Bearing(payment)
        self._crowding = Crowding(self.rules.window.answer_ms / 1000)
        self.repairer = Repairer(database, clock, self.journal, self._bearing, self.rules.window, lease_s=lease_s)
        """Brings to an end what nobody else did."""
        self.late = 0
        """Requests of this process that were answered 91 because nothing was known in time."""
        self._closing = asyncio.Event()
        self._owners: dict[str, Turn] = {}
        """Who answers what began here, by its processing, until it is journalled what was told."""
        self.behind: set[asyncio.Task[Any]] = set()
        """What is under way in this process: courses of messages, and what follows their answers."""

    async def open(self) -> None:
        """Take up what an earlier run left open."""
        await self.repairer.open()

    async def close(self) -> None:
        """Let what was begun come to its end, within the window."""
        self._closing.set()
        window_s = self.rules.window.answer_ms / 1000
        if self.behind:
            await asyncio.wait(set(self.behind), timeout=window_s)
        await self.repairer.close()
        await self.journal.close()

    # -- batches and events ---------------------------------------------------------------------------------------

    async def repair(self) -> int:
        """The job nfc.repair: bring to an end whatever has been open for long; gives how many."""
        return await self.repairer.repair()

    async def expire(self) -> int:
        """The job nfc.expire: mark what lapsed, where its event was not heard; gives how many.

        A payment lapses by itself, `hold_days` of its kind after it was made.
        """
        return await self.repairer.expire(self._clock.now() - EXPIRES_AFTER)

    async def hear_lapsed(self, payment_ids: list[str]) -> int:
        """These payments lapsed: what they bore has expired; gives how many."""
        found = await self.journal.look_all(await authorizations.of_payments(self._database, payment_ids))
        return sum([await self.repairer.lapse(each) for each in found])

    # -- the wire -----------------------------------------------------------------------------------------------

    async def answer(self, data: bytes, peer: str, received_at: float | None = None) -> bytes | None:
        """The answer to a message's bytes, within the window from `received_at` (of the loop's time).

        None: it is nothing that is answered. Network messages are the line's own matter, not asked of here.
        """
        try:
            message = iso8583.decode(data)
        except FormatError as error:
            log.warning("id_message_unreadable", peer=peer, field=error.field, code=error.code)
            return iso8583.refuse(data)
        course = self._course_of(message)
        if course is None:
            log.warning("id_message_unexpected", peer=peer, mti=message.mti.value)
            return None
        now = asyncio.get_running_loop().time()
        turn = Turn((now if received_at is None else received_at) + self.rules.window.answer_ms / 1000)
        if message.mti is not Mti.AUTHORIZATION:
            return await self._in_time(course(message, peer, turn), message, turn)
        if self._crowding.is_crowded(now):
            return _told(message, Response.ISSUER_UNAVAILABLE)
        self._crowding.enter(turn, turn.until)
        try:
            turn.told.set_result(await self._in_time(course(message, peer, turn), message, turn))
            return turn.told.result()
        finally:
            self._crowding.leave(turn)
            if not turn.told.done():
                turn.told.set_result(_told(message, Response.ISSUER_UNAVAILABLE))

    def _course_of(self, message: Message) -> Course | None:
        if message.mti is Mti.AUTHORIZATION:
            return self._authorize
        if message.mti is Mti.ADVICE:
            return self._advise
        return self._reverse if message.mti in REVERSALS else None

    async def _in_time(self, course: Coroutine[Any, Any, bytes], message: Message, turn: Turn) -> bytes:
        task = asyncio.create_task(course)
        self.behind.add(task)
        task.add_done_callback(self.behind.discard)
        done, _ = await asyncio.wait((task,), timeout=max(0.0, turn.until - asyncio.get_running_loop().time()))
        if not done:
            turn.given_up = True
            self.late += 1
            self.repairer.call()
            task.add_done_callback(_look_at)
            log.warning("id_answer_late", mti=message.mti.value, rrn=message.rrn)
            return _told(message, Response.ISSUER_UNAVAILABLE)
        error = task.exception()
        if error is None:
            return task.result()
        self.repairer.call()
        if isinstance(error, PaymentError):
            log.warning("id_answer_unavailable", mti=message.mti.value, rrn=message.rrn, error=error.code)
            return _told(message, Response.ISSUER_UNAVAILABLE)
        log.error("id_answer_failed", mti=message.mti.value, rrn=message.rrn, exc_info=error)
        return _told(message, Response.MALFUNCTION)

    # -- 0100 ---------------------------------------------------------------------------------------------------

    async def _authorize(self, message: Message, peer: str, turn: Turn) -> bytes:
        opening = self._opening(message, peer)
        self._owners[opening.processing_id] = turn
        doubtful = False
        try:
            opened = await self.journal.submit(opening)
            row, message = opened.row, _without_number(message)
            if row.processing_id != opening.processing_id:  # begun by another message; this one's own may be found, too
                return await self._begun_before(message, opened, turn)
            if turn.given_up:
                return await self._give_up(message, row, asked=False)
            if opened.answer is not None:
                return opened.answer
            try:
                return await self._asked(message, row, turn)
            except (Unavailable, Unknown):  # 91 is told, and 00 may have been written down
                doubtful = True
                self._start(self._give_up(message, row)).add_done_callback(
                    lambda _: self._owners.pop(opening.processing_id, None)
                )
                raise
        finally:
            if not doubtful:
                self._owners.pop(opening.processing_id, None)

    async def _asked(self, message: Message, row: Authorization, turn: Turn) -> bytes:
        """Have it held, and write down what came of it."""
        heard = await self._bearing.hold(row, Plan.CHARGE, self._until(turn), again=False)
        if not turn.given_up:
            row = await self.journal.submit(self._conclusion(message, row, heard))
        if turn.given_up:
            return await self._give_up(message, row)
        self._follow(row)
        return row.answer or _told(message, Response.INVALID_TRANSACTION)

    async def _begun_before(self, message: Message, opened: Opened, turn: Turn) -> bytes:
        """The answer to what another message began: what that was told, while this process is still telling it."""
        owner = self._owners.get(opened.row.processing_id)
        if owner is not None and opened.answer in (None, opened.row.answer):
            return await owner.told
        return opened.answer or await self._repeated(message, opened.row, turn)

    async def _repeated(self, message: Message, row: Authorization, turn: Turn) -> bytes:
        """The answer to a repeat of what is still being decided elsewhere: that of whoever decides it, or of this turn
        when nobody does any more. It is not told 91 before the original's window is over, for that may be answered
        until then; once it is, the original was told 91 or nothing, and so it stays."""
        loop, pause_s, mine = asyncio.get_running_loop(), REPEAT_LOOK_S, None
        try:
            while not turn.given_up:
                if row.state is not S.INSTRUCTED:
                    answer = await self._as_decided(message, row, mine)
                    mine = None
                    return answer
                if self._is_over(row):
                    row = await self.journal.submit(self._abandoned(message, row))
                    continue
                if loop.time() < self._until(turn):
                    heard = await self._bearing.hold(row, Plan.CHARGE, self._until(turn))
                    mine = heard if heard.heard in (Heard.HELD, Heard.LOST) else mine
                    if heard.heard in (Heard.HELD, Heard.REFUSED) and not self._is_over(row):
                        answer = await self._as_decided(message, row, heard)
                        mine = None
                        return answer
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, REPEAT_LOOK_S_MAX)
                row = await self.journal.look(row.authorization_id) or row
            return _told(message, Response.ISSUER_UNAVAILABLE)
        finally:
            if mine is not None:
                self._start(self._write_down(message, row, mine))

    async def _write_down(self, message: Message, row: Authorization, mine: Answer) -> None:
        """A repeat was told 91 before it could write down what it heard: whoever decides may know nothing of it."""
        while not self._closing.is_set():
            try:
                row = await self.journal.look(row.authorization_id) or row
                if row.state is S.INSTRUCTED and self._is_over(row):
                    row = await self.journal.submit(self._abandoned(message, row))
                if row.state is not S.INSTRUCTED:
                    await self._as_decided(message, row, mine)
                    return
            except (Unavailable, Unknown) as error:
                log.warning("id_give_up_waits", authorization_id=row.authorization_id, error=error.code)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), GIVE_UP_PAUSE_S)

    def _abandoned(self, message: Message, row: Authorization) -> Abandon:
        return Abandon(row.authorization_id, message, self._clock.now(), real_now(), told=False)

    async def _as_decided(self, message: Message, row: Authorization, mine: Answer | None) -> bytes:
        """The stored answer. `mine`: what a repeat heard by itself, which may still be held where nobody else asked."""
        if mine is not None and row.state in (S.INSTRUCTED, S.DECLINED):
            row = await self.journal.submit(self._conclusion(message, row, mine))
        self._follow(row)
        return row.answer or _told(message, Response.INVALID_TRANSACTION)

    def _is_over(self, row: Authorization) -> bool:
        """Whether the window of a request that waits for the payment service is over: 91 has left, or nothing has."""
        window = timedelta(milliseconds=self.rules.window.answer_ms)
        return row.work_since is not None and real_now() > row.work_since + window

    def _until(self, turn: Turn) -> float:
        """How long the payment service is waited for: the rest of the window is for writing the outcome down."""
        return turn.until - self.rules.window.journal_ms / 1000

    async def _give_up(self, message: Message, row: Authorization, *, asked: bool = True) -> bytes:
        """91 has been told: journal that whatever comes of it is undone, and undo it. `asked`: something may come."""
        now, at = self._clock.now(), real_now()
        abandon = Abandon(row.authorization_id, _without_number(message), now, at, told=True, asked=asked)
        while True:
            try:
                row = await self.journal.submit(abandon)
            except (Unavailable, Unknown) as error:
                if self._closing.is_set():
                    raise
                log.warning("id_give_up_waits", authorization_id=row.authorization_id, error=error.code)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), GIVE_UP_PAUSE_S)
            else:
                self._follow(row)
                return row.answer or _told(message, Response.ISSUER_UNAVAILABLE)

    def _conclusion(self, message: Message, row: Authorization, heard: Answer) -> Conclude:
        return Conclude(
            row.authorization_id,
            message,
            heard.heard,
            self._clock.now(),
            real_now(),
            payment_id=heard.payment_id,
            payment_state=heard.payment_state,
            code=heard.code,
        )

    # -- 0120, 0400, 0420 ---------------------------------------------------------------------------------------

    async def _advise(self, message: Message, peer: str, turn: Turn) -> bytes:
        """Answered once it is written down; the wallet is charged behind it, and owes what it lacks."""
        del turn
        opened = await self.journal.submit(self._opening(message, peer))
        self._follow(opened.row)
        return opened.answer or _told(_without_number(message), Response.APPROVED)

    async def _reverse(self, message: Message, peer: str, turn: Turn) -> bytes:
        """Answered once it is written down; what is held is let go of before, if that can be done in time."""
        known = _without_number(message)
        done = await self.journal.submit(
            Reverse(
                known,
                self._marks(message),
                _last_four(message),
                reversal_id_of(message),
                peer,
                new_id("prc"),
                self._clock.now(),
                real_now(),
            )
        )
        task = self._follow(done.row)
        if task is not None and not turn.given_up:
            left_s = self._until(turn) - asyncio.get_running_loop().time()
            await asyncio.wait((task,), timeout=max(0.0, left_s))
        return done.answer

    def _follow(self, row: Authorization) -> asyncio.Task[Any] | None:
        """Begin what is left to be done for it; the repairer goes on where this does not come to its end."""
        if row.work not in (Work.UNDO, Work.CHARGE):
            return None
        return self._start(self.repairer.carry(row.authorization_id))

    def _start(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self.behind.add(task)
        task.add_done_callback(self.behind.discard)
        task.add_done_callback(_look_at)
        return task

    # -- pieces -------------------------------------------------------------------------------------------------

    def _opening(self, message: Message, peer: str) -> Open:
        marks = self._marks(message)
        return Open(
            _without_number(message),
            marks,
            _last_four(message),
            digest_of(message, marks[-1]),
            peer,
            new_id("prc"),
            self._clock.now(),
            real_now(),
        )

    def _marks(self, message: Message) -> list[bytes]:
        """What a card's number is looked up by; the number itself goes no further than this."""
        assert message.pan is not None, "the codec requires it"
        return marks_of(self._vault, message.pan)


def _without_number(message: Message) -> Message:
    return message if message.pan is None else replace(message, pan=None)


def _last_four(message: Message) -> str:
    assert message.pan is not None, "the codec requires it"
    return message.pan.last4


def _told(message: Message, response: Response) -> bytes:
    return iso8583.encode(message.answer(response))


def _look_at(task: asyncio.Task[Any]) -> None:
    """An error of what nobody waits for is logged; the repairer finds what it left."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("id_work_behind_failed", error=str(error) if isinstance(error, PaymentError) else repr(error))
