"""The composition root: what the operator set arrives where it takes effect."""

# grpcio ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false

from __future__ import annotations

import asyncio

import grpc
import httpx
import pytest

from kessai.apps.wiring import Platform, prepare
from kessai.foundation.call import current_call
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound
from kessai.services.payment.api import GetPayment, PaymentRecord

TIMEOUT_S = 7.0
PAYMENT_ID = "pay_" + "0" * 32


async def test_a_request_that_names_no_deadline_has_that_of_the_settings_at_both_doors(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(request_timeout_ms=int(TIMEOUT_S * 1000))
    secret = await prepare(database_url, settings)
    platform = Platform(database_url, settings)
    left_s: list[float] = []

    async def tell_deadline(_: GetPayment, /) -> PaymentRecord:
        deadline = current_call().deadline
        assert deadline is not None
        left_s.append(deadline - asyncio.get_running_loop().time())
        raise NotFound("payment_not_found", "There is no such payment.")

    monkeypatch.setattr(platform.payment, "get_payment", tell_deadline)
    await platform.open()
    server, port = platform.grpc(host="127.0.0.1", port=0)
    await server.start()
    try:
        key = f"Bearer {secret}"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(platform.rest()), base_url="http://kessai") as rest:
            answer = await rest.get(f"/v1/payments/{PAYMENT_ID}", headers={"authorization": key})
        assert answer.json()["code"] == "payment_not_found"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/kessai.payment.v1.Payment/GetPayment")(
                    b"\n" + bytes([len(PAYMENT_ID)]) + PAYMENT_ID.encode(), metadata=(("authorization", key),)
                )
    finally:
        await server.stop(None)
        await platform.close()
    assert len(left_s) == 2
    assert all(left <= TIMEOUT_S for left in left_s)


async def test_database_that_only_reads_is_told_as_unavailable_until_it_writes_again(database_url: str) -> None:
    secret = await prepare(database_url, Settings())
    platform = Platform(database_url, Settings())
    await platform.open()
    headers = {"authorization": f"Bearer {secret}"}
    request = {"owner": "customer:1", "account_type": "funds"}
    operator = await Database(database_url).connect(None)
    name = await operator.fetchval("SELECT current_database()")

    async def turn(change: str) -> None:
        """As a failover does: every connection is cut, and the next ones meet another server."""
        await operator.execute(f'ALTER DATABASE "{name}" {change}')
        await operator.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(platform.rest()), base_url="http://kessai", headers=headers
        ) as rest:
            await turn("SET default_transaction_read_only = on")
            for _ in range(3):
                refused = await rest.post("/v1/ledger/accounts", json=request)
                assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
            ready = await rest.get("/readyz")
            assert (ready.status_code, ready.json()["reason"]) == (503, "the database takes no writes")
            await turn("RESET default_transaction_read_only")
            async with asyncio.timeout(60):
                while (await rest.post("/v1/ledger/accounts", json=request)).status_code != 201:
                    await asyncio.sleep(0.1)
            while (await rest.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
    finally:
        await operator.close()
        await platform.close()
