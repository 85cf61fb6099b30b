"""A card gateway: a real HTTP server with books of its own, that misbehaves when it is told to.

    simulator = CardGatewaySimulator(path=folder / "cardgateway.jsonl")
    await simulator.start()
    simulator.url                       # http://127.0.0.1:…, for the platform; `key` is its credential
    simulator.faults.program(Fault(verb="authorize", reply="drop"))
    simulator.books.authorizations      # what it believes
    await simulator.stop()

docs/simulators.md tells its routes, magic values and faults.
"""

from kessai.simulators.cardgateway.books import Authorization, Books, Declined, Operation
from kessai.simulators.cardgateway.simulator import KEY, CardGatewaySimulator

__all__ = ["KEY", "Authorization", "Books", "CardGatewaySimulator", "Declined", "Operation"]
