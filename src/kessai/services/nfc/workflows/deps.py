"""Whom the nfc service's workflows work with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.sdk.workflow import Retry
from kessai.services.nfc.api import GetPool, IssueBatch, PoolStanding
from kessai.services.nfc.domain.clearing import Line
from kessai.services.nfc.domain.clearing_claims import Claim
from kessai.services.nfc.domain.clearing_terms import ClearingTerms
from kessai.services.nfc.gateways.clearing import ClearingNetwork

AWAY = Retry(delay_s=0.5, delay_s_max=10.0)
"""While the processor is away, a job waits."""


class LineJournal(Protocol):
    """Where lines are decided: together with the authorizations that they claim, in the flushes of the journal."""

    async def submit(self, command: Claim, /) -> Line:
        """The line, decided."""
        ...


class AuthorizationWork(Protocol):
    """What is done for authorizations behind their answers."""

    async def carry(self, authorization_id: str) -> bool:
        """Do what is open for one; False when it has to wait."""
        ...

    async def repair(self, *, open_for_ms: int | None = None) -> int:
        """Bring to an end whatever has been open for long; gives how many."""
        ...

    async def expire(self, before: datetime) -> int:
        """Mark what was received before an instant and whose payment has lapsed; gives how many."""
        ...

    async def relinquish(self, authorization_id: str, stands_minor: int) -> bool:
        """Let go of what the processor does not have; False when it has to wait."""
        ...


class CardWork(Protocol):
    """What the service does for cards, their pool and their devices."""

    @property
    def has_issuer(self) -> bool:
        """Whether there is an issuer to ask for cards."""
        ...

    async def get_pool(self, request: GetPool, /) -> PoolStanding:
        """How full the pool is."""
        ...

    async def replenish(self, day: date) -> IssueBatch | None:
        """Ask for what a pool that runs low lacks, once a day."""
        ...

    async def import_open(self) -> int:
        """Take the issuer's files in; gives how many cards came."""
        ...

    async def settle_devices(self) -> int:
        """Inquire and go on with whatever the token service has not confirmed."""
        ...

    async def hear_devices(self) -> int:
        """Take over what changed with the token service."""
        ...

    async def reseal(self) -> int:
        """Seal anew what lies under an old key."""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """Whom the jobs work with."""

    database: Database
    clock: Clock
    network: ClearingNetwork
    journal: LineJournal
    authorizations: AuthorizationWork
    cards: CardWork
    terms: ClearingTerms
