"""Toy services that call each other, their participants, and a tracer over a real PostgreSQL: all moved by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from kessai.apps.wiring import document_of
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable
from kessai.sdk.processing.api import (
    Announce,
    EffectRecord,
    EffectsPage,
    ListEffects,
    ProcessingEffects,
)
from kessai.sdk.processing.participant import Own, Participant
from kessai.services.tracer.api import Finding, FindingState, GetFinding, GetProcessing, ListFindings, Processing
from kessai.services.tracer.domain.rules import TracerRules, read_rules
from kessai.services.tracer.service import TracerService

RULES: TracerRules = read_rules(document_of(None, "tracer.toml"))
FIRST_INSTANT = datetime(2026, 4, 1, 3, 0, tzinfo=UTC)
TURNS_MAX = 50


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = FIRST_INSTANT

    def now(self) -> datetime:
        return self._now

    def advance(self, step: timedelta) -> None:
        """Move forward."""
        self._now += step


def effect(effect_id: str, **changes: Any) -> EffectRecord:
    """A charge of 1,000 yen on alice's balance."""
    record = EffectRecord(
        effect_id=effect_id,
        kind="charge",
        party="alice",
        account="balance",
        asset="JPY",
        amount_minor=-1000,
        state="DONE",
    )
    return replace(record, **changes)


class Toy:
    """A service with effects: whom it called for what, and by whom it was called."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.effects: defaultdict[str, list[tuple[str, EffectRecord]]] = defaultdict(list)
        """By processing: (caller, effect)."""
        self.claims: defaultdict[str, dict[str, list[EffectRecord]]] = defaultdict(dict)
        self.in_flight: set[str] = set()
        self.down = False
        self.reads = 0
        self.hides: set[str] = set()
        """Dependencies that it does not admit to."""

    def did(self, caller: str, processing_id: str, record: EffectRecord) -> None:
        """Do something for a caller."""
        self.effects[processing_id].append((caller, record))

    def called(self, callee: Toy, processing_id: str, record: EffectRecord) -> None:
        """Have another service do something, and remember it."""
        callee.did(self.name, processing_id, record)
        self.claims[processing_id].setdefault(callee.name, []).append(record)

    async def own_view(self, processing_ids: Sequence[str]) -> dict[str, Own]:
        """What it knows itself."""
        self.reads += 1
        return {
            one: Own(
                effects=[record for _, record in self.effects[one]],
                claims={name: list(each) for name, each in self.claims[one].items() if name not in self.hides},
                in_flight=one in self.in_flight,
                callers=[caller for caller, _ in self.effects[one]],
            )
            for one in processing_ids
            if one in self.effects or one in self.claims
        }

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """Its own record, for a caller."""
        if self.down:
            raise Unavailable("away", "This service is down.")
        own = {one: self.effects[one] for one in request.processing_ids if one in self.effects}
        found = [
            ProcessingEffects(
                processing_id=one,
                effects=[record for caller, record in told if request.caller in (None, caller)],
                in_flight=one in self.in_flight,
                callers=sorted({caller for caller, _ in told}),
            )
            for one, told in own.items()
        ]
        return EffectsPage(processings=[each for each in found if each.effects or each.in_flight])


class World:
    """A tracer and toy services; nothing moves but by the test's hand."""

    def __init__(self, database: Database, calls: dict[str, list[str]]) -> None:
        """`calls`: each service with those that it depends on."""
        self.database = database
        self.clock = FakeClock()
        self.tracer = TracerService(database, RULES, self.clock)
        self.toys = {name: Toy(name) for name in calls}
        self.participants = {name: self.participant(name, depends_on) for name, depends_on in calls.items()}
        self.absent: set[str] = set()
        """Services whose participant does not run."""

    def participant(
        self, name: str, depends_on: Iterable[str], tracer: Any = None, *, doubt_s: float = 0.0
    ) -> Participant:
        """A participant of a toy, as a process would make it; it tells at once what differs."""
        return Participant(
            self.database,
            name,
            own=self.toys[name].own_view,
            dependencies={each: self.toys[each] for each in depends_on},
            tracer=tracer or self.tracer,
            lease_in="tracer",
            doubt_s=doubt_s,
        )

    async def touch(self, name: str, *processing_ids: str, entry: bool = False) -> None:
        """A service tells that it has new effects."""
        with called_by(name):
            await self.tracer.announce(Announce(participant=name, processing_ids=list(processing_ids), entry=entry))

    async def settle(self) -> None:
        """Let everything that is under way come to rest."""
        with called_by("internal"):
            await self._settle()

    async def _settle(self) -> None:
        await self.tracer.open_touched()
        for _ in range(TURNS_MAX):
            sent = 0
            for name, each in self.participants.items():
                if name not in self.absent:
                    sent += await each.turn()
            if not sent:
                return
        raise AssertionError("it does not come to rest")

    async def processing(self, processing_id: str) -> Processing:
        """As the door shows it."""
        return await self.tracer.get_processing(GetProcessing(processing_id=processing_id))

    async def verdict(self, processing_id: str) -> str:
        """`CONSISTENT`, …"""
        return (await self.processing(processing_id)).verdict.value

    async def finding(self, processing_id: str) -> Finding:
        """The processing's finding."""
        found = (await self.processing(processing_id)).finding_id
        assert found is not None
        return await self.tracer.get_finding(GetFinding(finding_id=found))

    async def findings(self, state: FindingState = FindingState.OPEN) -> list[Finding]:
        """Findings in a state."""
        return (await self.tracer.list_findings(ListFindings(state=state))).findings


@contextmanager
def called_by(caller: str) -> Generator[None]:
    """As when somebody else calls in between."""
    token = enter_call(Call(caller=caller))
    try:
        yield
    finally:
        leave_call(token)


async def charge(world: World, processing_id: str = "prc_1", effect_id: str | None = None) -> None:
    """A shop's charge: the shop calls the till, both tell it."""
    shop, till = world.toys["shop"], world.toys["till"]
    shop.did("key_1", processing_id, effect(f"pay_{processing_id}", account=None))
    shop.called(till, processing_id, effect(effect_id or f"exc_{processing_id}"))
    await world.touch("shop", processing_id, entry=True)
    await world.touch("till", processing_id)
