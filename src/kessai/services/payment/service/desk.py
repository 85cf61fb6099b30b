"""How every verb works: check, decide, claim; then a workflow moves the value, and its outcome is the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.contract import Message
from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound, PaymentError, Refused, RequestInProgress
from kessai.foundation.ids import new_hex
from kessai.foundation.vault import Vault
from kessai.sdk.workflow import Conflicted, Counts, Definition, Engine, Handle, Parked, Write
from kessai.services.bank.api import Bank
from kessai.services.cardgateway.api import CardGateway
from kessai.services.ledger.api import Ledger
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import GetPayment, PaymentRecord, PaymentState, RefundState
from kessai.services.payment.domain import PaymentKind, PaymentKinds
from kessai.services.payment.domain.checkout import Checkout, load_checkout
from kessai.services.payment.effects import PaymentEffects
from kessai.services.payment.gateways import Approvals
from kessai.services.payment.service.opening import New, order_of, payment_of, planned
from kessai.services.payment.service.spending import Spending
from kessai.services.payment.service.turns import Recent, Turns
from kessai.services.payment.workflows import Deps, Order, Task, notes

ANSWER_WAIT_S = notes.ANSWER_S + 1.0
"""How long a caller waits for the outcome before it is told that there is none yet."""
ANSWER_MARGIN_S = 0.2
"""Kept of the caller's own deadline, to answer in."""
UNDECIDED = (PaymentState.PENDING, PaymentState.UNKNOWN, RefundState.PENDING, RefundState.UNKNOWN)
"""What says of itself that it is no outcome: the only states in which something is answered that may still change."""
CLAIM_ATTEMPTS_MAX = 4
COUNT_ATTEMPTS_MAX = 8
"""Times that a limit is read anew because another process counted a payment at that moment."""

R = TypeVar("R")
Plan = Callable[[PaymentRecord, PaymentKind], tuple[Task, list[Write]]]
"""Decides what an action does, on a payment of a kind; raises why it may not be."""


class Desk:
    """What the verbs share: the engine, the claim on a payment, the limits. Any number of processes may have one."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ledger: Ledger,
        kinds: PaymentKinds,
        *,
        cards: CardGateway | None = None,
        bank: Bank | None = None,
        approvals: Approvals | None = None,
        vault: Vault | None = None,
        checkout: Checkout | None = None,
        **engine: Any,
    ) -> None:
        self._database = database
        self._clock = clock
        self._kinds = kinds
        self._deps = Deps(ledger, cards, bank, approvals)
        self._engine = Engine(database, service="payment", deps=self._deps, clock=clock, **engine)
        self.effects = PaymentEffects(database, clock, kinds)
        """What the service tells of itself to the Processing Tracer."""
        self._recent = Recent()
        self._turns = Turns()
        self._spending = Spending(database, ledger, kinds)
        self._vault = vault or Vault([])
        self._checkout = checkout or load_checkout()

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up work that an earlier run left open."""
        await self._engine.open()

    @property
    def engine(self) -> Engine[Deps]:
        """This process's executor, for operators."""
        return self._engine

    @property
    def workflows(self) -> Counts:
        """What this process's workflows came to."""
        return self._engine.counts

    @property
    def journal_flushes(self) -> int:
        """Commits of this process's journal so far."""
        return self._engine.journal.flushes

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

    async def _create(self, request: Message, ask: Callable[[], New]) -> PaymentRecord:
        """Make the payment that `ask` describes; it raises what can be said of the request alone."""
        call, now = current_call(), self._clock.now()
        workflow_id = call.request_key or new_hex()
        try:
            new = ask()
            domain.check_may_move(new.kind, call)
            plan, expires_at = planned(new, now)
            payment = payment_of(new, plan, expires_at, call.processing_id, now)
            order = order_of(new, payment, plan, call.caller, now)
            self._check_available(order)
            handle = await self._start(request, new, order, workflow_id)
        except PaymentError:
            earlier = await self._earlier(workflows.create, request, workflow_id)
            if earlier is None:
                raise
            call.replayed = True
            return await earlier.result()
        try:
            return await self._outcome(handle, lambda: self._read(payment.payment_id))
        except PaymentError:
            self._uncount(payment)
            raise

    def _check_available(self, order: Order) -> None:
        """Raises `source_not_available`, `approvals_not_available`: this platform runs without them."""
        gateway = None if order.outside is None else order.outside.gateway
        if (gateway == "card" and self._deps.cards is None) or (gateway == "bank" and self._deps.bank is None):
            raise Refused("source_not_available", f"No {gateway} gateway is connected.", gateway=gateway)
        if order.approval is not None and self._deps.approvals is None:
            raise Refused("approvals_not_available", "No approvals are kept here.")

    async def _start(self, request: Message, new: New, order: Order, workflow_id: str) -> Handle[PaymentRecord]:
        customer_id = domain.limited_customer(new.kind, new.payer_id, new.payee_id)
        later = _comes_later(new, order)
        if customer_id is None or not (domain.has_limits(new.kind.limits) or later):
            return await self._start_counted(request, new, order, workflow_id, [])
        async with self._turns.of(customer_id):
            for _ in range(COUNT_ATTEMPTS_MAX):
                counted = await self._spending.count(new, customer_id, order.payment.created_at, later=later)
                try:
                    return await self._start_counted(request, new, order, workflow_id, counted)
                except Conflicted:
                    self._spending.forget(customer_id, new.kind.name)
        raise domain.Busy("payment_busy", "Other payments of this customer are being counted; try again.")

    async def _start_counted(
        self, request: Message, new: New, order: Order, workflow_id: str, counted: list[Write]
    ) -> Handle[PaymentRecord]:
        writes, events = ([], []) if new.joining is None else new.joining(order.payment)
        return await self._engine.start(
            workflows.create,
            order,
            workflow_id=workflow_id,
            writes=[_insertion(new, order, workflow_id), *counted, *writes],
            events=events,
            content=request,
            conflict="refuse",
        )

    def _uncount(self, payment: PaymentRecord) -> None:
        """What comes to nothing does not count: the customer's sums are read anew next time."""
        kind = self._kinds.require(payment.kind)
        customer_id = domain.limited_customer(kind, payment.payer_id, payment.payee_id)
        if customer_id is not None:
            self._spending.forget(customer_id, kind.name)

    # -- actions ------------------------------------------------------------------------------------------------

    async def _act(
        self,
        definition: Definition[Deps, Task, R],
        request: Message,
        payment_id: str,
        plan: Plan,
        read: Callable[[str], Any],
        *,
        only: str | None = None,
        workflow_id: str | None = None,
    ) -> R:
        """Claim the payment for a workflow and wait for its outcome; actions on one payment take turns.

        `only`: the kind that it must be of.
        """
        workflow_id = workflow_id or current_call().request_key or new_hex()
        async with self._turns.of(payment_id):
            handle = await self._claim(definition, request, payment_id, plan, workflow_id, only)
            return await self._outcome(handle, lambda: read(payment_id))

    async def _claim(
        self,
        definition: Definition[Deps, Task, R],
        request: Message,
        payment_id: str,
        plan: Plan,
        workflow_id: str,
        only: str | None,
    ) -> Handle[R]:
        """Decide on what memory knows, else on what is stored; a refusal always rests on what is stored."""
        recent = self._recent.take(payment_id)
        for attempt in range(CLAIM_ATTEMPTS_MAX):
            payment = recent if attempt == 0 else None
            busy = False
            if payment is None:
                payment, busy = await self._found(payment_id, only)
            try:
                if only not in (None, payment.kind):
                    raise _not_found(payment_id, only)
                if busy:
                    raise busy_with(payment)
                kind = self._kinds.require(payment.kind)
                domain.check_may_move(kind, current_call())
                task, writes = plan(payment, kind)
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
        raise busy_with(None)

    async def _earlier(
        self, definition: Definition[Deps, Any, R], request: Message, workflow_id: str
    ) -> Handle[R] | None:
        """The same request's earlier run, which may be the very reason why it cannot be made again.

        Raises KeyReused when the key came with other content, RequestInProgress while that run is open.
        """
        if current_call().request_key is None:
            return None
        return await self._engine.attach(definition, workflow_id, content=request, conflict="refuse")

    async def _found(self, payment_id: str, only: str | None) -> tuple[PaymentRecord, bool]:
        found = await store.load(self._database, [payment_id], self._kinds.prefixes)
        if not found or found[0].payment.payment_id != payment_id or only not in (None, found[0].payment.kind):
            raise _not_found(payment_id, only)
        return found[0].payment, found[0].busy

    async def _outcome(self, handle: Handle[R], read: Callable[[], Any]) -> R:
        """The workflow's outcome; when it does not come in time, what is stored, as long as that says so.

        Raises RequestInProgress when it does not: a payment that is AUTHORIZED while it is being canceled, say, is no
        answer to the cancel, and one that has come to its end meanwhile is answered as it will be ever after.
        """
        call = current_call()
        if handle.replayed:
            call.replayed = True
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_WAIT_S
        if call.deadline is not None:
            until = min(until, call.deadline - ANSWER_MARGIN_S)
        try:
            with self._engine.deadlines.limit(until):
                result = await handle.result()
        except TimeoutError:
            stored = await read()
            if stored.state not in UNDECIDED:
                raise RequestInProgress from None
            return stored
        if isinstance(result, PaymentRecord) and not handle.replayed:
            self._recent.keep(result)
        return result

    # -- reading ------------------------------------------------------------------------------------------------

    async def get_payment(self, request: GetPayment, /) -> PaymentRecord:
        """A payment of any kind."""
        return await self._read(request.payment_id)

    async def _read(self, payment_id: str) -> PaymentRecord:
        return (await self._stored(payment_id)).payment

    async def _stored(self, payment_id: str) -> store.Stored:
        found = await store.load(self._database, [payment_id], self._kinds.prefixes)
        if not found or found[0].payment.payment_id != payment_id:
            raise NotFound("payment_not_found", "There is no such payment.", payment_id=payment_id)
        return found[0]


def _insertion(new: New, order: Order, workflow_id: str) -> Write:
    """A new payment's row; its processing begins with it unless the call came with one."""
    own = order.payee_account_type if order.payee_account_type != new.kind.payee_account_type else None
    begins = current_call().processing_id is None
    if new.payment_id is not None:
        return store.movement_insertion(order.payment, workflow_id, order.caller, begins=begins)
    return store.insertion(order.payment, workflow_id, order.caller, payee_account_type=own, begins=begins)


def _comes_later(new: New, order: Order) -> bool:
    """Whether a customer is to get value later than now, so that it must be counted towards a retention cap."""
    if new.kind.payee != "customer":
        return False
    return not new.at_once or (order.outside is not None and order.outside.gateway != "card")


def busy_with(payment: PaymentRecord | None) -> domain.Busy:
    """Why a payment cannot be claimed now; retryable."""
    if payment is not None and payment.state in (PaymentState.UNKNOWN, PaymentState.PENDING):
        return domain.unresolved(payment)
    return domain.Busy("payment_busy", "Another action on this payment is under way; try again.")


def _not_found(payment_id: str, only: str | None) -> NotFound:
    name = only or "payment"
    return NotFound(f"{name}_not_found", f"There is no such {name}.", **{f"{name}_id": payment_id})
