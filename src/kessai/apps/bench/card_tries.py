"""The other load of `bench isolation`: card charges tried at a steady pace, whatever becomes of them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from uuid import uuid4

import httpx
import uvloop

from kessai.apps.bench.http_load import Target, merchant
from kessai.apps.bench.spawned import follow_orders

AMOUNT_MINOR = 100
ANSWER_TIMEOUT_S = 30.0
LINES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Try:
    """Try so many card charges a second, for `seconds`; none waits for another."""

    seconds: float
    a_second: int


def try_cards(target: Target, pipe: Pipe) -> None:
    """The child's main function: for `Spawned`. Answers are how often each state or error code was the answer."""
    uvloop.run(_work(target, pipe))


async def _work(target: Target, pipe: Pipe) -> None:
    headers = {"Authorization": f"Bearer {target.api_key}"}
    limits = httpx.Limits(max_connections=LINES_MAX, max_keepalive_connections=LINES_MAX)
    async with httpx.AsyncClient(
        base_url=target.url, headers=headers, timeout=ANSWER_TIMEOUT_S, limits=limits
    ) as client:
        await follow_orders(pipe, lambda order: _carry_out(client, target, order))


async def _carry_out(client: httpx.AsyncClient, target: Target, order: Try) -> Counter[str]:
    loop, started = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    cards, tries = itertools.cycle(target.cards), list[asyncio.Task[str]]()
    for number in range(int(order.seconds * order.a_second)):
        await asyncio.sleep(max(0.0, started + number / order.a_second - loop.time()))
        tries.append(asyncio.create_task(_try(client, *next(cards))))
    return Counter(await asyncio.gather(*tries))


async def _try(client: httpx.AsyncClient, owner: str, card_id: str) -> str:
    body = {
        "customer_id": owner,
        "merchant_id": merchant(0),
        "amount_minor": AMOUNT_MINOR,
        "sources": [{"source": "card", "instrument_id": card_id}],
    }
    try:
        answer = (await client.post("/v1/charges", json=body, headers={"Idempotency-Key": uuid4().hex})).json()
    except httpx.TransportError as error:
        return type(error).__name__
    return str(answer.get("state") or answer.get("code"))
