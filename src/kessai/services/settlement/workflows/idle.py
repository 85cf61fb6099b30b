"""Which of the days that are due need a run of settlement's jobs, without beginning one.

Every answer is for the rows as they are: whoever has run anything asks again. What is tried again only because time has
passed (a fee that was refused, a transaction that is not proved) needs one run for a stretch of days, for the last of
them; where terms change on a day within the stretch, that day needs one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection
from kessai.foundation.events.standing import is_quiet
from kessai.services.merchant.api import QUESTIONS_MAX, FeeUnit, ResolveTerms, TermsQuestion
from kessai.services.payment.api import TOPIC as TOPIC_PAYMENT
from kessai.services.settlement import store
from kessai.services.settlement.domain.cycles import ends_on, last_day_of
from kessai.services.settlement.domain.days import end_of, first_after
from kessai.services.settlement.domain.reconciling import PENDING
from kessai.services.settlement.store import cycles, days, idle, payouts, statements, transactions
from kessai.services.settlement.store.payouts import FIRST
from kessai.services.settlement.store.transactions import START, OpenTransaction
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.cycle import terms_on
from kessai.services.settlement.workflows.proving import UNKNOWN, Payees, judge

ONE_DAY = timedelta(days=1)
LOOKED_AT_MAX = 500
"""Open transactions, or payees, that are looked at; where there are more, the first day needs a run."""
QUESTIONS_ALL_MAX = 20_000
"""Terms asked about at most; days beyond that many need a run."""
DAYS_LOOKED_AT_MAX = 62
RESULTS_FEED = "settlement.payouts"


# -- settlement.daily -------------------------------------------------------------------------------------------


async def first_to_settle(deps: Deps, since: date, until: date) -> date | None:
    """The first day on which something may be settled, or a fee be charged; None: all of them can be closed as is."""
    through = await days.closed_through(deps.database)
    since = since if through is None else max(since, through + ONE_DAY)
    if since > until:
        return None
    if not await _all_told(deps, until):
        return since
    left = await idle.unfinished(deps.database)
    if left.under_way:
        return since
    found = [
        until if left.tried_again else None,
        await _totals_due(deps, since, until),
        await _first_proved(deps, since, until),
    ]
    return _first(found, since, until)


async def close_as_is(deps: Deps, since: date, until: date) -> None:
    """Close days on which nothing settled; one that is closed stays as it is."""

    through = await days.closed_through(deps.database)
    first = since if through is None else max(since, through + ONE_DAY)
    every = [first + number * ONE_DAY for number in range((until - first).days + 1)]

    async def close(connection: Connection) -> None:
        if await idle.close_through(connection, through, until):
            await idle.close_days(connection, every, deps.clock.now())

    if every:
        await deps.database.transaction(store.ROLE, close)


async def _all_told(deps: Deps, until: date) -> bool:
    """Whether every event up to now was heard, and none is put aside."""
    for feed in (*days.FEEDS, RESULTS_FEED):
        if not await is_quiet(
            deps.database, source="payment", subscriber=store.SCHEMA.service, subscription=feed, topics=[TOPIC_PAYMENT]
        ):
            return False
    return not await days.parked_before(deps.database, first_after(until))


async def _totals_due(deps: Deps, since: date, until: date) -> date | None:
    """When the next fee on the total of a day or a cycle is to be charged."""
    if await idle.open_parts(deps.database, FeeUnit.CYCLE, until) is not None:
        return since  # until its cycle has ended
    return await idle.open_parts(deps.database, FeeUnit.DAY, until)


async def _first_proved(deps: Deps, since: date, until: date) -> date | None:
    """When the first open transaction may settle; the last day, where none will by all that is known."""
    page = await transactions.open_page(deps.database, until, START, LOOKED_AT_MAX + 1)
    if not page:
        return None
    if len(page) > LOOKED_AT_MAX:
        return since
    later = min((each.business_date for each in page if each.business_date > since), default=None)
    here = [each for each in page if each.business_date <= since]
    if any(each.state == "RECORDED" for each in here):
        return since
    judged = await judge(deps, here, Payees(deps, since))
    if judged.proved:
        return since
    reasons = {(owner_id, transaction_id): reason for owner_id, transaction_id, reason in judged.held}
    strangers = [each for each in here if reasons[each.owner_id, each.transaction_id] in (UNKNOWN, PENDING)]
    known = await _first_known(deps, strangers, since, until)
    return min(day for day in (later, known, until) if day is not None)


async def _first_known(deps: Deps, strangers: Sequence[OpenTransaction], since: date, until: date) -> date | None:
    """The first day on which one of these owners has a payee; at the latest that up to which was asked."""
    pairs = sorted({(each.owner_id, each.method) for each in strangers})
    if not pairs:
        return None
    last = min(until, since + (QUESTIONS_ALL_MAX // len(pairs)) * ONE_DAY)
    every = [since + number * ONE_DAY for number in range(1, (last - since).days + 1)]
    questions = [
        TermsQuestion(owner_id=owner_id, method=method, at=end_of(day)) for day in every for owner_id, method in pairs
    ]
    for at in range(0, len(questions), QUESTIONS_MAX):
        asked = questions[at : at + QUESTIONS_MAX]
        answers = (await deps.merchants.resolve_terms(ResolveTerms(questions=asked))).answers
        for question, answer in zip(asked, answers, strict=True):
            if answer.payee_id is not None:
                return business_date(question.at)
    return last


# -- settlement.cycle, settlement.clear, settlement.statement, settlement.payout ----------------------------------


async def first_to_make(deps: Deps, since: date, until: date) -> date | None:
    """The first day on which a cycle of a payee with money ends, or a transfer fee is to go back."""
    payees = await cycles.payees_with_money(deps.database, until, "", LOOKED_AT_MAX + 1)
    if len(payees) > LOOKED_AT_MAX:
        return since
    found = [await _fees_go_back(deps, since, until), await _first_end(deps, payees, since, until)]
    return _first(found, since, until)


async def first_to_clear(deps: Deps, since: date, until: date) -> date | None:
    """The first day up to which a cycle is to be cleared."""
    found = await idle.payouts_to_look_at(deps.database)
    refused = until if found.refused_on is not None and found.refused_on <= until else None
    return _first([found.made_on, refused], since, until)


async def first_to_pay(deps: Deps, since: date, until: date) -> date | None:
    """The first day on which the bank is to be instructed, or something of an earlier day is to be looked at again."""
    found = await idle.payouts_to_look_at(deps.database)
    if found.untold:
        return since
    held = until if found.held_on is not None and found.held_on <= until else None
    return _first([found.cleared_on, held, await _fees_go_back(deps, since, until)], since, until)


async def first_to_state(deps: Deps, since: date, until: date) -> date | None:
    """The first day up to which a cycle's statement is to be issued, or looked at again."""
    return _first([await statements.first_to_state(deps.database)], since, until)


async def _fees_go_back(deps: Deps, since: date, until: date) -> date | None:
    """When a transfer fee goes back or is charged again: at once, or once for all days where it was refused."""

    async def read(connection: Connection) -> tuple[int, int, bool]:
        found = await payouts.with_fees_to_return(connection, FIRST, LOOKED_AT_MAX)
        refused = await payouts.refunds_refused(connection, [str(each.fee_payment_id) for each in found])
        asked = await payouts.with_fees_to_charge_again(connection, 1) or await payouts.fees_still_asked(connection, 1)
        return len(found), len(refused), bool(asked)

    waiting, refused, again = await deps.database.transaction(store.ROLE, read)
    if again:
        return since
    if not waiting:
        return None
    return until if waiting == refused else since


async def _first_end(deps: Deps, payees: Sequence[str], since: date, until: date) -> date | None:
    """The first day on which a cycle of one of these ends, by the terms of that day."""
    if not payees:
        return None
    terms = await terms_on(deps, payees, since)
    end = min((last_day_of(each, since) for each in terms), default=None)
    last = until if end is None else min(end, until)
    if last == since or await terms_on(deps, payees, last) == terms:
        return end
    # They change within these days, and may end a cycle sooner.
    day, last = since, min(last, since + DAYS_LOOKED_AT_MAX * ONE_DAY)
    while day < last and not any(ends_on(each, day) for each in await terms_on(deps, payees, day)):
        day += ONE_DAY
    return day


def _first(found: Iterable[date | None], since: date, until: date) -> date | None:
    """The earliest that is not after the last day, and no earlier than the first."""
    day = min((each for each in found if each is not None), default=None)
    return None if day is None or day > until else max(day, since)
