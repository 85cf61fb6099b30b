"""Payouts and their steps: every function takes lists; a change is guarded by the version it was decided on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import asyncpg
import msgspec

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.settlement.domain.cycles import PayeeTerms
from kessai.services.settlement.domain.payouts import Payout, PayoutState
from kessai.services.settlement.store import ROLE

FIRST = ("", "00000000-0000-0000-0000-000000000000")
"""Before every payout, by payee and id."""
NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), "ffffffff-ffff-ffff-ffff-ffffffffffff")
_SQL = load_queries("kessai.services.settlement", file="sql/payouts.sql")
_terms = msgspec.json.Decoder(PayeeTerms)
_encode = msgspec.json.Encoder().encode


def terms_text(terms: PayeeTerms) -> str:
    """Terms as they are kept with a cycle."""
    return _encode(terms).decode()


def terms_of(text: str) -> PayeeTerms:
    """Terms that were kept with a cycle."""
    return _terms.decode(text)


async def to_clear(connection: Connection, day: date, after: tuple[str, str], limit: int) -> list[Payout]:
    """Payouts of cycles up to a day that are MADE, by payee and id."""
    return _payouts(await connection.fetch(_SQL["payouts_to_clear"], day, *after, limit))


async def to_instruct(connection: Connection, day: date, after: tuple[str, str], limit: int) -> list[Payout]:
    """Payouts due for the bank on a day: CLEARED, or HELD for a reason that may have passed."""
    return _payouts(await connection.fetch(_SQL["payouts_to_instruct"], day, *after, limit))


async def instructed(connection: Connection, after: tuple[str, str], limit: int) -> list[Payout]:
    """Payouts INSTRUCTED of which the payment service has not said that it has them."""
    return _payouts(await connection.fetch(_SQL["payouts_instructed"], *after, limit))


async def with_fees_to_return(connection: Connection, after: tuple[str, str], limit: int) -> list[Payout]:
    """Payouts that came to nothing and whose transfer fee was not given back."""
    return _payouts(await connection.fetch(_SQL["fees_to_return"], *after, limit))


async def fees_still_asked(connection: Connection, limit: int) -> list[str]:
    """Payments of transfer fees without an answer so far, of payouts that came to nothing meanwhile."""
    return [row["fee_payment_id"] for row in await connection.fetch(_SQL["fees_still_asked"], limit)]


async def with_fees_to_charge_again(connection: Connection, limit: int) -> list[Payout]:
    """Payouts that were paid after all, and whose transfer fee has gone back."""
    return _payouts(await connection.fetch(_SQL["fees_to_charge_again"], limit))


async def by_ids(connection: Connection, payout_ids: Sequence[str]) -> list[Payout]:
    """Those of the payouts that exist."""
    return _payouts(await connection.fetch(_SQL["payouts_by_id"], list(payout_ids)))


async def of_payments(connection: Connection, payment_ids: Sequence[str]) -> list[Payout]:
    """The payouts that these payments pay."""
    return _payouts(await connection.fetch(_SQL["payouts_of_payments"], list(payment_ids)))


async def of_cycle(connection: Connection, payee_id: str, cycle_id: str) -> list[Payout]:
    """The payout of a payee's cycle; several where it comes to more than one transfer moves."""
    return _payouts(await connection.fetch(_SQL["payouts_of_cycle"], payee_id, cycle_id))


async def listed(
    connection: Connection,
    payee_id: str | None,
    state: str | None,
    pay_on: date | None,
    before: tuple[datetime, str],
    limit: int,
) -> list[Payout]:
    """Payouts, newest first; every condition that is given holds."""
    return _payouts(await connection.fetch(_SQL["payouts_listed"], payee_id, state, pay_on, *before, limit))


async def due_sum(connection: Connection, day: date) -> tuple[int, int]:
    """How many payouts a day's run would instruct, and what they come to."""
    (row,) = await connection.fetch(_SQL["unmade_sum"], day)
    return row["payouts"], row["amount_minor"]


async def change(connection: Connection, payouts: Sequence[Payout], now: datetime) -> set[tuple[str, str]]:
    """Write payouts that were changed, each as the next version with a step; gives the keys of those written.

    One that another process changed first is left as that one made it.
    """
    if not payouts:
        return set()
    rows = await connection.fetch(
        _SQL["change_payouts"],
        [each.payee_id for each in payouts],
        [each.payout_id for each in payouts],
        [each.state.value for each in payouts],
        [each.reason for each in payouts],
        [each.offset_minor for each in payouts],
        [each.payable_minor for each in payouts],
        [each.transfer_fee_minor for each in payouts],
        [each.amount_minor for each in payouts],
        [each.claim_minor for each in payouts],
        [each.pay_on for each in payouts],
        [each.instruct_on for each in payouts],
        [each.bank_account_id for each in payouts],
        [each.payment_id for each in payouts],
        [each.fee_payment_id for each in payouts],
        [each.offset_payment_id for each in payouts],
        [each.paid_on for each in payouts],
        [each.version + 1 for each in payouts],
        [now] * len(payouts),
    )
    written = {row["payout_id"].hex for row in rows}
    done = [each for each in payouts if each.payout_id in written]
    steps = [(each.payee_id, each.payout_id, each.version + 1, each.state.value, each.reason, now) for each in done]
    if steps:
        await connection.execute(_SQL["insert_payout_steps"], *zip(*steps, strict=True))
    return {each.key for each in done}


async def insert_made_steps(connection: Connection, keys: Sequence[tuple[str, str]], now: datetime) -> None:
    """Write the first steps of payouts that were just made."""
    steps = [(*key, 0, PayoutState.MADE.value, None, now) for key in keys]
    if steps:
        await connection.execute(_SQL["insert_payout_steps"], *zip(*steps, strict=True))


@dataclass(frozen=True, slots=True)
class Known:
    """A movement that was asked for, as it stands."""

    payment_id: str
    state: str
    code: str | None
    processing_id: str
    amount_minor: int
    returned_minor: int

    @property
    def done(self) -> bool:
        """Whether the money has moved."""
        return self.state == "CAPTURED"


async def movements_known(database: Database, payment_ids: Sequence[str]) -> dict[str, Known]:
    """Movements by their payment's id; those that nobody has written down are left out."""
    rows = await database.fetch(ROLE, _SQL["movements_known"], list(payment_ids))
    return {row["payment_id"]: Known(*row) for row in rows}


async def movements_found(connection: Connection, payment_ids: Sequence[str]) -> dict[str, Known]:
    """The same, as a transaction sees them."""
    rows = await connection.fetch(_SQL["movements_known"], list(payment_ids))
    return {row["payment_id"]: Known(*row) for row in rows}


async def refunds_refused(connection: Connection, payment_ids: Sequence[str]) -> dict[str, int]:
    """How many refunds of each of these payments were refused; those of which none was are left out."""
    rows = await connection.fetch(_SQL["refunds_refused"], list(payment_ids))
    return {row["refund_of"]: row["refused"] for row in rows}


async def is_given_back(connection: Connection, payment_id: str) -> bool:
    """Whether a payment was refunded, or is being refunded."""
    return bool(await connection.fetchval(_SQL["is_given_back"], payment_id))


async def note_answers(
    connection: Connection, answers: Sequence[tuple[str, str, str | None]], now: datetime
) -> set[str]:
    """Write what payments were answered with (id, state, code), unless more is known by now; gives those written."""
    if not answers:
        return set()
    rows = await connection.fetch(_SQL["note_answers"], *(list(each) for each in zip(*answers, strict=True)), now)
    return {row["payment_id"] for row in rows}


async def note_value_dates(connection: Connection, booked: Mapping[str, date]) -> None:
    """Keep the bank's own day of the transfers that pay payouts, by payment; those of others are passed over."""
    await connection.execute(_SQL["note_value_dates"], list(booked), list(booked.values()))


async def steps_of(connection: Connection, payout: Payout) -> list[asyncpg.Record]:
    """A payout's steps, oldest first."""
    return await connection.fetch(_SQL["steps_of_payout"], payout.payee_id, payout.payout_id)


def _payouts(rows: Sequence[asyncpg.Record]) -> list[Payout]:
    return [_payout(row) for row in rows]


def _payout(row: asyncpg.Record) -> Payout:
    known = dict(row)
    for name in ("payout_id", "cycle_id"):
        known[name] = known[name].hex
    known["taken_by"] = known["taken_by"] and known["taken_by"].hex
    known["state"] = PayoutState(known["state"])
    known["terms"] = terms_of(known["terms"])
    return Payout(**known)
