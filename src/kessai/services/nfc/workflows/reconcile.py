"""nfc.reconcile (照合): a day's authorizations and totals beside the processor's, record by record and sum by sum.

Of what the processor never heard an answer of (it gave up, and took it back), nothing is counted on either side. What
agrees again is closed; what does not is a finding, which the job nfc.repair does something about where that is safe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

import structlog

from kessai.foundation.clock import TOKYO, business_date
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.events import wake
from kessai.foundation.ids import derived_hex
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.api.clearing import ClearingFindingState, FindingKind, LineKind
from kessai.services.nfc.domain.authorization import Authorization, authorization_id_of
from kessai.services.nfc.domain.clearing import FoundThing
from kessai.services.nfc.domain.reconciling import (
    FIGURES,
    TheirFigure,
    TheirRecord,
    difference_of,
    not_borne,
    unknown_here,
)
from kessai.services.nfc.store import ROLE, SCHEMA, reconciling
from kessai.services.nfc.store import authorizations as authorization_store
from kessai.services.nfc.store.findings import (
    add_findings,
    close_as,
    findings_before,
    findings_named,
)
from kessai.services.nfc.store.reconciling import ReconciledDay
from kessai.services.nfc.workflows.deps import AWAY, Deps

log = structlog.get_logger(__name__)
K, S, F = AuthorizationKind, AuthorizationState, FindingKind
ONE_DAY = timedelta(days=1)
MARGIN = timedelta(minutes=10)
"""Around midnight, by which of our days a record is looked for; it counts for the day of the processor."""
OF_RECORDS = (
    F.UNKNOWN_THERE,
    F.DECLINED_THERE,
    F.REVERSED_THERE,
    F.STANDS_DIFFER,
    F.AMOUNT_DIFFERS,
    F.APPROVED_THERE,
)
"""What is closed once it is not found any more."""
BY = "nfc.reconcile"


class DayOrder(Message, frozen=True):
    """Which day to compare."""

    job: JobOrder
    day: date


class Days(Message, frozen=True):
    """Days to compare, oldest first."""

    days: list[date]


class Compared(Message, frozen=True):
    """What a day came to."""

    records: int
    found: int
    """New findings."""
    agrees: bool


@define("nfc.reconcile", version=1)
async def run_reconcile(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Compare a day with the processor, and once more the days shortly before it that did not agree."""
    due = await wf.activity(days_due, order)
    if order.dry_run:
        return JobDone(done=len(due.days), note=f"{len(due.days)} days would be compared.")
    records, found, differing = 0, 0, 0
    for day in due.days:
        compared = await wf.activity(compare_day, DayOrder(job=order, day=day), retry=AWAY)
        records, found = records + compared.records, found + compared.found
        differing += not compared.agrees
    note = f"{records} records of {len(due.days)} days, {found} new findings"
    return JobDone(done=records, note=f"{note}; the totals of {differing} days differ." if differing else f"{note}.")


# -- activities -------------------------------------------------------------------------------------------------


async def days_due(activity: Activity[Deps], order: JobOrder) -> Days:
    """The day itself, and those before it that were compared and did not agree, or of which a file has come since."""
    deps = activity.deps
    since = order.day - deps.terms.reconcile.look_back_days * ONE_DAY
    again = await reconciling.days_open(deps.database, since, order.day - ONE_DAY)
    return Days(days=[*again, order.day])


@dataclass(slots=True)
class _Comparison:
    """A day while it is compared."""

    day: date
    records: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    sums: Counter[str] = field(default_factory=Counter[str])
    found: list[FoundThing] = field(default_factory=list[FoundThing])
    agreed: list[str] = field(default_factory=list[str])
    """Findings that hold no more, if there were any."""

    def count(self, figure: str, amount_minor: int) -> None:
        self.counts[figure] += 1
        self.sums[figure] += amount_minor

    @property
    def ours(self) -> dict[str, TheirFigure]:
        return {name: TheirFigure(self.counts[name], self.sums[name]) for name in FIGURES}


async def compare_day(activity: Activity[Deps], order: DayOrder) -> Compared:
    """Compare it, keep what was found, and close what agrees by now."""
    deps = activity.deps
    compared = _Comparison(order.day)
    await _compare_ours(deps, compared, order.job)
    after, until = await _compare_theirs(deps, compared)
    await _count_reversals(deps, compared)
    await _count_cleared(deps, compared)
    await _compare_borne(deps, compared)
    told = await deps.network.totals(order.day, deps.clock.now())
    differing = _differing(compared, told.figures)
    agrees = not differing
    now = deps.clock.now()
    day = ReconciledDay(day=order.day, records_after=after, records_until=until, agrees=agrees, looked_at=now)

    async def write(connection: Connection) -> int:
        await reconciling.write_day(connection, day, compared.ours, told.figures)
        await _close(connection, compared.agreed, now)
        return await add_findings(connection, [*compared.found, *differing], now)

    found = await deps.database.transaction(ROLE, write)
    wake(deps.database, SCHEMA.service)
    if found:
        log.error("id_reconciliation_differs", day=order.day.isoformat(), found=found)
    return Compared(records=compared.records, found=found, agrees=agrees)


async def _close(connection: Connection, finding_ids: Sequence[str], now: datetime) -> None:
    known = await findings_named(connection, finding_ids)
    gone = [each for each in known.values() if each.state is ClearingFindingState.OPEN]
    await close_as(connection, gone, BY, "It agrees by now.", now)


# -- record by record -------------------------------------------------------------------------------------------


async def _compare_ours(deps: Deps, compared: _Comparison, job: JobOrder) -> None:
    """Each authorization that we have of the day, as the processor has it."""
    since, until = _midnight(compared.day) - MARGIN, _midnight(compared.day + ONE_DAY) + MARGIN
    after, limit = authorization_store.OLDEST, deps.terms.reconcile.page
    while page := await reconciling.received(deps.database, since, until, after, limit):
        rows = await authorization_store.load(deps.database, [each for _, each in page])
        told = await deps.network.records([each.message_key for each in rows.values()], deps.clock.now())
        for row in rows.values():
            _compare(compared, row, told.get(row.message_key))
        after = page[-1]
        await progress(deps.database, deps.clock, job, done=compared.records, total=None)


def _compare(compared: _Comparison, row: Authorization, theirs: TheirRecord | None) -> None:
    if business_date(row.received_at if theirs is None else theirs.at) != compared.day:
        return
    compared.records += 1
    found = difference_of(row, theirs, compared.day)
    kinds = [each for each in OF_RECORDS if found is None or each.value != found.kind]
    compared.agreed += [derived_hex("nfc", "finding", each.value, row.message_key) for each in kinds]
    if found is not None:
        compared.found.append(found)
    if row.kind not in (K.PURCHASE, K.ADVICE) or _never_heard(row, theirs):
        return
    if row.response == "00":
        compared.count("authorized", row.amount_minor)
    elif row.response is not None and row.kind is K.PURCHASE:
        compared.count("declined", row.amount_minor)


def _never_heard(row: Authorization, theirs: TheirRecord | None) -> bool:
    """The processor had no answer in time, and what we held for it is let go of, or never was."""
    return theirs is not None and not theirs.approved and theirs.state != "declined" and not _standing(row)


def _standing(row: Authorization) -> bool:
    return row.state in (S.APPROVED, S.CLEARED) and row.stands_minor > 0


async def _compare_theirs(deps: Deps, compared: _Comparison) -> tuple[int, int]:
    """Each record that the processor has of the day and we do not; gives from where to where its records were read."""
    first = position = await _first_position(deps, compared.day)
    over = False
    while not over and (page := await deps.network.records_after(position, deps.clock.now())):
        of_day = [each for each in page if business_date(each.at) == compared.day]
        ids = [authorization_id_of(each.key) for each in of_day]
        known = await authorization_store.load(deps.database, ids)
        for theirs, authorization_id in zip(of_day, ids, strict=True):
            if authorization_id not in known:
                _unknown(compared, theirs)
        passed = sum(business_date(each.at) <= compared.day for each in page)
        position, over = position + passed, passed < len(page)
    return first, position


async def _first_position(deps: Deps, day: date) -> int:
    known = await reconciling.day_named(deps.database, day)
    if known is not None:
        return known.records_after
    before = await reconciling.day_before(deps.database, day)
    return 0 if before is None else before.records_until


def _unknown(compared: _Comparison, theirs: TheirRecord) -> None:
    """What was refused before it came to the journal is declined on both sides."""
    if theirs.stands_minor:
        compared.found.append(unknown_here(theirs, compared.day))
    elif theirs.state == "declined" and theirs.purchase:
        compared.count("declined", theirs.amount_minor)


async def _compare_borne(deps: Deps, compared: _Comparison) -> None:
    """What was cleared beside what the payment service has taken for it."""
    after, limit = reconciling.FIRST, deps.terms.reconcile.page
    unborne = set[str]()
    while page := await reconciling.unborne(deps.database, after, limit):
        rows = await authorization_store.load(deps.database, page)
        compared.found += [not_borne(each, compared.day) for each in rows.values()]
        unborne.update(page)
        after = page[-1]
    open_, before = ClearingFindingState.OPEN, authorization_store.NEWEST
    while known := await findings_before(deps.database, before, open_, F.NOT_BORNE.value, limit):
        compared.agreed += [each.stored_id for each in known if each.authorization_id not in unborne]
        before = known[-1].found_at, known[-1].stored_id


# -- sum by sum ---------------------------------------------------------------------------------------------------


async def _count_reversals(deps: Deps, compared: _Comparison) -> None:
    since, until = _midnight(compared.day), _midnight(compared.day + ONE_DAY)
    after, limit = (*authorization_store.OLDEST, reconciling.FIRST), deps.terms.reconcile.page
    while page := await reconciling.taken_back(deps.database, since, until, after, limit):
        ids = list({each for _, each, _ in page})
        rows = await authorization_store.load(deps.database, ids)
        told = await deps.network.records([each.message_key for each in rows.values()], deps.clock.now())
        taken = await _taken(deps, rows)
        for _, authorization_id, reversal_id in page:
            theirs = told.get(rows[authorization_id].message_key)
            if (
                taken.get(reversal_id)
                and rows[authorization_id].kind is not K.REFUND
                and (theirs is None or theirs.approved)
            ):
                compared.count("reversed", taken[reversal_id])
        after = page[-1]


async def _taken(deps: Deps, rows: Mapping[str, Authorization]) -> dict[str, int]:
    """How much each reversal of these took back."""
    stood = {name: row.amount_minor for name, row in rows.items()}
    taken: dict[str, int] = {}
    for each in await authorization_store.reversals(deps.database, list(rows)):
        if each.response == "00":
            before = stood[each.authorization_id]
            taken[each.reversal_id] = max(0, before - each.stands_minor)
            stood[each.authorization_id] = min(before, each.stands_minor)
    return taken


async def _count_cleared(deps: Deps, compared: _Comparison) -> None:
    names = {LineKind.SALE: ("sales", 1), LineKind.REFUND: ("refunds", -1), LineKind.REVERSAL: ("reversals", -1)}
    for kind, figure in (await reconciling.cleared_on(deps.database, compared.day)).items():
        name, sign = names[kind]
        compared.counts[name], compared.sums[name] = figure.count, figure.minor
        compared.counts["net"] += figure.count
        compared.sums["net"] += sign * figure.minor


def _differing(compared: _Comparison, theirs: Mapping[str, TheirFigure]) -> list[FoundThing]:
    ours, found = compared.ours, list[FoundThing]()
    for name in FIGURES:
        about = f"{compared.day.isoformat()} {name}"
        if ours[name] == theirs[name]:
            compared.agreed.append(derived_hex("nfc", "finding", F.TOTALS_DIFFER.value, about))
            continue
        found.append(
            FoundThing(
                kind=F.TOTALS_DIFFER.value,
                about=about,
                day=compared.day,
                ours_minor=ours[name].minor,
                theirs_minor=theirs[name].minor,
                detail=f"{ours[name].count} here, {theirs[name].count} there",
            )
        )
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), TOKYO)
