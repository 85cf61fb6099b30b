"""How long is waited for whom outside is configured, and what is in doubt is told on /metrics."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from kessai.apps.doubts import Doubts
from kessai.apps.patience import Patience, read_patience
from kessai.foundation.config import ConfigError, TomlDocument, load_toml
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.services.cardgateway.api import CaptureCard
from kessai.services.cardgateway.domain import Patience as CardPatience
from kessai.simulators.faults import Fault
from tests.bank.world import opened as bank_opened
from tests.cardgateway.world import hold
from tests.cardgateway.world import opened as cards_opened


def test_the_platforms_own_waits_are_the_documented_ones() -> None:
    assert read_patience(load_toml("kessai.config", "outside.toml")) == Patience()


def test_a_file_says_only_what_it_changes() -> None:
    patience = read_patience(TomlDocument("[bank]\npoll_s = 0.5\n", "mine.toml"))
    assert (patience.bank.poll_s, patience.bank.answer_s, patience.card_gateway) == (0.5, 5.0, CardPatience())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[card_gateway]\nanswer_s = 6\nanswers_s = 7\n", r"line 3: card_gateway.answers_s: unknown key"),
        ("[market]\nanswer_s = 6\n", r"line 1: market: unknown key"),
        ("[bank]\npoll_s = 0\n", r"line 2: bank.poll_s: expected `float` > 0"),
        ("[bank]\npoll_s = 20\nidle_poll_s = 10\n", r"line 3: bank.idle_poll_s: is below poll_s"),
        ("[bank]\nconverge_within_s = 30\n", r"line 2: bank.converge_within_s: is not above repair_after_s"),
        ("[card_gateway]\nabandon_after_s = 5\n", r"line 2: card_gateway.abandon_after_s: is less than a lease"),
        ("[card_gateway]\nanswer_s = 70\n", r"card_gateway.abandon_after_s: is not above answer_s"),
    ],
)
def test_a_wait_that_is_unknown_or_cannot_be_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_patience(TomlDocument(text, "mine.toml"))


async def test_what_is_in_doubt_and_for_how_long_is_told_on_metrics(database: Database) -> None:
    async with cards_opened(database) as cards, bank_opened(database) as bank:
        waits = CardPatience(answer_s=0.2, reach_s=0.4, abandon_after_s=3600, converge_within_s=3600)
        service = await cards.another_process(patience=waits)
        held = await service.authorize(hold(await cards.card(service)))
        doubts, registry = Doubts(service, bank.bank), CollectorRegistry()
        registry.register(doubts)
        await doubts.look()
        assert _told(registry) == {"cardgateway": 0, "bank": 0, "bank_files": 0}
        for verb in ("capture", "inquire"):
            cards.simulator.faults.program(Fault(verb=verb, reply="drop", times=0))
        bank.simulator.faults.program(Fault(verb="transfer", effect=False, reply="drop", times=0))
        bank.simulator.faults.program(Fault(verb="inquire", effect=False, reply="drop", times=0))
        with pytest.raises(PaymentError, match="card_outcome_unknown"):
            await service.capture(CaptureCard(authorization_id=held.authorization_id))
        await bank.transfer(await bank.account())
        bank.pass_days(1 / 24)
        async with asyncio.timeout(20):
            while doubts.latest["cardgateway"].instructions == 0:
                await doubts.look()
        assert _told(registry) == {"cardgateway": 1, "bank": 1, "bank_files": 0}
        assert doubts.latest["bank"].oldest_s == pytest.approx(3_600, abs=60)
        cards.simulator.faults.clear()


def _told(registry: CollectorRegistry) -> dict[str, int]:
    lines = generate_latest(registry).decode().splitlines()
    found = (line.split('"') for line in lines if line.startswith("kessai_outside_in_doubt{"))
    return {party: int(float(value.split()[-1])) for _, party, value in found}
