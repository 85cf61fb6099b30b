"""A card network's processor: it issues cards, connects to our authorization server as a client, and clears.

    simulator = CardNetworkSimulator(path=folder / "cardnetwork.jsonl", now=clock.now)
    await simulator.start()
    simulator.url                                   # http://127.0.0.1:…, for the platform; `KEY` is its credential
    (card,) = simulator.books.issuing.issue(1, clock.now())
    await simulator.connect("127.0.0.1", port)      # signs on; connections come back by themselves
    told = await simulator.tap(Tap(card=card.reference, amount=1_200))
    told.approved, told.response, told.state
    await simulator.reverse(told.id, 200)           # a part of it
    simulator.wire_faults.program(WireFault(on="answer", do="drop"))
    await simulator.settled()                       # no reversal is waiting for its answer
    simulator.books.clearing.close(day)             # a clearing file
    await simulator.stop()

Its own books say what it believes was approved, reversed and cleared; no card's number is in them. Files, routes and
faults: docs/services/cardnetwork_simulator.md.
"""

from kessai.simulators.cardnetwork.books import Books
from kessai.simulators.cardnetwork.records import (
    Authorization,
    Card,
    ClearingFate,
    ClearingLine,
    Declined,
    Device,
    DeviceBody,
    IssueFate,
    Reversal,
    Tap,
)
from kessai.simulators.cardnetwork.simulator import KEY, CardNetworkSimulator
from kessai.simulators.cardnetwork.wire_faults import Fault as WireFault

__all__ = [
    "KEY",
    "Authorization",
    "Books",
    "Card",
    "CardNetworkSimulator",
    "ClearingFate",
    "ClearingLine",
    "Declined",
    "Device",
    "DeviceBody",
    "IssueFate",
    "Reversal",
    "Tap",
    "WireFault",
]
