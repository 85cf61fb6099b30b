"""The class that implements the nfc door: its verbs are the desks'."""

from __future__ import annotations

from typing import Any

from kessai.foundation.clock import Clock
from kessai.foundation.config import load_toml
from kessai.foundation.db import Database
from kessai.foundation.lease import LEASE_S
from kessai.foundation.vault import Vault
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.sdk.workflow import Engine
from kessai.services.nfc.domain.clearing_terms import ClearingTerms
from kessai.services.nfc.domain.rules import AuthorizationRules
from kessai.services.nfc.domain.terms import CardTerms, read_card_terms
from kessai.services.nfc.effects import AuthorizationEffects
from kessai.services.nfc.gateways import CardIssuer, SmsSender, TokenService
from kessai.services.nfc.gateways.clearing import ClearingNetwork
from kessai.services.nfc.service.acting import Acts
from kessai.services.nfc.service.answers import AuthorizationLookups
from kessai.services.nfc.service.authorize import AuthorizationDesk
from kessai.services.nfc.service.cards import CardDesk
from kessai.services.nfc.service.clearing import ClearingDesk
from kessai.services.nfc.service.devices import DeviceWork, PhoneDevices
from kessai.services.nfc.service.findings import ClearingLookups
from kessai.services.nfc.service.numbers import Numbers
from kessai.services.nfc.store import phones
from kessai.services.nfc.store import vault as pans
from kessai.services.payment.api import Payment


class NfcService(CardDesk, PhoneDevices, AuthorizationLookups, ClearingLookups):
    """Implements the door `Nfc`. Any number of processes may run one on the same database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        vault: Vault,
        *,
        issuer: CardIssuer,
        tokens: TokenService,
        sms: SmsSender,
        network: ClearingNetwork,
        payment: Payment,
        terms: CardTerms | None = None,
        rules: AuthorizationRules | None = None,
        clearing: ClearingTerms | None = None,
        lease_s: float = LEASE_S,
        **engine: Any,
    ) -> None:
        """`terms`, `rules`, `clearing`: an operator's own, in place of `config/nfc.toml`, `nfc_authorization.toml` and
        `nfc_clearing.toml`.
        """
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
        self.authorizations = AuthorizationDesk(
            database, clock, payment=payment, vault=vault, rules=rules, lease_s=lease_s
        )
        """Who answers what comes over the line (ISO 8583)."""
        self.clearing = ClearingDesk(
            database,
            clock,
            network=network,
            authorizations=self.authorizations,
            cards=self,
            terms=clearing,
            lease_s=lease_s,
            **engine,
        )
        """Who takes the processor's files."""

    async def open(self) -> None:
        """Take up what an earlier run left open."""
        await self.authorizations.open()
        await self.clearing.open()

    async def close(self, *, grace_s: float = 1.0) -> None:
        """Let what was begun come to its end, jobs within `grace_s`, and the connections outside go."""
        await self.clearing.close(grace_s=grace_s)
        await self.authorizations.close()
        for each in (self._issuer, self._tokens, self._sms):
            await each.close()

    @property
    def engine(self) -> Engine[Any]:
        """This process's executor, for operators and jobs."""
        return self.clearing.engine

    @property
    def effects(self) -> AuthorizationEffects:
        """What the service tells of itself to the Processing Tracer."""
        return self.authorizations.effects

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The authorizations of some processings."""
        return await self.effects.list_effects(request)

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
