"""What a payment believes that others did for it, worked out from its own rows and the declaration of its kind. Pure.

What came to nothing (a hold that was let go of before anything was taken) is an effect on neither side. What is still
under way is not compared: `in_flight` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from kessai.foundation.ids import bare
from kessai.sdk.processing.api import EffectRecord
from kessai.services.ledger.api import account_id_of
from kessai.services.payment.api import Action, Funding, PaymentState, RefundState
from kessai.services.payment.domain.checks import is_overdue
from kessai.services.payment.domain.funding import Route, captured_by_source, route_of
from kessai.services.payment.domain.further import GivenBack
from kessai.services.payment.domain.history import Traced, TracedStep
from kessai.services.payment.domain.kinds import PAYER, Along, PaymentKind

S = PaymentState
Leg = tuple[str, str, int, int, int]
"""Owner, account type, signed amount, captured, given back."""

_WAITING = (S.PENDING, S.UNKNOWN, S.REQUIRES_ACTION, S.IN_FLIGHT)
_HOLDING = (S.AUTHORIZED, S.PARTIALLY_CAPTURED)
_CAME_TO_NOTHING = (S.CANCELED, S.EXPIRED, S.REFUSED)


def in_flight(traced: Traced, now: datetime) -> bool:
    """Whether something of it is under way, here or outside, or is to be ended by a job that has not come yet."""
    payment = traced.payment
    return traced.busy or payment.state in _WAITING or is_overdue(payment, now)


# -- the ledger ---------------------------------------------------------------------------------------------------


def ledger_claims(traced: Traced, kind: PaymentKind) -> list[EffectRecord]:
    """Every ledger exchange of a payment, a record a leg."""
    back = [step.given_back for step in traced.steps if step.given_back is not None]
    found = list(_own_exchange(traced, kind, back))
    for step in traced.steps:
        if kind.parks and step.action is Action.CAPTURE:
            found += _paid_on(traced, kind, step)
        if step.given_back is not None:
            found += _reversal(traced, kind, step.given_back)
            found += _surplus(traced, kind, step.given_back)
            found += _taken_back(traced, kind, step.given_back)
    return found


def _own_exchange(traced: Traced, kind: PaymentKind, back: Sequence[GivenBack]) -> Iterator[EffectRecord]:
    payment = traced.payment
    taken = kind.parks and traced.has(Action.AUTHORIZE)
    if not payment.funding or (payment.state in _CAME_TO_NOTHING and not taken):
        return iter(())
    held = payment.state in (*_HOLDING, *_WAITING) and not taken
    whole = taken or payment.captured_minor == payment.amount_minor
    legs = list(_legs(traced, kind, whole=whole, back=back))
    return _records(payment.exchange_id, payment.kind, payment.asset, legs, "AUTHORIZED" if held else "CAPTURED")


def _legs(traced: Traced, kind: PaymentKind, *, whole: bool, back: Sequence[GivenBack]) -> Iterator[Leg]:
    """The legs of a payment's own exchange, in the order in which the ledger is asked for them."""
    payment = traced.payment
    captured = {part.source: part.amount_minor for part in payment.funding}
    if not whole:
        captured = dict(captured_by_source(payment.funding, payment.captured_minor))
    given, landed = _given(back)
    routes = [(part, _route(traced, kind, part)) for part in payment.funding]
    for part, route in routes:
        gone = given[part.source] - landed[part.source]
        yield route.owner, route.account_type, -part.amount_minor, captured[part.source], gone
    pairs = [(part, route.along) for part, route in routes if route.along is not None]
    for part, along in pairs:
        owner, account_type = _side(along, traced, gets=False)
        yield owner, account_type, -part.amount_minor, captured[part.source], given[part.source]
    if kind.along is not None:
        yield *_side(kind.along, traced, gets=False), -payment.amount_minor, payment.amount_minor if whole else 0, 0
    total = payment.amount_minor if whole else payment.captured_minor
    yield payment.payee_id, _payee_type(traced, kind), payment.amount_minor, total, sum(given.values())
    if kind.fee is not None and payment.fee_minor:
        yield kind.fee.owner, kind.fee.account_type, payment.fee_minor, payment.fee_minor if whole else 0, 0
    for part, along in pairs:
        owner, account_type = _side(along, traced, gets=True)
        gone = given[part.source] - landed[part.source]
        yield owner, account_type, part.amount_minor, captured[part.source], gone
    if kind.along is not None:
        yield *_side(kind.along, traced, gets=True), payment.amount_minor, payment.amount_minor if whole else 0, 0


def _given(back: Sequence[GivenBack]) -> tuple[Counter[str], Counter[str]]:
    """By source: what went back, and what of that landed elsewhere."""
    given, landed = Counter[str](), Counter[str]()
    for each in back:
        given.update(each.parts)
        landed.update({source: other.amount_minor for source, other in each.surplus.items()})
    return given, landed


def _reversal(traced: Traced, kind: PaymentKind, back: GivenBack) -> Iterator[EffectRecord]:
    """The exchange that gave something back: targets first, as the ledger does it."""
    if back.exchange_id is None:
        return iter(())
    payment, given = traced.payment, {source: part for source, part in back.parts.items() if part}
    landed = {source: other.amount_minor for source, other in back.surplus.items()}
    routes = [(p, _route(traced, kind, p), given[p.source]) for p in payment.funding if p.source in given]
    legs = [_once(payment.payee_id, _payee_type(traced, kind), -sum(given.values()))]
    for part, route, amount in routes:
        if route.along is not None:
            legs.append(_once(*_side(route.along, traced, gets=True), landed.get(part.source, 0) - amount))
    legs += [_once(r.owner, r.account_type, amount - landed.get(p.source, 0)) for p, r, amount in routes]
    for _, route, amount in routes:
        if route.along is not None:
            legs.append(_once(*_side(route.along, traced, gets=False), amount))
    return _records(back.exchange_id, back.kind, payment.asset, legs, "CAPTURED")


def _surplus(traced: Traced, kind: PaymentKind, back: GivenBack) -> Iterator[EffectRecord]:
    payment = traced.payment
    for source, landed in back.surplus.items():
        route = route_of(source, kind, payment.payer_id)
        if route.along is not None:
            giver = _once(*_side(route.along, traced, gets=False), -landed.amount_minor)
            legs = [giver, _once(route.owner, landed.account_type, landed.amount_minor)]
            yield from _records(landed.exchange_id, f"{payment.kind}_surplus", payment.asset, legs, "CAPTURED")


def _paid_on(traced: Traced, kind: PaymentKind, step: TracedStep) -> Iterator[EffectRecord]:
    """The exchange by which a marketplace paid its seller."""
    if step.exchange_id is None:
        return iter(())
    legs = _between(traced, kind, step.amount_minor - step.fee_minor, 0)
    return _records(step.exchange_id, f"{traced.payment.kind}_paid_on", traced.payment.asset, legs, "CAPTURED")


def _taken_back(traced: Traced, kind: PaymentKind, back: GivenBack) -> Iterator[EffectRecord]:
    """The exchange by which a seller gave its part of a refund back, and the one that undid that."""
    payment, again = traced.payment, back.paid_again_minor
    if back.taken_back_id is not None:
        legs = _between(traced, kind, -back.taken_back_minor, again)
        yield from _records(back.taken_back_id, f"{payment.kind}_taken_back", payment.asset, legs, "CAPTURED")
    if back.paid_again_id is not None:
        yield from _records(back.paid_again_id, "reversal", payment.asset, _between(traced, kind, again, 0), "CAPTURED")


def _between(traced: Traced, kind: PaymentKind, net: int, undone: int) -> list[Leg]:
    payment = traced.payment
    market = (payment.payee_id, _payee_type(traced, kind), -net, abs(net), undone)
    seller = (payment.beneficiary_id or "", kind.beneficiary_account_type or "", net, abs(net), undone)
    return [market, seller]


def _once(owner: str, account_type: str, amount: int) -> Leg:
    """A leg of an exchange that moved everything at once."""
    return owner, account_type, amount, abs(amount), 0


def _route(traced: Traced, kind: PaymentKind, part: Funding) -> Route:
    return route_of(part.source, kind, traced.payment.payer_id)


def _payee_type(traced: Traced, kind: PaymentKind) -> str:
    return traced.payee_account_type or kind.payee_account_type


def _side(along: Along, traced: Traced, *, gets: bool) -> tuple[str, str]:
    """Owner and account type of one side of what goes along."""
    owner = along.to_owner if gets else along.from_owner
    named = {PAYER: traced.payment.payer_id, "payee": traced.payment.payee_id}.get(owner, owner)
    return named, along.to_account_type if gets else along.from_account_type


def _records(exchange_id: str, kind: str, asset: str, legs: Sequence[Leg], state: str) -> Iterator[EffectRecord]:
    seen = Counter[str]()
    for owner, account_type, amount, captured, returned in legs:
        if not amount:
            continue
        account_id = account_id_of(owner, account_type)
        seen[account_id] += 1
        yield EffectRecord(
            effect_id=exchange_id,
            part=account_id if seen[account_id] == 1 else f"{account_id}/{seen[account_id]}",
            kind=kind,
            party=owner,
            account=account_type,
            asset=asset,
            amount_minor=amount,
            captured_minor=captured,
            returned_minor=returned,
            state=state,
        )


# -- the card gateway and the bank --------------------------------------------------------------------------------


def card_claims(traced: Traced, kind: PaymentKind) -> list[EffectRecord]:
    """The authorization on a card, while it holds something or has taken something for good."""
    payment = traced.payment
    part = _part_outside(traced, kind, "card")
    if part is None:
        return []
    given, _ = _given([step.given_back for step in traced.steps if step.given_back is not None])
    captured = captured_by_source(payment.funding, payment.captured_minor)[part.source]
    if kind.parks:
        captured = part.amount_minor if traced.has(Action.AUTHORIZE) else 0
    held = payment.state in (*_HOLDING, *_WAITING) and captured < part.amount_minor
    if not held and captured == given[part.source]:
        return []
    return [
        EffectRecord(
            effect_id=f"cau_{bare(payment.payment_id)}",
            kind="card_authorization",
            party=payment.payer_id,
            account=payment.instrument_id,
            asset=payment.asset,
            amount_minor=-part.amount_minor,
            captured_minor=captured - given[part.source],
            state="AUTHORIZED" if held else "CAPTURED",
        )
    ]


def bank_claims(traced: Traced, kind: PaymentKind) -> list[EffectRecord]:
    """The transfer or debit that the bank was told of, whatever came of it."""
    payment = traced.payment
    if kind.pays_out:
        if not traced.has(Action.SEND):
            return []
        return [_instruction(traced, "btr", "bank_transfer", payment.payer_id, payment.amount_minor)]
    part = _part_outside(traced, kind, "bank")
    if part is None or not traced.has(Action.REQUIRE_ACTION):
        return []
    owner = payment.payee_id if kind.payer == "internal" else payment.payer_id
    return [_instruction(traced, "bdb", "bank_debit", owner, -part.amount_minor)]


def _instruction(traced: Traced, prefix: str, name: str, owner: str, amount: int) -> EffectRecord:
    payment = traced.payment
    state = {S.REFUSED: "FAILED", S.RETURNED: "RETURNED"}.get(payment.state, "DONE")
    return EffectRecord(
        effect_id=f"{prefix}_{bare(payment.payment_id)}",
        kind=name,
        party=owner,
        account=payment.instrument_id,
        asset=payment.asset,
        amount_minor=amount,
        captured_minor=0 if state == "FAILED" else abs(amount),
        returned_minor=abs(amount) if state == "RETURNED" else 0,
        state=state,
    )


def _part_outside(traced: Traced, kind: PaymentKind, gateway: str) -> Funding | None:
    """What of it somebody outside gives."""
    for part in traced.payment.funding:
        named = kind.sources.get(part.source)
        if named is not None and named.gateway == gateway:
            return part
    return None


# -- the payment itself ---------------------------------------------------------------------------------------------


def own_effects(traced: Traced) -> Iterator[EffectRecord]:
    """The payment and its refunds as others who call it would have them."""
    payment = traced.payment
    sides = [("payer", payment.payer_id, -1), ("payee", payment.payee_id, 1)]
    if payment.beneficiary_id is not None:
        sides.append(("beneficiary", payment.beneficiary_id, 1))
    for part, party, sign in sides:
        yield EffectRecord(
            effect_id=payment.payment_id,
            part=part,
            kind=payment.kind,
            party=party,
            asset=payment.asset,
            amount_minor=sign * payment.amount_minor,
            captured_minor=payment.captured_minor,
            returned_minor=payment.amount_minor if payment.state is S.RETURNED else payment.refunded_minor,
            state=payment.state.value,
            at=payment.updated_at,
        )
    for each in traced.refunds:
        refund, done = each.refund, each.refund.state is RefundState.SUCCEEDED
        yield EffectRecord(
            effect_id=refund.refund_id,
            kind="refund",
            party=payment.payer_id,
            asset=refund.asset,
            amount_minor=refund.amount_minor,
            captured_minor=refund.amount_minor if done else 0,
            state=refund.state.value,
            at=refund.updated_at,
        )
