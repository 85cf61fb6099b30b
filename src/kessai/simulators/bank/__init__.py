"""A bank: a real HTTP server with books of its own, that misbehaves when it is told to.

    simulator = BankSimulator(path=folder / "bank.jsonl", now=clock.now)
    await simulator.start()
    simulator.url                       # http://127.0.0.1:…, for the platform; `KEY` is its credential
    simulator.books.foresee(Fate(about="btr_…", state="returned", code="account_closed", after_s=3 * DAY_S))
    simulator.faults.program(Fault(verb="transfer", reply="drop"))
    simulator.books.statement()         # what it did to the platform's account, line by line
    await simulator.stop()

An order is taken (`processing`) and settled later, when business time has come to it; each settlement is an entry of a
feed that the client polls. Account numbers that begin with 9 have a fate of their own, see `MAGIC_NUMBERS`; any other
number is opened at its first check, under the name it was asked with.

Files (総合振込, 口座振替) come in over HTTP or by a drop folder (`BankSimulator(folder=…)`; `simulator.sweep()` looks
there now), and each of their lines has a life of its own: docs/services/bank_simulator.md.

    simulator.books.files.foresee_line(LineFate(customer_code="0000000007", state="returned", return_after_days=2))
    simulator.books.files.foresee_file(FileFate(after_s=60, ack="garbage"))
"""

from kessai.simulators.bank.books import MAGIC_NUMBERS, Books, Declined, Fate, FeedEntry, Order, StatementLine
from kessai.simulators.bank.filing import Filed, FiledLine, LineEntry
from kessai.simulators.bank.lines import FileFate, LineFate
from kessai.simulators.bank.simulator import KEY, BankSimulator

__all__ = [
    "KEY",
    "MAGIC_NUMBERS",
    "BankSimulator",
    "Books",
    "Declined",
    "Fate",
    "FeedEntry",
    "FileFate",
    "Filed",
    "FiledLine",
    "LineEntry",
    "LineFate",
    "Order",
    "StatementLine",
]
