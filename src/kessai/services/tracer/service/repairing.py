"""Repairs by rule: written down, told to a service under an id of their own until it answers, and proved anew.

The service is told outside any transaction. Whatever becomes of this process in between, the instruction is told again
under the same id, and the service does it once. What it did is linked to the finding, and the processing is touched:
the finding closes when everybody has reported that all records agree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import Clock, SystemClock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import OperatorError, PaymentError
from kessai.sdk.processing.api import Repair, Repairable, Repaired
from kessai.services.tracer.api import FindingKind, FindingState, RepairKind, Verdict
from kessai.services.tracer.domain import findings as moves
from kessai.services.tracer.domain.deciding import undeclared_calls
from kessai.services.tracer.domain.findings import TRACER, Case, Step
from kessai.services.tracer.domain.repairing import Order, orders_for
from kessai.services.tracer.service.verbs import TracerService
from kessai.services.tracer.store import ROLE, findings, repairs, reports
from kessai.services.tracer.store.repairs import DONE, REFUSED, Due
from kessai.services.tracer.store.touches import touch

log = structlog.get_logger(__name__)

PAGE = 200
ANSWER_S = 30.0
"""How long a service has for one instruction."""
AGAIN_S, AGAIN_S_MAX = 1.0, 300.0
OVERLAP = timedelta(minutes=1)
"""Findings that changed so long before the last one seen are looked at again: they commit in another order."""
_START = (datetime(1970, 1, 1, tzinfo=UTC), "0" * 32)


class _Overtaken(Exception):
    """Somebody has taken the finding up, or it was tried before."""


class Repairer:
    """Repairs what rules cover; one process at a time, and again after a crash."""

    def __init__(
        self,
        database: Database,
        tracer: TracerService,
        services: Mapping[str, Repairable],
        clock: Clock | None = None,
    ) -> None:
        """`services` by name; raises OperatorError where a rule names another one."""
        for rule in tracer.rules.repair:
            if rule.service not in services:
                raise OperatorError(f"The tracer's rule {rule.name} tells {rule.service}, which can repair nothing.")
        self._database = database
        self._tracer = tracer
        self._rules = tracer.rules.repair
        self._silent = tracer.rules.silent
        self._services = services
        self._clock = clock or SystemClock()
        self._after = _START

    async def run(self) -> int:
        """Write down what is to be repaired and tell what is due; gives how many answers came."""
        await self.order()
        return await self.instruct()

    # -- what is to be done -------------------------------------------------------------------------------------

    async def order(self) -> int:
        """Write down instructions for findings that rules cover; gives how many findings."""
        if not any(rule.enabled for rule in self._rules):
            return 0
        count, after = 0, self._after
        while page := await repairs.findings_changed(self._database, after, PAGE):
            after = (page[-1].changed_at, page[-1].finding_id)
            count += await self._order_page([each for each in page if each.kind is FindingKind.INCONSISTENT])
        if after != self._after:
            self._after = (max(_START[0] + OVERLAP, after[0]) - OVERLAP, _START[1])
        return count

    async def _order_page(self, cases: Sequence[Case]) -> int:
        told = await repairs.reports_at(self._database, [(each.processing_id, each.revision) for each in cases])
        count = 0
        for case in cases:
            if orders := orders_for(told.get(case.processing_id, {}), self._rules):
                try:
                    await self._database.transaction(
                        ROLE, lambda connection, case=case, orders=orders: self._write(connection, case, orders)
                    )
                    count += 1
                except _Overtaken:
                    continue
        return count

    async def _write(self, connection: Connection, case: Case, orders: Sequence[Order]) -> None:
        now = self._clock.now()
        standings = await reports.lock_standings(connection, [case.processing_id])
        standing = standings[case.processing_id]
        present = (await findings.lock_findings(connection, [case.finding_id]))[case.finding_id]
        still = (standing.verdict, standing.revision) == (Verdict.INCONSISTENT, case.revision)
        if not still or present.version != case.version or undeclared_calls(standing.reports, self._silent):
            raise _Overtaken
        if not await repairs.insert_repairs(connection, case, orders, now):
            raise _Overtaken
        step = present
        for each in orders:
            reason = f"Told {each.service} to {each.action.value} {each.effect_id}."
            step = await self._step(connection, moves.noted(step, by=f"rule:{each.rule}", reason=reason, now=now))

    async def _step(self, connection: Connection, step: Step) -> Case:
        if not await findings.write_steps(connection, [step], step.case.changed_at):
            raise _Overtaken
        return step.case

    # -- telling ------------------------------------------------------------------------------------------------

    async def instruct(self) -> int:
        """Tell services what is due; gives how many answers came."""
        count = 0
        while page := await repairs.due(self._database, self._clock.now(), PAGE):
            now = self._clock.now()
            await repairs.attempt(self._database, page, [now + _pause(each.attempts) for each in page])
            for each in page:
                count += await self._tell(each)
        return count

    async def _tell(self, told: Due) -> bool:
        try:
            answer = await self._answer(told)
        except PaymentError as error:
            if error.retryable:
                log.warning("repair_waits", processing_id=told.processing_id, rule=told.order.rule, error=error.code)
                return False
            await self._settle(told, REFUSED, error.code)
        except Exception:
            log.exception("repair_failed", processing_id=told.processing_id, rule=told.order.rule)
            return False
        else:
            await self._settle(told, DONE, answer.reference)
        return True

    async def _answer(self, told: Due) -> Repaired:
        until = asyncio.get_running_loop().time() + ANSWER_S
        call = Call(caller=TRACER, processing_id=told.processing_id, request_key=told.repair_id, deadline=until)
        request = Repair(
            repair_id=told.repair_id,
            processing_id=told.processing_id,
            effect_id=told.order.effect_id,
            action=told.order.action,
            rule=told.order.rule,
        )
        token = enter_call(call)
        try:
            async with asyncio.timeout_at(until):
                return await self._services[told.order.service].repair(request)
        finally:
            leave_call(token)

    async def _settle(self, told: Due, state: str, outcome: str) -> None:
        """Keep the answer, link it to the finding, and have the processing proved anew."""

        async def work(connection: Connection) -> None:
            now = self._clock.now()
            if not await repairs.settle(connection, told, state, outcome, now):
                return
            case = (await findings.lock_findings(connection, [told.finding_id]))[told.finding_id]
            if case.state is not FindingState.CLOSED:
                await self._step(connection, _answered(case, told.order, state, outcome, now))
            if not await repairs.left(connection, told.processing_id):
                await self._tracer.keep_touches(
                    connection, [touch(told.order.service, [told.processing_id], entry=False)]
                )

        await self._database.transaction(ROLE, work)
        self._tracer.told()


def _answered(case: Case, order: Order, state: str, outcome: str, now: datetime) -> Step:
    by = f"rule:{order.rule}"
    if state == DONE:
        reason = f"{order.service} did {order.action.value} {order.effect_id}."
        return moves.repaired(case, RepairKind.INSTRUCTION, outcome, by=by, reason=reason, now=now)
    reason = f"{order.service} refused to {order.action.value} {order.effect_id}: {outcome}."
    return moves.noted(case, by=by, reason=reason, now=now)


def _pause(attempts: int) -> timedelta:
    return timedelta(seconds=min(AGAIN_S_MAX, AGAIN_S * 2 ** min(attempts, 16)))
