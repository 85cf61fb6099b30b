"""The words of a workflow: what is written, how it is retried, what an activity sees. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from kessai.foundation.errors import Conflict

D = TypeVar("D")

PAYLOAD_BYTES_MAX = 256 * 1024
"""Largest encoded request, argument or result; bigger things are stored by the service and named in the payload."""
WORKFLOW_ID_MAX = 128


class Conflicted(Conflict):
    """A guarded write did not match its rows: they are not as the workflow believed; none of its writes were made."""

    def __init__(self) -> None:
        super().__init__("conflicted", "Another change came first; read again and decide anew.")


@dataclass(frozen=True, slots=True)
class Write:
    """A row of the service's own, committed together with the workflow's next journal flush.

    `statement` is one INSERT, UPDATE or DELETE that takes an array per column through `unnest`; `row` holds one value
    a column. Rows of one flush are gathered by statement, and the statements of a flush do not see each other's
    effects. `guarded`: the statement has RETURNING and gives one row per input row; a missing one is Conflicted.
    """

    statement: str
    row: tuple[Any, ...]
    guarded: bool = False


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


@dataclass(frozen=True, slots=True)
class Activity(Generic[D]):
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


@dataclass(frozen=True, slots=True)
class Parked:
    """A workflow that waits for an operator, with the reason."""

    workflow_id: str
    name: str
    version: int
    compensating: bool
    error: str
