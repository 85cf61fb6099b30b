"""Claims (請求) of shortfalls, and their offset (相殺) against what is payable: the middle and the end of clearing.

What an offset takes is reserved with its claims before the payment service is asked, so that a repayment at the same
moment cannot settle the same yen again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from kessai.foundation.calendar import business_day_on_or_after
from kessai.foundation.db import Connection
from kessai.foundation.errors import Unavailable
from kessai.services.settlement import store
from kessai.services.settlement.domain.claims import Claim, ClaimPart, settled_by, spoken_for
from kessai.services.settlement.domain.cycle_rules import cycle_rules
from kessai.services.settlement.domain.drafting import claim_id_of
from kessai.services.settlement.domain.naming import payment_id_of
from kessai.services.settlement.domain.offset import offset, offset_total
from kessai.services.settlement.domain.payouts import Payout, decided, with_offset
from kessai.services.settlement.store import claims, payouts
from kessai.services.settlement.store.movements import Movement
from kessai.services.settlement.store.payouts import Known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.asking import write_down

KIND = "claim_offset"


# -- before the payment service is asked ------------------------------------------------------------------------------


async def decide_offsets(deps: Deps, cleared: Sequence[Payout], now: datetime) -> list[Payout]:
    """Make the claims of shortfalls, reserve what is offset, and write it down; gives the payouts as they are then."""
    undecided = [each for each in cleared if each.offset_payment_id is None]
    known = [each for each in cleared if each.offset_payment_id is not None]
    after = await deps.database.transaction(store.ROLE, lambda connection: _decide(connection, undecided, now))
    return [*known, *after]


async def _decide(connection: Connection, found: Sequence[Payout], now: datetime) -> list[Payout]:
    await claims.insert(connection, [_claim(each, now) for each in found if each.shortfall_minor])
    owed = await _open_claims(connection, found)
    were = _versions(claim for each in owed.values() for claim in each.values())
    parts, changed, same = list[ClaimPart](), list[Payout](), list[Payout]()
    for each in sorted(found, key=lambda payout: payout.last_day):
        taken = offset(each.available_minor, [claim.open_part for claim in owed[each.payee_id].values()])
        if not taken:
            same.append(each)
            continue
        payment_id = payment_id_of(KIND, each.payout_id, str(each.version))
        changed.append(with_offset(each, offset_total(taken), payment_id))
        for part in taken:
            claim = owed[each.payee_id][part.claim_id]
            owed[each.payee_id][part.claim_id] = spoken_for(claim, part.owed_minor)
            parts.append(_part(each, part.claim_id, payment_id, part.owed_minor))
    await _write_claims(connection, [owed[part.payee_id][part.claim_id] for part in parts], were)
    await claims.insert_parts(connection, parts, now)
    await write_down(connection, [_movement(each) for each in changed], now)
    if len(await payouts.change(connection, changed, now)) < len(changed):
        raise contended()
    return [*same, *(replace(each, version=each.version + 1) for each in changed)]


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


def _part(payout: Payout, claim_id: str, payment_id: str, amount_minor: int) -> ClaimPart:
    return ClaimPart(
        payee_id=payout.payee_id, claim_id=claim_id, payment_id=payment_id, kind="offset", amount_minor=amount_minor
    )


def _movement(payout: Payout) -> Movement:
    """From the payee's settled sales to what it owes."""
    return Movement(
        payment_id=str(payout.offset_payment_id),
        kind=KIND,
        owner_id=payout.payee_id,
        counterpart_id=payout.payee_id,
        amount_minor=payout.offset_minor,
        about=f"payout:{payout.payout_id}",
    )


# -- afterwards -------------------------------------------------------------------------------------------------------


async def finish(deps: Deps, found: Sequence[Payout], offsets: dict[str, Known], now: datetime) -> list[Payout]:
    """Settle the claims that were offset, and decide what becomes of each payout; gives those that were decided."""
    return await deps.database.transaction(store.ROLE, lambda connection: _finish(connection, found, offsets, now))


async def _finish(
    connection: Connection, found: Sequence[Payout], offsets: dict[str, Known], now: datetime
) -> list[Payout]:
    await end_parts(connection, offsets.values(), now)
    owed = await _open_claims(connection, found)
    decisions, refused = list[Payout](), list[Payout]()
    for each in found:
        known = offsets.get(each.offset_payment_id or "")
        if known is not None and not known.done:
            refused.append(replace(with_offset(each, 0, None), reason=f"{KIND}_refused:{known.code}"))
            continue
        still = sum(claim.owed_minor for claim in owed[each.payee_id].values())
        decisions.append(replace(decided(each, each.terms), claim_minor=still))
    changed = [*decisions, *refused]
    if len(await payouts.change(connection, changed, now)) < len(changed):
        raise contended()
    return decisions


async def end_parts(connection: Connection, known: Iterable[Known], now: datetime) -> None:
    """Parts of claims whose payments have come to their end: settled, or free again. Done once, however often told."""
    ended = {each.payment_id: each for each in known}
    parts = await claims.parts_asked(connection, list(ended))
    if not parts:
        return
    done = {each.payment_id for each in ended.values() if each.done}
    codes = {each.payment_id: each.code for each in ended.values()}
    if len(await claims.end_parts(connection, parts, codes, done, now)) == 0:
        raise contended()
    found = {each.claim_id: each for each in await claims.by_ids(connection, [each.claim_id for each in parts])}
    were = _versions(found.values())
    settled: list[tuple[Claim, ClaimPart]] = []
    for part in parts:
        found[part.claim_id] = settled_by(found[part.claim_id], part, done=part.payment_id in done)
        if part.payment_id in done:
            settled.append((found[part.claim_id], part))
    await _write_claims(connection, list(found.values()), were)
    await claims.insert_settlements(connection, settled, now)


async def _open_claims(connection: Connection, found: Sequence[Payout]) -> dict[str, dict[str, Claim]]:
    owed: defaultdict[str, dict[str, Claim]] = defaultdict(dict)
    for claim in await claims.open_ones(connection, sorted({each.payee_id for each in found})):
        owed[claim.payee_id][claim.claim_id] = claim
    return owed


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
