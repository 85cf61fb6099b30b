"""The reconciling desk: runs reconciliations, keeps what they found, and the work that people do on it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid, NotFound, Unavailable
from kessai.foundation.events.standing import is_quiet
from kessai.foundation.ids import bare, new_hex
from kessai.services.bank.api import TOPIC_DEBIT, TOPIC_TRANSFER
from kessai.services.books.api.reconciling import (
    CloseReconciliationFinding,
    DifferenceKind,
    DifferencePage,
    DifferenceState,
    ExplainReconciliationFinding,
    GetReconciliation,
    GetReconciliationFinding,
    ListDifferences,
    ListReconciliationFindings,
    ListReconciliations,
    Reconcile,
    Reconciliation,
    ReconciliationFinding,
    ReconciliationFindingPage,
    ReconciliationName,
    ReconciliationPage,
)
from kessai.services.books.domain import reconciling as moves
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.reconciling import Case, Difference, ReconcilingRules, Step, finding_hex
from kessai.services.books.service.asked import Offers
from kessai.services.books.service.reconciling.against_bank import against_bank
from kessai.services.books.service.reconciling.against_ledger import against_ledger, against_statements
from kessai.services.books.service.reconciling.against_payment import against_payment
from kessai.services.books.service.reconciling.against_tracer import against_tracer
from kessai.services.books.service.reconciling.reports import offers_of
from kessai.services.books.service.reconciling.runs import EARLIEST, Doors, Outcome, Run
from kessai.services.books.store import ROLE
from kessai.services.books.store import reconciling as store
from kessai.services.payment.api import TOPIC as TOPIC_PAYMENT

COMPARISONS: Mapping[ReconciliationName, Callable[[Run], Awaitable[Outcome]]] = {
    ReconciliationName.LEDGER: against_ledger,
    ReconciliationName.PAYMENT: against_payment,
    ReconciliationName.STATUTORY: against_statements,
    ReconciliationName.BANK: against_bank,
    ReconciliationName.TRACER: against_tracer,
}
STALE = timedelta(hours=6)
"""After so long what a run staged is left behind by one that never ended. Real time."""
ATTEMPTS_MAX = 5
SERVICE = "books"
LOOKS_MAX, PAUSE_S = 100, 0.1
FEEDS = {
    "ledger": ("ledger.account", "ledger.exchange"),
    "bank": (TOPIC_TRANSFER, TOPIC_DEBIT),
    "payment": (TOPIC_PAYMENT,),
}
"""Whose events the books hear, and which."""
NO_BOOK = "none"
"""The statutory class of account types that stand in no statutory book."""
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
_HIGHEST, _LOWEST = "f" * 32, "0" * 32
_position = msgspec.json.Decoder(tuple[datetime, str])


class _Overtaken(Exception):
    """Another step came first."""


class ReconcilingDesk:
    """照合. Any number of processes may run one: a run is its own, findings are written one step at a time."""

    def __init__(
        self, database: Database, clock: Clock, books: BooksConfig, doors: Doors, rules: ReconcilingRules
    ) -> None:
        self._database = database
        self._clock = clock
        self._doors = doors
        self._rules = rules
        self._statutory_types = {
            code: each.asset for code, each in books.types.items() if each.statutory_class != NO_BOOK
        }
        self._deposit_accounts = frozenset(
            clearing.deposit for version in books.rules for clearing in version.bank.values()
        )

    # -- runs -----------------------------------------------------------------------------------------------------

    async def reconcile(self, request: Reconcile, /) -> Reconciliation:
        """Compare the books with another service now, keep what was found, and open, reopen or close findings."""
        run = self._begun(request)
        outcome = await self._compared(run)
        if run.since is not None and any(map(_is_unnamed, outcome.differences)):
            run = replace(run, since=None, run_id=UUID(new_hex()))  # older records have to name it
            outcome = await self._compared(run)
        return await self._kept(run, outcome)

    def offers(self) -> Offers:
        """The reports that can be asked for."""
        return offers_of(self._database)

    async def reconcile_due(self) -> int:
        """Everything that was not reconciled today, each from a tolerance before its last run; gives how many runs."""
        today, due = business_date(self._clock.now()), dict[ReconciliationName, Reconciliation | None]()
        for name in ReconciliationName:
            last = await store.last_run(self._database, name)
            if last is None or business_date(last.finished_at) < today:
                due[name] = last
        if due:
            await self._heard()
        for name, last in due.items():
            since = None if last is None else last.through - 2 * self._rules.tolerance(name)
            await self.reconcile(Reconcile(name=name, since=since))
        return len(due)

    async def _heard(self) -> None:
        """Wait until the feeds have told everything; what they have not after LOOKS_MAX looks is said to be missing."""
        for _ in range(LOOKS_MAX):
            quiet = [
                await is_quiet(
                    self._database, source=source, subscriber=SERVICE, subscription=f"books.{source}", topics=topics
                )
                for source, topics in FEEDS.items()
            ]
            if all(quiet):
                return
            await asyncio.sleep(PAUSE_S)

    def _begun(self, request: Reconcile) -> Run:
        now = self._clock.now()
        through = request.through or now
        if through > now:
            raise Invalid("through_in_future", "through lies in the future.", field="through")
        if request.since is not None and request.since > through:
            raise Invalid("since_after_through", "since is later than through.", field="since")
        tolerance = self._rules.tolerance(request.name)
        return Run(
            run_id=UUID(new_hex()),
            name=request.name,
            database=self._database,
            doors=self._doors,
            statutory_types=self._statutory_types,
            deposit_accounts=self._deposit_accounts,
            started_at=now,
            through=through,
            since=request.since,
            tolerance_s=int(tolerance.total_seconds()),
            cutoff=now - tolerance,
        )

    async def _compared(self, run: Run) -> Outcome:
        began = datetime.now(UTC)
        await store.begin_staging(self._database, run.run_id, began, began - STALE)
        try:
            return await COMPARISONS[run.name](run)
        finally:
            await store.forget_staged(self._database, run.run_id)

    async def _kept(self, run: Run, outcome: Outcome) -> Reconciliation:
        finished = self._clock.now()
        answer = Reconciliation(
            reconciliation_id=f"rec_{run.run_id.hex}",
            name=run.name,
            through=run.through,
            since=run.since,
            tolerance_s=run.tolerance_s,
            started_at=run.started_at,
            finished_at=finished,
            compared=outcome.compared,
            differences=outcome.counts[DifferenceState.OPEN],
            explained=outcome.counts[DifferenceState.EXPLAINED],
            in_flight=outcome.counts[DifferenceState.IN_FLIGHT],
            figures=outcome.figures,
        )
        for _ in range(ATTEMPTS_MAX):
            try:
                await self._database.transaction(ROLE, lambda c: _write(c, run, outcome, answer))
            except _Overtaken:
                continue
            return answer
        raise _contended()

    async def list_reconciliations(self, request: ListReconciliations, /) -> ReconciliationPage:
        """Runs, newest first."""
        before, before_id = _position_of(request.cursor, (_LATEST, _HIGHEST))
        found = await store.list_runs(
            self._database, request.name, before=before, before_id=before_id, limit=request.limit + 1
        )
        page = found[: request.limit]
        cursor = _cursor_of(page[-1].finished_at, bare(page[-1].reconciliation_id)) if len(found) > len(page) else None
        return ReconciliationPage(reconciliations=page, next_cursor=cursor)

    async def get_reconciliation(self, request: GetReconciliation, /) -> Reconciliation:
        """A run with its totals."""
        found = await store.load_run(self._database, bare(request.reconciliation_id))
        if found is None:
            raise NotFound("reconciliation_not_found", "There is no such reconciliation.")
        return found

    async def list_differences(self, request: ListDifferences, /) -> DifferencePage:
        """What a run found, record by record."""
        run = await self.get_reconciliation(GetReconciliation(reconciliation_id=request.reconciliation_id))
        found = await store.list_differences(
            self._database, bare(run.reconciliation_id), after=request.after, limit=request.limit + 1
        )
        page = found[: request.limit]
        return DifferencePage(differences=page, next_after=page[-1].line if len(found) > len(page) else None)

    # -- findings -------------------------------------------------------------------------------------------------

    async def list_reconciliation_findings(self, request: ListReconciliationFindings, /) -> ReconciliationFindingPage:
        """Findings in a state, oldest first."""
        after, after_id = _position_of(request.cursor, (EARLIEST, _LOWEST))
        found = await store.list_findings(
            self._database, request.state, after=after, after_id=after_id, limit=request.limit + 1
        )
        page = found[: request.limit]
        cursor = _cursor_of(page[-1].opened_at, page[-1].finding_id) if len(found) > len(page) else None
        return ReconciliationFindingPage(findings=await self._shown(page), next_cursor=cursor)

    async def get_reconciliation_finding(self, request: GetReconciliationFinding, /) -> ReconciliationFinding:
        """A finding with its audit trail."""
        cases = await store.load_findings(self._database, [bare(request.finding_id)])
        if not cases:
            raise _not_found()
        return (await self._shown(cases))[0]

    async def explain_reconciliation_finding(self, request: ExplainReconciliationFinding, /) -> ReconciliationFinding:
        """Say why a difference is there."""
        by, now = current_call().caller, self._clock.now()
        return await self._step(
            request.finding_id, lambda case: moves.explained(case, by=by, reason=request.reason, now=now)
        )

    async def close_reconciliation_finding(self, request: CloseReconciliationFinding, /) -> ReconciliationFinding:
        """Be done with a finding, with a reason; one whose difference is still there opens again."""
        by, now = current_call().caller, self._clock.now()
        return await self._step(
            request.finding_id, lambda case: moves.closed(case, by=by, reason=request.reason, now=now)
        )

    async def _step(self, finding_id: str, decide: Callable[[Case], Step]) -> ReconciliationFinding:
        async def work(connection: Connection) -> None:
            known = await store.lock_findings(connection, [bare(finding_id)])
            if not known:
                raise _not_found()
            if not await store.write_steps(connection, [decide(known[bare(finding_id)])], self._clock.now()):
                raise _Overtaken

        for _ in range(ATTEMPTS_MAX):
            try:
                await self._database.transaction(ROLE, work)
            except _Overtaken:
                continue
            return await self.get_reconciliation_finding(GetReconciliationFinding(finding_id=finding_id))
        raise _contended()

    async def _shown(self, cases: Sequence[Case]) -> list[ReconciliationFinding]:
        steps = await store.steps_of(self._database, [each.finding_id for each in cases])
        return [
            ReconciliationFinding(
                finding_id=f"rcf_{each.finding_id}",
                name=each.name,
                kind=each.kind,
                subject=each.subject,
                asset=each.asset,
                theirs_minor=each.theirs,
                ours_minor=each.ours,
                state=each.state,
                text=each.text,
                at=each.at,
                opened_at=each.opened_at,
                changed_at=each.changed_at,
                reconciliation_id=f"rec_{each.run_id}",
                steps=steps[each.finding_id],
            )
            for each in cases
        ]


async def _write(connection: Connection, run: Run, outcome: Outcome, answer: Reconciliation) -> None:
    """The run, its differences, and every finding that is one step further."""
    last = {finding_hex(run.name, each): each for each in outcome.differences if _lasts(each)}
    standing = await store.standing_findings(connection, run.name, run.first, _LATEST)
    known = await store.lock_findings(connection, [*last, *(each.finding_id for each in standing)])
    steps = [
        step
        for finding_id, found in last.items()
        if (step := moves.seen(known.get(finding_id), run.name, found, run.run_id.hex, answer.finished_at)) is not None
    ]
    if outcome.complete:
        steps += [
            moves.unseen(case, run.run_id.hex, answer.finished_at)
            for finding_id, case in known.items()
            if finding_id not in last and case.state is not moves.S.CLOSED and case.at <= run.through
        ]
    if not await store.write_steps(connection, steps, answer.finished_at):
        raise _Overtaken
    told = [(each, finding_hex(run.name, each) if _lasts(each) else None) for each in outcome.differences]
    await store.write_run(connection, answer, told)


def _is_unnamed(found: Difference) -> bool:
    return found.kind is DifferenceKind.TOTAL and found.state is DifferenceState.OPEN


def _lasts(found: Difference) -> bool:
    """Whether a finding is made of it: what is in flight may be gone in a moment."""
    return found.state is not DifferenceState.IN_FLIGHT


def _not_found() -> NotFound:
    return NotFound("finding_not_found", "There is no such finding.")


def _contended() -> Unavailable:
    return Unavailable("contention", "Too many concurrent changes to the same findings; try again.")


def _cursor_of(at: datetime, last: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((at, last))).decode()


def _position_of(cursor: str | None, first: tuple[datetime, str]) -> tuple[datetime, str]:
    if cursor is None:
        return first
    try:
        at, last = _position.decode(base64.urlsafe_b64decode(cursor))
        return at, UUID(last).hex
    except (ValueError, msgspec.MsgspecError) as error:
        raise Invalid("bad_cursor", "The cursor does not come from an earlier page.", field="cursor") from error
