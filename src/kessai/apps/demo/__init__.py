"""`kessai demo`: a whole platform on a throwaway database, a business day played against it, and the proof after it."""

from __future__ import annotations


def main() -> int:
    """Play the day: 0 when everything balances; at a terminal the platform stays up until Ctrl-C."""
    from kessai.apps.demo.show import run  # keeps the command line quick for everybody else

    return run()
