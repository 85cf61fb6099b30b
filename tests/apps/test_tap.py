"""`kessai tap` shows what the terminal shows, and ends with whether the tap was approved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kessai.apps import tap
from kessai.foundation.errors import OperatorError
from kessai.simulators.cardnetwork import CardNetworkSimulator
from tests.simulators.issuer import issuer

NOW = datetime(2026, 4, 30, 3, 0, 0, tzinfo=UTC)
WORDS = ["--card", "c000000000000001", "--amount", "1200"]


@pytest.fixture
async def network() -> AsyncIterator[CardNetworkSimulator]:
    simulator = CardNetworkSimulator(now=lambda: NOW, answer_within_s=20)
    simulator.books.issuing.issue(1, NOW)
    await simulator.start()
    yield simulator
    await simulator.stop()


async def test_a_tap_shows_what_became_of_it(
    network: CardNetworkSimulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tap.URL_VARIABLE, network.url)
    async with issuer() as bank:
        await network.connect("127.0.0.1", bank.port)
        assert await asyncio.to_thread(tap.main, WORDS) == 0
        assert "A1B2C3" in capsys.readouterr().out
        bank.decide = lambda _: "51"
        assert await asyncio.to_thread(tap.main, [*WORDS, "--entry", "in_app"]) == 1
        assert "declined" in capsys.readouterr().out
        with pytest.raises(OperatorError, match="card_not_found"):
            await asyncio.to_thread(tap.main, ["--card", "c9", "--amount", "1"])
        await network.disconnect()


def test_a_tap_without_a_network_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(tap.URL_VARIABLE, raising=False)
    with pytest.raises(OperatorError, match="No card network is known"):
        tap.main([*WORDS, "--data", str(tmp_path)])
    with pytest.raises(OperatorError, match="cannot be reached"):
        tap.main([*WORDS, "--url", "http://127.0.0.1:1"])


async def test_what_is_no_simulated_network_is_one_sentence(network: CardNetworkSimulator) -> None:
    with pytest.raises(OperatorError, match="is no simulated card network"):
        await asyncio.to_thread(tap.main, [*WORDS, "--url", f"{network.url}/nowhere"])
