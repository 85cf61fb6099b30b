"""The words of a workflow: what is written, how it is retried, what an activity sees. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from kessai.foundation.db import Connection
from kessai.foundation.errors import Conflict, NotFound, Refused, Unknown

D = TypeVar("D")
T = TypeVar("T")

PAYLOAD_BYTES_MAX = 256 * 1024
"""Largest encoded request, argument or result; bigger things are stored by the service and named in the payload."""
WORKFLOW_ID_MAX = 128


class Conflicted(Conflict):
    """A guarded write did not match its rows: they are not as the workflow believed; none of its writes were made."""

    def __init__(self) -> None:
        super().__init__("conflicted", "Another change came first; read again and decide anew.")


class Cancelled(Refused):
    """The workflow was asked to stop; raised once, at the step that it was at. What was done is undone."""

    def __init__(self, why: str = "") -> None:
        super().__init__("workflow_cancelled", f"The work was cancelled{': ' + why if why else ''}.")


class Terminated(Refused):
    """The workflow was ended by an operator where it stood; nothing was undone."""

    def __init__(self, why: str = "") -> None:
        super().__init__("workflow_terminated", f"The work was ended{': ' + why if why else ''}; nothing was undone.")


class SignalTimedOut(Refused):
    """No message came within the time that the workflow would wait for it."""

    def __init__(self, name: str) -> None:
        super().__init__("signal_timed_out", f"No {name} came in time.")


class Forgotten(Conflict):
    """The workflow of this id finished longer ago than outcomes are kept; the id is not free."""

    def __init__(self) -> None:
        super().__init__("workflow_forgotten", "This was done long ago; its outcome is no longer kept.")


class AlreadyStarted(Conflict):
    """There is a workflow of this id, and `conflict="new"` asked for a fresh one."""

    def __init__(self) -> None:
        super().__init__("workflow_exists", "There already is a workflow of this id.")


class StartUnknown(Unknown):
    """Whether the workflow was started is not known here: the same request, sent again, finds it or starts it."""

    def __init__(self) -> None:
        super().__init__("start_unknown", "Whether the work has begun is not known; ask again with the same key.")


class NotOpen(NotFound):
    """No workflow of this id is under way."""

    def __init__(self) -> None:
        super().__init__("workflow_not_open", "No workflow of this id is under way.")


@dataclass(frozen=True, slots=True)
class Write:
    """A row of the service's own, committed together with the workflow's next journal flush.

    `statement` is one INSERT, UPDATE or DELETE that takes an array per column through `unnest`; `row` holds one value
    a column. Rows of one flush are gathered by statement, and the statements of a flush do not see each other's
    effects. `guarded`: the statement has RETURNING and gives one row per input row; a missing one is Conflicted.
    An effect names its processing: the flush then announces it, in one outbox row for all (`processing.touched`).
    """

    statement: str
    row: tuple[Any, ...]
    guarded: bool = False
    processing_id: str | None = None
    begins: bool = False
    """Whether the processing begins with this very row."""


@dataclass(frozen=True, slots=True)
class Publish:
    """An event for the outbox, committed together with the start of a workflow."""

    topic: str
    event: msgspec.Struct


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When an activity is attempted again after a retryable error; pauses double, with jitter, on real time."""

    attempts_max: int | None = None
    """Attempts answered Unavailable before the workflow is told; None: until a deadline. Unknown is not counted."""
    delay_s: float = 0.05
    delay_s_max: float = 5.0
    attempt_timeout_s: float | None = None
    """An attempt that takes longer is cut off; its outcome is unknown and it is attempted again."""


DEFAULT_RETRY = Retry()


class Pulse(Protocol):
    """The heartbeat of an activity, as it uses it."""

    def beat(self, progress: object) -> None:
        """Put off the cut, and keep what was told."""
        ...

    def progress(self, kind: type[T]) -> T | None:
        """What was told last."""
        ...

    def cancelling(self) -> bool:
        """Whether the workflow was asked to stop."""
        ...


class Activity(msgspec.Struct, Generic[D], frozen=True):
    """What an activity is given besides its argument."""

    workflow_id: str
    seq: int
    key: str
    """Stable over every attempt and every recovery: `workflow_id:seq`, or the key that the workflow gave."""
    attempt: int
    """1 for the first attempt in this process."""
    deps: D
    """The service's collaborators, as given to the Engine."""
    undoes: str | None = None
    """In a compensation: the key of the activity to undo. It may never have taken effect; undoing is idempotent."""
    transaction: Connection | None = None
    """With `tx=True`: the transaction in which the outcome will be journalled too. It is not committed from here."""
    pulse: Pulse | None = None

    @property
    def connection(self) -> Connection:
        """The open transaction of an activity that was called with `tx=True`."""
        assert self.transaction is not None, "only an activity called with tx=True has a transaction"
        return self.transaction

    def heartbeat(self, progress: object = None) -> None:
        """Tell that the work goes on (`heartbeat_s` starts anew), and how far it has come.

        Progress is kept in memory, and every few seconds in the database, for the attempt after a crash.
        """
        if self.pulse is not None:
            self.pulse.beat(progress)

    def progress(self, kind: type[T]) -> T | None:
        """What an earlier attempt told last of its progress, if anything."""
        return None if self.pulse is None else self.pulse.progress(kind)

    @property
    def cancelling(self) -> bool:
        """Whether the workflow was asked to stop; a long activity may then end early, refused."""
        return self.pulse is not None and self.pulse.cancelling()


@dataclass(frozen=True, slots=True)
class Parked:
    """A workflow that waits for an operator, with the reason."""

    workflow_id: str
    name: str
    version: int
    compensating: bool
    error: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Told to the Engine's `alert` once: when a workflow parks, and when its undoing waits long for what is away."""

    workflow_id: str
    name: str
    compensating: bool
    """Effects stand that were to be undone: more urgent than a workflow that merely waits."""
    reason: str
    at: datetime
    parked: bool = True
    """It does not mend itself. False: it is tried on."""
