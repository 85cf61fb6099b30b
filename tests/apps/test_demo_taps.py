"""The taps that `kessai demo` shows, against a running platform: every answer, the cleared day, and no difference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from kessai.apps.demo.client import Client
from kessai.apps.demo.parties import SmsInbox, Terminals
from kessai.apps.demo.taps import JIRO, MONEY, Taps
from kessai.apps.outside import running
from kessai.foundation.config import Settings
from tests.apps.operator import KESSAI, TIMEOUT_S, StartUp


@pytest.fixture
def data(folder: Path) -> Path:
    """The platform's data."""
    return folder / "data"


@pytest.fixture
async def taps(data: Path, start_up: StartUp) -> AsyncIterator[Taps]:
    """The script, against a running platform."""
    up = await start_up("--data", str(data))
    assert up.key is not None
    parties = running(Settings(data=str(data)))
    client = Client(up.url, up.key)
    yield Taps(client, Terminals(str(parties.card_network_url)), SmsInbox(str(parties.sms_url)))
    client.close()


async def test_the_demonstrated_taps_are_cleared_without_a_difference(taps: Taps, data: Path) -> None:
    console = Console(file=StringIO(), width=118)
    await asyncio.to_thread(taps.play)
    agrees = await asyncio.to_thread(taps.show, console)
    file = console.file
    assert isinstance(file, StringIO)
    assert agrees, file.getvalue()
    found = await asyncio.to_thread(taps.authorizations)
    assert [(each["state"], each["category"], each["response"], each["amount_minor"]) for each in found] == [
        ("CLEARED", "contactless", "00", 1_200),
        ("DECLINED", "contactless", "51", 90_000),
        ("CLEARED", "in_app", "00", 640),
        ("REVERSED", "contactless", "00", 800),
        ("REVERSED", "contactless", "00", 1_500),
    ]
    assert await asyncio.to_thread(taps.diary.balance, JIRO, "funds") == MONEY - 1_840
    for command in (("verify",), ("trace", "prove", "--all")):
        process = await asyncio.create_subprocess_exec(
            *(*KESSAI, *command, "--data", str(data)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(TIMEOUT_S):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
    page = await asyncio.to_thread(taps.client.get, "/v1/nfc/clearing-findings?state=OPEN")
    assert page["findings"] == []


async def test_a_demonstration_that_meets_another_answer_ends_with_a_sentence(taps: Taps) -> None:
    await asyncio.to_thread(taps.get_card)
    lock = f"/v1/nfc/cards/{taps.card['card_id']}/lock"
    await asyncio.to_thread(taps.client.post, lock, {"reason": "lost", "note": "left on a train"})
    with pytest.raises(SystemExit, match="00 was expected, the terminal shows 41"):
        await asyncio.to_thread(taps.tap)
