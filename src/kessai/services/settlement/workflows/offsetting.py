"""Claims (請求) of shortfalls, and their offset (相殺) against what is payable: the middle and the end of clearing.

What an offset takes is reserved with its claims before the payment service is asked, so that a repayment at the same
moment cannot settle the same yen again. A payee's own claims go first. Then those of the merchants that it collects
for (入金集約), each as far as that merchant's own sales of the cycle go: what a merchant owed before somebody else was
paid for it is taken out of its sales, and out of nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from kessai.foundation.calendar import business_day_on_or_after
from kessai.foundation.db import Connection
from kessai.foundation.errors import Unavailable
from kessai.sdk.workflow import Activity
from kessai.services.settlement import store
from kessai.services.settlement.domain.claims import Claim, ClaimPart, settled_by, spoken_for
from kessai.services.settlement.domain.cycle_rules import cycle_rules
from kessai.services.settlement.domain.drafting import claim_id_of
from kessai.services.settlement.domain.naming import payment_id_of
from kessai.services.settlement.domain.offset import Owed, offset, offset_total
from kessai.services.settlement.domain.payouts import Payout, decided, with_offset
from kessai.services.settlement.store import claims, payouts
from kessai.services.settlement.store.claims import Debtor
from kessai.services.settlement.store.movements import Movement
from kessai.services.settlement.store.payouts import Known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.asking import ask, write_down

KIND = "claim_offset"


# -- before the payment service is asked ------------------------------------------------------------------------------


async def offset_claims(activity: Activity[Deps], cleared: Sequence[Payout], now: datetime) -> list[Payout]:
    """Claim what is short, offset what is owed, debtor by debtor, and decide each payout; gives those decided."""
    deps, left, decisions = activity.deps, list(cleared), list[Payout]()
    while left:
        with_offsets = await _decide_offsets(deps, left, now)
        offsets = await ask(activity, [each.offset_payment_id for each in with_offsets if each.offset_payment_id])
        done, left = await _finish_offsets(deps, with_offsets, offsets, now)
        decisions += done
    return decisions


async def _decide_offsets(deps: Deps, cleared: Sequence[Payout], now: datetime) -> list[Payout]:
    """Make the claims of shortfalls, reserve what is offset, and write it down; gives the payouts as they are then."""
    undecided = [each for each in cleared if each.offset_payment_id is None]
    known = [each for each in cleared if each.offset_payment_id is not None]
    after = await deps.database.transaction(store.ROLE, lambda connection: _decide(connection, undecided, now))
    return [*known, *after]


async def _decide(connection: Connection, found: Sequence[Payout], now: datetime) -> list[Payout]:
    short = {claim.claim_id: claim for claim in (_claim(each, now) for each in found if each.shortfall_minor)}
    await claims.insert(connection, list(short.values()))
    owed = await _owed(connection, found)
    were = _versions(owed.claims.values())
    parts, changed, same, written = list[ClaimPart](), list[Payout](), list[Payout](), list[Movement]()
    for each in sorted(found, key=lambda payout: payout.last_day):
        debtor_id, taken = owed.next_of(each)
        if not taken:
            same.append(each)
            continue
        payment_id, total = payment_id_of(KIND, each.payout_id, str(each.version)), offset_total(taken)
        changed.append(with_offset(each, each.offset_minor + total, payment_id))
        written.append(_movement(each, debtor_id, payment_id, total))
        owed.speak_for(each, debtor_id, taken)
        parts += (_part(debtor_id, part, payment_id) for part in taken)
    await _write_claims(connection, [owed.claims[part.claim_id] for part in parts], were)
    await claims.insert_parts(connection, parts, now)
    await write_down(connection, written, now)
    if len(await payouts.change(connection, changed, now)) < len(changed):
        raise contended()
    return [*same, *(replace(each, version=each.version + 1) for each in changed)]


class _Owed:
    """What is owed by payees and by those that they collect for, while offsets take of it."""

    def __init__(self, found: Sequence[Claim], children: Sequence[Debtor]) -> None:
        self.claims = {each.claim_id: each for each in found}
        self._debtors = children
        self._room = {(each.cycle_id, each.debtor_id): each.room_minor for each in children}

    def of(self, debtor_id: str) -> list[Claim]:
        """The claims of one, the oldest first."""
        return [each for each in self.claims.values() if each.payee_id == debtor_id]

    def next_of(self, payout: Payout) -> tuple[str, list[Owed]]:
        """Whose claims are offset against a payout next, and how much of each: its payee's own go first."""
        taken = offset(payout.payable_minor, [each.open_part for each in self.of(payout.payee_id)])
        if taken:
            return payout.payee_id, taken
        for debtor in self._debtors:
            if debtor.cycle_id == payout.cycle_id:
                room = min(payout.payable_minor, self._room[debtor.cycle_id, debtor.debtor_id])
                if taken := offset(room, [each.open_part for each in self.of(debtor.debtor_id)]):
                    return debtor.debtor_id, taken
        return payout.payee_id, []

    def speak_for(self, payout: Payout, debtor_id: str, taken: Sequence[Owed]) -> None:
        """So much of claims is about to be settled, and of what a debtor's own sales leave room for."""
        for part in taken:
            self.claims[part.claim_id] = spoken_for(self.claims[part.claim_id], part.owed_minor)
        if (key := (payout.cycle_id, debtor_id)) in self._room:
            self._room[key] -= offset_total(taken)


async def _owed(connection: Connection, found: Sequence[Payout]) -> _Owed:
    of = list(dict.fromkeys((each.payee_id, each.cycle_id) for each in found))  # a cycle may have several payouts
    children = await claims.debtors(connection, of)
    who = {each.payee_id for each in found} | {each.debtor_id for each in children}
    return _Owed(await claims.open_ones(connection, sorted(who)), children)


async def with_something_owed(connection: Connection, found: Sequence[Payout]) -> list[Payout]:
    """Those of payouts against which something is to be offset."""
    owed = await _owed(connection, found)
    return [each for each in found if owed.next_of(each)[1]]


def _claim(payout: Payout, now: datetime) -> Claim:
    due_on = payout.last_day + timedelta(days=cycle_rules().claims.due_days)
    return Claim(
        payee_id=payout.payee_id,
        claim_id=claim_id_of(payout.cycle_id),
        cycle_id=payout.cycle_id,
        amount_minor=payout.shortfall_minor,
        due_on=business_day_on_or_after(due_on),
        made_at=now,
    )


def _part(debtor_id: str, part: Owed, payment_id: str) -> ClaimPart:
    return ClaimPart(
        payee_id=debtor_id,
        claim_id=part.claim_id,
        payment_id=payment_id,
        kind="offset",
        amount_minor=part.owed_minor,
    )


def _movement(payout: Payout, debtor_id: str, payment_id: str, amount_minor: int) -> Movement:
    """From the payee's settled sales to what it, or one that it collects for, owes."""
    return Movement(
        payment_id=payment_id,
        kind=KIND,
        owner_id=payout.payee_id,
        counterpart_id=debtor_id,
        amount_minor=amount_minor,
        about=f"payout:{payout.payout_id}",
    )


# -- afterwards -------------------------------------------------------------------------------------------------------


async def _finish_offsets(
    deps: Deps, found: Sequence[Payout], offsets: dict[str, Known], now: datetime
) -> tuple[list[Payout], list[Payout]]:
    """Settle the claims that were offset; gives the payouts that are decided, and those against which more is owed."""
    return await deps.database.transaction(store.ROLE, lambda connection: _finish(connection, found, offsets, now))


async def _finish(
    connection: Connection, found: Sequence[Payout], offsets: dict[str, Known], now: datetime
) -> tuple[list[Payout], list[Payout]]:
    await end_parts(connection, offsets.values(), now)
    owed = await _owed(connection, found)
    decisions, refused, more = list[Payout](), list[Payout](), list[Payout]()
    for each in found:
        known = offsets.get(each.offset_payment_id or "")
        if known is not None and not known.done:
            without = with_offset(each, each.offset_minor - known.amount_minor, None)
            refused.append(replace(without, reason=f"{KIND}_refused:{known.code}"))
        elif owed.next_of(each)[1]:
            more.append(replace(each, offset_payment_id=None))
        else:
            still = sum(claim.owed_minor for claim in owed.of(each.payee_id))
            decisions.append(replace(decided(each, each.terms), claim_minor=still))
    changed = [*decisions, *refused, *more]
    if len(await payouts.change(connection, changed, now)) < len(changed):
        raise contended()
    return decisions, [replace(each, version=each.version + 1) for each in more]


async def end_parts(connection: Connection, known: Iterable[Known], now: datetime) -> None:
    """Parts of claims whose payments have come to their end: settled, or free again. Done once, however often told."""
    ended = {each.payment_id: each for each in known}
    parts = await claims.parts_asked(connection, list(ended))
    if not parts:
        return
    done = {each.payment_id for each in ended.values() if each.done}
    codes = {each.payment_id: each.code for each in ended.values()}
    parts = await claims.end_parts(connection, parts, codes, done, now)
    if not parts:
        return
    found = {each.claim_id: each for each in await claims.by_ids(connection, [each.claim_id for each in parts])}
    were = _versions(found.values())
    settled: list[tuple[Claim, ClaimPart]] = []
    for part in parts:
        found[part.claim_id] = settled_by(found[part.claim_id], part, done=part.payment_id in done)
        if part.payment_id in done:
            settled.append((found[part.claim_id], part))
    await _write_claims(connection, list(found.values()), were)
    await claims.insert_settlements(connection, settled, now)


def _versions(found: Iterable[Claim]) -> dict[str, int]:
    return {each.claim_id: each.version for each in found}


async def _write_claims(connection: Connection, changed: Sequence[Claim], were: dict[str, int]) -> None:
    """Write claims that stood at these versions; `changed` may name one several times."""
    latest = {each.claim_id: each for each in changed}
    if not await claims.change(connection, [(each, were[each.claim_id]) for each in latest.values()]):
        raise contended()


def contended() -> Unavailable:
    """Another process has changed one of the rows: nothing was written, and it is looked at again."""
    return Unavailable("contention", "A payout or claim was changed meanwhile; it is looked at again.")
