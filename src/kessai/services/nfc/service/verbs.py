"""The class that implements the nfc door: its verbs are the desks'."""

from __future__ import annotations

from kessai.foundation.clock import Clock
from kessai.foundation.config import load_toml
from kessai.foundation.db import Database
from kessai.foundation.vault import Vault
from kessai.services.nfc.domain.terms import CardTerms, read_card_terms
from kessai.services.nfc.gateways import CardIssuer, SmsSender, TokenService
from kessai.services.nfc.service.acting import Acts
from kessai.services.nfc.service.cards import CardDesk
from kessai.services.nfc.service.devices import DeviceWork, PhoneDevices
from kessai.services.nfc.service.numbers import Numbers
from kessai.services.nfc.store import phones
from kessai.services.nfc.store import vault as pans


class NfcService(CardDesk, PhoneDevices):
    """Implements the door `NfcCards`. Any number of processes may run one on the same database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        vault: Vault,
        *,
        issuer: CardIssuer,
        tokens: TokenService,
        sms: SmsSender,
        terms: CardTerms | None = None,
    ) -> None:
        """`terms`: an operator's own, in place of `config/nfc.toml`."""
        self._database = database
        self._clock = clock
        self._vault = vault
        self._issuer = issuer
        self._tokens = tokens
        self._sms = sms
        self._terms = read_card_terms(load_toml("kessai.config", "nfc.toml")) if terms is None else terms
        self._numbers = Numbers(database, vault, self._terms.lookup)
        self._acts = Acts(database, clock, vault, self._numbers)
        self._device_work = DeviceWork(database, clock, vault, self._acts, tokens, self._terms)

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Let the connections outside go."""
        for each in (self._issuer, self._tokens, self._sms):
            await each.close()

    # -- for jobs -------------------------------------------------------------------------------------------------

    async def settle_devices(self) -> int:
        """Inquire and go on with whatever the token service has not confirmed; gives with how many devices."""
        return await self._device_work.settle_all()

    async def hear_devices(self) -> int:
        """Take over what changed with the token service; gives how many devices that were."""
        return await self._device_work.hear_events()

    async def reseal(self) -> int:
        """Seal what lies under an old key of the vault anew, under the newest; gives how many values those were."""
        if not self._vault.configured:
            return 0
        return await pans.reseal(self._database, self._vault) + await phones.reseal(self._database, self._vault)
