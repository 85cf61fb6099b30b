"""The saga of a new payment.

Inside the platform it is one ledger activity: hold, or move at once. With somebody outside, all internal legs are held
first, in one exchange in which an internal account stands for the outside; then the outside is asked; then both are
captured. A final refusal undoes what was done, last first.
"""

from __future__ import annotations

from msgspec.structs import replace

from kessai.foundation.errors import PaymentError, Refused
from kessai.sdk.workflow import define
from kessai.services.payment import domain
from kessai.services.payment.api import NextAction, NextActionType, PaymentRecord
from kessai.services.payment.domain import PlannedSource
from kessai.services.payment.workflows import elsewhere, value
from kessai.services.payment.workflows.notes import Notes, Run
from kessai.services.payment.workflows.orders import Order, Settled, SourceLeg, cash_code_of

SPLITS_MAX = 3
"""Times that a split is decided anew because the accounts changed between looking and holding."""


@define("payment.create", version=1)
async def create(wf: Run, order: Order) -> PaymentRecord:
    """Hold or move the value of a new payment."""
    notes = Notes(wf, order.payment, order.caller, order.payment.processing_id)
    if order.approval is not None:
        used = await notes.ask(elsewhere.use_approval, order)
        if isinstance(used, PaymentError):
            raise await notes.refuse(used)
    if order.outside is not None:
        return await _with_outside(notes, order)
    settled = await _inside(notes, order)
    if isinstance(settled, PaymentError):
        raise await notes.refuse(settled)
    return _done(notes, order, settled)


def _done(notes: Notes, order: Order, settled: Settled) -> PaymentRecord:
    """The end of a payment whose value is held, or moved."""
    at_once = order.payment.capture_at_once and not order.parks
    follow = domain.sold if at_once else domain.authorized
    return notes.write(follow(notes.payment, list(settled.funding), notes.wf.now()))


async def _inside(notes: Notes, order: Order) -> Settled | PaymentError:
    """The one ledger exchange; where the split has to be decided beforehand, on what is available."""
    if order.owed:
        return await notes.settle(value.book_value, order)
    if not order.split:
        return await notes.ask(value.exchange_value, order)
    settled = await _split(notes, order)
    return settled if isinstance(settled, PaymentError) else settled[1]


async def _split(notes: Notes, order: Order) -> tuple[Order, Settled] | PaymentError:
    refusal: PaymentError = Refused("insufficient_funds", "The sources together have less than the amount.")
    for attempt in range(1, SPLITS_MAX + 1):
        exact = await _exact(notes, order)
        if isinstance(exact, PaymentError):
            return exact
        settled = await _held(notes, replace(exact, final=attempt == SPLITS_MAX))
        if not isinstance(settled, PaymentError):
            return exact, settled
        refusal = settled
    return refusal


async def _held(notes: Notes, order: Order) -> Settled | PaymentError:
    """Hold or move; what is held while somebody outside is asked can be undone."""
    undo = None if order.outside is None else value.let_go
    return await notes.ask(value.exchange_value, order, undo)


async def _exact(notes: Notes, order: Order) -> Order | PaymentError:
    """The order with exact parts, decided on what is available now."""
    found = await notes.ask(value.available_of, order.payment.payer_id)
    if isinstance(found, PaymentError):
        return found
    mine = {leg.name: found.amounts.get(leg.account_type, 0) for leg in order.sources if _is_own(leg, order)}
    plan = [PlannedSource(leg.name, leg.amount_minor, leg.balancing, leg.least_minor) for leg in order.sources]
    try:
        parts = domain.split(order.payment.amount_minor, plan, mine)
    except PaymentError as refusal:
        return refusal
    exact = [
        replace(leg, amount_minor=part, balancing=False) for leg in order.sources if (part := parts.get(leg.name, 0))
    ]
    return replace(order, sources=exact)


def _is_own(leg: SourceLeg, order: Order) -> bool:
    return leg.owner == order.payment.payer_id


# -- with somebody outside ----------------------------------------------------------------------------------------


async def _with_outside(notes: Notes, order: Order) -> PaymentRecord:
    """Hold inside, ask outside, then capture both; or wait for what has to happen outside."""
    found = await _split(notes, order) if order.split else await _plainly(notes, order)
    if isinstance(found, PaymentError):
        raise await notes.refuse(found)
    held, settled = found
    order = replace(held, payment=replace(order.payment, funding=list(settled.funding)))
    if not order.pays_out and not _outside_part(order):
        return await finish(notes, order, on_card=False)
    assert order.outside is not None
    match order.outside.gateway:
        case "card":
            return await _by_card(notes, order)
        case "cash":
            return _wait(notes, order, NextActionType.PAY_CASH, code=cash_code_of(order.payment.payment_id))
        case _:
            return await _by_bank(notes, order)


async def _plainly(notes: Notes, order: Order) -> tuple[Order, Settled] | PaymentError:
    settled = await _held(notes, order)
    return settled if isinstance(settled, PaymentError) else (order, settled)


def _outside_part(order: Order) -> int:
    assert order.outside is not None
    return sum(part.amount_minor for part in order.payment.funding if part.source == order.outside.source)


async def _by_card(notes: Notes, order: Order) -> PaymentRecord:
    card = await notes.effect(elsewhere.authorize_card, order, elsewhere.void_card)
    if isinstance(card, PaymentError):
        raise await notes.refuse(card)
    if card.url is not None:
        return _wait(notes, order, NextActionType.REDIRECT, url=card.url)
    return await finish(notes, order, on_card=True)


async def _by_bank(notes: Notes, order: Order) -> PaymentRecord:
    instructed = await notes.effect_for_good(elsewhere.instruct_bank, order, elsewhere.prevent_instruction)
    if isinstance(instructed, PaymentError):
        raise await notes.refuse(instructed)
    if order.pays_out:
        return notes.write(domain.sent(notes.payment, order.payment.funding, notes.wf.now()))
    return _wait(notes, order, NextActionType.WAIT_FOR_BANK)


def _wait(
    notes: Notes, order: Order, kind: NextActionType, *, url: str | None = None, code: str | None = None
) -> PaymentRecord:
    action = NextAction(type=kind, url=url, code=code)
    funding, now = order.payment.funding, notes.wf.now()
    return notes.write(domain.action_required(notes.payment, funding, action, order.act_by, now))


async def finish(notes: Notes, order: Order, *, on_card: bool) -> PaymentRecord:
    """Everything is held, inside and out: capture both where that is asked for."""
    settled = Settled(funding=tuple(order.payment.funding))
    if order.payment.capture_at_once or order.parks:
        refusal = await capture_all(notes, order.payment, on_card=on_card)
        if refusal is not None:
            raise await notes.refuse(refusal)
    return _done(notes, order, settled)


async def capture_all(notes: Notes, payment: PaymentRecord, *, on_card: bool) -> PaymentError | None:
    """Capture the card's hold, then the ledger's; gives the refusal, after which the caller undoes."""
    if on_card:
        taken = await notes.effect(elsewhere.take_card_whole, payment, elsewhere.give_card_whole_back)
        if isinstance(taken, PaymentError):
            return taken
    captured = await notes.ask(value.capture_whole, payment)
    return captured if isinstance(captured, PaymentError) else None
