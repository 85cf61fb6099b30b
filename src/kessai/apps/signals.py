"""How a process is told to stop: by a signal, and by a second one when the first takes too long."""

from __future__ import annotations

import asyncio
import signal


class Stopping:
    """Set by SIGINT and SIGTERM; a second signal cancels what is still going on."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._kept: list[asyncio.Task[None]] = []

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task that lasts as long as the process."""
        self._kept.append(task)

    def listen(self, *numbers: signal.Signals) -> None:
        """From now on these signals ask the current task to stop, and at the second time cancel it."""
        task = asyncio.current_task()
        assert task is not None

        def ask() -> None:
            if self.asked.is_set():
                task.cancel()
            self.asked.set()

        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, ask)
