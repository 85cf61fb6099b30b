"""Cards for `bench nfc`: issued, imported and registered by the service's own verbs, so that every row can be proved.

The issuer, the sender of text messages and the token service are in this process: nothing of them is measured.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from kessai.apps.bench.mixes import Crowd, customer
from kessai.apps.bench.nfc_load import TestCard
from kessai.foundation.call import Call, enter_call
from kessai.foundation.clock import SystemClock
from kessai.foundation.config import load_toml
from kessai.foundation.db import Database
from kessai.foundation.ids import new_hex
from kessai.foundation.vault import Vault
from kessai.services.nfc.api import (
    Authentication,
    AuthenticationMethod,
    ImportCards,
    RegisterPrepaidCard,
    RequestCards,
    VerifyPhone,
)
from kessai.services.nfc.domain.terms import read_card_terms
from kessai.services.nfc.gateways import HttpTokens, Issuance
from kessai.services.nfc.gateways.clearing import HttpClearing
from kessai.services.nfc.service import NfcService
from kessai.simulators.cardnetwork import CardNetworkSimulator

AT_ONCE = 8
"""Customers who register at the same time."""
LIMITS = {"day_minor": 100_000_000, "month_minor": 100_000_000, "day_count": 10_000, "count": 100}
"""What a load does not meet: of days, of months, and of the minutes that velocity is about."""
_CODE = re.compile(r"[0-9]{6}")


def unlimited_rules(folder: Path) -> Path:
    """The platform's rules, with limits of days, months and velocity that a load does not meet; in a file."""
    text = resources.files("kessai.config").joinpath("nfc_authorization.toml").read_text(encoding="utf-8")
    file = folder / "nfc_authorization.toml"
    for name, limit in LIMITS.items():
        text = re.sub(rf"^{name} = [0-9_]+", f"{name} = {limit}", text, flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")
    return file


async def give_cards(dsn: str, vault: Vault, crowd: Crowd) -> list[TestCard]:
    """Give every customer of a crowd a card."""
    database, network, inbox = Database(dsn), CardNetworkSimulator(), _Inbox()
    payment: Any = None  # nothing is paid here
    terms = read_card_terms(load_toml("kessai.config", "nfc.toml"))
    service = NfcService(
        database,
        SystemClock(),
        vault,
        issuer=_Issuer(network),
        tokens=HttpTokens(None),
        sms=inbox,
        network=HttpClearing(None),
        payment=payment,
        terms=replace(terms, pool=msgspec.structs.replace(terms.pool, low_water=0)),
    )
    try:
        batch = await _asked(service.request_cards, RequestCards(count=crowd.count))
        await _asked(service.import_cards, ImportCards(batch_id=batch.batch_id))
        left = iter(range(crowd.first, crowd.first + crowd.count))
        await asyncio.gather(*(_register(service, inbox, left) for _ in range(AT_ONCE)))
    finally:
        await service.close()
        await database.close()
    issuing = network.books.issuing
    return [TestCard(issuing.pan_of(card), card.expiry) for card in issuing.cards.values()]


async def _register(service: NfcService, inbox: _Inbox, left: Iterator[int]) -> None:
    for number in left:
        vouched = Authentication(method=AuthenticationMethod.BIOMETRIC, authenticated_at=datetime.now(UTC))
        phone = f"+8190{number:08d}"
        wanted = RegisterPrepaidCard(customer_id=customer(number), phone_number=phone, authentication=vouched)
        card = await _asked(service.register_prepaid_card, wanted)
        await _asked(service.verify_phone, VerifyPhone(card_id=card.card_id, code=inbox.codes.pop(phone)))


async def _asked(verb: Any, request: Any) -> Any:
    """Each request has a key of its own."""
    enter_call(Call(caller="bench", request_key=new_hex()))
    return await verb(request)


class _Issuer:
    """The simulated issuer, without a line to it."""

    def __init__(self, network: CardNetworkSimulator) -> None:
        self._desk = network.books.issuing

    @property
    def configured(self) -> bool:
        return True

    async def send(self, file_id: str, content: bytes, now: datetime) -> Issuance:
        self._desk.take(file_id, content, now)
        return Issuance(state="issued")

    async def find(self, file_id: str, now: datetime) -> Issuance | None:
        del now
        return Issuance(state="issued") if file_id in self._desk.files else None

    async def issued(self, file_id: str, now: datetime) -> bytes | None:
        return self._desk.issued_file(file_id, now)

    async def lying(self) -> Sequence[str]:
        return ()

    async def remove(self, file_id: str) -> None:
        del file_id

    async def close(self) -> None:
        """Nothing is open."""


class _Inbox:
    """Everybody's text messages."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}
        """The code that a number was sent last."""

    async def send(self, message_id: str, number: str, text: str) -> bool:
        del message_id
        found = _CODE.search(text)
        assert found is not None
        self.codes[number] = found[0]
        return True

    async def was_taken(self, message_id: str) -> bool:
        del message_id
        return True

    async def close(self) -> None:
        """Nothing is open."""
