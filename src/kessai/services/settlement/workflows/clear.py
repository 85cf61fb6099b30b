"""The job settlement.clear: the ledger follows the cycles that were made.

Of each payout: every owner's sales become settled (クリアリング), what is negative becomes a claim (赤残), the
claims of the payee are offset (相殺) as far as it has something, and it is decided whether it is paid. A page is one
activity, each of whose steps finds what an earlier attempt has done. What is refused leaves its payout MADE, with the
reason; the next run asks anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.settlement import store
from kessai.services.settlement.domain.cycle_rules import cycle_rules
from kessai.services.settlement.domain.naming import payment_id_of
from kessai.services.settlement.domain.payouts import Payout
from kessai.services.settlement.store import cycles, payouts
from kessai.services.settlement.store.cycles import Clearing
from kessai.services.settlement.store.movements import Movement
from kessai.services.settlement.store.payouts import FIRST, Known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.asking import ask, write_down
from kessai.services.settlement.workflows.offsetting import contended, offset_claims

DONE, REFUSED, DUE = "DONE", "REFUSED", "DUE"


class PageOfPayouts(Message, frozen=True):
    """The payouts after one, for an order; `done` of them are done so far."""

    order: JobOrder
    after: tuple[str, str]
    done: int


class PageCleared(Message, frozen=True):
    """What a page came to."""

    last: tuple[str, str] | None
    done: int
    amount_minor: int
    left: int
    """Payouts of which something was refused."""


@define("settlement.clear", version=1)
async def clear_cycles(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Clear, offset and decide every payout that is MADE, of cycles up to the order's day."""
    return await clear_all(wf, order)


async def clear_all(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """The same, within any job."""
    done = amount = left = 0
    after: tuple[str, str] | None = FIRST
    while after is not None:
        page = await wf.activity(clear_page, PageOfPayouts(order=order, after=after, done=done))
        done, amount, left = done + page.done, amount + page.amount_minor, left + page.left
        after = page.last
    note = f"{done} payouts, {amount} yen cleared" + (f"; {left} left, see their reasons" if left else "")
    return JobDone(done=done, note=note)


async def clear_page(activity: Activity[Deps], page: PageOfPayouts) -> PageCleared:
    """Clear a page of payouts. Raises Unavailable while something of it is under way."""
    deps, limit = activity.deps, cycle_rules().pages.payees
    found = await deps.database.transaction(
        store.ROLE, lambda connection: payouts.to_clear(connection, page.order.day, page.after, limit)
    )
    done = found if page.order.dry_run else await _clear(activity, found)
    await progress(deps.database, deps.clock, page.order, done=page.done + len(done))
    return PageCleared(
        last=found[-1].key if len(found) == limit else None,
        done=len(done),
        amount_minor=sum(each.cleared_minor for each in done),
        left=len(found) - len(done),
    )


async def _clear(activity: Activity[Deps], found: Sequence[Payout]) -> list[Payout]:
    """Gives the payouts that were decided."""
    deps, now = activity.deps, activity.deps.clock.now()
    clearings = await deps.database.transaction(store.ROLE, lambda connection: _write_down(connection, found, now))
    known = await ask(activity, [each.payment_id for each in clearings if each.state == DUE])
    refused = await deps.database.transaction(
        store.ROLE, lambda connection: _settle(connection, found, clearings, known, now)
    )
    cleared = [each for each in found if each.cycle_id not in refused]
    return await offset_claims(activity, cleared, now)


async def _write_down(connection: Connection, found: Sequence[Payout], now: datetime) -> list[Clearing]:
    """What has to be cleared; of it what is due is written down as movements, that which was refused under new ids."""
    of = list(dict.fromkeys((each.payee_id, each.cycle_id) for each in found))  # a cycle may have several payouts
    clearings = await cycles.clearings_of(connection, of)
    clearings = [_renewed(each) if each.state == REFUSED else each for each in clearings]
    await cycles.renew_clearings(connection, [each for each in clearings if each.code == "renewed"])
    await write_down(connection, [_movement(each) for each in clearings if each.state == DUE], now)
    return clearings


def _renewed(clearing: Clearing) -> Clearing:
    payment_id = payment_id_of(clearing.kind, clearing.payment_id)
    return replace(clearing, state=DUE, code="renewed", payment_id=payment_id)


def _movement(clearing: Clearing) -> Movement:
    """From the owner's unsettled to the payee's settled sales; a shortfall the other way, from the payee's claims."""
    sells = clearing.kind == "clearing"
    return Movement(
        payment_id=clearing.payment_id,
        kind=clearing.kind,
        owner_id=clearing.owner_id if sells else clearing.payee_id,
        counterpart_id=clearing.payee_id if sells else clearing.owner_id,
        amount_minor=clearing.amount_minor,
        about=f"cycle:{clearing.cycle_id}",
    )


async def _settle(
    connection: Connection,
    found: Sequence[Payout],
    clearings: Sequence[Clearing],
    known: dict[str, Known],
    now: datetime,
) -> set[str]:
    """Write what became of clearings, and the reason with payouts that cannot go on; gives the cycles of those."""
    due = [each for each in clearings if each.state == DUE]
    after = [
        replace(each, state=DONE if known[each.payment_id].done else REFUSED, code=known[each.payment_id].code)
        for each in due
    ]
    await cycles.settle_clearings(connection, after)
    refused = {each.cycle_id: f"{each.kind}_refused:{each.code}" for each in after if each.state == REFUSED}
    stopped = [replace(each, reason=refused[each.cycle_id]) for each in found if each.cycle_id in refused]
    if len(await payouts.change(connection, stopped, now)) < len(stopped):
        raise contended()
    return set(refused)
