"""The settlement service (加盟店精算): its desks, its executor, and what it hears."""

from __future__ import annotations

from typing import Any

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError
from kessai.foundation.lease import LEASE_S
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.sdk.workflow import Counts, Engine, Parked
from kessai.sdk.workflow.journal import FlushHook
from kessai.services.books.api import Books
from kessai.services.merchant.api import Merchant
from kessai.services.payment.api import Payment
from kessai.services.settlement import store
from kessai.services.settlement.domain.configuration import SettlementConfig, read_settlement
from kessai.services.settlement.effects import SettlementEffects
from kessai.services.settlement.service.cycles import CycleDesk
from kessai.services.settlement.service.hearing import Hearing
from kessai.services.settlement.service.intake import IntakeDesk
from kessai.services.settlement.workflows import Approvals, Deps
from kessai.services.settlement.workflows.feeing import decide_new, issue_due
from kessai.services.tracer.api import Tracer


class SettlementService(IntakeDesk, CycleDesk):
    """加盟店精算. Any number of processes may run one on the same database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        merchants: Merchant,
        payment: Payment,
        tracer: Tracer,
        books: Books | None = None,
        approvals: Approvals | None = None,
        config: SettlementConfig | None = None,
        lease_s: float = LEASE_S,
        hook: FlushHook | None = None,
        **engine: Any,
    ) -> None:
        """`config`: an operator's own rules; `approvals`: where second persons' consent is kept.

        Raises OperatorError where the rules ask for books that are not there.
        """
        config = config or read_settlement()
        if "books" in config.reconcile and books is None:
            raise OperatorError("settlement is to be reconciled with the books, but there are none.")
        self._deps = Deps(database, clock, merchants, payment, tracer, books, config, approvals)
        self._engine: Engine[Deps] = Engine(
            database, service=store.SCHEMA.service, deps=self._deps, clock=clock, lease_s=lease_s, hook=hook, **engine
        )
        self._deps.running = self._engine
        self.hearing = Hearing(clock, config)
        """What it hears of payments."""
        self.effects = SettlementEffects(database)
        """What the service tells of itself to the Processing Tracer."""

    async def open(self) -> None:
        """Take up what an earlier run left open."""
        await self._engine.open()

    async def close(self, *, grace_s: float = 1.0) -> None:
        """Let what is under way end within `grace_s`; what is left another process takes up."""
        await self._engine.close(grace_s=grace_s)

    async def crash(self) -> None:
        """Stop as a killed process would: nothing more is written, nothing is let go. For tests."""
        await self._engine.crash()

    @property
    def engine(self) -> Engine[Deps]:
        """This process's executor, for operators and jobs."""
        return self._engine

    @property
    def workflows(self) -> Counts:
        """What this process's workflows came to."""
        return self._engine.counts

    @property
    def open_workflows(self) -> int:
        """Workflows that this process is carrying now."""
        return self._engine.open_runs

    async def parked_workflows(self) -> list[Parked]:
        """Workflows that wait for an operator."""
        return await self._engine.parked()

    async def unpark(self, workflow_id: str) -> bool:
        """Let a parked workflow go on; False when there is none of that id."""
        return await self._engine.unpark(workflow_id)

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """What settlement had moved in these processings."""
        return await self.effects.list_effects(request)

    async def issue_fees(self) -> int:
        """Work out the fees of new sales and refunds and issue what is due; gives how many payments were asked for."""
        await decide_new(self._deps)
        return await issue_due(self._deps)
