"""A business day (営業日) played from outside: `python -m kessai.apps.demo.day URL`, the API key in KESSAI_API_KEY.

A separate process that knows the platform only through its public HTTP API, and of the simulated parties (CARDS_URL,
BANK_URL) only how to make them misbehave and what their statements say. It keeps its own account of what it was told,
and ends by comparing it with the ledger's, and the ledger's with theirs. Last comes what the tracer says of each
processing; of one the card company was made to keep a hold that it said it had let go of. Then the day is closed in the
books: its sheets are printed, written to BOOKS_FOLDER for signature, and reconciled with everybody.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from kessai.apps.demo.client import Client
from kessai.apps.demo.closing import close_day, today
from kessai.apps.demo.diary import Diary
from kessai.apps.demo.inside import Inside
from kessai.apps.demo.outside import Outside
from kessai.apps.demo.parties import BankCounter, CardCompany
from kessai.apps.demo.verdicts import show_verdicts

WIDTH = 118
"""Of the tables, where no terminal says how wide it is."""


def play(client: Client, cards: CardCompany) -> Diary:
    """The whole day; gives what was written down of it. Ends the process when something is not as it must be."""
    diary = Diary(client)
    inside, outside = Inside(diary), Outside(diary, cards)
    inside.morning()
    outside.morning()
    inside.noon()
    outside.noon()
    inside.afternoon()
    outside.afternoon()
    inside.night()
    outside.night()
    return diary


def main() -> int:
    """Play the day; 0 when our account, the ledger's and the parties' agree and everything adds up to zero."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    cards, bank = CardCompany(os.environ["CARDS_URL"]), BankCounter(os.environ["BANK_URL"])
    client = Client(sys.argv[1], os.environ["KESSAI_API_KEY"])
    began = today(client)
    diary = play(client, cards)
    console.print(diary.table)
    agrees = diary.compare(console)
    agrees &= diary.compare_outside(console, cards.taken, bank.received)
    balances = diary.totals(console)
    proved = show_verdicts(diary, console, broken=diary.payments["kept hold"])
    closed = close_day(diary, console, Path(os.environ["BOOKS_FOLDER"]), since=began)
    return 0 if agrees and balances and proved and closed else 1


if __name__ == "__main__":
    sys.exit(main())
