"""Whose hands API keys are in."""

from __future__ import annotations

from typing import Protocol

from kessai.services.identity.api import SharedHands, ShareHands


class Persons(Protocol):
    """Who knows which keys one person may hold; identity's door is one."""

    async def share_hands(self, request: ShareHands, /) -> SharedHands:
        """Which of some keys may be in the same hands as this one."""
        ...
