"""How long is waited for whom outside, as data: `config/outside.toml`."""

from __future__ import annotations

import msgspec

from kessai.foundation.config import TomlDocument
from kessai.foundation.lease import LEASE_S
from kessai.services.bank.domain import Patience as BankPatience
from kessai.services.cardgateway.domain import Patience as CardPatience


class Patience(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    card_gateway: CardPatience = CardPatience()
    bank: BankPatience = BankPatience()


def read_patience(document: TomlDocument) -> Patience:
    """The waits of a file; ConfigError names the line of what is unknown or cannot be."""
    patience = document.convert((), Patience)
    cards, bank = patience.card_gateway, patience.bank
    if cards.abandon_after_s < LEASE_S:  # whoever takes a caller's work up may still come for it
        raise document.error(("card_gateway", "abandon_after_s"), f"is less than a lease of {LEASE_S:g} seconds")
    if cards.abandon_after_s <= cards.answer_s:
        raise document.error(("card_gateway", "abandon_after_s"), "is not above answer_s")
    if bank.idle_poll_s < bank.poll_s:
        raise document.error(("bank", "idle_poll_s"), "is below poll_s")
    if bank.converge_within_s <= bank.repair_after_s:
        raise document.error(("bank", "converge_within_s"), "is not above repair_after_s")
    return patience
