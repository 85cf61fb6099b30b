"""A destination's settings, what a call comes to, and what is counted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from kessai.foundation.errors import Unavailable, Unknown

T = TypeVar("T")


class NotSent(Unavailable):
    """Surely nothing left: `destination_unreachable`, `destination_busy` or `circuit_open`."""


class Unanswered(Unknown):
    """It was sent, or may have been, and no usable answer came: inquire.

    Codes: `no_answer`, `destination_failed` (a 5xx), `destination_throttles` (a 429, which somebody between may have
    given after the request went on), `answer_unreadable`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A party outside, and how patient to be with it."""

    name: str
    """In errors, logs and metrics."""
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sent with every call; credentials go here."""
    timeout_s: float = 5.0
    """From asking for a slot to the last byte of the answer, repetitions included; a call may ask for less."""
    connect_timeout_s: float = 1.0
    concurrency_max: int = 64
    """Calls under way at a time: slots that this destination shares with no other."""
    waiting_max: int = 64
    """Calls that may wait for a slot; further ones are NotSent at once."""
    waiting_s: float = 0.25
    """How long a call waits for a slot."""
    retry_ratio: float = 0.1
    """Repetitions in proportion to calls: each call earns so much of one."""
    retry_burst: float = 10.0
    """Repetitions that may be saved up."""
    retry_delay_s: float = 0.02
    """Pause before the first repetition; doubles, with jitter."""
    breaker_window: int = 20
    """Calls looked back on."""
    breaker_failures: int = 10
    """Failures among them that open the circuit."""
    breaker_open_s: float = 1.0
    """How long it stays open before one call may try; doubles with each trial that fails."""
    breaker_open_s_max: float = 15.0
    answer_bytes_max: int = 1024 * 1024
    """A longer answer is unreadable."""


@dataclass(slots=True)
class OutboundCounts:
    """What has become of calls to one destination, since the process began."""

    answered: int = 0
    refused: int = 0
    not_sent: int = 0
    unanswered: int = 0
    retried: int = 0
    opened: int = 0
    """Times the circuit opened."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said, below 500."""

    destination: str
    status: int
    body: bytes

    @property
    def refused(self) -> bool:
        """A 4xx: the destination understood, and did nothing."""
        return self.status >= 400

    def decode(self, kind: type[T]) -> T:
        """The body (JSON) as a type; raises Unanswered `answer_unreadable`."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(self.destination, self.status) from error


def unreadable(destination: str, status: int) -> Unanswered:
    """An answer that says nothing is no answer."""
    return Unanswered(
        "answer_unreadable",
        f"{destination} gave an answer that cannot be read.",
        destination=destination,
        status=status,
    )
