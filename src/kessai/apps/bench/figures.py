"""What a run has measured: tallies, percentiles, and the report printed at its end."""

from __future__ import annotations

import statistics
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from rich.console import Console
from rich.table import Table


@dataclass(slots=True)
class Tally:
    """One measured stretch: what was acknowledged, what was refused, how long it took, and each call's latency."""

    acknowledged: int = 0
    refused: int = 0
    elapsed_s: float = 0.0
    latencies_ms: array[float] = field(default_factory=lambda: array("d"))
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    """How often each error code was the reason of a refusal."""

    @property
    def rate(self) -> float:
        """Acknowledged a second."""
        return self.acknowledged / self.elapsed_s if self.elapsed_s else 0.0

    def refuse(self, code: str) -> None:
        """Count one refusal under its code."""
        self.refused += 1
        self.reasons[code] = self.reasons.get(code, 0) + 1


def together(tallies: list[Tally]) -> Tally:
    """Tallies of processes that ran side by side, as one."""
    total = Tally(elapsed_s=max(tally.elapsed_s for tally in tallies))
    for tally in tallies:
        total.acknowledged += tally.acknowledged
        total.latencies_ms.extend(tally.latencies_ms)
        for code, count in tally.reasons.items():
            total.refused += count
            total.reasons[code] = total.reasons.get(code, 0) + count
    return total


def percentile(values: array[float], part: float) -> float:
    """The nearest-rank percentile; 0 when nothing was measured."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


@dataclass(slots=True)
class Rounds:
    """Rounds of ours and of the peer, taken in turns."""

    ours: list[Tally] = field(default_factory=list[Tally])
    peers: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        """Median rate of our rounds."""
        return statistics.median(tally.rate for tally in self.ours)

    @property
    def peer_rate(self) -> float:
        """Median rate of the peer's rounds."""
        return statistics.median(self.peers)

    @property
    def ratio(self) -> float:
        """Ours over the peer's."""
        return self.rate / self.peer_rate if self.peer_rate else 0.0

    def latency_ms(self, part: float) -> float:
        """A percentile over all of our rounds."""
        return percentile(together(self.ours).latencies_ms, part)


RSS_MB_MAX = 400.0
"""What the server's processes may come to together, without PostgreSQL."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of standard output, as one JSON object."""

    name: str
    mode: str
    rate: float
    """Acknowledged exchanges (or charges) a second."""
    p50_ms: float
    p99_ms: float
    latency_of: str
    """What one latency is: a call, a batch, or an HTTP request."""
    rss_mb: float
    """Peak sum of the server processes' resident memory, without PostgreSQL."""
    rss_within: bool
    """Whether that stayed within RSS_MB_MAX."""
    peer: str
    peer_rate: float
    ratio: float
    verified: bool
    seconds: float
    """Measured seconds of ours, all rounds together."""
    acknowledged: int
    refused: int
    sizes: dict[str, int | float | str]
    extra: dict[str, float] = {}
    finding: str | None = None
    """The first broken invariant, when `verified` is false."""


def report_of(
    rounds: Rounds,
    *,
    name: str,
    mode: str,
    latency_of: str,
    rss_mb: float,
    peer: str,
    finding: str | None,
    sizes: Mapping[str, int | float | str],
    extra: dict[str, float] | None = None,
) -> Report:
    """The report of a run's rounds."""
    total = together(rounds.ours)
    return Report(
        name=name,
        mode=mode,
        rate=round(rounds.rate, 1),
        p50_ms=round(rounds.latency_ms(0.50), 3),
        p99_ms=round(rounds.latency_ms(0.99), 3),
        latency_of=latency_of,
        rss_mb=round(rss_mb, 1),
        rss_within=rss_mb <= RSS_MB_MAX,
        peer=peer,
        peer_rate=round(rounds.peer_rate, 1),
        ratio=round(rounds.ratio, 3),
        verified=finding is None,
        seconds=round(sum(tally.elapsed_s for tally in rounds.ours), 2),
        acknowledged=total.acknowledged,
        refused=total.refused,
        sizes=dict(sizes),
        extra={key: round(value, 3) for key, value in (extra or {}).items()},
        finding=finding,
    )


def print_report(report: Report, *, as_json: bool) -> None:
    """A table for people on standard error; with `as_json`, the object as the last line of standard output."""
    table = Table(title=f"bench {report.name} · {report.mode}", show_header=False)
    for key, value in msgspec.to_builtins(report).items():
        if isinstance(value, dict):
            for inner, part in value.items():  # pyright: ignore[reportUnknownVariableType]
                table.add_row(f"{key}.{inner}", str(part))  # pyright: ignore[reportUnknownArgumentType]
        elif value is not None:
            table.add_row(key, str(value) if isinstance(value, (bool, str)) else f"{value:,}")
    Console(stderr=True).print(table)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()
