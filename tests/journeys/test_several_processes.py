"""The same stories against two `kessai up --workers 2` on one database: each request may meet any of the four."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from kessai.apps.bench.program import PlatformProcess, first_finding
from tests.journeys import test_business_day as stories
from tests.journeys.shopfront import Shopfront

SHOWN_MAX = 4_000
STORIES: dict[str, Callable[[Shopfront], Awaitable[None]]] = {
    "business-day": stories.test_a_business_day_ends_with_every_yen_accounted_for,
    "repetition": stories.test_a_client_that_repeats_itself_pays_once,
    "impatience": stories.test_an_impatient_client_is_told_that_the_request_is_in_progress,
    "pages": stories.test_a_customers_payments_can_be_paged_through,
}
"""All but those that move the sandbox's clock, which processes follow by and by."""


class Alternating(httpx.AsyncBaseTransport):
    """Sends requests to the platforms in turn, each over a connection of its own: any of its workers may take it."""

    def __init__(self, urls: list[str]) -> None:
        self._turns = itertools.cycle(httpx.URL(url) for url in urls)
        self._limits = httpx.Limits(max_keepalive_connections=0)
        self._transport = httpx.AsyncHTTPTransport(limits=self._limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The next platform's answer."""
        there = next(self._turns)
        request.url = request.url.copy_with(scheme=there.scheme, host=there.host, port=there.port)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Hang up."""
        await self._transport.aclose()


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shopfront]:
    """A product service whose requests go to four serving processes."""
    options = ("--database-url", database_url, "--workers", "2")
    first, second = PlatformProcess(*options), PlatformProcess(*options)
    try:
        await first.start()
        await second.start()
        headers = {"Authorization": f"Bearer {first.api_key}"}
        transport = Alternating([first.url, second.url])
        async with httpx.AsyncClient(transport=transport, base_url=first.url, headers=headers, timeout=60) as client:
            yield Shopfront(client)
        await first.stop()
        await second.stop()
    finally:
        for each in (first, second):
            await each.kill()
            print(each.output()[-SHOWN_MAX:])
            await each.close()


@pytest.mark.parametrize("story", STORIES)
async def test_story_is_the_same_whichever_process_answers(shop: Shopfront, database_url: str, story: str) -> None:
    await STORIES[story](shop)
    assert await first_finding(database_url) is None
