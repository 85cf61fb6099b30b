"""Exchanges as their callers should know them, and where the ledger's own records of one contradict each other. Pure.

The birth's record is the truth, `exchange_state` how far it has come, and each action's record one step of that. What
was let go of before anything was captured came to nothing, and is no effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec

from kessai.sdk.processing.api import EffectRecord
from kessai.services.ledger.api import ExchangeState, account_id_of
from kessai.services.ledger.domain.progress import Done, LegProgress
from kessai.services.ledger.domain.state import flush_instant, instant

LET_GO = (ExchangeState.VOIDED, ExchangeState.EXPIRED)
_BIRTHS = {
    ("created", ExchangeState.CAPTURED), ("reversed", ExchangeState.CAPTURED), ("authorized", ExchangeState.AUTHORIZED),
}  # fmt: skip
_ENDS = {
    "captured": (ExchangeState.CAPTURED, ExchangeState.AUTHORIZED),
    "voided": (ExchangeState.VOIDED, ExchangeState.CAPTURED),
    "expired": (ExchangeState.EXPIRED, ExchangeState.CAPTURED),
}
_Posting = tuple[int, str, str, int, int, int | None, int | None, int, list[list[int]], int | None, str | None,
                 int | None]  # fmt: skip


class Told(msgspec.Struct, frozen=True, gc=False):
    """What a record tells of an effect, as far as it is needed here."""

    exchange_id: str
    action: str
    kind: str
    state: ExchangeState
    caller: str
    postings: list[_Posting] = []
    legs: list[list[str | int | None]] = []
    action_id: str | None = None
    expires: int | None = None
    reverses: str | None = None
    processing_id: str | None = None
    undoes: list[int] = []


class Holder(NamedTuple):
    """Whose account it is, as its row has it."""

    owner: str
    account_type: str
    asset: str


class Standing(NamedTuple):
    """How far an exchange has come: its row in `exchange_state`."""

    state: str
    version: int
    expires_at: datetime | None
    progress: bytes


@dataclass(slots=True)
class TracedAction:
    """A row of `exchange_action` with what its record tells."""

    action_id: str
    caller: str
    processing_id: str | None
    told: Told


@dataclass(slots=True)
class TracedExchange:
    """An exchange with everything that was written down of it."""

    exchange_id: str
    flush_id: int
    caller: str
    processing_id: str | None
    birth: Told
    standing: Standing | None
    actions: list[TracedAction] = field(default_factory=list[TracedAction])
    state: ExchangeState = ExchangeState.CAPTURED
    legs: list[LegProgress] = field(default_factory=list[LegProgress])
    done: list[Done] = field(default_factory=list[Done])

    def __post_init__(self) -> None:
        """Raises msgspec.MsgspecError or ValueError when it cannot be read."""
        if self.standing is None:
            self.state, self.legs = self.birth.state, born_legs(self.birth)
        else:
            self.state, self.legs, self.done = _decode_progress(self.standing.progress)

    @property
    def came_to_nothing(self) -> bool:
        """Whether it was let go of before anything was captured."""
        return self.state in LET_GO and not any(leg.captured for leg in self.legs)

    def lapsed(self, now: datetime) -> bool:
        """Whether its time is over while it still holds: a job is about to end it."""
        until = None if self.standing is None else self.standing.expires_at
        return self.state is ExchangeState.AUTHORIZED and until is not None and until <= now


decode_told = msgspec.json.Decoder(Told).decode
_decode_progress = msgspec.json.Decoder(tuple[ExchangeState, list[LegProgress], list[Done]]).decode


def born_legs(birth: Told) -> list[LegProgress]:
    """The legs of an exchange as it was made. Raises ValueError when its record does not tell them."""
    if birth.state is ExchangeState.AUTHORIZED:
        return [_held_leg(leg) for leg in birth.legs]
    moved = {posting[0]: posting for posting in birth.postings}
    if not birth.legs:
        return [_moved_leg(posting) for posting in birth.postings]
    return [_moved_leg(moved[at]) if at in moved else _held_leg(leg) for at, leg in enumerate(birth.legs)]


def _held_leg(leg: Sequence[str | int | None]) -> LegProgress:
    account_id, asset, amount, expires = leg
    if not isinstance(account_id, str) or not isinstance(asset, str) or not isinstance(amount, int):
        raise ValueError("a leg is not what it should be")
    return LegProgress(account_id, asset, amount, expires if isinstance(expires, int) else None, 0, 0, [], [])


def _moved_leg(posting: _Posting) -> LegProgress:
    return LegProgress(posting[1], posting[2], posting[3], posting[9], abs(posting[3]), 0, [], [])


# -- what callers should know ---------------------------------------------------------------------------------------


def records_of(exchange: TracedExchange, holder_of: Callable[[str], Holder | None]) -> Iterator[EffectRecord]:
    """A record a leg; none of what came to nothing."""
    if exchange.came_to_nothing:
        return
    at, birth = flush_instant(exchange.flush_id), exchange.birth
    seen: dict[str, int] = {}
    for leg in exchange.legs:
        if not leg.amount:
            continue  # a balancing leg that moved nothing
        holder = holder_of(leg.account_id)
        turn = seen[leg.account_id] = seen.get(leg.account_id, 0) + 1
        yield EffectRecord(
            effect_id=exchange.exchange_id,
            part=leg.account_id if turn == 1 else f"{leg.account_id}/{turn}",
            kind=birth.kind,
            party="" if holder is None else holder.owner,
            account=None if holder is None else holder.account_type,
            asset=leg.asset,
            amount_minor=leg.amount,
            captured_minor=leg.captured,
            returned_minor=leg.reversed,
            state=exchange.state.value,
            at=at,
        )


# -- where records contradict each other ----------------------------------------------------------------------------


def contradictions(exchange: TracedExchange, holder_of: Callable[[str], Holder | None]) -> Iterator[str]:
    """What one changed, missing or doubled row of an exchange leaves behind."""
    birth = exchange.birth
    if birth.exchange_id != exchange.exchange_id:
        yield f"its record is that of {birth.exchange_id}"
    if (birth.caller, birth.processing_id) != (exchange.caller, exchange.processing_id):
        yield "its record names another caller or processing"
    if (birth.action, birth.state) not in _BIRTHS:
        yield f"it was {birth.action} and is {birth.state}"
    born = born_legs(birth)
    yield from _sum_faults(born)
    if birth.legs and any(not _is_of(posting, born) for posting in birth.postings):
        yield "its record moved something else than its legs say"
    yield from _account_faults(exchange, holder_of)
    if exchange.standing is None:
        if birth.state is ExchangeState.AUTHORIZED or exchange.actions:
            yield "its state is missing, though it was held"
    else:
        yield from _standing_faults(exchange, exchange.standing, born)
        yield from _action_faults(exchange, born)


def _is_of(posting: _Posting, born: Sequence[LegProgress]) -> bool:
    """Whether a posting is of the leg that it says: of what is held, its hold."""
    if not 0 <= posting[0] < len(born):
        return False
    leg = born[posting[0]]
    amount, held = (leg.amount, 0) if leg.captured else (0, -leg.amount)
    return (posting[1], posting[2], posting[3], posting[4]) == (leg.account_id, leg.asset, amount, held)


def _sum_faults(born: Sequence[LegProgress]) -> Iterator[str]:
    sums: dict[str, int] = {}
    for leg in born:
        sums[leg.asset] = sums.get(leg.asset, 0) + leg.amount
    for asset, total in sums.items():
        if total:
            yield f"its legs add up to {total} {asset}"


def _account_faults(exchange: TracedExchange, holder_of: Callable[[str], Holder | None]) -> Iterator[str]:
    for leg in exchange.legs:
        holder = holder_of(leg.account_id)
        if holder is None:
            yield f"there is no account {leg.account_id}"
        elif account_id_of(holder.owner, holder.account_type) != leg.account_id:
            yield f"{leg.account_id} is not the account that its owner and type make it"
        elif holder.asset != leg.asset:
            yield f"{leg.account_id} holds {holder.asset}, not {leg.asset}"


def _standing_faults(exchange: TracedExchange, standing: Standing, born: Sequence[LegProgress]) -> Iterator[str]:
    birth = exchange.birth
    if standing.state != exchange.state.value:
        yield f"it is {standing.state}, its progress says {exchange.state}"
    if birth.state is ExchangeState.AUTHORIZED:
        until = None if birth.expires is None else instant(birth.expires)
        if standing.expires_at not in (until, None):
            yield "its time ends at another instant than its record says"
    elif exchange.state is not ExchangeState.CAPTURED:
        yield f"it was captured at once, and is {exchange.state}"
    facts = [(leg.account_id, leg.asset, leg.amount) for leg in exchange.legs]
    if facts != [(leg.account_id, leg.asset, leg.amount) for leg in born]:
        yield "the legs of its progress are not those of its record"
    if any(not 0 <= leg.reversed <= leg.captured <= abs(leg.amount) for leg in exchange.legs):
        yield "more was captured than held, or given back than captured"
    first = 1 if birth.state is ExchangeState.AUTHORIZED else 0
    returns = standing.version - first - len(exchange.done)
    if returns < 0 or (returns == 0) is not (not any(leg.reversed for leg in exchange.legs)):
        yield f"its version {standing.version} does not tell what was done to it"
    for leg in exchange.legs if exchange.state is ExchangeState.AUTHORIZED else ():
        held = sum(amount for _, amount in leg.holds)
        if held != (-leg.amount - leg.captured if leg.amount < 0 else 0):
            yield f"it holds {held} of {leg.account_id}"


def _action_faults(exchange: TracedExchange, born: Sequence[LegProgress]) -> Iterator[str]:
    """The actions, one after the other, must lead to where it stands."""
    if [done.action_id for done in exchange.done] != [action.action_id for action in exchange.actions]:
        yield "its actions are not those that its progress tells of"
        return
    state = exchange.birth.state
    captured = [leg.captured for leg in born]
    for action in exchange.actions:
        told = action.told
        if (told.exchange_id, told.action_id) != (exchange.exchange_id, action.action_id):
            yield f"the record of {action.action_id} is of something else"
        if (told.caller, told.processing_id) != (action.caller, action.processing_id):
            yield f"the record of {action.action_id} names another caller or processing"
        if state is not ExchangeState.AUTHORIZED or told.state not in _ENDS.get(told.action, ()):
            yield f"{action.action_id}, {told.action}, leads from {state} to {told.state}"
        for posting in told.postings:
            if not 0 <= posting[0] < len(born) or born[posting[0]].account_id != posting[1]:
                yield f"{action.action_id} moved value of another account"
            else:
                captured[posting[0]] += abs(posting[3])
                if posting[2] != born[posting[0]].asset or posting[3] * born[posting[0]].amount < 0:
                    yield f"{action.action_id} moved another value than was held"
        if [leg[0] for leg in told.legs] != captured:
            yield f"{action.action_id} tells other amounts than it moved"
        state = told.state
    if exchange.state is not state or [leg.captured for leg in exchange.legs] != captured:
        yield "its actions lead elsewhere than where it stands"
    if exchange.done and state is not ExchangeState.AUTHORIZED and (state in LET_GO) is any(captured):
        yield f"it is {state}, and {sum(captured)} of it were captured"


def given_back_twice(exchanges: Sequence[TracedExchange]) -> Iterator[tuple[str, str]]:
    """Exchanges of one processing that gave back less than their reversals there did: (id, what is wrong)."""
    known = {each.exchange_id: each for each in exchanges}
    undone: dict[str, Counter[int]] = {}
    for each in exchanges:
        if (original := each.birth.reverses) is not None and original in known:
            amounts = undone.setdefault(original, Counter[int]())
            for number, posting in zip(each.birth.undoes, each.birth.postings, strict=False):
                amounts[number] += abs(posting[3])
    for exchange_id, amounts in undone.items():
        legs = known[exchange_id].legs
        if any(not 0 <= at < len(legs) or legs[at].reversed < amount for at, amount in amounts.items()):
            yield exchange_id, "its reversals gave back more than it tells"
