"""Group commit: commands gather while one flush is in flight; one transaction carries them all.

No timer: a command goes at once when nothing is in flight. The queue is bounded; past it callers get Unavailable.
A flush has two steps: `prepare` decides in memory, `commit` writes. With `overlap`, the next flush is prepared while
the one before it is being committed; when that one fails, both are forgotten and prepared anew, one after the other.
A commit that fails for another reason is isolated by halves, so that a bad command fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kessai.foundation.errors import PaymentError, Unavailable, Unknown

C = TypeVar("C")
P = TypeVar("P")
R = TypeVar("R")

BATCH_MAX = 8_192
QUEUE_MAX = 65_536
ATTEMPTS_MAX = 40


class Conflicted(Exception):
    """Raised by `commit`: memory was stale and nothing was written; prepare the same commands again."""


class MustSettle(Exception):
    """Raised by `prepare`: it has to read rows that the flush in flight is changing; wait for that one first."""


@dataclass(slots=True)
class _Waiting(Generic[C, R]):
    """Commands handed in together (never split over two flushes) and the future of their outcomes."""

    commands: Sequence[C]
    future: asyncio.Future[list[R | PaymentError]]


@dataclass(slots=True)
class _Flight(Generic[C, P, R]):
    waiting: list[_Waiting[C, R]]
    plan: P
    commit: asyncio.Task[Sequence[R | PaymentError]]


def _forget_nothing(_: object) -> None:
    return


class GroupCommit(Generic[C, P, R]):
    """Gathers commands C, prepares plans P, commits them, and hands each caller its own outcome R.

    `prepare(commands, attempt)` may read the database; from the second attempt on it may lock what it reads.
    `commit(plan)` gives one outcome or PaymentError a command. `forget(plan)` drops what memory holds of a plan that
    was not committed.
    """

    def __init__(
        self,
        *,
        prepare: Callable[[list[C], int], Awaitable[P]],
        commit: Callable[[P], Awaitable[Sequence[R | PaymentError]]],
        forget: Callable[[P], None] = _forget_nothing,
        overlap: bool = False,
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._prepare = prepare
        self._commit = commit
        self._forget = forget
        self._overlap = overlap
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._queue: deque[_Waiting[C, R]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._runner: asyncio.Task[None] | None = None
        self._closing = False
        self.queued = 0
        """Commands waiting for a flush."""
        self.flushes = 0
        self.conflicts = 0

    async def submit(self, command: C) -> R:
        """The outcome of one command; raises its PaymentError."""
        (outcome,) = await self._accept((command,))
        if isinstance(outcome, PaymentError):
            raise outcome
        return outcome

    async def submit_all(self, commands: Sequence[C]) -> list[R | PaymentError]:
        """Outcomes of commands that share one flush, in their order.

        Raises Unavailable `overloaded` when the queue is full. A caller that goes away does not undo its work.
        """
        return await self._accept(commands)

    def _accept(self, commands: Sequence[C]) -> asyncio.Future[list[R | PaymentError]]:
        """Put commands into the queue; their outcomes come when their flush has landed."""
        if self._closing or (self.queued and self.queued + len(commands) > self._queue_max):
            raise Unavailable("overloaded", "Too much work is waiting; try again shortly.")
        future: asyncio.Future[list[R | PaymentError]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(commands, future))
        self.queued += len(commands)
        if len(self._queue) == 1:
            self._idle.clear()
            self._wake.set()
            if self._runner is None:
                self._runner = asyncio.create_task(self._run())
        return future

    @property
    def idle(self) -> bool:
        """Nothing is queued, prepared or in flight."""
        return self._idle.is_set()

    async def drain(self) -> None:
        """Wait until nothing is queued or in flight."""
        await self._idle.wait()

    async def close(self) -> None:
        """Carry what was accepted to its end, then stop."""
        self._closing = True
        await self.drain()
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self) -> None:
        flight: _Flight[C, P, R] | None = None
        while True:
            if self._queue:
                flight = await self._depart(self._take(), flight)
            elif flight is None:
                self._wake.clear()
                self._idle.set()
                await self._wake.wait()
            elif await self._landed_or_woken(flight):
                flight = await self._land(flight)

    async def _landed_or_woken(self, flight: _Flight[C, P, R]) -> bool:
        """Sleep until the flush in flight is done (True) or, when the next may be prepared, work has come (False)."""
        self._wake.clear()
        if not self._overlap:
            await asyncio.wait([flight.commit])
            return True
        waker = asyncio.ensure_future(self._wake.wait())
        await asyncio.wait([flight.commit, waker], return_when=asyncio.FIRST_COMPLETED)
        waker.cancel()
        return flight.commit.done()

    def _take(self) -> list[_Waiting[C, R]]:
        taken = [self._queue.popleft()]
        size = len(taken[0].commands)
        while self._queue and size + len(self._queue[0].commands) <= self._batch_max:
            taken.append(self._queue.popleft())
            size += len(taken[-1].commands)
        self.queued -= size
        return taken

    async def _depart(self, waiting: list[_Waiting[C, R]], flight: _Flight[C, P, R] | None) -> _Flight[C, P, R] | None:
        """Prepare, let the earlier flush land, then send this one off."""
        if flight is not None and not self._overlap:
            flight = await self._land(flight)
        try:
            plan = await self._prepare(_commands(waiting), 0)
        except Exception:  # noqa: BLE001  (whatever it was, it is met again below, alone and with its caller)
            await self._land(flight)
            await self._one_by_one(waiting)
            return None
        if flight is not None and not await self._arrived(flight):
            self._forget(plan)
            await self._one_by_one(flight.waiting)
            await self._one_by_one(waiting)
            return None
        return _Flight(waiting, plan, asyncio.ensure_future(self._commit(plan)))

    async def _land(self, flight: _Flight[C, P, R] | None) -> None:
        """Wait for a flush; on failure carry its commands to their end here."""
        if flight is not None and not await self._arrived(flight):
            await self._one_by_one(flight.waiting)

    async def _arrived(self, flight: _Flight[C, P, R]) -> bool:
        """True when the flush committed and its callers were answered; False when it was forgotten."""
        try:
            outcomes = await flight.commit
        except Unknown as error:
            self._forget(flight.plan)
            self._fail(flight.waiting, error)
            return True
        except Exception:  # noqa: BLE001  (its commands are carried again, one flush at a time)
            self.conflicts += 1
            self._forget(flight.plan)
            return False
        self._answer(flight.waiting, outcomes)
        return True

    def _answer(self, waiting: list[_Waiting[C, R]], outcomes: Sequence[R | PaymentError]) -> None:
        self.flushes += 1
        start = 0
        for each in waiting:
            end = start + len(each.commands)
            if not each.future.done():
                each.future.set_result(list(outcomes[start:end]))
            start = end

    async def _one_by_one(self, waiting: list[_Waiting[C, R]]) -> None:
        """Carry commands with nothing else in flight; conflicts are tried again, other failures isolated by halves."""
        failure: Exception = Unavailable("contention", "Too many concurrent changes to the same rows; try again.")
        for attempt in range(1, ATTEMPTS_MAX):
            try:
                plan = await self._prepare(_commands(waiting), attempt)
            except MustSettle:
                continue  # nothing is in flight any more: it asks again with what it has learned
            except Exception as error:  # noqa: BLE001  (handed to the caller below)
                failure = error
                break
            try:
                outcomes = await self._commit(plan)
            except Conflicted:
                self._forget(plan)
                continue
            except Exception as error:  # noqa: BLE001  (handed to the caller below)
                self._forget(plan)
                failure = error
                break
            self._answer(waiting, outcomes)
            return
        if len(waiting) == 1 or isinstance(failure, (Unavailable, Unknown)):
            self._fail(waiting, failure)
            return
        half = len(waiting) // 2
        await self._one_by_one(waiting[:half])
        await self._one_by_one(waiting[half:])

    def _fail(self, waiting: list[_Waiting[C, R]], failure: Exception) -> None:
        for each in waiting:
            if not each.future.done():
                each.future.set_exception(failure)


def _commands(waiting: list[_Waiting[C, R]]) -> list[C]:
    return [command for each in waiting for command in each.commands]
