"""The whole platform on a real server, in a thread and event loop of its own."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import requests
import uvicorn
import uvloop

from kessai.apps.outside import simulated
from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.vault import new_vault_key

START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Live:
    """Where the platform listens, and its first key."""

    url: str
    grpc_target: str
    secret: str


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_TIMEOUT_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def live_platform(database_url: str) -> Generator[Live]:
    """Serve the platform over a migrated database until the block ends."""
    loop = _Loop()
    live, close = loop.run(_open(database_url))
    try:
        yield live
    finally:
        loop.run(close())
        loop.close()


async def _open(database_url: str) -> tuple[Live, Callable[[], Coroutine[Any, Any, None]]]:
    outside = AsyncExitStack()
    folder = outside.enter_context(tempfile.TemporaryDirectory(prefix="kessai-live-"))
    settings = await outside.enter_async_context(
        simulated(Settings(sandbox=True, vault_keys=new_vault_key(), data=folder))
    )
    secret = await prepare(database_url, settings)
    assert secret is not None
    platform = Platform(database_url, settings, sandbox=True)
    await platform.open()
    grpc_server, grpc_port = platform.grpc(host="127.0.0.1", port=0)
    await grpc_server.start()
    config = uvicorn.Config(platform.rest(), port=0, log_level="critical", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())  # pyright: ignore[reportPrivateUsage] - without signals
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def close() -> None:
        server.should_exit = True
        await serving
        await grpc_server.stop(1)
        await platform.close()
        await outside.aclose()

    return Live(f"http://127.0.0.1:{port}", f"127.0.0.1:{grpc_port}", secret), close


def make_things(live: Live) -> dict[str, Any]:
    """A customer with money, a charge with a refund, keys: what exists, by the names that requests call it."""

    def post(path: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {live.secret}", "Idempotency-Key": uuid4().hex}
        answer = requests.post(live.url + path, json=body, headers=headers, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    customer, merchant = "cus:known", "mer:known"
    account = post("/v1/ledger/accounts", owner=customer, account_type="funds")
    post("/v1/ledger/accounts", owner="cus:other", account_type="funds")
    post("/v1/top-ups", customer_id=customer, source="bank_deposit", amount_minor=100_000)
    charge = post("/v1/charges", customer_id=customer, merchant_id=merchant, amount_minor=5_000, capture=True)
    charge_id = charge["payment_id"]
    refund = post(f"/v1/charges/{charge_id}/refunds", amount_minor=1)
    key = post("/v1/identity/keys", name="known", scopes=["ledger:read"])["key"]
    leg = {"amount_minor": 5, "asset": "JPY", "account_type": "funds"}
    sides = {"sources": [leg | {"owner": customer}], "targets": [leg | {"owner": "cus:other"}]}
    exchange = post("/v1/ledger/exchanges", **sides, capture=False)
    return {
        "account_id": account["account_id"],
        "account_type": "funds",
        "amount_minor": 7,
        "asset": "JPY",
        "charge_id": charge_id,
        "customer_id": customer,
        "exchange_id": exchange["exchange_id"],
        "key_id": key["key_id"],
        "merchant_id": merchant,
        "owner": customer,
        "payment_id": charge_id,
        "recipient_id": "cus:other",
        "refund_id": refund["refund_id"],
        "source": "bank_deposit",
        "sources": [leg | {"owner": customer}],
        "targets": [leg | {"owner": "cus:other"}],
    }
