"""Every participant's account recomputed from its own rows, and reconciled both ways: nothing the tracer says is used.

What the tracer keeps is then held against it: each participant must still show what it showed for the verdict that
stands, everybody who has effects must have taken part, and nobody may have been called without saying so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import asyncpg
import msgspec

from kessai.apps.trace.view import PACKAGE, View, clock_of
from kessai.foundation.db import load_queries
from kessai.foundation.errors import PaymentError
from kessai.sdk.processing.api import (
    TOPIC_TOUCHED,
    ConsistencyReport,
    Difference,
    EffectsPage,
    ListEffects,
    Outcome,
    ProcessingEffects,
    ProcessingTouched,
)
from kessai.sdk.processing.participant import NOTHING, Own, report_on
from kessai.sdk.processing.reconcile import digest_of
from kessai.sdk.processing.within import contradiction
from kessai.services.bank.effects import BankEffects
from kessai.services.cardgateway.effects import CardEffects
from kessai.services.ledger.effects import LedgerEffects
from kessai.services.nfc.effects import DEPENDENCIES as DEPENDENCIES_OF_NFC
from kessai.services.nfc.effects import AuthorizationEffects
from kessai.services.payment.domain.kinds import PaymentKinds
from kessai.services.payment.effects import DEPENDENCIES, PaymentEffects
from kessai.services.settlement.effects import DEPENDENCIES as DEPENDENCIES_OF_SETTLEMENT
from kessai.services.settlement.effects import SettlementEffects

BATCH = 1_000
"""Processings of one step."""
CALLS: Mapping[str, Sequence[str]] = {
    "payment": DEPENDENCIES,
    "settlement": DEPENDENCIES_OF_SETTLEMENT,
    "nfc": DEPENDENCIES_OF_NFC,
}

_sql = load_queries(PACKAGE, file="sql/prove.sql")
_ids = msgspec.msgpack.Decoder(list[str]).decode
_touched = msgspec.json.Decoder(list[ProcessingTouched]).decode


class Account(Protocol):
    """A service's account of itself."""

    async def own_view(self, processing_ids: Sequence[str], /) -> dict[str, Own]:
        """Its effects and claims, by processing."""
        ...

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """What it did, by caller."""
        ...


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not agree."""

    processing_id: str
    participant: str
    kind: str
    """A difference's kind, or `changed_since_verdict`, `not_in_verdict`, `undeclared`, `unreadable`."""
    other: str
    """The dependency that was compared with; the participant itself where its own rows contradict each other."""
    effect_id: str = ""
    part: str = ""
    fields: list[str] = []
    sentence: str


class Verdicts(NamedTuple):
    """What the tracer shows of a processing: its verdict, who takes part, and the digest that each of them showed."""

    verdict: str
    participants: frozenset[str]
    digests: dict[str, bytes]


@dataclass(slots=True)
class Proof:
    """What came of it."""

    processings: int = 0
    in_flight: int = 0
    """Something is under way in them: they cannot be compared now."""
    unheard: int = 0
    """Touched since their last verdict, or not decided yet: only the services were compared with each other."""
    disagreements: list[Disagreement] = field(default_factory=list[Disagreement])
    unknown: list[str] = field(default_factory=list[str])
    """Processings of which nobody has a row."""


class Prover:
    """Proves processings as one view shows them."""

    def __init__(self, view: View, accounts: Mapping[str, Account], unheard: set[str]) -> None:
        self._view = view
        self._accounts = accounts
        self._unheard = unheard
        """Processings with a touch that the tracer has not opened yet."""

    async def prove(self, ids: Sequence[str], into: Proof) -> None:
        """Prove some processings, at most BATCH of them."""
        own = {name: await _own_views(name, account, ids) for name, account in self._accounts.items()}
        answers = {name: await self._answers(name, ids) for name in CALLS}
        verdicts = await self._verdicts(ids)
        for each in ids:
            reports = {
                name: report_on(each, 1, own[name].get(each, NOTHING), answers.get(name, {})) for name in self._accounts
            }
            into.processings += 1
            flying = any(report.outcome is Outcome.IN_FLIGHT for report in reports.values())
            into.in_flight += flying
            into.disagreements += _differences(each, reports)
            if not flying:
                into.disagreements += _undeclared(each, reports)
            known = verdicts.get(each)
            if known is None and not any(each in views for views in own.values()):
                into.unknown.append(each)
            if known is None or known.verdict == "PENDING" or each in self._unheard:
                into.unheard += 1
            else:
                shown = {name: views[each] for name, views in own.items() if each in views}
                into.disagreements += _against_verdict(each, known, shown)

    async def every(self) -> AsyncIterator[list[str]]:
        """All processings that any row names, in order of id, in batches."""
        after = ""
        while rows := await self._view.fetch(None, _sql["processings_after"], after, BATCH):
            yield [row["processing_id"] for row in rows]
            after = rows[-1]["processing_id"]

    async def _answers(self, caller: str, ids: Sequence[str]) -> dict[str, dict[str, ProcessingEffects]]:
        found: dict[str, dict[str, ProcessingEffects]] = {}
        for name in CALLS[caller]:
            told = await _listed(self._accounts[name], ids, caller)
            found[name] = {each.processing_id: each for each in told}
        return found

    async def _verdicts(self, ids: Sequence[str]) -> dict[str, Verdicts]:
        found: dict[str, Verdicts] = {}
        for row in await self._view.fetch(None, _sql["standing_verdicts"], list(ids)):
            each = found.setdefault(
                row["processing_id"], Verdicts(row["verdict"], frozenset(row["participants"]), dict[str, bytes]())
            )
            if row["participant"] is not None:
                each.digests[row["participant"]] = row["effects_digest"]
        return found


async def prover_of(view: View, kinds: PaymentKinds) -> Prover:
    """A prover of everybody who takes part."""
    clock = await clock_of(view)
    accounts: dict[str, Account] = {
        "payment": PaymentEffects(view, clock, kinds),
        "ledger": LedgerEffects(view, clock),
        "cardgateway": CardEffects(view),
        "bank": BankEffects(view),
        "settlement": SettlementEffects(view),
        "nfc": AuthorizationEffects(view),
    }
    return Prover(view, accounts, await unheard_of(view, list(accounts)))


async def unheard_of(view: View, sources: Sequence[str]) -> set[str]:
    """Processings that were touched and whose touch the tracer has not opened: its verdict on them is not of now."""
    found = {one for row in await view.fetch(None, _sql["unopened_touches"]) for one in _ids(row["payload"])}
    for name in sources:
        query = load_queries(PACKAGE, schema=name, file="sql/prove.sql")["unheard_touches"]
        for row in await view.fetch(None, query, TOPIC_TOUCHED, f"tracer.touched_by_{name}"):
            found.update(one for each in _touched(row["payload"]) for one in each.processing_ids)
    return found


async def _own_views(name: str, account: Account, ids: Sequence[str]) -> dict[str, Own]:
    """A participant's account; where it cannot be given, that is a contradiction of that processing alone."""
    try:
        return await account.own_view(ids)
    except (PaymentError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  (whatever a changed row makes of it)
        if len(ids) == 1:
            text = f"{name} cannot give its own account: {error!r}"
            return {ids[0]: Own(within=[contradiction(name, ids[0], text)])}
        half = len(ids) // 2
        return {**await _own_views(name, account, ids[:half]), **await _own_views(name, account, ids[half:])}


async def _listed(account: Account, ids: Sequence[str], caller: str) -> list[ProcessingEffects]:
    """What a dependency tells; a processing of which it cannot tell is left out, and is its own contradiction."""
    try:
        return (await account.list_effects(ListEffects(processing_ids=list(ids), caller=caller))).processings
    except (PaymentError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        raise
    except Exception:  # noqa: BLE001  (told by its own account)
        if len(ids) == 1:
            return []
        half = len(ids) // 2
        return [*await _listed(account, ids[:half], caller), *await _listed(account, ids[half:], caller)]


# -- what does not agree ----------------------------------------------------------------------------------------


def _differences(processing_id: str, reports: Mapping[str, ConsistencyReport]) -> Iterator[Disagreement]:
    for name, report in reports.items():
        for each in report.differences:
            yield Disagreement(
                processing_id=processing_id,
                participant=name,
                kind=each.kind.value,
                other=each.dependency,
                effect_id=each.effect_id,
                part=each.part,
                fields=each.fields,
                sentence=_sentence(name, each),
            )


def _sentence(participant: str, difference: Difference) -> str:
    mine, theirs, other = difference.mine, difference.theirs, difference.dependency
    if mine is not None and theirs is not None:
        sides = (
            f"{name} {getattr(mine, name)} at {participant}, {getattr(theirs, name)} at {other}"
            for name in difference.fields
        )
        return "; ".join(sides)
    if mine is not None:
        return f"{participant} says that it was done ({mine.amount_minor} {mine.asset}); {other} has no such record"
    if theirs is not None:
        return f"{other} did it ({theirs.amount_minor} {theirs.asset}); {participant} does not know of it"
    return difference.text


def _undeclared(processing_id: str, reports: Mapping[str, ConsistencyReport]) -> Iterator[Disagreement]:
    for callee, report in reports.items():
        for caller in report.callers:
            told = reports.get(caller)
            if told is not None and caller != callee and callee not in told.dependencies:
                yield Disagreement(
                    processing_id=processing_id,
                    participant=callee,
                    kind="undeclared",
                    other=caller,
                    sentence=f"{callee} was called by {caller}, which does not depend on it",
                )


def _against_verdict(processing_id: str, known: Verdicts, own: Mapping[str, Own]) -> Iterator[Disagreement]:
    """Where participants show something else than what they showed for the verdict that stands."""
    for name, digest in known.digests.items():
        if bytes.fromhex(digest_of(own.get(name, NOTHING).effects)) != digest:
            yield Disagreement(
                processing_id=processing_id,
                participant=name,
                kind="changed_since_verdict",
                other=name,
                sentence=f"its effects are not those on which {known.verdict} rests",
            )
    for name, each in own.items():
        if each.effects and name not in known.participants:
            yield Disagreement(
                processing_id=processing_id,
                participant=name,
                kind="not_in_verdict",
                other=name,
                sentence=f"it has effects, and did not take part when {known.verdict} was found",
            )
