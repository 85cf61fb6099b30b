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
from kessai.services.bank.domain import TRANSITIONS, BankRecord, moved
from kessai.services.bank.gateways import BankConnection

SERVICE = "bank"
PARTNER = "partner-bank"
"""The party outside for which this service answers."""
PLATFORM = "platform"
"""Whose account there is moved."""
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


# -- the outside ----------------------------------------------------------------------------------------------------


def claim_on(traced: TracedInstruction) -> EffectRecord | None:
    """What the bank should have on record; None when nothing: it failed."""
    known = traced.instruction
    if known.state is S.FAILED:
        return None
    return EffectRecord(
        effect_id=known.instruction_id,
        kind=f"bank_{known.kind.value}",
        party=PLATFORM,
        account=known.bank_reference,
        asset="JPY",
        amount_minor=_signed(known.kind, known.amount_minor),
        captured_minor=abs(moved(known.kind, known.state, known.amount_minor)),
        state=known.state.value,
    )


def told_by(traced: TracedInstruction, theirs: BankRecord) -> EffectRecord | None:
    """What the bank has on record, in the same words; None where it is nothing to either side."""
    nothing = theirs.state is S.FAILED and not theirs.booked_minor
    if nothing and traced.instruction.state is S.FAILED:
        return None
    by_file = traced.instruction.transfer_on is not None
    return EffectRecord(
        effect_id=traced.instruction.instruction_id,
        kind=f"bank_{theirs.kind.value}",
        party=PLATFORM,
        account=theirs.instruction_id if by_file else theirs.bank_reference,
        asset="JPY",
        amount_minor=_signed(theirs.kind, theirs.amount_minor),
        captured_minor=_signed(theirs.kind, theirs.booked_minor),
        state=theirs.state.value,
    )


def id_there(traced: TracedInstruction) -> str:
    """Under which id the bank has an instruction: its own, or that of its line in a file."""
    known = traced.instruction
    return known.instruction_id if known.transfer_on is None else known.bank_reference or known.instruction_id


def was_told(traced: TracedInstruction) -> bool:
    """Whether the bank can have heard of an instruction: not of one whose file was never sent."""
    return traced.instruction.transfer_on is None or traced.instruction.bank_reference is not None


def is_ahead(traced: TracedInstruction, theirs: BankRecord) -> bool:
    """Whether the bank has gone on from where we stand: its feed will tell us."""
    return theirs.state in TRANSITIONS[traced.instruction.state]


def _signed(kind: InstructionKind, amount_minor: int) -> int:
    return -amount_minor if kind is InstructionKind.TRANSFER else amount_minor


# -- where rows contradict each other -------------------------------------------------------------------------------


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
class Found:
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
        for processing_id, found in (await self.read(processing_ids)).items():
            for each in found.instructions:
                for text in contradictions(each):
                    found.within.append(contradiction(SERVICE, each.instruction.instruction_id, text))
            settled = [each for each in found.instructions if not each.in_flight]
            claims = [claim for each in settled if (claim := claim_on(each)) is not None]
            own[processing_id] = Own(
                effects=found.effects(),
                claims={PARTNER: claims} if claims else {},
                in_flight=not found.within and any(each.in_flight for each in found.instructions),
                callers=found.callers,
                within=found.within,
            )
        return own

    async def list_effects(self, request: ListEffects) -> EffectsPage:
        """The instructions of some processings, of one caller or of all."""
        found = await self.read(request.processing_ids)
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

    async def read(self, processing_ids: Sequence[str]) -> dict[str, Found]:
        """Everything of these processings, as it is at one instant."""

        async def read(connection: Connection) -> tuple[list[asyncpg.Record], ...]:
            made = await connection.fetch(_SQL["instructions_of_processings"], list(processing_ids))
            ids = [row["instruction_id"] for row in made]
            steps = await connection.fetch(_SQL["steps_of_instructions"], ids) if ids else []
            return made, steps, await connection.fetch(_SQL["orphaned_steps"], list(processing_ids))

        made, steps, orphans = await self._database.transaction(store.ROLE, read, isolation="repeatable_read")
        found: dict[str, Found] = {}
        known: dict[tuple[Any, str], TracedInstruction] = {}
        for row in made:
            known[row["instruction_id"], row["kind"]] = traced = _traced(row)
            found.setdefault(row["processing_id"], Found()).instructions.append(traced)
        for row in steps:
            if (traced := known.get((row["instruction_id"], row["kind"]))) is not None:
                traced.steps.append((_step(row), row["was"]))
        for row in orphans:
            prefix = "btr" if row["kind"] == InstructionKind.TRANSFER else "bdb"
            text = f"it is missing, though there is step {row['sequence']} of it"
            into = found.setdefault(row["processing_id"], Found())
            into.within.append(contradiction(SERVICE, f"{prefix}_{row['instruction_id'].hex}", text))
        return found


class PartnerBank:
    """The bank's own records of our instructions, as a dependency of this service."""

    def __init__(self, effects: BankEffects, bank: BankConnection) -> None:
        self._effects = effects
        self._bank = bank

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """What the bank has on record of these processings; what is under way is not asked about."""
        asked = {
            id_there(each): (processing_id, each)
            for processing_id, found in (await self._effects.read(request.processing_ids)).items()
            for each in found.instructions
            if not each.in_flight and was_told(each)
        }
        told: dict[str, list[EffectRecord]] = {}
        ahead: set[str] = set()
        for theirs in await self._bank.records(list(asked)) if asked else ():
            processing_id, traced = asked[theirs.instruction_id]
            if is_ahead(traced, theirs):
                ahead.add(processing_id)
            if (record := told_by(traced, theirs)) is not None:
                told.setdefault(processing_id, []).append(record)
        return EffectsPage(
            processings=[
                ProcessingEffects(processing_id=one, effects=each, in_flight=one in ahead) for one, each in told.items()
            ]
        )


def _traced(row: asyncpg.Record) -> TracedInstruction:
    return TracedInstruction(store.instruction_of(row), row["caller"], (row["holder_kind"], row["holder_id"]))


def _step(row: asyncpg.Record) -> InstructionStep:
    return InstructionStep(
        sequence=row["sequence"],
        state=S(row["state"]),
        failure_code=row["failure_code"] and FailureCode(row["failure_code"]),
        recorded_at=row["recorded_at"],
    )
