"""The job settlement.cycle: sales summaries (SalesSummaries) and payouts of every payee whose cycle ends on a day.

Page by page of payees, each page one transaction, so that a run that was cut off goes on where it ended and a run made
again finds nothing left to do. It needs the day to be closed; transfer fees of payouts that came to nothing are given
back first, so that the whole of them goes into the next payout.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import Refused
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.merchant.api import SettlementTerms, SettlementTermsOf
from kessai.services.settlement import store
from kessai.services.settlement.domain.cycle_rules import cycle_rules
from kessai.services.settlement.domain.cycles import BelowMinimum, CycleKind, HolidayShift, PayeeTerms, ends_on
from kessai.services.settlement.domain.drafting import Draft, draft
from kessai.services.settlement.domain.naming import payment_id_of
from kessai.services.settlement.store import cycles
from kessai.services.settlement.store.cycles import Clearing
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.returning import Returned, return_all_fees


class PageOfPayees(Message, frozen=True):
    """The payees after one, for an order; `done` of them are made so far."""

    order: JobOrder
    after: str
    done: int


class PageMade(Message, frozen=True):
    """What a page came to."""

    last: str | None
    """Where the next page begins; None: that was the last one."""
    made: int
    net_minor: int
    unknown: int
    """Payees that the merchant service has no terms of."""


@define("settlement.cycle", version=1)
async def make_cycles(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Sum the cycles that end on the order's day, and make their payouts."""
    await wf.activity(require_closed, order.day)
    returned = Returned() if order.dry_run else await return_all_fees(wf)
    made = net = unknown = 0
    after: str | None = ""
    while after is not None:
        page = await wf.activity(make_page, PageOfPayees(order=order, after=after, done=made))
        made, net, unknown = made + page.made, net + page.net_minor, unknown + page.unknown
        after = page.last
    note = f"{made} cycles, {net} yen net" + (f"; {unknown} payees without terms" if unknown else "")
    note += returned.note
    return JobDone(done=made, note=note)


async def require_closed(activity: Activity[Deps], day: date) -> None:
    """Refused `day_not_closed` while daily summaries of the day may still come."""
    if not await cycles.is_closed(activity.deps.database, day):
        raise Refused("day_not_closed", f"{day} is not closed yet: run settlement.daily first.")


async def make_page(activity: Activity[Deps], page: PageOfPayees) -> PageMade:
    """Make the cycles of a page of payees."""
    deps, day, limit = activity.deps, page.order.day, cycle_rules().pages.payees
    payees = await cycles.payees_with_money(deps.database, day, page.after, limit)
    terms = await terms_on(deps, payees, day)
    ending = {each.payee_id: each for each in terms if ends_on(each, day)}
    now = deps.clock.now()

    async def make(connection: Connection) -> list[Draft]:
        drafts = await _drafts(connection, ending, day)
        return drafts if page.order.dry_run else await _write(connection, drafts, day, now)

    drafts = await deps.database.transaction(store.ROLE, make, isolation="repeatable_read") if ending else []
    await progress(deps.database, deps.clock, page.order, done=page.done + len(drafts))
    return PageMade(
        last=payees[-1] if len(payees) == limit else None,
        made=len(drafts),
        net_minor=sum(each.cleared_minor - each.shortfall_minor for each in drafts),
        unknown=len(payees) - len(terms),
    )


async def _drafts(connection: Connection, ending: dict[str, PayeeTerms], day: date) -> list[Draft]:
    last = await cycles.last_cycles(connection, list(ending))
    open_ones = [payee for payee in ending if last.get(payee, date.min) < day]
    owners = await cycles.open_sums(connection, open_ones, day)
    unpaid = await cycles.unpaid(connection, open_ones)
    found = (
        draft(ending[payee], day, owners.get(payee, []), unpaid.get(payee, []), last.get(payee)) for payee in open_ones
    )
    return [each for each in found if each is not None]


async def _write(connection: Connection, drafts: Sequence[Draft], day: date, now: datetime) -> list[Draft]:
    """Write cycles, those left out that another run has made meanwhile."""
    new = await cycles.insert_summaries(connection, drafts, now)
    made = [each for each in drafts if each.payee_id in new]
    if made:
        await cycles.put_into_cycles(connection, made, day)
        await cycles.insert_clearings(connection, [clearing for each in made for clearing in _clearings(each)])
        await cycles.insert_payouts(connection, made, now)
        taken = [(each.payee_id, *payout, each.payout_id) for each in made for payout in each.taken]
        assert await cycles.take_over(connection, taken, now), "what is repeatably read does not change"
    return made


def _clearings(each: Draft) -> list[Clearing]:
    return [
        Clearing(
            payee_id=each.payee_id,
            cycle_id=each.cycle_id,
            owner_id=due.owner_id,
            kind=due.kind,
            amount_minor=due.amount_minor,
            payment_id=payment_id_of(due.kind, each.cycle_id, due.owner_id, *([str(due.part)] if due.part else [])),
            part=due.part,
        )
        for due in each.dues
    ]


# -- terms ------------------------------------------------------------------------------------------------------------


async def terms_on(deps: Deps, payee_ids: Sequence[str], day: date) -> list[PayeeTerms]:
    """How payees are paid as of a day; those that the merchant service does not know are left out."""
    if not payee_ids:
        return []
    answer = await deps.merchants.settlement_terms(SettlementTermsOf(merchant_ids=list(payee_ids), on=day))
    return [payee_terms(each) for each in answer.answers]


def payee_terms(found: SettlementTerms) -> PayeeTerms:
    """A contract's terms in settlement's own words."""
    return PayeeTerms(
        payee_id=found.merchant_id,
        name=found.name,
        state=found.state.value,
        cycle=CycleKind(found.cycle.value),
        cycle_day=6 if found.cycle_day is None else found.cycle_day,
        months_after=found.payout.months_after,
        pay_day=found.payout.day,
        days_after=found.payout.days_after,
        holiday=HolidayShift(found.holiday.value),
        minimum_minor=found.minimum_minor,
        below_minimum=BelowMinimum(found.below_minimum.value),
        transfer_fee_minor=found.transfer_fee_minor,
        merchant_bears_fee=found.transfer_fee_borne_by.value == "merchant",
        instruct_days_before=found.instruct_days_before,
        bank_account_id=found.bank_account_id,
        registration_number=found.registration_number,
    )
