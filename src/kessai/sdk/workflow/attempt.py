"""Attempts of an activity: each under the same key, until there is a definite outcome or time runs out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.errors import DeadlineExceeded, PaymentError, Unavailable, Unknown
from kessai.foundation.ids import derived_hex
from kessai.sdk.workflow.definition import name_of
from kessai.sdk.workflow.ending import Park
from kessai.sdk.workflow.heartbeat import Pulse
from kessai.sdk.workflow.host import Host
from kessai.sdk.workflow.model import Activity, Retry
from kessai.sdk.workflow.tracing import attempt_span

D = TypeVar("D")
A = TypeVar("A")
R = TypeVar("R")


class Patience(Protocol):
    """How long a run bears with an activity: the run itself, or a stand-in."""

    def gives_up(self, *, undoable: bool, uncertain: bool) -> bool:
        """Whether no further attempt is to be made, as the work is being ended."""
        ...

    async def nap(self, seconds: float) -> None:
        """A pause that ends early when the work is being ended."""
        ...


@dataclass(slots=True)
class Attempts(Generic[D]):
    """Calls the activities of one run."""

    host: Host[D]
    workflow_id: str
    call: Call
    """The call that started the run."""

    async def until_definite(
        self,
        function: Callable[[Activity[D], A], Awaitable[R]],
        argument: A,
        activity: Activity[D],
        retry: Retry,
        deadline: float | None,
        patience: Patience,
        *,
        undoable: bool,
        uncertain: bool,
    ) -> R:
        """One definite outcome, or Unavailable or Unknown once retries or time have run out."""
        attempt, refusals = 0, 0
        last: PaymentError = DeadlineExceeded("workflow_deadline_exceeded", "The time for this work is over.")
        while not is_past(deadline):
            attempt += 1
            if attempt > 1:
                activity = replace(activity, attempt=attempt)
                self.host.counts.retries += 1
            try:
                return await self.once(function, activity, argument, retry, deadline)
            except PaymentError as error:
                if not error.retryable:
                    raise
                last = error
                uncertain |= not isinstance(error, Unavailable) or isinstance(error, DeadlineExceeded)
                refusals += isinstance(error, Unavailable)
            except TimeoutError:
                last, uncertain = Unknown("attempt_timed_out", "An attempt was cut off by its time limit."), True
            except Exception as error:
                raise Park(f"{name_of(function)} raised {error!r}") from error
            if retry.attempts_max is not None and refusals >= retry.attempts_max:
                break
            if patience.gives_up(undoable=undoable, uncertain=uncertain):
                break
            await patience.nap(pause(attempt, retry.delay_s, retry.delay_s_max, deadline))
            if patience.gives_up(undoable=undoable, uncertain=uncertain):
                break
        if uncertain and not isinstance(last, Unknown):
            raise Unknown("outcome_unknown", f"Whether {name_of(function)} took effect is not known ({last.code}).")
        raise last

    async def once(
        self,
        function: Callable[[Activity[D], A], Awaitable[R]],
        activity: Activity[D],
        argument: A,
        retry: Retry,
        deadline: float | None,
    ) -> R:
        """One attempt, within its limits of time."""
        limit = earliest(deadline, retry.attempt_timeout_s)
        call = Call(
            caller=self.host.service,
            processing_id=self.call.processing_id,
            request_id=self.call.request_id,
            request_key=derived_hex(activity.key),
            deadline=limit,
        )
        token = enter_call(call)
        try:
            if activity.pulse is not None or self.host.tracer is not None:
                return await self._watched(function, activity, argument, limit)
            if limit is None:
                return await function(activity, argument)
            with self.host.deadlines.limit(limit):
                return await function(activity, argument)
        finally:
            leave_call(token)

    async def _watched(
        self,
        function: Callable[[Activity[D], A], Awaitable[R]],
        activity: Activity[D],
        argument: A,
        limit: float | None,
    ) -> R:
        async with AsyncExitStack() as stack:
            if self.host.tracer is not None:
                stack.enter_context(attempt_span(self.host.tracer, name_of(function), activity))
            if limit is not None:
                await stack.enter_async_context(asyncio.timeout_at(limit))
            if isinstance(pulse := activity.pulse, Pulse):
                pulse.limit = await stack.enter_async_context(asyncio.timeout(pulse.heartbeat_s))
            return await function(activity, argument)
        raise AssertionError("the stack swallows nothing")


def loop_time_of(deadline_at: datetime | None) -> float | None:
    """An instant of real time on the clock of the running loop."""
    if deadline_at is None:
        return None
    return asyncio.get_running_loop().time() + (deadline_at - datetime.now(deadline_at.tzinfo)).total_seconds()


def earliest(deadline: float | None, within_s: float | None) -> float | None:
    """The deadline, or the end of so many seconds from now, whichever comes first."""
    if within_s is None:
        return deadline
    limit = asyncio.get_running_loop().time() + within_s
    return limit if deadline is None else min(limit, deadline)


def is_past(deadline: float | None) -> bool:
    """Whether there is a deadline and it is over."""
    return deadline is not None and asyncio.get_running_loop().time() >= deadline


def pause(attempt: int, delay_s: float, delay_s_max: float, deadline: float | None) -> float:
    """Doubling, with jitter, not beyond the deadline."""
    pause_s = min(delay_s_max, delay_s * 2 ** min(attempt - 1, 30)) * (0.5 + random.random() / 2)  # noqa: S311
    if deadline is not None:
        pause_s = max(0.0, min(pause_s, deadline - asyncio.get_running_loop().time()))
    return pause_s
