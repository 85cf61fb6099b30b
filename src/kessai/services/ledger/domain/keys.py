"""Idempotency keys of requests whose effects stand under ids of their own, not under one derived from the key.

The id makes such a request idempotent; the key alone can tell that it came back with other content.
"""

from __future__ import annotations

from kessai.foundation.errors import KeyReused
from kessai.services.ledger.domain.commands import Asked
from kessai.services.ledger.domain.page import Page


def require_same_content(page: Page, asked: Asked | None) -> None:
    """Raises KeyReused when the key came with other content, earlier or on this page."""
    if is_reused(page, asked):
        raise KeyReused


def note_key(page: Page, asked: Asked | None) -> None:
    """Something is written for the request: from now on the key means it."""
    if asked is not None and asked.stored is None:
        page.keys[asked.key] = asked


def is_reused(page: Page, asked: Asked | None) -> bool:
    """Whether the key came with other content, earlier or on this page."""
    if asked is None:
        return False
    there = page.keys.get(asked.key)
    known = asked.stored or (None if there is None else there.digest)
    return known is not None and known != asked.digest
