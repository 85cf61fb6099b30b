"""Peak memory of the server's processes, sampled from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType

import psutil

SAMPLE_EVERY_S = 0.2


def resident_mb(pid: int, *, children: bool = False) -> float:
    """Resident memory of a process in MB (10^6 bytes), with everything below it if asked; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        below = process.children(recursive=True) if children else []
        total: int = process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0.0
    return total / 1e6 + sum(resident_mb(child.pid) for child in below)


class MemoryWatch:
    """Samples the sum of some processes' resident memory while the block runs; `peak_mb` is the highest seen."""

    def __init__(self, pids: Callable[[], Iterable[int]], *, children: bool = False) -> None:
        self._pids = pids
        self._children = children
        self._task: asyncio.Task[None] | None = None
        self.peak_mb = 0.0

    def look(self) -> None:
        """Take one sample now."""
        self.peak_mb = max(self.peak_mb, sum(resident_mb(pid, children=self._children) for pid in self._pids()))

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def __aenter__(self) -> MemoryWatch:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
