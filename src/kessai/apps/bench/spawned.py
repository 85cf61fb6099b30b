"""A child process that is given orders over a pipe and answers each."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

O = TypeVar("O")  # noqa: E741  (an order)
A = TypeVar("A")

STOP_TIMEOUT_S = 30.0


class Spawned(Generic[O, A]):
    """The parent's handle: start it, give it orders, stop it. `target` runs in the child with the pipe's other end."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process.pid is not None
        return self._process.pid

    async def order(self, order: O) -> A:
        """The answer to one order; raises what it raised."""
        self._pipe.send(order)
        answer = await asyncio.to_thread(self._pipe.recv)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def kill(self) -> None:
        """SIGKILL: it flushes nothing and tells nobody."""
        self._process.kill()
        self._process.join()

    async def close(self) -> None:
        """Let it end its work and stop."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._pipe.send(None)
        await asyncio.to_thread(self._process.join, STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()

    async def __aenter__(self) -> Spawned[O, A]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def follow_orders(pipe: Connection, carry_out: Callable[[Any], Awaitable[object]]) -> None:
    """The child's loop: until the parent says stop or is gone."""
    try:
        while (order := await asyncio.to_thread(pipe.recv)) is not None:
            try:
                pipe.send(await carry_out(order))
            except Exception as error:  # noqa: BLE001  (raised again where the order came from)
                pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))
    except EOFError:
        pass
