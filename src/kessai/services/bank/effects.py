"""What the bank service tells of itself: transfers and debits, and where they contradict their steps and accounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.sdk.processing.api import Difference, EffectRecord, EffectsPage, ListEffects, ProcessingEffects
from kessai.sdk.processing.participant import Own
from kessai.sdk.processing.within import contradiction
from kessai.services.bank import store
from kessai.services.bank.api import FailureCode, Instruction, InstructionKind, InstructionState, InstructionStep
from kessai.services.bank.domain.instructions import TRANSITIONS

SERVICE = "bank"
S = InstructionState
UNDER_WAY = (S.ACCEPTED, S.UNKNOWN, S.SENT)
_SQL = load_queries("kessai.services.bank", file="sql/effects.sql")


@dataclass(slots=True)
class TracedInstruction:
    """An instruction with everything that was written down of it."""

    instruction: Instruction
    caller: str
    holder: tuple[str | None, str | None]
    """Kind and id of its account's owner; None: there is no such account."""
    steps: list[tuple[InstructionStep, str | None]] = field(default_factory=list[tuple[InstructionStep, str | None]])
    """Each with the state that it led from."""

    @property
    def in_flight(self) -> bool:
        """Whether the bank has still to tell what became of it."""
        return self.instruction.state in UNDER_WAY


def record_of(traced: TracedInstruction) -> EffectRecord:
    """What its caller should know."""
    known = traced.instruction
    amount = known.amount_minor
    return EffectRecord(
        effect_id=known.instruction_id,
        kind=f"bank_{known.kind.value}",
        party=known.owner_id,
        account=known.account_id,
        asset="JPY",
        amount_minor=amount if known.kind is InstructionKind.TRANSFER else -amount,
        captured_minor=amount if known.state in (S.DONE, S.RETURNED) else 0,
        returned_minor=amount if known.state is S.RETURNED else 0,
        state=known.state.value,
        at=known.updated_at,
    )


def contradictions(traced: TracedInstruction) -> Iterator[str]:
    """What one changed, missing or doubled row leaves behind."""
    known, before, code = traced.instruction, S.ACCEPTED, None
    if traced.holder != (known.owner_kind.value, known.owner_id):
        yield f"its owner is {known.owner_id}, its account's is {traced.holder[1]}"
    if [step.sequence for step, _ in traced.steps] != list(range(1, known.version + 1)):
        yield f"its version is {known.version}, and it has {len(traced.steps)} steps"
    for step, was in traced.steps:
        if step.state not in TRANSITIONS[before] or was not in (before, None):
            yield f"step {step.sequence} leads from {before} to {step.state}"
        before, code = step.state, step.failure_code
    if (known.state, known.failure_code) != (before, code):
        yield f"it is {known.state} ({known.failure_code}), its steps make it {before} ({code})"
    if known.updated_at != (traced.steps[-1][0].recorded_at if traced.steps else known.created_at):
        yield "its last step is of another time"


@dataclass(slots=True)
class _Found:
    """Everything of one processing."""

    instructions: list[TracedInstruction] = field(default_factory=list[TracedInstruction])
    within: list[Difference] = field(default_factory=list[Difference])

    def effects(self, caller: str | None = None) -> list[EffectRecord]:
        return [record_of(each) for each in self.instructions if caller in (None, each.caller)]

    @property
    def callers(self) -> list[str]:
        return sorted({each.caller for each in self.instructions})


class BankEffects:
    """Reads the service's own rows of whole processings, as they are at one instant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def own_view(self, processing_ids: Sequence[str]) -> dict[str, Own]:
        """Effects, and where rows contradict each other."""
        own: dict[str, Own] = {}
        for processing_id, found in (await self._read(processing_ids)).items():
            for each in found.instructions:
                for text in contradictions(each):
                    found.within.append(contradiction(SERVICE, each.instruction.instruction_id, text))
            own[processing_id] = Own(
                effects=found.effects(),
                in_flight=not found.within and any(each.in_flight for each in found.instructions),
                callers=found.callers,
                within=found.within,
            )
        return own

    async def list_effects(self, request: ListEffects) -> EffectsPage:
        """The instructions of some processings, of one caller or of all."""
        found = await self._read(request.processing_ids)
        return EffectsPage(
            processings=[
                ProcessingEffects(
                    processing_id=processing_id,
                    effects=each.effects(request.caller),
                    in_flight=any(one.in_flight for one in each.instructions),
                    callers=each.callers,
                )
                for processing_id, each in found.items()
                if request.caller is None or request.caller in each.callers
            ]
        )

    async def _read(self, processing_ids: Sequence[str]) -> dict[str, _Found]:
        async def read(connection: Connection) -> tuple[list[asyncpg.Record], ...]:
            made = await connection.fetch(_SQL["instructions_of_processings"], list(processing_ids))
            ids = [row["instruction_id"] for row in made]
            steps = await connection.fetch(_SQL["steps_of_instructions"], ids) if ids else []
            return made, steps, await connection.fetch(_SQL["orphaned_steps"], list(processing_ids))

        made, steps, orphans = await self._database.transaction(store.ROLE, read, isolation="repeatable_read")
        found: dict[str, _Found] = {}
        known: dict[tuple[Any, str], TracedInstruction] = {}
        for row in made:
            known[row["instruction_id"], row["kind"]] = traced = _traced(row)
            found.setdefault(row["processing_id"], _Found()).instructions.append(traced)
        for row in steps:
            if (traced := known.get((row["instruction_id"], row["kind"]))) is not None:
                traced.steps.append((_step(row), row["was"]))
        for row in orphans:
            prefix = "btr" if row["kind"] == InstructionKind.TRANSFER else "bdb"
            text = f"it is missing, though there is step {row['sequence']} of it"
            into = found.setdefault(row["processing_id"], _Found())
            into.within.append(contradiction(SERVICE, f"{prefix}_{row['instruction_id'].hex}", text))
        return found


def _traced(row: asyncpg.Record) -> TracedInstruction:
    return TracedInstruction(store.instruction_of(row), row["caller"], (row["holder_kind"], row["holder_id"]))


def _step(row: asyncpg.Record) -> InstructionStep:
    return InstructionStep(
        sequence=row["sequence"],
        state=S(row["state"]),
        failure_code=row["failure_code"] and FailureCode(row["failure_code"]),
        recorded_at=row["recorded_at"],
    )
