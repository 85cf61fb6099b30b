"""Deadlines of which nearly all are met: those of the same moment share one timer of the loop.

A timer for each is made and cancelled for nothing, several times in every request. Here a deadline goes off up to
`STEP_S` late, and costs an entry in a set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

STEP_S = 0.05


class Deadlines:
    """The deadlines of one event loop."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[int, set[Callable[[], object]]] = {}

    def add(self, when: float, expire: Callable[[], object]) -> int:
        """Have `expire` called once `when`, of the loop's time, is past; gives what `met` wants to know."""
        step = int(when / STEP_S) + 1
        due = self._due.get(step)
        if due is None:
            due = self._due[step] = set()
            asyncio.get_running_loop().call_at(step * STEP_S, self._go_off, step)
        due.add(expire)
        return step

    def met(self, step: int, expire: Callable[[], object]) -> None:
        """It is not to go off any more, if it has not yet."""
        due = self._due.get(step)
        if due is not None:
            due.discard(expire)

    def limit(self, when: float) -> Limit:
        """As asyncio.timeout_at, entered by a plain `with`: the task is cut off, and TimeoutError raised."""
        return Limit(self, when)

    def _go_off(self, step: int) -> None:
        for expire in self._due.pop(step):
            expire()


class Limit:
    """A part of a task that has to be over in time."""

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_step", "_task", "_when")

    def __init__(self, deadlines: Deadlines, when: float) -> None:
        self._deadlines = deadlines
        self._when = when
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a limit is for a task"
        self._task = task
        self._cancelling = task.cancelling()
        self._step = self._deadlines.add(self._when, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.met(self._step, self._expire)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
