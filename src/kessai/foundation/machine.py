"""The machine we run on: how much memory it, or the container we are in, gives us."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_mb() -> int:
    """Memory in MB (2^20 bytes): the machine's, or what a container's limit leaves of it."""
    memory: int = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):  # without a limit it says "max"
        memory = min(memory, int(CONTAINER_LIMIT.read_text()))
    return memory // 2**20
