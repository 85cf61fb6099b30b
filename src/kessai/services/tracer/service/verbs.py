"""The tracer service: one async method a verb."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock, SystemClock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Forbidden, NotFound
from kessai.foundation.events.outbox import rung
from kessai.foundation.signing import Signer
from kessai.sdk.processing.api import Announce, Announced, Notices, PullNotices, ReportsTaken, SendReports
from kessai.services.tracer.api import (
    AssignFinding,
    CloseFinding,
    Evidence,
    EvidenceKeys,
    ExplainFinding,
    ExportEvidence,
    Finding,
    FindingPage,
    GetFinding,
    GetProcessing,
    GetProcessingOfPayment,
    GetTotals,
    LinkRepair,
    ListEvidenceKeys,
    ListFindings,
    ListParticipants,
    ListProcessings,
    ListVerdicts,
    ParticipantStanding,
    ParticipantStandings,
    Processing,
    ProcessingPage,
    ProveAgain,
    Totals,
    Verdicts,
)
from kessai.services.tracer.domain import findings as moves
from kessai.services.tracer.domain.rules import TracerRules
from kessai.services.tracer.service import answers
from kessai.services.tracer.service.board import NoticeBoard
from kessai.services.tracer.service.casework import Casework
from kessai.services.tracer.service.evidence import EvidenceDesk
from kessai.services.tracer.service.forgetting import Forgetting
from kessai.services.tracer.service.opening import Opening
from kessai.services.tracer.service.taking import Reception
from kessai.services.tracer.store import ROLE, lists, touches
from kessai.services.tracer.store.touches import Touch


class TracerService:
    """Processing Tracer. Any number of processes may run one on the same database."""

    def __init__(
        self, database: Database, rules: TracerRules, clock: Clock | None = None, *, signer: Signer | None = None
    ) -> None:
        """`signer`: without one no evidence is handed out."""
        self.rules = rules
        self._database = database
        self._clock = clock or SystemClock()
        self._opening = Opening(database, self._clock, rules)
        self._reception = Reception(database, self._clock, rules)
        self._casework = Casework(database, self._clock)
        self._board = NoticeBoard(database)
        self._evidence = EvidenceDesk(database, self._clock, signer or Signer(), self._casework)
        self._forgetting = Forgetting(database, self._clock, rules)

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Let those who wait for notices go, and carry what was accepted to its end."""
        await self._board.close()
        await self._reception.close()

    # -- participants -------------------------------------------------------------------------------------------

    async def announce(self, request: Announce, /) -> Announced:
        """Tell that a participant has new effects in some processings."""
        _require_own_name(request.participant)
        ids = list(dict.fromkeys(request.processing_ids))
        await self._touch(touches.touch(request.participant, ids, entry=request.entry))
        return Announced(processings=len(ids))

    async def _touch(self, told: Touch) -> None:
        await self._database.transaction(ROLE, lambda connection: self._opening.keep(connection, [told]))
        self._opening.ring()

    async def pull_notices(self, request: PullNotices, /) -> Notices:
        """What a participant is asked to reconcile next; waits when there is nothing yet."""
        _require_own_name(request.participant)
        until = asyncio.get_running_loop().time() + request.wait_ms / 1000
        with self._board.listening() as waiter:
            while True:
                found = await self._notices(request)
                left_s = until - asyncio.get_running_loop().time()
                if found.notices or left_s <= 0 or self._board.closed:
                    return found
                if not await rung(waiter, left_s):
                    return found  # nobody rang: what was made elsewhere is asked for by the next pull

    async def _notices(self, request: PullNotices) -> Notices:
        head, acknowledged = await touches.standing_of(self._database, request.participant)
        after = acknowledged if request.after is None else request.after
        if head <= after:
            return Notices(notices=[], position=after)
        return await touches.notices_after(self._database, request.participant, after, request.limit)

    async def send_reports(self, request: SendReports, /) -> ReportsTaken:
        """Report what was found, whom it depends on and who called; the same report twice changes nothing."""
        _require_own_name(request.participant)
        return await self._reception.take(request)

    # -- processings --------------------------------------------------------------------------------------------

    async def get_processing(self, request: GetProcessing, /) -> Processing:
        """A processing with its participants, reports, verdicts by revision, and graph."""
        return await answers.processing(self._database, request.processing_id)

    async def get_processing_of_payment(self, request: GetProcessingOfPayment, /) -> Processing:
        """The processing of a payment; there is none until the payment's service has reported on it."""
        processing_id = await lists.processing_of_subject(self._database, request.payment_id)
        if processing_id is None:
            raise NotFound("processing_not_found", "There is no processing of such a payment, or nobody reported yet.")
        return await answers.processing(self._database, processing_id)

    async def list_processings(self, request: ListProcessings, /) -> ProcessingPage:
        """Processings with a verdict, those touched longest ago first."""
        return await answers.processings(self._database, self._clock, request)

    async def list_verdicts(self, request: ListVerdicts, /) -> Verdicts:
        """The present verdicts of many processings at once."""
        return Verdicts(verdicts=await lists.present_verdicts(self._database, request.processing_ids))

    async def prove_again(self, request: ProveAgain, /) -> Processing:
        """Have a processing proved anew, at its next revision; it is answered as it is before that."""
        found = await answers.processing(self._database, request.processing_id)
        await self._touch(touches.touch(found.participants[0], [request.processing_id], entry=False))
        return found

    async def get_totals(self, request: GetTotals, /) -> Totals:
        """How many processings were opened and decided, day by day."""
        return Totals(days=await lists.totals(self._database, request.first_day, request.last_day))

    async def list_participants(self, _: ListParticipants, /) -> ParticipantStandings:
        """Who takes part, and how far each has come with its notices."""
        rows = await touches.list_participants(self._database)
        return ParticipantStandings(
            participants=[
                ParticipantStanding(name=name, notices=head, waiting=head - acknowledged, seen_at=seen_at)
                for name, head, acknowledged, seen_at in rows
            ]
        )

    async def export_evidence(self, request: ExportEvidence, /) -> Evidence:
        """Everything that a processing's verdicts rest on, signed, for a stranger to check."""
        return await self._evidence.export(request.processing_id)

    async def list_evidence_keys(self, _: ListEvidenceKeys, /) -> EvidenceKeys:
        """The public halves of the keys that sign evidence, newest first."""
        return self._evidence.keys()

    # -- findings -----------------------------------------------------------------------------------------------

    async def get_finding(self, request: GetFinding, /) -> Finding:
        """A finding with its audit trail."""
        return await self._casework.get(request.finding_id)

    async def list_findings(self, request: ListFindings, /) -> FindingPage:
        """Findings in a state, oldest first."""
        return await self._casework.page(request)

    async def assign_finding(self, request: AssignFinding, /) -> Finding:
        """Give a finding to somebody."""
        by, now = current_call().caller, self._clock.now()
        return await self._casework.step(
            request.finding_id,
            lambda case: moves.assigned(case, request.assignee, by=by, reason=request.reason, now=now),
        )

    async def explain_finding(self, request: ExplainFinding, /) -> Finding:
        """Say what happened."""
        by, now = current_call().caller, self._clock.now()
        return await self._casework.step(
            request.finding_id, lambda case: moves.explained(case, by=by, reason=request.reason, now=now)
        )

    async def link_repair(self, request: LinkRepair, /) -> Finding:
        """Name the payment or workflow that repairs it; it closes by itself once the processing is consistent."""
        by, now = current_call().caller, self._clock.now()
        kind, repair_id = request.repair_kind, request.repair_id
        await self._casework.step(
            request.finding_id,
            lambda case: moves.repaired(case, kind, repair_id, by=by, reason=request.reason, now=now),
        )
        return await self._casework.settle(request.finding_id)

    async def close_finding(self, request: CloseFinding, /) -> Finding:
        """Be done with a finding, with a reason."""
        by, now = current_call().caller, self._clock.now()
        return await self._casework.step(
            request.finding_id, lambda case: moves.closed(case, by=by, reason=request.reason, now=now)
        )

    # -- for subscribers and jobs -------------------------------------------------------------------------------

    async def keep_touches(self, connection: Connection, told: Sequence[Touch]) -> None:
        """Keep what a service's outbox told, within the subscription's transaction."""
        await self._opening.keep(connection, told)

    def told(self) -> None:
        """Something was kept and committed: this process's loop need not wait for its next look."""
        self._opening.ring()

    async def open_touched(self) -> int:
        """Give all that was touched a revision and notices; gives how many processings that were."""
        return await self._opening.open_touched()

    async def expire_overdue(self) -> int:
        """Decide processings past their deadline; gives how many."""
        return await self._reception.expire()

    async def forget_notices(self) -> int:
        """Remove notices that were dealt with long enough ago; gives how many rows."""
        before = self._clock.now() - self.rules.notices_kept
        return await self._database.transaction(ROLE, lambda connection: touches.forget_notices(connection, before))

    async def forget_evidence(self) -> int:
        """Delete reports that were kept as long as their class says; gives how many processings."""
        return await self._forgetting.run()


def _require_own_name(participant: str) -> None:
    """A service speaks for itself alone; an API key without a service's name speaks for nobody."""
    caller = current_call().caller
    if caller not in (participant, "internal"):
        text = f"This API key does not act for {participant}, and cannot take part in its place."
        raise Forbidden("not_this_participant", text, service=caller)
