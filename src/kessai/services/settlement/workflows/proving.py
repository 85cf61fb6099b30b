"""Proving open transactions one by one (突合): by the tracer's verdict and, where configured, against the books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from kessai.foundation.clock import SystemClock
from kessai.services.books.api import Journal, JournalLine, JournalsOfPayments, Side
from kessai.services.settlement.domain.reconciling import BooksProof, booked_of, not_proved
from kessai.services.settlement.store import transactions
from kessai.services.settlement.store.transactions import OpenTransaction, Proved
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.feeing import payees_of
from kessai.services.tracer.api import ListVerdicts, ProcessingVerdict

VERDICTS_AT_ONCE = 1_000
PAYMENTS_AT_ONCE = 1_000
"""Of which the books are asked for all journals, on whatever day they were booked."""
UNKNOWN, NOT_DECIDED = "merchant_unknown", "fee_not_decided"
_CHARGED = ("sale", "refund")
"""Of which the fee flow hears by itself: what is late may be told to it later than to the other."""


class Payees:
    """Merchant and payee of each owner at the end of a day; each is asked for once."""

    def __init__(self, deps: Deps, day: date) -> None:
        self._deps = deps
        self._day = day
        self._known: dict[tuple[str, str], tuple[str | None, str | None]] = {}

    async def learn(self, page: Sequence[OpenTransaction]) -> None:
        """Ask about those that are new."""
        new = list(dict.fromkeys(key for each in page if (key := (each.owner_id, each.method)) not in self._known))
        if new:
            self._known |= await payees_of(self._deps, new, self._day)

    def of(self, each: OpenTransaction) -> tuple[str | None, str | None]:
        """Merchant and payee."""
        return self._known[each.owner_id, each.method]


class Judged:
    """What a page of open transactions comes to."""

    def __init__(self) -> None:
        self.proved: list[Proved] = []
        self.held: list[tuple[str, UUID, str]] = []
        """Owner, id, reason."""


async def judge(deps: Deps, page: Sequence[OpenTransaction], payees: Payees) -> Judged:
    """Which of a page settle, and why the others do not. Others are asked; nothing is written."""
    verdicts = await _verdicts(deps, page) if "tracer" in deps.config.reconcile else None
    books = await _books(deps, page) if "books" in deps.config.reconcile else None
    fees = await transactions.held_by_fees(deps.database, list(dict.fromkeys(each.owner_id for each in page)))
    sold = [(each.owner_id, each.transaction_id) for each in page if each.kind in _CHARGED]
    unheard = await transactions.unheard_by_fees(deps.database, sold)
    fees |= dict.fromkeys(unheard, NOT_DECIDED)
    await payees.learn(page)
    judged, now = Judged(), SystemClock().now()
    margin = timedelta(seconds=deps.config.waiting.margin_s)
    for each in page:
        merchant_id, payee_id = payees.of(each)
        reason = None
        if verdicts is not None:
            reason = not_proved(verdicts.get(each.processing_id), each.told_at, now=now, margin=margin)
        if reason is None and books is not None:
            reason = books.not_booked(each.payment_id, each.owner_id, each.signed_minor)
        if reason is None and fees:
            reason = fees.get(each.transaction_id)
        if reason is not None:
            judged.held.append((each.owner_id, each.transaction_id, reason))
        elif merchant_id is None or payee_id is None:
            judged.held.append((each.owner_id, each.transaction_id, UNKNOWN))
        else:
            place = (each.owner_id, each.transaction_id, each.business_date)
            judged.proved.append(Proved(*place, merchant_id, payee_id))
    return judged


async def _verdicts(deps: Deps, page: Sequence[OpenTransaction]) -> dict[str, ProcessingVerdict]:
    ids = list(dict.fromkeys(each.processing_id for each in page))
    found: dict[str, ProcessingVerdict] = {}
    for at in range(0, len(ids), VERDICTS_AT_ONCE):
        request = ListVerdicts(processing_ids=ids[at : at + VERDICTS_AT_ONCE])
        found |= {each.processing_id: each for each in (await deps.tracer.list_verdicts(request)).verdicts}
    return found


# -- the books --------------------------------------------------------------------------------------------------


async def _books(deps: Deps, page: Sequence[OpenTransaction]) -> BooksProof:
    """What the books have of these payments, less what settled transactions have used up already."""
    payments = list(dict.fromkeys(each.payment_id for each in page))
    booked = booked_of(
        (journal.payment_id, line.owner, _signed(line))
        for journal in await _journals(deps, payments)
        for line in journal.lines
        if journal.payment_id is not None and line.account_type == deps.config.intake.account_type
    )
    for payment_id, owner_id, signed in await transactions.signed_settled(deps.database, payments):
        if (payment_id, owner_id) in booked:
            booked[payment_id, owner_id][signed] -= 1
    return BooksProof(booked)


async def _journals(deps: Deps, payment_ids: Sequence[str]) -> list[Journal]:
    assert deps.books is not None, "the service checks it"
    found: list[Journal] = []
    for at in range(0, len(payment_ids), PAYMENTS_AT_ONCE):
        request = JournalsOfPayments(payment_ids=list(payment_ids[at : at + PAYMENTS_AT_ONCE]))
        found += (await deps.books.list_journals_of_payments(request)).journals
    return found


def _signed(line: JournalLine) -> int:
    """Unsettled sales are owed to merchants: a credit is in their favour."""
    return line.amount_minor if line.side is Side.CREDIT else -line.amount_minor
