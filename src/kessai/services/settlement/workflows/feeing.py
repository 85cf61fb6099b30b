"""Fees: worked out by the merchants' terms, gathered into totals, issued as payments by the page, given back.

This flow hears of sales by itself and waits for no day; a day's run only looks again at what waits, and has the totals
of its day (or of cycles that end on it) charged before it reconciles. Everything is found in the rows: whatever is
repeated after a crash finds what was done, and does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from uuid import UUID, uuid4

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, plan_by_index
from kessai.foundation.errors import Conflict, PaymentError, Unavailable
from kessai.foundation.ids import derived_hex
from kessai.sdk.workflow import Activity, Conflicted, Handle, Retry, Workflow, Write, define
from kessai.services.merchant.api import (
    QUESTIONS_MAX,
    FeeUnit,
    ResolveTerms,
    SettlementTermsOf,
    Terms,
    TermsQuestion,
)
from kessai.services.payment.api import RefundPayment, RefundState
from kessai.services.settlement import store
from kessai.services.settlement.api.words import FeeState
from kessai.services.settlement.domain.days import end_of
from kessai.services.settlement.domain.feeing import (
    DECIDED,
    Deciding,
    Sale,
    are_usable,
    fee_payment_id,
    fees_of_totals,
    total_fee_id,
)
from kessai.services.settlement.domain.fees import decode_schedule
from kessai.services.settlement.domain.naming import REFUND, kind_of, payment_id_of
from kessai.services.settlement.store import fees, movements
from kessai.services.settlement.store.fees import DueFee, DueReturn
from kessai.services.settlement.store.movements import Ending, Movement
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.moving import (
    Done,
    Page,
    move,
    refund_named,
    require_answer,
    tell_tracer,
    wake,
    within,
)

DECIDED_AT_ONCE = 1_000
OWNERS_AT_ONCE = 200
RETURNS_AT_ONCE = 50
RETURNING_MAX = 16
"""Refunds of fees that are asked for at the same time."""
PAUSE_S_MAX = 5.0
OVERTAKEN_MAX = 20
PLATFORM_OWNERS = {"merchant_fee": "internal:merchant_fee", "merchant_fee_exempt": "internal:merchant_fee_exempt"}


# -- working out ------------------------------------------------------------------------------------------------


async def decide_new(deps: Deps) -> int:
    """Work out the fees of all sales and refunds at which nobody has looked; gives how many those were."""
    total = 0
    while page := await fees.undecided(deps.database, DECIDED_AT_ONCE):
        await _decide(deps, page)
        total += len(page)
    return total


async def decide_waiting(deps: Deps) -> int:
    """Look again at all that wait for terms; gives how many of them wait no longer.

    A sale for which there were no terms at its own instant goes by those in force now.
    """
    total, done = 0, 1
    while done:
        after, done = ("", fees.FIRST), 0
        while page := await fees.waiting(deps.database, after, DECIDED_AT_ONCE):
            after = (page[-1].owner_id, page[-1].transaction_id)
            done += await _decide(deps, page, again=True)
        total += done  # a refund may have waited for its sale
    return total


async def _decide(deps: Deps, page: Sequence[Sale], *, again: bool = False) -> int:
    """Give how many moved on."""
    sales = [each for each in page if each.kind == "sale"]
    terms = await _terms(deps, sales)
    if again and (without := [each for each in sales if not are_usable(terms[each.transaction_id])]):
        now = deps.clock.now()
        terms |= await _terms(deps, [each._replace(occurred_at=now) for each in without])
    refunded = list({each.payment_id for each in page if each.kind == "refund"})
    earlier = await fees.sales_of_payments(deps.database, refunded) if refunded else []
    here = {each.transaction_id for each in sales}
    deciding = Deciding(terms, (each for each in earlier if each.transaction_id not in here))
    decided, now = deciding.decide(page), deps.clock.now()

    async def write(connection: Connection) -> bool:
        await plan_by_index(connection)
        if not await fees.decide(connection, decided, now):
            raise Conflict("conflicted", "Somebody else was faster.")
        return True

    try:
        await deps.database.transaction(store.ROLE, write)
    except Conflict:
        return 0  # they are read anew
    return sum(each.state == DECIDED for each in decided.sales)


async def _terms(deps: Deps, sales: Sequence[Sale]) -> dict[UUID, Terms]:
    """The terms of each, as of its own instant."""
    found: dict[UUID, Terms] = {}
    for at in range(0, len(sales), QUESTIONS_MAX):
        asked = sales[at : at + QUESTIONS_MAX]
        questions = [TermsQuestion(owner_id=each.owner_id, method=each.method, at=each.occurred_at) for each in asked]
        answers = (await deps.merchants.resolve_terms(ResolveTerms(questions=questions))).answers
        found |= {each.transaction_id: answer for each, answer in zip(asked, answers, strict=True)}
    return found


# -- totals -----------------------------------------------------------------------------------------------------


async def charge_totals(deps: Deps, unit: FeeUnit, day: date) -> int:
    """Make the fees on totals due: of days up to one; of cycles, for the owners whose payee's cycle ends on it.

    Gives how many fees (and returns of earlier ones) that were.
    """
    after, made = "", 0
    while owners := await fees.owners_with_parts(deps.database, unit.value, day, after, OWNERS_AT_ONCE):
        after = owners[-1][0]
        chosen = [owner for owner, _ in owners] if unit is FeeUnit.DAY else await _closing(deps, owners, day)
        if chosen:
            made += await deps.database.transaction(
                store.ROLE, lambda connection, chosen=chosen: _charge(deps, connection, unit, day, chosen)
            )
    return made


async def _charge(deps: Deps, connection: Connection, unit: FeeUnit, day: date, owners: Sequence[str]) -> int:
    gathering = uuid4()
    groups = await fees.take_parts(connection, unit.value, day, owners, gathering)
    room = await fees.room(connection, owners) if any(each.base_minor < 0 for each in groups) else []
    await fees.assign_parts(connection, [(each, total_fee_id(gathering, each)) for each in groups], gathering)
    wanted = fees_of_totals(groups, room, unit=unit, day=day, gathering=gathering)
    await fees.insert(connection, wanted, deps.clock.now())
    return len(wanted)


async def _closing(deps: Deps, owners: Sequence[tuple[str, str]], day: date) -> list[str]:
    """Those whose payee has a cycle that ends on the day."""
    payees = await payees_of(deps, owners, day)
    named = sorted({payee for _, payee in payees.values() if payee is not None})
    if not named:
        return []
    answer = await deps.merchants.settlement_terms(SettlementTermsOf(merchant_ids=named, on=day))
    closes = {each.merchant_id for each in answer.answers if each.closes}
    return [owner for owner, method in owners if payees[owner, method][1] in closes]


async def payees_of(
    deps: Deps, wanted: Sequence[tuple[str, str]], day: date
) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Merchant and payee of owners and methods, as they are at the end of a day."""
    found: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    at = end_of(day)
    for start in range(0, len(wanted), QUESTIONS_MAX):
        asked = wanted[start : start + QUESTIONS_MAX]
        questions = [TermsQuestion(owner_id=owner, method=method, at=at) for owner, method in asked]
        answers = (await deps.merchants.resolve_terms(ResolveTerms(questions=questions))).answers
        found |= {key: (each.merchant_id, each.payee_id) for key, each in zip(asked, answers, strict=True)}
    return found


# -- issuing ----------------------------------------------------------------------------------------------------


@define("settlement.issue_fees", version=1)
async def issue_fees(wf: Workflow[Deps], page: Page) -> Done:
    """Have the payments of a page of fees made; which they are was written down with its start."""
    done = await wf.activity(move, page, retry=Retry(delay_s_max=PAUSE_S_MAX))
    wf.record(fees.issued(page.processing_id))
    return done


class Return(Message, frozen=True):
    """A part of a fee that is to go back."""

    owner_id: str
    fee_id: UUID
    payment_id: str
    """The fee's."""
    movement_id: str
    amount_minor: int
    processing_id: str


class ReturnPage(Message, frozen=True):
    """Returns that are asked for together; each stands by itself."""

    returns: list[Return]


@define("settlement.return_fees", version=1)
async def return_fees(wf: Workflow[Deps], page: ReturnPage) -> Done:
    """Have parts of fees refunded."""
    done = Done(moved=0, refused=0)
    for at in range(0, len(page.returns), RETURNING_MAX):
        some = page.returns[at : at + RETURNING_MAX]
        retry = Retry(delay_s_max=PAUSE_S_MAX)
        told = await asyncio.gather(*(wf.activity(give_back, each, retry=retry) for each in some))
        done = Done(moved=done.moved + sum(told), refused=done.refused + len(told) - sum(told))
    return done


async def give_back(activity: Activity[Deps], back: Return) -> bool:
    """Refund a part of a fee's payment, and write down what became of it; whether it went back."""
    deps = activity.deps
    ending = await _refunded(deps, back)
    succeeded, now = ending.state == RefundState.SUCCEEDED, deps.clock.now()

    async def write(connection: Connection) -> None:
        if not await movements.end(connection, [ending], now):
            return
        if succeeded:
            await movements.add_returned(connection, [back.movement_id])
        state = FeeState.ISSUED if succeeded else FeeState.REFUSED
        await fees.end_return(connection, back.owner_id, back.fee_id, state, ending.code)
        await tell_tracer(connection, [back.processing_id], now)

    await deps.database.transaction(store.ROLE, write)
    wake(deps)
    return succeeded


async def _refunded(deps: Deps, back: Return) -> Ending:
    request = RefundPayment(payment_id=back.payment_id, amount_minor=back.amount_minor)
    try:
        with within(back.processing_id, derived_hex("settlement", back.movement_id)):
            refund = await deps.payment.refund_payment(request)
    except PaymentError as error:
        require_answer(error)
        return Ending(back.movement_id, RefundState.REFUSED, error.code, None, refund_named(error))
    if refund.state in (RefundState.PENDING, RefundState.UNKNOWN):
        raise Unavailable("refund_under_way", "The refund is still under way.")
    return Ending(back.movement_id, refund.state.value, refund.refusal_code, None, refund.refund_id)


async def issue_due(deps: Deps) -> int:
    """Issue all fees that are due, and give back what is to go back; gives how many payments were asked for.

    Some pages are under way at a time: the next is begun as soon as one has ended. They are workflows: what this
    process does not bring to its end, another one does.
    """
    issuing = _Issuing(deps)
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(deps.config.pages.fee_pages):
                tasks.create_task(issuing.go_on())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return issuing.total


class _Issuing:
    """One page after the other is begun, by whoever is free."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._turn = asyncio.Lock()
        self._overtaken = 0
        self._nothing = False
        """Nothing was due when the first of them looked: the others need not."""
        self._begun = 0
        self.total = 0

    async def go_on(self) -> None:
        """Begin pages and see them through until nothing is due. Raises Unavailable where others are always faster."""
        while (begun := await self._begin()) is not None:
            handle, size = begun
            if handle is not None:
                await handle.result()
                self.total += size
            elif (overtaken := self._overtaken + 1) < OVERTAKEN_MAX:
                self._overtaken = overtaken
            else:
                raise Unavailable("contention", "Other processes are issuing the same fees; try again.")

    async def _begin(self) -> tuple[Handle[Done] | None, int] | None:
        """The next page, and how much is in it; None when nothing is due. A page that is begun is due no longer."""
        async with self._turn:
            if self._nothing:
                return None
            self._begun += 1
            if page := await fees.due_fees(self._deps.database, self._deps.config.pages.fees):
                return await _begin_page(self._deps, page), len(page)
            if returns := await fees.due_returns(self._deps.database, RETURNS_AT_ONCE):
                return await _begin_returns(self._deps, returns), len(returns)
            self._nothing = self._begun == 1
            return None


async def _begin_page(deps: Deps, page: Sequence[DueFee]) -> Handle[Done] | None:
    """Write a page down and begin with it; None: somebody else was faster with some of it."""
    page_key = derived_hex("settlement", "fees", *(each.payment_id for each in page))
    processing_id, now = f"prc_{page_key}", deps.clock.now()
    asked = movements.asked((_movement(each) for each in page), processing_id=processing_id, at=now)
    with within(processing_id):
        try:
            return await deps.engine.start(
                issue_fees,
                Page(processing_id=processing_id),
                workflow_id=f"fees-{page_key}",
                writes=[*asked, *(fees.ask_for(each) for each in page)],
            )
        except Conflicted:
            return None


def _movement(each: DueFee) -> Movement:
    kind = kind_of(each.payment_id)
    return Movement(
        each.payment_id, kind, each.owner_id, PLATFORM_OWNERS[kind], each.amount_minor, f"fee:{each.fee_id}"
    )


async def _begin_returns(deps: Deps, returns: Sequence[DueReturn]) -> Handle[Done] | None:
    now, wanted, writes = deps.clock.now(), list[Return](), list[Write]()
    for each in returns:
        movement_id = payment_id_of(REFUND, str(each.fee_id), str(each.attempts))
        about = f"fee_refund:{each.fee_id}"
        row = Movement(
            *(movement_id, REFUND, each.owner_id, each.counterpart_id, each.amount_minor, about, each.payment_id)
        )
        writes += movements.asked([row], processing_id=each.processing_id, at=now, begins=False)
        writes.append(fees.ask_for(each))
        wanted.append(
            Return(
                owner_id=each.owner_id,
                fee_id=each.fee_id,
                payment_id=each.payment_id,
                movement_id=movement_id,
                amount_minor=each.amount_minor,
                processing_id=each.processing_id,
            )
        )
    key = derived_hex("settlement", "returns", *(each.movement_id for each in wanted))
    try:
        return await deps.engine.start(
            return_fees, ReturnPage(returns=wanted), workflow_id=f"returns-{key}", writes=writes
        )
    except Conflicted:
        return None


async def renew_refused(deps: Deps) -> int:
    """Make fees and returns whose payment was refused due again, each under an id of its own; gives how many."""
    after, total = ("", fees.FIRST), 0
    while rows := await fees.refused(deps.database, after, DECIDED_AT_ONCE):
        after = (rows[-1]["owner_id"], rows[-1]["fee_id"])
        again = [
            (
                row["owner_id"],
                row["fee_id"],
                row["payment_id"]
                if row["kind"] == "fee_refund"
                else fee_payment_id(row["fee_id"], decode_schedule(row["schedule"]).terms.tax, row["attempts"] + 1),
            )
            for row in rows
        ]
        await deps.database.transaction(store.ROLE, lambda connection, again=again: fees.renew(connection, again))
        total += len(again)
    return total
