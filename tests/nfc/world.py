"""A small world for tests of cards: the real service, the simulated card network and the simulated SMS sender."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import SandboxClock
from kessai.foundation.config import load_toml
from kessai.foundation.db import Database
from kessai.foundation.ids import new_hex
from kessai.foundation.outbound import Destination
from kessai.foundation.vault import Vault, new_vault_key, read_vault_keys
from kessai.sdk.iso8583 import Pan
from kessai.services.nfc.api import (
    AndroidWallet,
    AppleWallet,
    Authentication,
    AuthenticationMethod,
    BatchState,
    Device,
    IssueBatch,
    LockCard,
    LockReason,
    PrepaidCard,
    ProvisionDevice,
    RegisterPrepaidCard,
    RequestCards,
    VerifyPhone,
)
from kessai.services.nfc.domain.terms import CardTerms, read_card_terms
from kessai.services.nfc.gateways import (
    CardIssuer,
    HttpIssuer,
    HttpSms,
    HttpTokens,
    files_destination,
    network_destination,
    sms_destination,
)
from kessai.services.nfc.gateways.clearing import HttpClearing
from kessai.services.nfc.service import NfcService
from kessai.services.payment.api import Payment
from kessai.simulators.cardnetwork import KEY as NETWORK_KEY
from kessai.simulators.cardnetwork import CardNetworkSimulator
from kessai.simulators.sms import KEY as SMS_KEY
from kessai.simulators.sms import SmsSimulator

PHONE = "+819012345678"
APPLE = AppleWallet(certificates=["bGVhZg==", "cm9vdA=="], nonce="bm9uY2U=", nonce_signature="c2lnbmF0dXJl")
ANDROID = AndroidWallet(client_wallet_account_id="YWNjb3VudA==", stable_hardware_id="aGFyZHdhcmU=")


class World:
    """The service and whom it speaks to."""

    def __init__(self, database: Database, clock: SandboxClock) -> None:
        self.database = database
        self.clock = clock
        self.keys = [new_vault_key()]
        self.network = CardNetworkSimulator(now=clock.now)
        self.sms = SmsSimulator(now=clock.now)
        self.terms = read_card_terms(load_toml("kessai.config", "nfc.toml"))
        self._services: list[NfcService] = []

    async def start(self) -> None:
        """The parties outside are there."""
        await self.network.start()
        await self.sms.start()
        self.service = self.another_process()

    async def stop(self) -> None:
        """Everybody goes."""
        for each in self._services:
            await each.close()
        await self.network.stop()
        await self.sms.stop()

    @property
    def vault(self) -> Vault:
        """A vault with the world's keys."""
        return Vault(read_vault_keys(",".join(self.keys)))

    def another_process(self, *, terms: CardTerms | None = None, issuer: CardIssuer | None = None) -> NfcService:
        """A service that shares nothing with the others but the database and whom it speaks to."""
        network = _patient(network_destination(self.network.url, NETWORK_KEY))
        made = NfcService(
            self.database,
            self.clock,
            self.vault,
            issuer=issuer or HttpIssuer(files_destination(network)),
            tokens=HttpTokens(network),
            sms=HttpSms(_patient(sms_destination(self.sms.url, SMS_KEY))),
            network=HttpClearing(files_destination(network)),
            payment=cast("Payment", None),  # nothing is paid in these tests
            terms=terms or self.terms,
        )
        self._services.append(made)
        return made

    # -- what a story is made of ----------------------------------------------------------------------------------

    def authentication(self) -> Authentication:
        """The customer was authenticated just now."""
        return Authentication(method=AuthenticationMethod.BIOMETRIC, authenticated_at=self.clock.now())

    async def fill(self, count: int = 5) -> IssueBatch:
        """Have a batch of cards issued and imported."""
        batch = await self.service.request_cards(RequestCards(count=count))
        assert batch.state is BatchState.IMPORTED, batch
        return batch

    async def registered(self, customer_id: str = "cus:anna", phone: str = PHONE) -> PrepaidCard:
        """A card whose phone is not verified yet."""
        request = RegisterPrepaidCard(customer_id=customer_id, phone_number=phone, authentication=self.authentication())
        return await self.service.register_prepaid_card(request)

    def code(self, phone: str = PHONE) -> str:
        """The code that came last."""
        found = re.search(r"\d{6}", self.sms.inbox.to(phone)[-1].text)
        assert found
        return found[0]

    def wrong_code(self, phone: str = PHONE) -> str:
        """Another one."""
        return f"{(int(self.code(phone)) + 1) % 10**6:06d}"

    async def card(self, customer_id: str = "cus:anna", phone: str = PHONE) -> PrepaidCard:
        """A customer's active card."""
        card = await self.registered(customer_id, phone)
        return await self.service.verify_phone(VerifyPhone(card_id=card.card_id, code=self.code(phone)))

    async def locked(self, card: PrepaidCard, reason: LockReason = LockReason.CUSTOMER) -> PrepaidCard:
        """A card that is locked."""
        return await self.service.lock_card(LockCard(card_id=card.card_id, reason=reason, note="asked for"))

    async def provisioned(self, card: PrepaidCard, **wallet: Any) -> Device:
        """A device that was asked for."""
        request = ProvisionDevice(
            card_id=card.card_id, authentication=self.authentication(), **(wallet or {"apple": APPLE})
        )
        return await self.service.provision_device(request)

    def pan_of(self, reference: str) -> Pan:
        """A card's number, which the simulator alone can tell."""
        issuing = self.network.books.issuing
        return Pan(issuing.pan_of(issuing.cards[reference]))

    def pans(self) -> list[Pan]:
        """Every number that the network ever made, of cards and of devices."""
        books = self.network.books
        cards = [Pan(books.issuing.pan_of(each)) for each in books.issuing.cards.values()]
        return cards + [Pan(books.devices.pan_of(each)) for each in books.devices.devices.values()]

    async def pan(self, card: PrepaidCard) -> Pan:
        """The number of a customer's card."""
        rows = await self.database.fetch(None, "SELECT reference FROM nfc.card WHERE card_id = $1", card.card_id[4:])
        return self.pan_of(rows[0]["reference"])

    def pass_time(self, **by: float) -> datetime:
        """Let business time go by; gives the instant that it is then."""
        self.clock.advance(timedelta(**by))
        return self.clock.now()


def _patient(destination: Destination | None) -> Destination:
    """A party that is waited for: what a machine under load has not done yet is not what these tests are about."""
    assert destination is not None
    return replace(destination, timeout_s=60.0, connect_timeout_s=60.0)


@contextmanager
def calling(key: str | None = None, caller: str = "key_" + "1" * 32) -> Generator[Call]:
    """Call as an app does, under an idempotency key."""
    call = Call(caller=caller, request_key=key or new_hex())
    token = enter_call(call)
    try:
        yield call
    finally:
        leave_call(token)
