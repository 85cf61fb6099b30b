"""What a participant finds wrong in its own rows, or in those of an outside party for which it answers. Pure."""

from __future__ import annotations

from kessai.sdk.processing.api import Difference, DifferenceKind


def contradiction(service: str, effect_id: str, text: str) -> Difference:
    """A service's own records of one effect that contradict each other, and how."""
    return Difference(dependency=service, kind=DifferenceKind.WITHIN, effect_id=effect_id, text=text)
