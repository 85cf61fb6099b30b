"""What a run needs of whoever carries it: an Engine, or a rehearsal that only replays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from opentelemetry.trace import Tracer

from kessai.foundation.call import Call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.foundation.deadlines import Deadlines
from kessai.sdk.workflow.model import Alert
from kessai.sdk.workflow.sealing import Codec, Payloads
from kessai.sdk.workflow.steps import Entry, Step
from kessai.sdk.workflow.timers import Timers

if TYPE_CHECKING:
    from kessai.sdk.workflow.definition import Definition
    from kessai.sdk.workflow.handle import Handle

D = TypeVar("D")

COMPENSATION_ATTEMPTS = 30
"""Attempts of one compensation before an operator is told that something is away: about ten minutes with its pauses."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(slots=True)
class Counts:
    """What this executor has done since it was opened."""

    started: int = 0
    adopted: int = 0
    parked: int = 0
    finished: int = 0
    failed: int = 0
    retries: int = 0
    """Attempts of activities after their first."""
    compensations: int = 0
    compensation_failures: int = 0
    parked_now: int = 0
    """Workflows of the service, whoever carried them, that wait for an operator; as of the last look for orphans."""
    stuck_now: int = 0
    """Those besides whose effects were to be undone, and still stand."""
    rested: int = 0
    """Runs that left memory, because they wait for long."""
    woken: int = 0
    """Runs taken up again when their time, or a message, had come."""
    replaced: int = 0
    """Times this executor found its lease taken, gave up its runs and began anew."""
    entries: int = 0
    """Entries handed to the journal; divided by its flushes: how many share one."""
    recovery_s: float = 0.0
    """How long the last adoption took, from the look for orphans to the last run that was taken up."""
    alerts: Counter[str] = field(default_factory=Counter[str])
    """Workflows parked, by name."""


class Writer(Protocol):
    """Makes entries durable: the journal, or what stands in for it in a rehearsal."""

    @property
    def stopped(self) -> bool:
        """Nothing is written any more."""
        ...

    async def submit(self, entry: Entry) -> bool:
        """As Journal.submit."""
        ...


class Host(Generic[D]):
    """Who carries runs: the collaborators that are the same for all of them."""

    writer: Writer

    def __init__(
        self,
        *,
        service: str,
        deps: D,
        clock: Clock,
        codec: Codec | None = None,
        seals: bool = True,
        tracer: Tracer | None = None,
        alert: Callable[[Alert], None] | None = None,
        compensation_attempts: int = COMPENSATION_ATTEMPTS,
    ) -> None:
        self.service = service
        self.deps = deps
        self.clock = clock
        self.payloads = Payloads(codec, seals=seals)
        self.tracer = tracer
        self.alert = alert
        self.compensation_attempts = compensation_attempts
        self.counts = Counts()
        self.closing = False
        """No new work is taken, and what cannot end soon is left to others."""
        self.statements: Queries = operations(service)
        self.timers = Timers(clock, self.is_idle)
        self.deadlines = Deadlines()
        """Of attempts, and of whoever waits for an outcome."""

    def is_idle(self) -> bool:
        """Whether every open run merely waits, for time or for a message."""
        return True

    async def start_child(
        self, definition: Definition[D, Any, Any], request: object, workflow_id: str, call: Call
    ) -> Handle[Any]:
        """Start a child, or find the one of that id."""
        raise NotImplementedError

    async def cancel_child(self, workflow_id: str, why: str) -> None:
        """Ask a child to stop."""
        raise NotImplementedError

    async def in_transaction(self, step: Step, work: Callable[[Connection], Awaitable[bytes]]) -> bytes:
        """Do work in a transaction that the step's outcome is journalled in; gives that outcome as it is stored."""
        raise NotImplementedError


def operations(service: str) -> Queries:
    """The statements of everything besides the journal itself."""
    return load_queries("kessai.sdk.workflow", schema=service, file="sql/operations.sql")
