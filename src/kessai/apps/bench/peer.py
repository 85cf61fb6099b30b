"""The peer: pgbench's TPC-B on the same server, in a database of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kessai.foundation.errors import OperatorError

SCALE = 50
CLIENTS = (1, 8, 32)
THREADS = 2
PEER = f"pgbench TPC-B -s {SCALE} -M prepared -j {THREADS}, best of {', '.join(map(str, CLIENTS))} clients"
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


@dataclass(slots=True)
class Pgbench:
    """pgbench of the embedded binaries against one database."""

    program: Path
    dsn: str

    async def prepare(self) -> None:
        """Fill its tables."""
        await self._run("-i", "-q", "-s", str(SCALE))

    async def best_rate(self, seconds: float) -> float:
        """Transactions a second of the best number of clients; `seconds` is shared among them, whole ones each."""
        each = max(1, round(seconds / len(CLIENTS)))
        return max([await self._rate(clients, each) for clients in CLIENTS])

    async def _rate(self, clients: int, seconds: int) -> float:
        threads = min(THREADS, clients)
        text = await self._run(
            "-n", "-M", "prepared", "-j", str(threads), "-c", str(clients), "-T", str(seconds), "-s", str(SCALE)
        )
        match = _TPS.search(text)
        if match is None:
            raise OperatorError(f"pgbench gave no rate: {text[-300:]}")
        return float(match[1])

    async def _run(self, *arguments: str) -> str:
        return await output_of([str(self.program), *arguments, self.dsn])


async def output_of(command: Sequence[str]) -> str:
    """Standard output of a command; OperatorError with the end of its errors when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    if process.returncode:
        raise OperatorError(f"{Path(command[0]).name} failed: {errors.decode()[-300:].strip()}")
    return out.decode()
