"""What a run writes down: steps and entries. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from kessai.sdk.workflow.model import Write

Row: TypeAlias = "tuple[Any, ...]"


@dataclass(slots=True)
class Step:
    """A row of workflow_log; `writes` and `started_at` are filled in when its flush departs."""

    workflow_id: str
    seq: int
    kind: int
    name: str
    argument_hash: bytes
    failed: bool
    outcome: bytes
    recorded_at: datetime
    writes: int = 0
    started_at: datetime | None = None
    """When its workflow began: the partition it is in."""
    argument: object = None
    """What the hash stands for; not kept."""

    def row(self) -> Row:
        """In the order of `log_insert`."""
        return (
            self.workflow_id,
            self.seq,
            self.kind,
            self.name,
            self.argument_hash,
            self.failed,
            self.outcome,
            self.writes,
            self.recorded_at,
            self.started_at,
        )


INTENT, OUTCOME, UNDONE = 0, 1, 2


@dataclass(slots=True)
class Entry:
    """What one run wants made durable together: all of it or none."""

    start: Row | None = None
    finish: Row | None = None
    mark: Row | None = None
    steps: list[Step] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    events: list[tuple[str, bytes]] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Nothing would be written."""
        return not (self.steps or self.writes or self.events or self.finish or self.mark or self.start)


def shown(step: Step) -> str:
    """A step as an operator reads it: name and hash of its argument."""
    return f"{step.name}#{step.argument_hash.hex()}"
