"""Measurements: `kessai bench NAME --json`.

Each run stands on a throwaway database, alternates with a peer on the same server, and counts only what was
acknowledged. It ends with `kessai verify` in a process of its own: a run whose invariants do not hold exits 1.
`zengin` alone needs neither database nor peer.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement: 0 done and verified, 1 an invariant is broken, 2 it could not be run."""
    from kessai.apps.bench.command import run  # what else is in this package starts without the whole platform

    return run(argv)
