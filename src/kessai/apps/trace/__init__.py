"""`kessai trace`: the whole life of one payment, and the proof of all of them without the tracer's own state."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Trace or prove: 0 shown or nothing wrong, 1 something differs; OperatorError when the database cannot be read."""
    from kessai.apps.trace.command import run  # keeps the command line quick for everybody else

    return run(argv)
