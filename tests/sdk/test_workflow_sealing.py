"""The hook for encryption: nothing that a workflow is about is in the clear in any table."""

from __future__ import annotations

import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kessai.foundation.errors import Refused
from kessai.sdk.workflow import Engine, Queue
from kessai.sdk.workflow.testing import crashes_everywhere
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import Verdict, approval, long_errand, parent, tally
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import opener, told

SECRET = "Sakura-Saku"
TABLES = ("open", "log", "done", "inbox", "answer", "heartbeat", "queued", "stuck")


class AesGcm:
    """A codec as a service would bring it."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(128))

    def seal(self, data: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, data, None)

    def open(self, data: bytes) -> bytes:
        return self._cipher.decrypt(data[:12], data[12:], None)


async def _everything(engines: Engines) -> str:
    texts: list[str] = []
    for table in TABLES:
        texts += [text for (text,) in await rows(engines.database, f"SELECT t::text FROM shop.workflow_{table} AS t")]
    return "".join(texts)


async def test_payloads_are_sealed_in_every_table_and_read_back(engines: Engines) -> None:
    engine = await engines.open(codec=AesGcm(), queues=[Queue(name="q")])
    order = Order(order_id=SECRET, amount=2)
    handle = await engine.start(approval, order, workflow_id="w1")
    await engine.signal("w1", "verdict", Verdict(accepted=False, by=SECRET))
    with pytest.raises(Refused) as caught:
        await handle.result()
    assert caught.value.details == {"by": SECRET}
    await engine.start(tally, order, workflow_id="w2")
    assert await engine.update("w2", "add", 2, int, update_id="u1") == 2
    assert await (await engine.enqueue("q", long_errand, order, workflow_id="w3")).result() == 0
    again = await engine.start(approval, order, workflow_id="w1")
    with pytest.raises(Refused, match="declined"):
        await again.result()
    everything = await _everything(engines)
    assert SECRET.encode().hex() not in everything
    assert b'{"$sealed"'.hex() in everything


async def test_sealed_workflows_that_crash_anywhere_come_to_the_same_end(engines: Engines) -> None:
    codec = AesGcm()

    async def scenario(engine: Engine[World], name: str) -> object:
        return await told(engine, parent, Order(order_id=SECRET), name)

    async for outcome in crashes_everywhere(opener(engines, codec=codec), scenario):
        assert outcome.result == [2, 3], outcome
    assert SECRET.encode().hex() not in await _everything(engines)


async def test_without_the_key_a_workflow_is_parked_and_nothing_is_lost(engines: Engines) -> None:
    codec = AesGcm()
    first = await engines.open(codec=codec)
    await first.start(approval, Order(order_id=SECRET), workflow_id="w1")
    await first.crash()
    second = await engines.open()
    await eventually(second.parked)
    assert "cannot be read: the payload is encrypted" in (await second.parked())[0].error
    await second.close()
    third = await engines.open(codec=codec)
    await third.operator.retry("w1", who="taro", why="the key is back")
    await third.signal("w1", "verdict", Verdict(accepted=True, by="hanako"))
    assert await told(third, approval, Order(order_id=SECRET), "w1") == "hanako"
    with pytest.raises(InvalidTag):
        AesGcm().open(codec.seal(b"x"))
