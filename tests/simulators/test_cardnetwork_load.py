"""A load of taps is counted whole: every tap ends as approved, declined or given up."""

from __future__ import annotations

from datetime import UTC, datetime

from kessai.sdk.iso8583 import Message
from kessai.simulators.cardnetwork import CardNetworkSimulator, WireFault
from kessai.simulators.cardnetwork.load import Heard, at_rate, in_turns
from tests.simulators.issuer import issuer

NOW = datetime(2026, 4, 30, 3, 0, 0, tzinfo=UTC)


async def test_every_tap_of_a_load_is_accounted_for() -> None:
    network = CardNetworkSimulator(now=lambda: NOW, answer_within_s=5)
    cards = [each.reference for each in network.books.issuing.issue(4, NOW)]
    asked = 0

    def every_third_is_declined(_: Message) -> str:
        nonlocal asked
        asked += 1
        return "51" if asked % 3 == 0 else "00"

    async with issuer() as bank:
        bank.decide = every_third_is_declined
        await network.connect("127.0.0.1", bank.port, connections=2)
        network.terminals.answer_within_s = 0.5
        network.wire_faults.program(WireFault(do="drop", mti="0100"))
        heard = await at_rate(network, cards, rate=500, seconds=0.2)
        await network.settled()
        assert heard.taps == 100
        assert heard.given_up >= 1
        assert sum(heard.responses.values()) + heard.given_up == heard.taps
        assert heard.approved == sum(each.approved for each in network.books.authorizations.values())
        assert len({each.card for each in network.books.authorizations.values()}) == 4
        turns = await in_turns(network, cards, terminals=4, seconds=0.05)
        assert turns.taps == sum(turns.responses.values()) + turns.given_up >= 4
        await network.settled()
    await network.stop()


def test_quantiles_are_of_what_was_answered() -> None:
    heard = Heard(
        taps=101,
        seconds=2.0,
        approved=90,
        given_up=1,
        responses={"00": 90, "51": 10},
        latencies_ms=[float(each) for each in range(1, 101)],
    )
    assert (heard.quantile_ms(0.5), heard.quantile_ms(0.99), heard.quantile_ms(1)) == (50, 99, 100)
    assert heard.later_than(90) == 11
    assert heard.rate == 45
