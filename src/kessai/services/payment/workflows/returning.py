"""Reversals of a payment's exchange as the ledger is asked for them: which legs, under which id.

Of a receivable (債権) no more can be taken back than is still owed. What was repaid meanwhile lands in the customer's
balance: the payee gives it, and whoever had advanced it, and got it back with the repayment, hands it on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec.structs import replace

from kessai.foundation.errors import NotFound, PaymentError, Refused
from kessai.services.ledger.api import (
    CreateExchange,
    Exchange,
    GetExchange,
    Ledger,
    Leg,
    LegAmount,
    ListAccounts,
    ReverseExchange,
    account_id_of,
)
from kessai.services.payment.api import Action
from kessai.services.payment.domain import GivenBack, Landed
from kessai.services.payment.workflows.orders import LegPair, Settled, SourceLeg, Task, exchange_id_of

ATTEMPTS_MAX = 4
"""Times that it is decided anew because somebody repaid between looking and taking."""
NO_PLACE = ("account_not_found", "account_closed", "balance_overflow")


def reversal_id_of(task: Task) -> str:
    """The exchange that gives back what an action gives back."""
    return task.refund.exchange_id if task.refund else exchange_id_of("reversal", task.action_id)


def reversal_of(task: Task, legs: list[LegAmount], *, last: bool = True) -> ReverseExchange:
    """The reversal of these legs; of the whole amount where there are none. `last`: a refusal is final."""
    return ReverseExchange(
        exchange_id=task.payment.exchange_id,
        amount_minor=None if legs else task.amount_minor,
        legs=legs,
        reversal_id=reversal_id_of(task),
        reference=task.refund and task.refund.refund_id,
        kind="refund" if task.refund else task.action.value,
        remember_refusal=last and not task.outside_part() and task.action is not Action.RETURN,
    )


def told_of(task: Task, settled: Settled) -> GivenBack:
    """What went back to the payer, for the step that says so."""
    kind = "refund" if task.refund else task.action.value
    parts = {source: part for source, part in task.back_after(settled).items() if part}
    again = task.kept_again() if task.refund and task.parks and settled.code else 0
    taken = _taken_back(task, again)
    return replace(taken, exchange_id=reversal_id_of(task), kind=kind, parts=parts, surplus=settled.surplus)


def told_of_nothing(task: Task) -> GivenBack | None:
    """The same where a refund was refused after an escrow's seller had given its part back, and got it again."""
    taken = _taken_back(task, task.amount_minor - task.fee_minor)
    return taken if taken.taken_back_id is not None else None


def _taken_back(task: Task, again: int) -> GivenBack:
    net = task.amount_minor - task.fee_minor
    if not task.parks or task.refund is None or net <= 0:
        return GivenBack()
    return GivenBack(
        taken_back_id=exchange_id_of("taken_back", task.action_id),
        taken_back_minor=net,
        paid_again_id=exchange_id_of("paid_on_again", task.action_id) if again else None,
        paid_again_minor=again,
    )


async def named_legs(ledger: Ledger, task: Task, kept: Mapping[str, int] | None = None) -> list[LegAmount]:
    """The legs that a task's parts stand for, with their amounts; none where the amount alone says it.

    `kept`: of a part, what is not taken back along with it, and so does not go back to its source either.
    """
    if not task.parts:
        return []
    exchange = await ledger.get_exchange(GetExchange(exchange_id=task.payment.exchange_id))
    numbers = {(leg.account_id, leg.amount_minor > 0): leg.leg for leg in exchange.legs}
    amounts: Counter[int] = Counter()
    payee = account_id_of(task.payment.payee_id, task.payee_account_type)
    for route in task.routes:
        if part := task.parts.get(route.name):
            rest = part - (kept or {}).get(route.name, 0)
            amounts[numbers[account_id_of(route.owner, route.account_type), False]] += rest
            amounts[numbers[payee, True]] += part
            if (pair := route.along) is not None:
                amounts[numbers[account_id_of(pair.from_owner, pair.from_account_type), False]] += part
                amounts[numbers[account_id_of(pair.to_owner, pair.to_account_type), True]] += rest
    return [LegAmount(leg=leg, amount_minor=amount) for leg, amount in sorted(amounts.items()) if amount]


# -- what is not owed any more ------------------------------------------------------------------------------------


async def return_what_is_owed(ledger: Ledger, task: Task) -> Settled:
    """Reverse a payment as far as its receivables are still owed; the rest lands in the customer's balance.

    The reversal's id is this action's alone: what is found under it, and the surplus that it tells of, is the answer,
    whatever was owed when an earlier attempt was made.
    """
    reversal = await _reverse(ledger, task)
    over = {route.name: _surplus(reversal, route.along) for route in task.routes if route.along is not None}
    landed = {
        each.name: await _landed(ledger, task, each, over[each.name]) for each in task.routes if over.get(each.name)
    }
    return Settled(exchange_id=next((each.exchange_id for each in landed.values()), None), surplus=landed)


async def _landed(ledger: Ledger, task: Task, route: SourceLeg, amount: int) -> Landed:
    exchange = await ledger.get_exchange(GetExchange(exchange_id=await _land(ledger, task, route, amount)))
    places: dict[str, str] = {account_id_of(route.owner, each): each for each in route.surplus_account_types}
    account_type = next(places[leg.account_id] for leg in exchange.legs if leg.account_id in places)
    return Landed(exchange_id=exchange.exchange_id, account_type=account_type, amount_minor=amount)


async def _reverse(ledger: Ledger, task: Task) -> Exchange:
    for attempt in range(1, ATTEMPTS_MAX + 1):
        last = attempt == ATTEMPTS_MAX
        legs = await named_legs(ledger, task, await _not_owed(ledger, task))
        try:
            return await ledger.reverse_exchange(reversal_of(task, legs, last=last))
        except PaymentError as refusal:
            if refusal.code == "exchange_id_reused":
                return await _found(ledger, task)
            if last:
                raise
            if refusal.code != "insufficient_funds":  # refused for good, which the ledger is to remember
                return await ledger.reverse_exchange(reversal_of(task, legs))
    raise AssertionError("the last attempt answers or raises")


async def _found(ledger: Ledger, task: Task) -> Exchange:
    """What an earlier attempt made under the reversal's id, or that it was refused."""
    try:
        return await ledger.get_exchange(GetExchange(exchange_id=reversal_id_of(task)))
    except NotFound as missing:
        raise Refused("insufficient_funds", "What was given is no longer there to be taken back.") from missing


async def _not_owed(ledger: Ledger, task: Task) -> dict[str, int]:
    """Of each part, what is no longer owed."""
    found: dict[str, int] = {}
    for route in task.routes:
        if (part := task.parts.get(route.name)) and (pair := route.along) is not None:
            accounts = (await ledger.list_accounts(ListAccounts(owner=pair.to_owner))).accounts
            owed = sum(each.available_minor for each in accounts if each.account_type == pair.to_account_type)
            if part > owed:
                found[route.name] = part - max(0, owed)
    return found


def _surplus(reversal: Exchange, along: LegPair | None) -> int:
    """What a reversal gave to whoever had advanced it, above what it took of the receivable."""
    assert along is not None
    pair = (
        account_id_of(along.from_owner, along.from_account_type),
        account_id_of(along.to_owner, along.to_account_type),
    )
    return sum(leg.amount_minor for leg in reversal.legs if leg.account_id in pair)


async def _land(ledger: Ledger, task: Task, route: SourceLeg, amount: int) -> str:
    """Hand a surplus on to the first of the customer's accounts that takes it; gives the exchange."""
    assert route.along is not None
    exchange_id = exchange_id_of("surplus", route.name, reversal_id_of(task))
    source = Leg(
        owner=route.along.from_owner,
        account_type=route.along.from_account_type,
        amount_minor=amount,
        asset=task.payment.asset,
    )
    for account_type in route.surplus_account_types:
        target = Leg(
            owner=route.owner, account_type=account_type, amount_minor=amount, asset=task.payment.asset, returning=True
        )
        request = CreateExchange(
            exchange_id=exchange_id,
            kind=f"{task.payment.kind}_surplus",
            sources=[source],
            targets=[target],
            metadata={"payment_id": task.payment.payment_id},
        )
        try:
            await ledger.create_exchange(request)
        except PaymentError as refusal:
            if refusal.code == "exchange_id_reused":  # an earlier attempt has landed it elsewhere
                return exchange_id
            if refusal.code not in NO_PLACE:
                raise
        else:
            return exchange_id
    raise AssertionError(f"{amount} of {task.payment.payment_id} has no account to go to")
