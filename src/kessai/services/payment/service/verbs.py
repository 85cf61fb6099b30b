"""The payment service: one async method a verb. Check, decide, claim; then a workflow moves the value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.contract import Message
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound, PaymentError, Refused
from kessai.foundation.ids import bare, derived_hex, new_hex, new_id
from kessai.sdk.workflow import Conflicted, Counts, Definition, Engine, Handle, Parked, Write
from kessai.services.ledger.api import Ledger
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import (
    Action,
    CancelCharge,
    CaptureCharge,
    CreateCharge,
    GetHistory,
    GetPayment,
    GetRefund,
    ListPayments,
    ListRefunds,
    PaymentHistory,
    PaymentPage,
    PaymentRecord,
    PaymentState,
    PaymentStep,
    Refund,
    RefundCharge,
    Refunds,
    RefundState,
    TopUp,
    Transfer,
)
from kessai.services.payment.domain import PaymentKind, PaymentKinds
from kessai.services.payment.service.turns import Recent, Turns
from kessai.services.payment.workflows import Deps, Order, SourceLeg, Task

ANSWER_WAIT_S = workflows.ANSWER_S + 1.0
"""How long a caller waits for the outcome before it is told that the payment is UNKNOWN (or still PENDING)."""
ANSWER_MARGIN_S = 0.2
"""Kept of the caller's own deadline, to answer in."""
CLAIM_ATTEMPTS_MAX = 4
EXPIRED_AT_ONCE = 256
"""Authorizations let go at a time."""

R = TypeVar("R")
Plan = Callable[[PaymentRecord], tuple[Task, list[Write]]]


class PaymentService:
    """決済処理. Any number of processes may run one on the same database."""

    def __init__(self, database: Database, clock: Clock, ledger: Ledger, kinds: PaymentKinds) -> None:
        self._database = database
        self._clock = clock
        self._kinds = kinds
        self._charge = kinds.require("charge")
        self._engine = Engine(database, service="payment", deps=Deps(ledger), clock=clock)
        self._recent = Recent()
        self._turns = Turns()

    async def open(self) -> None:
        """Take up work that an earlier run left open."""
        await self._engine.open()

    @property
    def workflows(self) -> Counts:
        """What this process's workflows came to."""
        return self._engine.counts

    async def parked_workflows(self) -> list[Parked]:
        """Workflows that wait for an operator."""
        return await self._engine.parked()

    async def unpark(self, workflow_id: str) -> bool:
        """Let a parked workflow go on; False when there is none of that id."""
        return await self._engine.unpark(workflow_id)

    async def close(self, *, grace_s: float = 10.0) -> None:
        """Carry what was accepted to its end within `grace_s`; what is left is taken up by another process."""
        await self._engine.close(grace_s=grace_s)

    # -- new payments -------------------------------------------------------------------------------------------

    async def top_up(self, request: TopUp, /) -> PaymentRecord:
        """Bring money into a customer's funds."""
        kind = self._kinds.require("top_up")
        source = kind.sources.get(request.source)
        if source is None:
            raise Invalid("unknown_source", f"{request.source} is not a source of a top-up.", source=request.source)
        leg = SourceLeg(
            name=request.source,
            owner=source.owner,
            account_type=kind.payer_account_types[0],
            amount_minor=request.amount_minor,
            balancing=False,
        )
        return await self._create(request, kind, source.owner, request.customer_id, lambda: [leg])

    async def create_charge(self, request: CreateCharge, /) -> PaymentRecord:
        """Authorize a customer's payment to a merchant, or sell at once."""

        def legs() -> list[SourceLeg]:
            plan = domain.plan_funding(request.amount_minor, request.sources, self._charge)
            return _legs_of(request.customer_id, plan)

        return await self._create(request, self._charge, request.customer_id, request.merchant_id, legs)

    async def transfer(self, request: Transfer, /) -> PaymentRecord:
        """Send funds from one customer to another."""
        kind = self._kinds.require("transfer")
        if request.customer_id == request.recipient_id:
            raise Invalid("same_participant", "A transfer needs two customers.")

        def legs() -> list[SourceLeg]:
            return _legs_of(request.customer_id, domain.plan_funding(request.amount_minor, [], kind))

        return await self._create(request, kind, request.customer_id, request.recipient_id, legs)

    async def _create(
        self,
        request: TopUp | CreateCharge | Transfer,
        kind: PaymentKind,
        payer_id: str,
        payee_id: str,
        legs: Callable[[], list[SourceLeg]],
    ) -> PaymentRecord:
        call, now = current_call(), self._clock.now()
        workflow_id = call.request_key or new_hex()
        charge = request if isinstance(request, CreateCharge) else None
        try:
            domain.check_amount(request.amount_minor, request.asset, kind)
            sources = legs()
            expires_at = charge and domain.authorization_expiry(charge, kind, now)
        except PaymentError:
            earlier = await self._earlier(workflows.create, request, workflow_id)
            if earlier is None:
                raise
            call.replayed = True
            return await earlier.result()
        payment = PaymentRecord(
            payment_id=new_id(kind.id_prefix),
            kind=kind.name,
            state=PaymentState.PENDING,
            amount_minor=request.amount_minor,
            asset=request.asset,
            payer_id=payer_id,
            payee_id=payee_id,
            captured_minor=0,
            refunded_minor=0,
            funding=[],
            refusal_code=None,
            reference=request.reference,
            description=request.description,
            metadata=request.metadata,
            exchange_id=new_id("exc"),
            processing_id=call.processing_id or new_id("prc"),
            created_at=now,
            updated_at=now,
            expires_at=expires_at,
            captures=0,
            refunds=0,
            version=0,
        )
        handle = await self._engine.start(
            workflows.create,
            Order(
                payment=payment,
                sources=sources,
                payee_account_type=kind.payee_account_type,
                capture=charge is None or charge.capture,
                caller=call.caller,
            ),
            workflow_id=workflow_id,
            writes=[store.insertion(payment, workflow_id, call.caller)],
            content=request,
            conflict="refuse",
        )
        return await self._outcome(handle, lambda: self._read(payment.payment_id))

    # -- actions on a charge ------------------------------------------------------------------------------------

    async def capture_charge(self, request: CaptureCharge, /) -> PaymentRecord:
        """Capture an authorization, whole or in part."""

        def plan(payment: PaymentRecord) -> tuple[Task, list[Write]]:
            amount = domain.capture_amount(payment, request, self._charge, self._clock.now())
            return _task(payment, Action.CAPTURE, amount, final=request.final), []

        return await self._act(workflows.capture, request, request.charge_id, plan, self._read)

    async def cancel_charge(self, request: CancelCharge, /) -> PaymentRecord:
        """Release an authorization, or what is left of it."""

        def plan(payment: PaymentRecord) -> tuple[Task, list[Write]]:
            domain.check_cancel(payment, self._clock.now())
            return _task(payment, Action.CANCEL, payment.amount_minor - payment.captured_minor), []

        return await self._act(workflows.release, request, request.charge_id, plan, self._read)

    async def refund_charge(self, request: RefundCharge, /) -> Refund:
        """Refund a charge, whole or in part."""
        refund_id = new_id("rfn")

        def plan(payment: PaymentRecord) -> tuple[Task, list[Write]]:
            amount = domain.refund_amount(payment, request, self._charge)
            task = _task(payment, Action.REFUND, amount)
            refund = _new_refund(task, refund_id, request.reason, self._clock.now())
            return replace(task, refund=refund), [store.refund_insertion(refund, task.caller)]

        async def read(_: str) -> Refund:
            return await self.get_refund(GetRefund(refund_id=refund_id))

        return await self._act(workflows.refund, request, request.charge_id, plan, read)

    async def expire_due(self) -> int:
        """Release every authorization past its time; gives how many lapsed. What is busy is left to the next time."""
        lapsed, after = 0, store.FIRST_DUE
        while page := await store.overdue(
            self._database, self._clock.now(), after, EXPIRED_AT_ONCE, self._kinds.prefixes
        ):
            lapsed += sum(await asyncio.gather(*(self.expire(payment) for payment in page)))
            last = page[-1]
            assert last.expires_at is not None
            after = (last.expires_at, bare(last.payment_id))
        return lapsed

    async def expire(self, payment: PaymentRecord) -> bool:
        """Let an authorization past its time lapse; False when something else came first."""

        def plan(found: PaymentRecord) -> tuple[Task, list[Write]]:
            if not domain.is_overdue(found, self._clock.now()):
                raise Refused("not_overdue", "The authorization is not past its time.")
            return _task(found, Action.EXPIRE, found.amount_minor - found.captured_minor), []

        workflow_id = derived_hex("expire", payment.payment_id, str(payment.version))
        content = GetPayment(payment_id=payment.payment_id)
        try:
            await self._act(workflows.release, content, payment.payment_id, plan, self._read, workflow_id=workflow_id)
        except PaymentError as error:
            return error.code == "authorization_expired"
        return True

    async def _act(
        self,
        definition: Definition[Deps, Task, R],
        request: Message,
        payment_id: str,
        plan: Plan,
        read: Callable[[str], Any],
        *,
        workflow_id: str | None = None,
    ) -> R:
        """Claim the payment for a workflow and wait for its outcome; actions on one payment take turns."""
        workflow_id = workflow_id or current_call().request_key or new_hex()
        async with self._turns.of(payment_id):
            handle = await self._claim(definition, request, payment_id, plan, workflow_id)
            return await self._outcome(handle, lambda: read(payment_id))

    async def _claim(
        self, definition: Definition[Deps, Task, R], request: Message, payment_id: str, plan: Plan, workflow_id: str
    ) -> Handle[R]:
        """Decide on what memory knows, else on what is stored; a refusal always rests on what is stored."""
        recent = self._recent.take(payment_id)
        for attempt in range(CLAIM_ATTEMPTS_MAX):
            payment = recent if attempt == 0 else None
            busy = False
            if payment is None:
                payment, busy = await self._charge_of(payment_id)
            try:
                if busy:
                    raise _busy(payment)
                task, writes = plan(payment)
            except PaymentError:
                if attempt == 0 and recent is not None:
                    continue
                earlier = await self._earlier(definition, request, workflow_id)
                if earlier is None:
                    raise
                return earlier
            claim = store.claim(payment, workflow_id)
            try:
                return await self._engine.start(
                    definition,
                    task,
                    workflow_id=workflow_id,
                    writes=[claim, *writes],
                    content=request,
                    conflict="refuse",
                )
            except Conflicted:
                continue
        raise _busy(None)

    async def _earlier(
        self, definition: Definition[Deps, Any, R], request: Message, workflow_id: str
    ) -> Handle[R] | None:
        """The same request's earlier run, which may be the very reason why it cannot be made again.

        Raises KeyReused when the key came with other content, RequestInProgress while that run is open.
        """
        if current_call().request_key is None:
            return None
        return await self._engine.attach(definition, workflow_id, content=request, conflict="refuse")

    async def _charge_of(self, payment_id: str) -> tuple[PaymentRecord, bool]:
        found = await store.load(self._database, [payment_id], self._kinds.prefixes)
        if not found or found[0].payment.payment_id != payment_id or found[0].payment.kind != self._charge.name:
            raise NotFound("charge_not_found", "There is no such charge.", charge_id=payment_id)
        return found[0].payment, found[0].busy

    async def _outcome(self, handle: Handle[R], read: Callable[[], Any]) -> R:
        """The workflow's outcome; when it does not come in time, what is stored: UNKNOWN, or still PENDING."""
        call = current_call()
        if handle.replayed:
            call.replayed = True
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_WAIT_S
        if call.deadline is not None:
            until = min(until, call.deadline - ANSWER_MARGIN_S)
        try:
            async with asyncio.timeout_at(until):
                result = await handle.result()
        except TimeoutError:
            return await read()
        if isinstance(result, PaymentRecord) and not handle.replayed:
            self._recent.keep(result)
        return result

    # -- look-ups -----------------------------------------------------------------------------------------------

    async def get_payment(self, request: GetPayment, /) -> PaymentRecord:
        """A payment of any kind."""
        return await self._read(request.payment_id)

    async def list_payments(self, request: ListPayments, /) -> PaymentPage:
        """A participant's payments, newest first."""
        before = store.NEWEST if request.cursor is None else _from_cursor(request.cursor)
        found = await store.of_participant(
            self._database, request.customer_id, before, request.limit + 1, self._kinds.prefixes
        )
        page = found[: request.limit]
        more = len(found) > request.limit
        return PaymentPage(payments=page, next_cursor=page[-1].payment_id[4:] if more else None)

    async def get_history(self, request: GetHistory, /) -> PaymentHistory:
        """Every step of a payment, with its time."""
        (stored,) = await self._stored(request.payment_id)
        payment = stored.payment
        first = PaymentStep(
            sequence=0,
            action=Action.CREATE,
            state=PaymentState.PENDING,
            amount_minor=payment.amount_minor,
            code=None,
            processing_id=payment.processing_id,
            caller=stored.caller,
            recorded_at=payment.created_at,
        )
        steps = await store.steps(self._database, [request.payment_id])
        numbered = [replace(step, sequence=number) for number, step in enumerate([first, *steps])]
        return PaymentHistory(payment_id=request.payment_id, steps=numbered)

    async def list_refunds(self, request: ListRefunds, /) -> Refunds:
        """The refunds of a payment."""
        (stored,) = await self._stored(request.payment_id)
        return Refunds(refunds=await store.refunds_of(self._database, [stored.payment]))

    async def get_refund(self, request: GetRefund, /) -> Refund:
        """A refund."""
        found = await store.refunds_by_id(self._database, [request.refund_id], self._charge.id_prefix)
        if not found or found[0].refund_id != request.refund_id:
            raise NotFound("refund_not_found", "There is no such refund.", refund_id=request.refund_id)
        return found[0]

    async def _read(self, payment_id: str) -> PaymentRecord:
        (stored,) = await self._stored(payment_id)
        return stored.payment

    async def _stored(self, payment_id: str) -> list[store.Stored]:
        found = await store.load(self._database, [payment_id], self._kinds.prefixes)
        if not found or found[0].payment.payment_id != payment_id:
            raise NotFound("payment_not_found", "There is no such payment.", payment_id=payment_id)
        return found


def _legs_of(customer_id: str, plan: list[domain.PlannedSource]) -> list[SourceLeg]:
    return [
        SourceLeg(
            name=part.source,
            owner=customer_id,
            account_type=part.source,
            amount_minor=part.amount_minor,
            balancing=part.balancing,
        )
        for part in plan
    ]


def _task(payment: PaymentRecord, action: Action, amount_minor: int, *, final: bool = True) -> Task:
    """The action, on the payment as it will be right after the claim."""
    call = current_call()
    return Task(
        payment=replace(payment, version=payment.version + 1),
        action=action,
        amount_minor=amount_minor,
        action_id=new_id("act"),
        caller=call.caller,
        processing_id=call.processing_id or payment.processing_id,
        final=final,
    )


def _new_refund(task: Task, refund_id: str, reason: str | None, now: datetime) -> Refund:
    return Refund(
        refund_id=refund_id,
        payment_id=task.payment.payment_id,
        state=RefundState.PENDING,
        amount_minor=task.amount_minor,
        asset=task.payment.asset,
        reason=reason,
        refusal_code=None,
        exchange_id=new_id("exc"),
        processing_id=task.processing_id,
        created_at=now,
        updated_at=now,
    )


def _busy(payment: PaymentRecord | None) -> domain.Busy:
    if payment is not None and payment.state in (PaymentState.UNKNOWN, PaymentState.PENDING):
        return domain.unresolved(payment)
    return domain.Busy("payment_busy", "Another action on this payment is under way; try again.")


def _from_cursor(cursor: str) -> str:
    if len(cursor) != 32 or not set(cursor) <= set("0123456789abcdef"):
        raise Invalid("bad_cursor", "The cursor is not one that this list gave.")
    return cursor
