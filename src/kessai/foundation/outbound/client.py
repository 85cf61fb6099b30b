"""Calls to one destination: slots, circuit, time limits, the retry budget, and what an outcome means."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import httpx
import msgspec
import structlog

from kessai.foundation.call import current_call
from kessai.foundation.outbound.breaker import Breaker, BreakerState
from kessai.foundation.outbound.bulkhead import Bulkhead, BulkheadFull
from kessai.foundation.outbound.words import Answer, Destination, NotSent, OutboundCounts, Unanswered, unreadable

log = structlog.get_logger(__name__)

KEEP_ALIVE_S = 4.0
"""Shorter than servers keep idle connections, so that a call does not meet one that is just being closed."""
RETRY_DELAY_S_MAX = 1.0
THROTTLED = 429

_encode = msgspec.json.Encoder().encode
_LEAVES = "send_request_headers.started"
"""The transport's word (after the protocol's name) for the moment before the first byte goes out."""


class Outbound:
    """The way to one destination; one a process is enough, any number may call at the same time."""

    def __init__(self, destination: Destination, *, now: Callable[[], float] = time.monotonic) -> None:
        self.destination = destination
        self.counts = OutboundCounts()
        self._breaker = Breaker(
            window=destination.breaker_window,
            failures=destination.breaker_failures,
            open_s=destination.breaker_open_s,
            open_s_max=destination.breaker_open_s_max,
            now=now,
        )
        self._bulkhead = Bulkhead(
            slots=destination.concurrency_max,
            waiting_max=destination.waiting_max,
            waiting_s=destination.waiting_s,
        )
        self._retries = destination.retry_burst
        self._client = httpx.AsyncClient(
            base_url=destination.base_url,
            headers={"content-type": "application/json", **destination.headers},
            timeout=httpx.Timeout(None, connect=destination.connect_timeout_s),
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=destination.concurrency_max,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            trust_env=False,
        )

    @property
    def state(self) -> BreakerState:
        """The circuit's state."""
        return self._breaker.state

    @property
    def in_flight(self) -> int:
        """Slots in use."""
        return self._bulkhead.taken

    def require_open(self) -> None:
        """Raise NotSent `circuit_open` when a call would not even be tried: ask before writing anything down."""
        if not self._breaker.admits:
            raise self._not_sent("circuit_open", "is left alone for a while, for it has failed")

    async def call(
        self, method: str, path: str, body: object = None, *, safe: bool = False, timeout_s: float | None = None
    ) -> Answer:
        """What the destination says to one request, within `timeout_s` (and the current call's deadline).

        `body` is sent as JSON. Raises NotSent and Unanswered; a refusal (4xx) is an Answer.
        """
        until = self._until(timeout_s)
        content = None if body is None else _encode(body)
        self._retries = min(self.destination.retry_burst, self._retries + self.destination.retry_ratio)
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._once(method, path, content, until)
            except NotSent as error:
                self.counts.not_sent += 1
                if error.code != "destination_unreachable" or not await self._may_retry(attempt, until):
                    raise
            except Unanswered:
                self.counts.unanswered += 1
                if not safe or not await self._may_retry(attempt, until):
                    raise
            else:
                self.counts.refused += answer.refused
                self.counts.answered += not answer.refused
                return answer

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()

    # -- one attempt --------------------------------------------------------------------------------------------

    async def _once(self, method: str, path: str, content: bytes | None, until: float) -> Answer:
        self.require_open()
        try:
            async with self._bulkhead:
                if not self._breaker.enter():
                    self.require_open()
                    raise self._not_sent("circuit_open", "is being tried by another call")
                return await self._judged(method, path, content, until)
        except BulkheadFull:
            raise self._not_sent("destination_busy", "has as many calls under way as it may have") from None

    async def _judged(self, method: str, path: str, content: bytes | None, until: float) -> Answer:
        """One exchange, and what the breaker learns from it."""
        try:
            status, data = await self._exchange(method, path, content, until)
        except (NotSent, Unanswered):
            self._failed()
            raise
        except BaseException:
            self._breaker.gave_up()
            raise
        if status >= 500 or status == THROTTLED:
            self._failed()
        else:
            self._breaker.succeeded()
        return self._answer(status, data)

    async def _exchange(self, method: str, path: str, content: bytes | None, until: float) -> tuple[int, bytes]:
        sent = False

        async def watch(event: str, _: object) -> None:
            nonlocal sent
            sent |= event.endswith(_LEAVES)

        request = self._client.build_request(method, path, content=content, extensions={"trace": watch})
        try:
            async with asyncio.timeout_at(until):
                response = await self._client.send(request, stream=True)
                try:
                    return response.status_code, await self._read(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            if not sent:
                raise self._not_sent("destination_unreachable", "cannot be reached") from error
            name = self.destination.name
            raise Unanswered("no_answer", f"{name} gave no answer.", destination=name) from error

    async def _read(self, response: httpx.Response) -> bytes:
        """The whole body, up to the limit."""
        parts: list[bytes] = []
        size = 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > self.destination.answer_bytes_max:
                raise unreadable(self.destination.name, response.status_code)
            parts.append(part)
        return b"".join(parts)

    def _answer(self, status: int, data: bytes) -> Answer:
        name = self.destination.name
        if status == THROTTLED:
            raise Unanswered("destination_throttles", f"{name} asks for fewer calls.", destination=name, status=status)
        if status >= 500 or not (200 <= status < 300 or status >= 400):
            raise Unanswered("destination_failed", f"{name} failed with {status}.", destination=name, status=status)
        return Answer(name, status, data)

    def _failed(self) -> None:
        before = self._breaker.opened
        self._breaker.failed()
        if self._breaker.opened > before:
            self.counts.opened += 1
            log.warning("circuit_opened", destination=self.destination.name)

    # -- time and the budget ------------------------------------------------------------------------------------

    def _until(self, timeout_s: float | None) -> float:
        limit_s = self.destination.timeout_s if timeout_s is None else min(timeout_s, self.destination.timeout_s)
        until = asyncio.get_running_loop().time() + limit_s
        deadline = current_call().deadline
        return until if deadline is None else min(until, deadline)

    async def _may_retry(self, attempt: int, until: float) -> bool:
        """Take one repetition out of the budget and pause for it; False when there is none left, or no time."""
        pause_s = min(RETRY_DELAY_S_MAX, self.destination.retry_delay_s * 2 ** min(attempt - 1, 16))
        pause_s *= 0.5 + random.random()  # noqa: S311
        if self._retries < 1 or asyncio.get_running_loop().time() + pause_s >= until or not self._breaker.admits:
            return False
        self._retries -= 1
        self.counts.retried += 1
        await asyncio.sleep(pause_s)
        return True

    def _not_sent(self, code: str, why: str) -> NotSent:
        name = self.destination.name
        return NotSent(code, f"{name} {why}.", destination=name)
