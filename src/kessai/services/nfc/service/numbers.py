"""Whose a card number is: what the authorization server asks of every message, in process only."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

from kessai.foundation.db import Database
from kessai.foundation.vault import Vault
from kessai.sdk.iso8583 import Pan
from kessai.services.nfc.api import NumberStanding
from kessai.services.nfc.domain.terms import LookupTerms
from kessai.services.nfc.store import vault as pans


class Numbers:
    """Looks numbers up, and remembers their standing for a moment.

    What this process changes it forgets at once; what another one changes is seen `kept_ms` later at most. Memory is by
    the number's HMAC: no number is held.
    """

    def __init__(self, database: Database, vault: Vault, terms: LookupTerms) -> None:
        self._database = database
        self._vault = vault
        self._terms = terms
        self._known: OrderedDict[bytes, tuple[float, NumberStanding]] = OrderedDict()
        self._of_card: defaultdict[str, set[bytes]] = defaultdict(set)
        self._changes = 0

    async def card_of(self, pan: Pan) -> NumberStanding | None:
        """Whose a number is; None when the vault does not have it."""
        return (await self.cards_of([pan]))[0]

    async def cards_of(self, numbers: Sequence[Pan]) -> list[NumberStanding | None]:
        """Whose each number is, in one statement for all that are not remembered."""
        marks = [pans.marks_of(self._vault, each) for each in numbers]
        found = [self._remembered(each[0]) for each in marks]
        missing = [index for index, each in enumerate(found) if each is None]
        if not missing:
            return found
        changes = self._changes
        told = await pans.numbers_of(self._database, [mark for index in missing for mark in marks[index]])
        for index in missing:
            found[index] = next((told[mark] for mark in marks[index] if mark in told), None)
            if (standing := found[index]) is not None and changes == self._changes:
                self._remember(marks[index][0], standing)
        return found

    def forget(self, card_id: str) -> None:
        """A card changed: its numbers are looked up anew."""
        self._changes += 1
        for mark in self._of_card.pop(f"vpc_{card_id}", ()):
            self._known.pop(mark, None)

    def _remembered(self, mark: bytes) -> NumberStanding | None:
        since, standing = self._known.get(mark, (0.0, None))
        if standing is None or (time.monotonic() - since) * 1000 >= self._terms.kept_ms:
            return None
        return standing

    def _remember(self, mark: bytes, standing: NumberStanding) -> None:
        if standing.card_id is None:
            return
        self._known[mark] = (time.monotonic(), standing)
        self._known.move_to_end(mark)
        self._of_card[standing.card_id].add(mark)
        while len(self._known) > self._terms.kept_max:
            oldest, (_, gone) = self._known.popitem(last=False)
            marks = self._of_card[gone.card_id or ""]
            marks.discard(oldest)
            if not marks:
                del self._of_card[gone.card_id or ""]
