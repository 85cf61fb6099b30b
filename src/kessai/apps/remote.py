"""Another team's service as a dependency: its record of what it did, asked for over gRPC."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from kessai.foundation.door import grpc_client
from kessai.foundation.errors import Unavailable
from kessai.sdk.processing.api import EffectsPage, ListEffects, Processing

ANSWER_S = 10.0
"""How long it has for one page."""


class RemoteEffects:
    """Connects when it is first asked; what it does not answer in time is asked again by whoever asks."""

    def __init__(self, name: str, address: str, api_key: str) -> None:
        self._name = name
        self._address = address
        self._api_key = api_key
        self._client: Processing | None = None

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The service's own record of what it did in these processings."""
        if self._client is None:
            self._client = grpc_client(Processing, self._address, self._api_key)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._client.list_effects(request)
        except TimeoutError as error:
            raise Unavailable("no_answer", f"{self._name} gave no answer.") from error

    async def close(self) -> None:
        """Let the connection go."""
        if self._client is not None:
            await cast("Any", self._client).aclose()
