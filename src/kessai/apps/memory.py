"""The garbage collector of a server: what start-up made lives as long as the process, and pages of work come and go."""

from __future__ import annotations

import gc

THRESHOLDS = (100_000, 50, 1_000)
"""Python's defaults look at young objects every 700 allocations, in the midst of a page; that cost the ledger 10 µs an
exchange. Next to nothing here is cyclic, so that looking seldom keeps little alive."""


def settle_memory() -> None:
    """Put what is there now out of the collector's sight, and have it look seldom. Call once the process is up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
