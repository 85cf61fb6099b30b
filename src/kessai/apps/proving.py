"""The tracer of one process with all that takes part: what it hears, the loop that opens it, and the participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from kessai.apps.remote import RemoteEffects
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.events import Subscription
from kessai.foundation.lease import LEASE_S
from kessai.foundation.signing import Signer
from kessai.sdk.processing.api import EffectSource, Repairable
from kessai.sdk.processing.participant import OwnView, Participant
from kessai.services.tracer.domain.rules import TracerRules
from kessai.services.tracer.service import TracerService
from kessai.services.tracer.service.repairing import Repairer
from kessai.services.tracer.subscribers import RepairLoop, TouchedLoop, touched_processings

NO_LEASES: Mapping[str, float] = {}


class Effects(Protocol):
    """A service's account of its own effects."""

    @property
    def own_view(self) -> OwnView:
        """Its effects and claims, by processing."""
        ...


class Traced(EffectSource, Protocol):
    """A service that takes part."""

    @property
    def effects(self) -> Effects:
        """Its account of itself."""
        ...


class Proving:
    """Every service is compared with those that it calls for effects."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rules: TracerRules,
        services: Mapping[str, Traced],
        calls: Mapping[str, Sequence[str]],
        *,
        outside: Mapping[str, Mapping[str, EffectSource]],
        signer: Signer | None = None,
        remote_key: str = "",
        repairs: Mapping[str, Repairable],
        tracer: TracerService | None = None,
        leases: Mapping[str, float] = NO_LEASES,
    ) -> None:
        """`services` by name, each a source of events; `calls`: whom each of them calls for effects.

        `outside`: for which parties outside a service answers. `repairs`: who may be told to repair something; raises
        OperatorError where a rule names another one. `tracer`: the one that services ask; None: one is made.
        `leases`: of participants that may wait longer for another process to go on with them, in seconds.
        """
        self.tracer = TracerService(database, rules, signer=signer) if tracer is None else tracer
        self._remote = {each.name: RemoteEffects(each.name, each.address, remote_key) for each in rules.remote}
        callers = {each.name: each.called_by for each in rules.remote}
        self.subscriptions: list[Subscription] = [
            touched_processings(database, clock, self.tracer, name) for name in services
        ]
        self._touched = TouchedLoop(database, self.tracer)
        self._repairing = RepairLoop(database, Repairer(database, self.tracer, repairs))
        self.participants = [
            Participant(
                database,
                name,
                own=service.effects.own_view,
                dependencies={
                    **{callee: services[callee] for callee in calls.get(name, ())},
                    **outside.get(name, {}),
                    **{far: source for far, source in self._remote.items() if name in callers[far]},
                },
                tracer=self.tracer,
                lease_s=leases.get(name, LEASE_S),
            )
            for name, service in services.items()
        ]

    async def open(self) -> None:
        """Begin in the background to hear, open and report."""
        await self.tracer.open()
        for each in (*self.subscriptions, self._touched, *self.participants):
            await each.open()

    async def close(self) -> None:
        """Stop, and let another process go on."""
        for each in (*self.subscriptions, self._touched, *self.participants, *self._remote.values()):
            await each.close()
        await self.tracer.close()

    async def open_repairs(self) -> None:
        """Begin to repair what rules cover; the services that are told must be open."""
        await self._repairing.open()

    async def close_repairs(self) -> None:
        """Stop; what was told and not answered is told again."""
        await self._repairing.close()
