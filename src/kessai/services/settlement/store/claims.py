"""Claims, their steps, and the parts of them that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.services.settlement.domain.claims import Claim, ClaimPart, ClaimState

_SQL = load_queries("kessai.services.settlement", file="sql/payouts.sql")


async def open_ones(connection: Connection, payee_ids: Sequence[str]) -> list[Claim]:
    """What these payees owe, the oldest claim of each first."""
    return [_claim(row) for row in await connection.fetch(_SQL["open_claims"], list(payee_ids))]


@dataclass(frozen=True, slots=True)
class Debtor:
    """One that owes and for whom a payee collects in a cycle; `room_minor`: its own sales, less what they paid."""

    cycle_id: str
    debtor_id: str
    room_minor: int


async def debtors(connection: Connection, found: Sequence[tuple[str, str]]) -> list[Debtor]:
    """Of cycles (payee, cycle): the other merchants in them that owe something, by id."""
    rows = await connection.fetch(_SQL["debtors"], [payee for payee, _ in found], [cycle for _, cycle in found])
    return [Debtor(row["cycle_id"].hex, row["merchant_id"], row["room_minor"]) for row in rows]


async def by_ids(connection: Connection, claim_ids: Sequence[str]) -> list[Claim]:
    """Those of the claims that exist."""
    return [_claim(row) for row in await connection.fetch(_SQL["claims_by_id"], list(claim_ids))]


async def listed(
    connection: Connection, payee_id: str | None, state: str | None, before: tuple[datetime, str], limit: int
) -> list[Claim]:
    """Claims, newest first; every condition that is given holds."""
    rows = await connection.fetch(_SQL["claims_listed"], payee_id, state, *before, limit)
    return [_claim(row) for row in rows]


async def insert(connection: Connection, claims: Sequence[Claim]) -> None:
    """Write new claims, each with its first step; one that is there already is left as it is."""
    rows = await connection.fetch(
        _SQL["insert_claims"],
        [each.payee_id for each in claims],
        [each.claim_id for each in claims],
        [each.cycle_id for each in claims],
        [each.amount_minor for each in claims],
        [each.due_on for each in claims],
        [each.made_at for each in claims],
    )
    new = {row["claim_id"].hex for row in rows}
    made = [each for each in claims if each.claim_id in new]
    await _insert_steps(connection, [(each, "made", each.amount_minor, None, each.made_at) for each in made])


async def change(connection: Connection, changed: Sequence[tuple[Claim, int]]) -> bool:
    """Write claims as they are now, each with the version it stood at; False when one has gone on (then roll back)."""
    rows = await connection.fetch(
        _SQL["change_claims"],
        [each.payee_id for each, _ in changed],
        [each.claim_id for each, _ in changed],
        [each.offset_minor for each, _ in changed],
        [each.collected_minor for each, _ in changed],
        [each.pending_minor for each, _ in changed],
        [each.state.value for each, _ in changed],
        [each.version for each, _ in changed],
        [was for _, was in changed],
    )
    return len(rows) == len(changed)


async def insert_parts(connection: Connection, parts: Sequence[ClaimPart], now: datetime) -> None:
    """Write what is asked of claims."""
    await connection.fetch(
        _SQL["insert_claim_parts"],
        [each.payee_id for each in parts],
        [each.claim_id for each in parts],
        [each.payment_id for each in parts],
        [each.kind for each in parts],
        [each.amount_minor for each in parts],
        [now] * len(parts),
    )


async def parts_asked(connection: Connection, payment_ids: Sequence[str]) -> list[ClaimPart]:
    """The parts of these payments that have not come to their end."""
    rows = await connection.fetch(_SQL["parts_asked"], list(payment_ids))
    return [_part(row) for row in rows]


async def part_of_payment(connection: Connection, payment_id: str) -> tuple[ClaimPart, str, str | None] | None:
    """The part that a repayment settles, its state and why it was refused."""
    rows = await connection.fetch(_SQL["parts_by_payment"], payment_id)
    return (_part(rows[0]), rows[0]["state"], rows[0]["code"]) if rows else None


async def end_parts(
    connection: Connection, parts: Sequence[ClaimPart], codes: dict[str, str | None], done: set[str], now: datetime
) -> list[ClaimPart]:
    """Write that parts came to their end, by payment: done, or refused with a code; gives those that were open.

    Another transaction may have ended some of them since they were read: those are its own to count.
    """
    rows = await connection.fetch(
        _SQL["end_claim_parts"],
        [each.payee_id for each in parts],
        [each.claim_id for each in parts],
        [each.payment_id for each in parts],
        ["DONE" if each.payment_id in done else "REFUSED" for each in parts],
        [codes.get(each.payment_id) for each in parts],
        now,
    )
    ended = {(row["payee_id"], row["claim_id"].hex, row["payment_id"]) for row in rows}
    return [each for each in parts if (each.payee_id, each.claim_id, each.payment_id) in ended]


async def insert_settlements(connection: Connection, settled: Sequence[tuple[Claim, ClaimPart]], now: datetime) -> None:
    """Write the steps of claims that parts have settled."""
    await _insert_steps(
        connection, [(claim, part.kind, part.amount_minor, part.payment_id, now) for claim, part in settled]
    )


async def steps_of(connection: Connection, claim: Claim) -> list[asyncpg.Record]:
    """A claim's steps, oldest first."""
    return await connection.fetch(_SQL["steps_of_claim"], claim.payee_id, claim.claim_id)


async def _insert_steps(connection: Connection, steps: Sequence[tuple[Claim, str, int, str | None, datetime]]) -> None:
    await connection.execute(
        _SQL["insert_claim_steps"],
        [claim.payee_id for claim, *_ in steps],
        [claim.claim_id for claim, *_ in steps],
        [claim.version for claim, *_ in steps],
        [kind for _, kind, *_ in steps],
        [amount for _, _, amount, *_ in steps],
        [payment_id for *_, payment_id, _ in steps],
        [at for *_, at in steps],
    )


def _part(row: asyncpg.Record) -> ClaimPart:
    return ClaimPart(
        payee_id=row["payee_id"],
        claim_id=row["claim_id"].hex,
        payment_id=row["payment_id"],
        kind=row["kind"],
        amount_minor=row["amount_minor"],
    )


def _claim(row: asyncpg.Record) -> Claim:
    known = dict(row)
    for name in ("claim_id", "cycle_id"):
        known[name] = known[name].hex
    known["state"] = ClaimState(known["state"])
    return Claim(**known)
