"""How a run stops short of its own end, and how its outcome is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from kessai.foundation.errors import Unknown

if TYPE_CHECKING:
    from kessai.sdk.workflow.steps import Step

T = TypeVar("T")


class Interrupted(Unknown):
    """The run stopped here without its outcome: its executor is closing, or another one has taken it over."""

    def __init__(self) -> None:
        super().__init__("workflow_interrupted", "The work goes on elsewhere; ask again with the same key.")


class Stop(BaseException):
    """Ends the function silently; a BaseException, so that its `except Exception` does not take it."""


class Park(BaseException):
    """Ends the function; the workflow waits for an operator, who may act on the step that it stands at."""

    def __init__(self, reason: str, step: Step | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.step = step


class Once(Generic[T]):
    """A value that comes once; waiting for it may be cancelled without disturbing others who wait."""

    __slots__ = ("_error", "_value", "_waiters", "known")

    def __init__(self) -> None:
        self.known = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def put(self, value: T | None, error: BaseException | None = None) -> None:
        """The value, or an error to raise instead; later ones are ignored."""
        if self.known:
            return
        self.known, self._value, self._error = True, value, error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def get(self) -> T:
        """Wait for it."""
        if not self.known:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # put() gave a T


def parked_error(workflow_id: str) -> Unknown:
    """What whoever waits for a parked workflow is told."""
    return Unknown("workflow_parked", "The work waits for an operator; ask again later.", workflow_id=workflow_id)
