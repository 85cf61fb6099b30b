"""Clearing (売上確定): the desk that answers for files and findings, and the executor of the service's dated jobs."""

from __future__ import annotations

from typing import Any

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.lease import LEASE_S
from kessai.sdk.workflow import Counts, Engine, Parked
from kessai.sdk.workflow.journal import FlushHook
from kessai.services.nfc.domain.clearing_terms import ClearingTerms, read_clearing_terms
from kessai.services.nfc.gateways.clearing import ClearingNetwork
from kessai.services.nfc.service.authorize import AuthorizationDesk
from kessai.services.nfc.service.findings import ClearingLookups
from kessai.services.nfc.store import SCHEMA
from kessai.services.nfc.workflows.deps import CardWork, Deps


class ClearingDesk(ClearingLookups):
    """Any number of processes may have one on the same database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        network: ClearingNetwork,
        authorizations: AuthorizationDesk,
        cards: CardWork,
        terms: ClearingTerms | None = None,
        lease_s: float = LEASE_S,
        hook: FlushHook | None = None,
        **engine: Any,
    ) -> None:
        """`terms`: an operator's own, in place of `config/nfc_clearing.toml`."""
        super().__init__(database, clock)
        self._network = network
        self._deps = Deps(
            database=database,
            clock=clock,
            network=network,
            journal=authorizations.journal,
            authorizations=authorizations.repairer,
            cards=cards,
            terms=terms or read_clearing_terms(),
        )
        self._engine: Engine[Deps] = Engine(
            database, service=SCHEMA.service, deps=self._deps, clock=clock, lease_s=lease_s, hook=hook, **engine
        )

    async def open(self) -> None:
        """Take up jobs that an earlier run left open."""
        await self._engine.open()

    async def close(self, *, grace_s: float = 1.0) -> None:
        """Let what is being written end within `grace_s`; what is left another process takes up."""
        await self._engine.close(grace_s=grace_s)
        await self._network.close()

    async def crash(self) -> None:
        """Stop as a killed process would: nothing more is written, nothing is let go. For tests."""
        await self._engine.crash()
        await self._network.close()

    @property
    def engine(self) -> Engine[Any]:
        """What carries the service's dated jobs; for the scheduler and operators."""
        return self._engine

    @property
    def workflows(self) -> Counts:
        """What this process's workflows came to."""
        return self._engine.counts

    @property
    def open_workflows(self) -> int:
        """Jobs that this process is carrying now."""
        return self._engine.open_runs

    async def parked_workflows(self) -> list[Parked]:
        """Workflows that wait for an operator."""
        return await self._engine.parked()

    async def unpark(self, workflow_id: str) -> bool:
        """Let a parked workflow go on; False when there is none of that id."""
        return await self._engine.unpark(workflow_id)
