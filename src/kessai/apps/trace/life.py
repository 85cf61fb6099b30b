"""The whole life of one processing: what every service wrote down of it, its workflows and events, and its verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kessai.apps.trace.kept import EffectLife, ExchangeLife, Happening, Life, LotTaken, Movement, WorkflowLife
from kessai.apps.trace.view import PACKAGE, View, clock_of
from kessai.apps.wiring import SOURCES, WITH_WORKFLOWS
from kessai.foundation.db import load_queries
from kessai.foundation.errors import NotFound, OperatorError
from kessai.foundation.ids import ID_PATTERN, bare
from kessai.sdk.processing.api import TOPIC_TOUCHED
from kessai.sdk.workflow.listing import show_workflow
from kessai.services.ledger.domain.effects import Told, decode_told
from kessai.services.ledger.domain.refusals import is_refusal
from kessai.services.ledger.domain.state import flush_instant, instant
from kessai.services.payment.domain.kinds import PaymentKinds
from kessai.services.tracer.api import Finding, Processing
from kessai.services.tracer.service import answers
from kessai.services.tracer.service.casework import Casework

WORKFLOWS_MAX = 200
EVENT_ROWS_MAX = 1_000
BEFORE = timedelta(hours=1)
"""How long before its first record a processing's workflows and events are looked for."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_sql = load_queries(PACKAGE, file="sql/life.sql")
_events = msgspec.json.Decoder(list[dict[str, Any]]).decode


async def life_of(view: View, kinds: PaymentKinds, named: str) -> Life:
    """The life of a processing, by its id, a payment's or a tap's (`ath_…`); OperatorError where nothing is kept."""
    processing_id = await processing_of(view, named)
    payments = await _payments(view, kinds, processing_id)
    exchanges = await _exchanges(view, processing_id)
    cards, bank = await _cards(view, processing_id), await _bank(view, processing_id)
    taps = await _taps(view, processing_id)
    tracer, finding = await _traced(view, processing_id)
    if tracer is None and not (payments or exchanges or cards or bank or taps):
        raise OperatorError(f"There is no processing or payment {named}.")
    begun = [*(each.created_at for each in (*payments, *cards, *bank, *taps)), *(each.at for each in exchanges)]
    since = min(begun, default=EARLIEST + BEFORE) - BEFORE
    return Life(
        processing_id=processing_id,
        payments=payments,
        exchanges=exchanges,
        cards=cards,
        bank=bank,
        taps=taps,
        workflows=await _workflows(view, processing_id, since),
        events=await _published(view, processing_id, since),
        tracer=tracer,
        finding=finding,
    )


async def processing_of(view: View, named: str) -> str:
    """The processing that is meant by its own id, by a payment's, or by a tap's."""
    if named.startswith("prc_") or not re.fullmatch(ID_PATTERN, named):
        return named
    query = "processing_of_tap" if named.startswith("ath_") else "processing_of_payment"
    rows = await view.fetch(None, _sql[query], bare(named))
    return rows[0]["processing_id"] if rows else named


# -- services -----------------------------------------------------------------------------------------------------


async def _payments(view: View, kinds: PaymentKinds, processing_id: str) -> list[EffectLife]:
    rows = await view.fetch(None, _sql["payments"], processing_id)
    steps = _by(await view.fetch(None, _sql["payment_steps"], processing_id), "payment_id")
    refunds = _by(await view.fetch(None, _sql["refunds"], processing_id), "payment_id")
    return [
        EffectLife(
            effect_id=f"{kinds.prefixes.get(row['kind'], 'pay')}_{row['payment_id'].hex}",
            kind=row["kind"],
            state=row["state"],
            party=f"{row['payer_id']} → {row['payee_id']}",
            asset=row["asset"],
            amount_minor=row["amount_minor"],
            caller=row["caller"],
            created_at=row["created_at"],
            detail=_told(captured=row["captured_minor"], refunded=row["refunded_minor"], fee=row["fee_minor"],
                         refused=row["refusal_code"], busy_with=row["busy_with"]),
            steps=[_payment_step(each) for each in steps.get(row["payment_id"], [])]
            + [_refund(each) for each in refunds.get(row["payment_id"], [])],
        )
        for row in rows
    ]  # fmt: skip


def _payment_step(row: asyncpg.Record) -> Happening:
    refund = row["refund_id"] and f"rfn_{row['refund_id'].hex}"
    return Happening(
        at=row["recorded_at"],
        what=row["action"],
        state=row["state"],
        amount_minor=row["amount_minor"],
        detail=_told(code=row["code"], refund=refund),
    )


def _refund(row: asyncpg.Record) -> Happening:
    return Happening(
        at=row["created_at"],
        what=f"refund rfn_{row['refund_id'].hex}",
        state=row["state"],
        amount_minor=row["amount_minor"],
        detail=_told(refused=row["refusal_code"]),
    )


async def _cards(view: View, processing_id: str) -> list[EffectLife]:
    rows = await view.fetch(None, _sql["authorizations"], processing_id)
    operations = _by(await view.fetch(None, _sql["operations"], processing_id), "authorization_id")
    return [
        EffectLife(
            effect_id=f"cau_{row['authorization_id'].hex}",
            kind="card authorization",
            state=row["state"],
            party=row["customer_id"],
            asset=row["asset"],
            amount_minor=row["amount_minor"],
            caller=row["caller"],
            created_at=row["created_at"],
            detail=_told(captured=row["captured_minor"], refunded=row["refunded_minor"], refused=row["refusal_code"]),
            steps=[_operation(each) for each in operations.get(row["authorization_id"], [])],
        )
        for row in rows
    ]


def _operation(row: asyncpg.Record) -> Happening:
    doubt = None if row["doubt_ms"] is None else f"{row['doubt_ms']} ms"
    return Happening(
        at=row["settled_at"] or row["instructed_at"],
        what=row["kind"],
        state=row["state"],
        amount_minor=row["amount_minor"],
        detail=_told(refused=row["refusal_code"], in_doubt=doubt),
    )


async def _bank(view: View, processing_id: str) -> list[EffectLife]:
    rows = await view.fetch(None, _sql["instructions"], processing_id)
    steps = _by(await view.fetch(None, _sql["instruction_steps"], processing_id), "instruction_id")
    return [
        EffectLife(
            effect_id=f"{'btr' if row['kind'] == 'transfer' else 'bdb'}_{row['instruction_id'].hex}",
            kind=f"bank {row['kind']}",
            state=row["state"],
            party=row["owner_id"],
            asset="JPY",
            amount_minor=row["amount_minor"],
            caller=row["caller"],
            created_at=row["created_at"],
            detail=_told(failed=row["failure_code"]),
            steps=[
                Happening(
                    at=each["recorded_at"], what="step", state=each["state"], detail=_told(failed=each["failure_code"])
                )
                for each in steps.get(row["instruction_id"], [])
                if each["kind"] == row["kind"]
            ],
        )
        for row in rows
    ]


async def _taps(view: View, processing_id: str) -> list[EffectLife]:
    rows = await view.fetch(None, _sql["taps"], processing_id)
    back = _by(
        await view.fetch(None, _sql["taken_back"], [row["authorization_id"] for row in rows]), "authorization_id"
    )
    return [
        EffectLife(
            effect_id=f"ath_{row['authorization_id'].hex}",
            kind=f"iD {row['kind']}",
            state=row["state"],
            party=row["customer_id"] or "nobody",
            asset="JPY",
            amount_minor=row["amount_minor"],
            caller=row["caller"],
            created_at=row["received_at"],
            detail=_told(answered=row["response"], approval_code=row["approval_code"], stands=row["stands_minor"],
                         captured=row["captured_minor"], refunded=row["refunded_minor"], refused=row["refusal_code"],
                         still_to=row["work"], payment=row["payment_id"], rrn=row["rrn"], merchant=row["merchant"]),
            steps=[_taken_back(each) for each in back.get(row["authorization_id"], [])],
        )
        for row in rows
    ]  # fmt: skip


def _taken_back(row: asyncpg.Record) -> Happening:
    stands, answered = row["stands_minor"], row["response"]
    return Happening(at=row["at"], what=row["what"], detail=_told(stands=stands, answered=answered),
                     state=row["state"], amount_minor=row["amount_minor"])  # fmt: skip


# -- the ledger ---------------------------------------------------------------------------------------------------


async def _exchanges(view: View, processing_id: str) -> list[ExchangeLife]:
    rows = [
        *await view.fetch(None, _sql["exchanges"], processing_id),
        *await view.fetch(None, _sql["exchange_actions"], processing_id),
    ]
    told = [(row, _read(row["record"])) for row in rows if not is_refusal(row["record"])]
    readable = [each for _, each in told if each is not None]
    holders = await _holders(view, {posting[1] for each in readable for posting in each.postings})
    expiries = await _expiries(view, readable)
    lives = [_exchange(row, each, holders, expiries) for row, each in told]
    return sorted(lives, key=lambda each: each.at)


def _read(record: bytes) -> Told | None:
    try:
        return decode_told(record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _exchange(
    row: asyncpg.Record,
    told: Told | None,
    holders: dict[str, tuple[str, str]],
    expiries: dict[tuple[str, int], datetime | None],
) -> ExchangeLife:
    first = (f"exc_{row['exchange_id'].hex}", row["caller"], flush_instant(row["flush_id"]))
    if told is None:
        return ExchangeLife(exchange_id=first[0], what="cannot be read", kind="", state="", caller=first[1],
                            at=first[2], movements=[])  # fmt: skip
    movements = [_movement(posting, holders, expiries) for posting in told.postings]
    return ExchangeLife(exchange_id=first[0], what=told.action, kind=told.kind, state=told.state.value,
                        caller=first[1], at=first[2], movements=movements)  # fmt: skip


def _movement(
    posting: Sequence[Any],
    holders: dict[str, tuple[str, str]],
    expiries: dict[tuple[str, int], datetime | None],
) -> Movement:
    _, account_id, asset, amount, held, _, _, sequence, takings, expires, *_ = posting
    owner, account_type = holders.get(account_id, (account_id, ""))
    lots = [
        LotTaken(owner=owner, account_type=account_type, lot=lot, amount_minor=taken, held_minor=held_change,
                 expires_at=expiries.get((account_id, lot)))
        for lot, taken, held_change in takings
    ]  # fmt: skip
    made = amount - sum(taken for _, taken, _ in takings) if amount > 0 else 0
    if made > 0 and (account_id, sequence) in expiries:
        until = None if expires is None else instant(expires)
        lots.append(LotTaken(owner=owner, account_type=account_type, lot=sequence, amount_minor=made, held_minor=0,
                             expires_at=until))  # fmt: skip
    return Movement(
        owner=owner, account_type=account_type, asset=asset, amount_minor=amount, held_minor=held, lots=lots
    )


async def _holders(view: View, account_ids: set[str]) -> dict[str, tuple[str, str]]:
    known = [UUID(bare(each)) for each in account_ids if re.fullmatch(ID_PATTERN, each)]
    rows = await view.fetch(None, _sql["accounts"], known)
    return {f"acc_{row['account_id'].hex}": (row["owner"], row["account_type"]) for row in rows}


async def _expiries(view: View, told: Iterable[Told]) -> dict[tuple[str, int], datetime | None]:
    """Until when each lot that was taken from, or made, is good; accounts without lots have none."""
    named: set[tuple[str, int]] = set()
    for posting in (posting for each in told for posting in each.postings):
        if re.fullmatch(ID_PATTERN, posting[1]):
            named.update((posting[1], lot) for lot, _, _ in posting[8])
            named.add((posting[1], posting[7]))
    accounts, lots = [bare(account_id) for account_id, _ in named], [lot for _, lot in named]
    rows = await view.fetch(None, _sql["lots"], accounts, lots)
    return {(f"acc_{row['account_id'].hex}", row["sequence"]): row["expires_at"] for row in rows}


# -- workflows and events -----------------------------------------------------------------------------------------


async def _workflows(view: View, processing_id: str, since: datetime) -> list[WorkflowLife]:
    needle, found = processing_id.encode(), list[WorkflowLife]()
    for service in WITH_WORKFLOWS:
        query = load_queries(PACKAGE, schema=service, file="sql/life.sql")["workflows"]
        for row in await view.fetch(None, query, needle, since, WORKFLOWS_MAX):
            found.append(await _workflow(view, service, row["workflow_id"]))
    return sorted(found, key=lambda each: each.since)


async def _workflow(view: View, service: str, workflow_id: str) -> WorkflowLife:
    shown = await show_workflow(view, service, workflow_id)
    listed = shown.listed
    steps = [
        Happening(
            at=each.recorded_at,
            what=f"{each.label} {each.name}",
            state="failed" if each.failed else each.kind,
        )
        for each in shown.steps
    ]
    notes = [*([f"stands at {shown.stuck}"] if shown.stuck else []), *shown.messages, *shown.audit]
    return WorkflowLife(
        service=service,
        workflow_id=workflow_id,
        name=f"{listed.name} v{listed.version}",
        state=f"{listed.state} {listed.detail}".strip(),
        since=listed.since,
        steps=steps,
        notes=notes,
    )


async def _published(view: View, processing_id: str, since: datetime) -> list[Happening]:
    needle, found = processing_id.encode(), list[Happening]()
    for source in SOURCES:
        query = load_queries(PACKAGE, schema=source, file="sql/life.sql")["events"]
        for row in await view.fetch(None, query, needle, since, TOPIC_TOUCHED, EVENT_ROWS_MAX):
            found += _of_processing(row, processing_id)
    return sorted(found, key=lambda each: each.at or EARLIEST)


def _of_processing(row: asyncpg.Record, processing_id: str) -> list[Happening]:
    try:
        events = _events(row["payload"])
    except msgspec.MsgspecError:
        return []
    return [
        Happening(
            at=row["recorded_at"],
            what=str(each.get("type", row["topic"])),
            state=str(each.get("state", "")),
            amount_minor=amount if isinstance(amount := each.get("amount_minor"), int) else None,
            detail=f"{row['topic']} #{row['position'] or '…'}",
        )
        for each in events
        if each.get("processing_id") == processing_id
    ]


# -- the tracer ---------------------------------------------------------------------------------------------------


async def _traced(view: View, processing_id: str) -> tuple[Processing | None, Finding | None]:
    try:
        known = await answers.processing(view, processing_id)
    except NotFound:
        return None, None
    if known.finding_id is None:
        return known, None
    return known, await Casework(view, await clock_of(view)).get(known.finding_id)


def _by(rows: Iterable[asyncpg.Record], column: str) -> dict[Any, list[asyncpg.Record]]:
    found: dict[Any, list[asyncpg.Record]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def _told(**facts: object) -> str:
    """What there is to tell besides, in a few words."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items() if value)
