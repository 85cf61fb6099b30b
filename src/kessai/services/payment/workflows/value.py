"""Activities in the ledger: each may be repeated, its ids are fixed before it starts."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.errors import NotFound, PaymentError, Refused
from kessai.sdk.workflow import Activity
from kessai.services.ledger.api import (
    CaptureExchange,
    CreateExchange,
    Exchange,
    ExchangeState,
    GetExchange,
    Ledger,
    Leg,
    ListAccounts,
    ReverseExchange,
    VoidExchange,
    account_id_of,
)
from kessai.services.payment.api import Funding, PaymentRecord
from kessai.services.payment.workflows.notes import Deps
from kessai.services.payment.workflows.orders import (
    Available,
    Order,
    Settled,
    SourceLeg,
    Task,
    exchange_id_of,
)
from kessai.services.payment.workflows.returning import named_legs, return_what_is_owed, reversal_of

NOT_HELD = ("exchange_not_authorized", "exchange_not_found")


def ledger_of(activity: Activity[Deps], processing_id: str) -> Ledger:
    """The ledger, entered for the payment's own processing (the starting call may have named none)."""
    current_call().processing_id = processing_id
    return activity.deps.ledger


# -- a new payment ------------------------------------------------------------------------------------------------


async def available_of(activity: Activity[Deps], payer_id: str) -> Available:
    """What each of an owner's accounts can give."""
    accounts = await activity.deps.ledger.list_accounts(ListAccounts(owner=payer_id))
    return Available(amounts={each.account_type: max(0, each.available_minor) for each in accounts.accounts})


async def exchange_value(activity: Activity[Deps], order: Order) -> Settled:
    """One ledger exchange with every source, held or moved at once.

    A source of the default order whose account the customer does not have is left out, as the ledger names it. So what
    was asked for under the exchange's id may differ between attempts; the id is this payment's alone, and what is found
    under it is the answer.
    """
    ledger, sources = ledger_of(activity, order.payment.processing_id), list(order.sources)
    while True:
        request = exchange_request(order, sources)
        final = order.final and not any(each.optional for each in sources[1:])
        try:
            exchange = await ledger.create_exchange(replace(request, remember_refusal=final))
        except PaymentError as refusal:
            if refusal.code == "exchange_id_reused" and order.sources[-1].optional:
                exchange = await _found(ledger, order)
            elif (missing := _missing(refusal, sources)) is not None:
                del sources[missing]
                continue
            elif final or not order.final:
                raise
            else:  # refused for good, which the ledger is to remember: nobody may carry it out later
                exchange = await ledger.create_exchange(replace(request, remember_refusal=True))
        return _settled(order.payment, order.sources, exchange)


async def _found(ledger: Ledger, order: Order) -> Exchange:
    """What an earlier attempt made under the payment's id, or that it was refused."""
    try:
        return await ledger.get_exchange(GetExchange(exchange_id=order.payment.exchange_id))
    except NotFound as missing:
        raise Refused("insufficient_funds", "The sources together have less than the amount.") from missing


def _missing(refusal: PaymentError, sources: Sequence[SourceLeg]) -> int | None:
    """Which source can be left out because the customer has no such account."""
    number = refusal.details.get("leg")
    if refusal.code != "account_not_found" or not isinstance(number, int) or len(sources) < 2:
        return None
    return number if number < len(sources) and sources[number].optional else None


def exchange_request(order: Order, sources: Sequence[SourceLeg]) -> CreateExchange:
    """All legs of a payment: its sources, the payee, a fee, and what goes along."""
    payment = order.payment
    froms = [_leg(each.owner, each.account_type, each.amount_minor, payment, each.balancing) for each in sources]
    tos = [_leg(payment.payee_id, order.payee_account_type, payment.amount_minor, payment)]
    if order.lot_expires_at is not None:
        tos = [replace(tos[0], expires_at=order.lot_expires_at)]
    if order.fee is not None:
        tos.append(_leg(order.fee.owner, order.fee.account_type, order.fee.amount_minor, payment))
    pairs = [(each.along, each.amount_minor) for each in sources]
    for pair, amount in (*pairs, (order.along, payment.amount_minor)):
        if pair is not None:
            froms.append(_leg(pair.from_owner, pair.from_account_type, amount, payment))
            tos.append(_leg(pair.to_owner, pair.to_account_type, amount, payment))
    return CreateExchange(
        exchange_id=payment.exchange_id,
        kind=payment.kind,
        reference=payment.payment_id,
        capture=order.capture,
        expires_at=None if order.capture else order.held_until or payment.expires_at,
        sources=froms,
        targets=tos,
    )


def _leg(owner: str, account_type: str, amount: int, payment: PaymentRecord, balancing: bool = False) -> Leg:
    return Leg(owner=owner, account_type=account_type, amount_minor=amount, asset=payment.asset, balancing=balancing)


def _settled(payment: PaymentRecord, sources: Sequence[SourceLeg], exchange: Exchange) -> Settled:
    if len(sources) == 1:
        return Settled(funding=(Funding(source=sources[0].name, amount_minor=sources[0].amount_minor),))
    gave = {leg.account_id: -leg.amount_minor for leg in exchange.legs if leg.amount_minor < 0}
    parts = ((leg.name, gave.get(account_id_of(leg.owner, leg.account_type), 0)) for leg in sources)
    return Settled(funding=tuple(Funding(source=name, amount_minor=amount) for name, amount in parts if amount))


async def let_go(activity: Activity[Deps], order: Order) -> None:
    """Undo a new payment's hold, if there is one."""
    await _void(ledger_of(activity, order.payment.processing_id), order.payment)


async def capture_whole(activity: Activity[Deps], payment: PaymentRecord) -> Settled:
    """Make everything final that a payment holds."""
    action_id = f"act_{payment.exchange_id[4:]}"
    ledger = ledger_of(activity, payment.processing_id)
    request = CaptureExchange(exchange_id=payment.exchange_id, action_id=action_id, remember_refusal=True)
    await ledger.capture_exchange(request)
    return Settled()


# -- what was taken outside already: there is no refusing it ------------------------------------------------------


async def book_whole(activity: Activity[Deps], payment: PaymentRecord) -> Settled:
    """Make everything final that a payment holds; a refusal is an operator's case, and may be tried again after it."""
    ledger, action_id = ledger_of(activity, payment.processing_id), f"act_{payment.exchange_id[4:]}"
    with _owed():
        await ledger.capture_exchange(CaptureExchange(exchange_id=payment.exchange_id, action_id=action_id))
    return Settled()


async def book_value(activity: Activity[Deps], order: Order) -> Settled:
    """Move the value of a payment whose money is there; a refusal likewise."""
    with _owed():
        return await exchange_value(activity, replace(order, final=False))


async def book_return(activity: Activity[Deps], task: Task) -> Settled:
    """Give back what the bank has sent back; a refusal likewise."""
    with _owed():
        return await return_value(activity, task)


@contextmanager
def _owed() -> Generator[None]:
    try:
        yield
    except PaymentError as refusal:
        if refusal.retryable:
            raise
        raise AssertionError(f"what was taken outside cannot be booked: {refusal}") from refusal


# -- actions ------------------------------------------------------------------------------------------------------


async def capture_value(activity: Activity[Deps], task: Task) -> Settled:
    """Capture (part of) the payment's exchange."""
    ledger = ledger_of(activity, task.processing_id)
    legs = await named_legs(ledger, task)
    request = CaptureExchange(
        exchange_id=task.payment.exchange_id,
        amount_minor=None if legs else task.amount_minor,
        legs=legs,
        final=task.final,
        action_id=task.action_id,
        remember_refusal=True,
    )
    await ledger.capture_exchange(request)
    return Settled()


async def release_value(activity: Activity[Deps], task: Task) -> Settled:
    """Void what the payment's exchange holds; the ledger may have let it expire already."""
    ledger, exchange_id = ledger_of(activity, task.processing_id), task.payment.exchange_id
    try:
        request = VoidExchange(exchange_id=exchange_id, action_id=task.action_id, remember_refusal=True)
        await ledger.void_exchange(request)
    except PaymentError as refusal:
        if refusal.code != "exchange_not_authorized":
            raise
        exchange = await ledger.get_exchange(GetExchange(exchange_id=exchange_id))
        captured = _captured_of(exchange, task)
        if exchange.state is ExchangeState.CAPTURED and captured == task.payment.captured_minor > 0:
            return Settled()  # captured in part, and the rest let go already
        if exchange.state not in (ExchangeState.EXPIRED, ExchangeState.VOIDED):
            raise
        return Settled(expired=exchange.state is ExchangeState.EXPIRED)
    return Settled()


def _captured_of(exchange: Exchange, task: Task) -> int:
    """What the payee got."""
    payee = account_id_of(task.payment.payee_id, task.payee_account_type)
    return sum(leg.captured_minor for leg in exchange.legs if leg.amount_minor > 0 and leg.account_id == payee)


async def take_over(activity: Activity[Deps], task: Task) -> Settled:
    """Answer for a hold that an earlier workflow made: from here on, giving up means to undo it."""
    del activity, task
    return Settled()


async def let_go_of_task(activity: Activity[Deps], task: Task) -> None:
    """Undo a payment's hold, if there still is one."""
    await _void(ledger_of(activity, task.processing_id), task.payment)


async def _void(ledger: Ledger, payment: PaymentRecord) -> None:
    action_id = f"act_{exchange_id_of('void', payment.payment_id)[4:]}"
    try:
        await ledger.void_exchange(VoidExchange(exchange_id=payment.exchange_id, action_id=action_id))
    except PaymentError as refusal:
        if refusal.code not in NOT_HELD:
            raise


async def return_value(activity: Activity[Deps], task: Task) -> Settled:
    """Reverse (part of) the payment's exchange; lots come back with their own expiry.

    What of a receivable is not owed any more lands in the customer's balance.
    """
    ledger = ledger_of(activity, task.processing_id)
    if any(route.surplus_account_types and task.parts.get(route.name) for route in task.routes):
        return await return_what_is_owed(ledger, task)
    await ledger.reverse_exchange(reversal_of(task, await named_legs(ledger, task)))
    return Settled()


async def return_card_part(activity: Activity[Deps], task: Task) -> Settled:
    """Reverse only what went back to a card already; such accounts never refuse."""
    assert task.outside is not None
    part = {task.outside.source: task.outside_part()}
    return await return_value(activity, replace(task, parts=part, amount_minor=task.outside_part()))


# -- escrow: between the marketplace and the seller -----------------------------------------------------------------


def paid_on_id_of(task: Task) -> str | None:
    """The exchange that pays the seller; None where the fee is all of it."""
    return exchange_id_of("paid_on", task.action_id) if task.amount_minor > task.fee_minor else None


async def pay_on(activity: Activity[Deps], task: Task) -> Settled:
    """The marketplace pays the seller, less its fee."""
    if (exchange_id := paid_on_id_of(task)) is not None:
        await _between(activity, task, exchange_id, back=False)
    return Settled()


async def take_back(activity: Activity[Deps], task: Task) -> Settled:
    """The seller gives back its part of a refund to the marketplace."""
    if task.amount_minor > task.fee_minor:
        await _between(activity, task, exchange_id_of("taken_back", task.action_id), back=True)
    return Settled()


async def pay_on_rest(activity: Activity[Deps], task: Task) -> Settled:
    """Undo what of `take_back` was for more than the card's part: only that went back to the buyer."""
    if (rest := task.kept_again()) > 0:
        request = ReverseExchange(
            exchange_id=exchange_id_of("taken_back", task.action_id),
            amount_minor=rest,
            reversal_id=exchange_id_of("paid_on_again", task.action_id),
        )
        await ledger_of(activity, task.processing_id).reverse_exchange(request)
    return Settled()


async def pay_on_again(activity: Activity[Deps], task: Task) -> None:
    """Undo `take_back`, if it was done: the refund came to nothing."""
    exchange_id = exchange_id_of("taken_back", task.action_id)
    request = ReverseExchange(exchange_id=exchange_id, reversal_id=exchange_id_of("paid_on_again", task.action_id))
    try:
        await ledger_of(activity, task.processing_id).reverse_exchange(request)
    except PaymentError as refusal:
        if refusal.code != "exchange_not_found":
            raise


async def _between(activity: Activity[Deps], task: Task, exchange_id: str, *, back: bool) -> None:
    payment, net = task.payment, task.amount_minor - task.fee_minor
    assert payment.beneficiary_id is not None
    assert task.beneficiary_account_type is not None
    seller = Leg(
        owner=payment.beneficiary_id,
        account_type=task.beneficiary_account_type,
        amount_minor=net,
        asset=payment.asset,
    )
    market = Leg(
        owner=payment.payee_id,
        account_type=task.payee_account_type,
        amount_minor=net,
        asset=payment.asset,
    )
    request = CreateExchange(
        exchange_id=exchange_id,
        kind=f"{payment.kind}_{'taken_back' if back else 'paid_on'}",
        sources=[seller if back else market],
        targets=[market if back else seller],
        metadata={"payment_id": payment.payment_id},
        remember_refusal=True,
    )
    await ledger_of(activity, task.processing_id).create_exchange(request)
