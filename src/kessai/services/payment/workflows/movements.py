"""The saga of many merchants' movements at once: one batch of ledger exchanges, and each payment's own end.

Their rows are written PENDING when it starts. Every exchange has an id derived from its payment's and is answered from
store when it is asked for again, so that the batch may be repeated whole after any crash; the ledger remembers what it
refused. While no answer comes, all of them are UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from kessai.foundation.contract import Message
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.sdk.workflow import Activity, Retry, define
from kessai.services.ledger.api import CreateExchange, CreateExchanges, Leg
from kessai.services.payment import domain
from kessai.services.payment.api import Funding, PaymentRecord, PaymentState
from kessai.services.payment.workflows.notes import PAUSE_S_MAX, Deps, Notes, Run
from kessai.services.payment.workflows.orders import exchange_id_of
from kessai.services.payment.workflows.value import ledger_of

ANSWER_S = 10.0
"""How long the ledger is asked for a batch before its payments are told UNKNOWN."""
ATTEMPT_S = 5.0
"""How long one attempt at a batch may take before it is cut off and repeated."""


class Move(NamedTuple):
    """One movement, decided beforehand."""

    payment_id: str
    kind: str
    payer_id: str
    payee_id: str
    amount_minor: int
    reference: str | None


class Path(NamedTuple):
    """Where the value of a kind of movement goes."""

    asset: str
    payer_account_type: str
    payee_account_type: str


class Moves(Message):
    """Movements to be made, in one processing."""

    moves: list[Move]
    paths: dict[str, Path]
    """By kind."""
    caller: str
    processing_id: str
    created_at: datetime


class Moved(Message):
    """What came of them."""

    refused: dict[str, str]
    """By payment id, why; all others are made."""


def payments_of(moves: Moves) -> list[PaymentRecord]:
    """The payments as they begin, in their order."""
    return [_payment_of(each, moves.paths[each.kind].asset, moves) for each in moves.moves]


def _payment_of(move: Move, asset: str, moves: Moves) -> PaymentRecord:
    return PaymentRecord(
        payment_id=move.payment_id,
        kind=move.kind,
        state=PaymentState.PENDING,
        amount_minor=move.amount_minor,
        asset=asset,
        payer_id=move.payer_id,
        payee_id=move.payee_id,
        captured_minor=0,
        refunded_minor=0,
        funding=[],
        refusal_code=None,
        reference=move.reference,
        description=None,
        metadata={},
        exchange_id=exchange_id_of("movement", move.payment_id),
        processing_id=moves.processing_id,
        created_at=moves.created_at,
        updated_at=moves.created_at,
        expires_at=None,
        captures=0,
        refunds=0,
        version=0,
    )


@define("payment.move", version=1)
async def move(wf: Run, moves: Moves) -> Moved:
    """Move the value of every payment, and end each CAPTURED or REFUSED."""
    notes = [Notes(wf, payment, moves.caller, moves.processing_id) for payment in payments_of(moves)]
    moved = await _asked(wf, moves, notes)
    now = wf.now()
    for each in notes:
        payment = each.payment
        code = moved.refused.get(payment.payment_id)
        if code is not None:
            each.write(domain.refused(payment, code, now))
        else:
            source = moves.paths[payment.kind].payer_account_type
            each.write(domain.sold(payment, [Funding(source=source, amount_minor=payment.amount_minor)], now))
    return moved


async def _asked(wf: Run, moves: Moves, notes: Sequence[Notes]) -> Moved:
    """The ledger's answer to the batch; while it is unknown, the payments say so."""
    retry = Retry(attempt_timeout_s=ATTEMPT_S, delay_s_max=PAUSE_S_MAX)
    try:
        return await wf.activity(exchange_all, moves, deadline_s=ANSWER_S, retry=retry, repeatable=True)
    except (Unavailable, Unknown):
        for each in notes:
            each.write(domain.lost_track(each.payment, wf.now()))
        await wf.flush()
    except PaymentError as refusal:
        return _all_refused(moves, refusal)
    try:
        return await wf.activity(exchange_all, moves, retry=retry)
    except PaymentError as refusal:
        return _all_refused(moves, refusal)


def _all_refused(moves: Moves, refusal: PaymentError) -> Moved:
    return Moved(refused={each.payment_id: refusal.code for each in moves.moves})


async def exchange_all(activity: Activity[Deps], moves: Moves) -> Moved:
    """One exchange a movement, in one batch; each is done, refused, or was so before."""
    requests = [_exchange_of(each, moves.paths[each.kind]) for each in moves.moves]
    ledger = ledger_of(activity, moves.processing_id)
    answers = (await ledger.create_exchanges(CreateExchanges(exchanges=requests))).outcomes
    refused: dict[str, str] = {}
    for each, answer in zip(moves.moves, answers, strict=True):
        if answer.failure is None:
            continue
        if answer.failure.retryable:
            raise Unknown(answer.failure.code, answer.failure.message)  # others of the batch may be done
        refused[each.payment_id] = answer.failure.code
    return Moved(refused=refused)


def _exchange_of(move: Move, path: Path) -> CreateExchange:
    amount, asset = move.amount_minor, path.asset
    return CreateExchange(
        exchange_id=exchange_id_of("movement", move.payment_id),
        kind=move.kind,
        reference=move.payment_id,
        sources=[Leg(owner=move.payer_id, account_type=path.payer_account_type, amount_minor=amount, asset=asset)],
        targets=[Leg(owner=move.payee_id, account_type=path.payee_account_type, amount_minor=amount, asset=asset)],
        remember_refusal=True,
    )
