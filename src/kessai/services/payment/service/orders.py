"""Net payment: orders are created, confirmed by a charge of their own, canceled, captured, and run out of time."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from kessai.foundation.call import current_call
from kessai.foundation.errors import Invalid, KeyReused, NotFound, PaymentError, Refused
from kessai.foundation.ids import bare, new_hex
from kessai.sdk.workflow import Conflicted, Publish, Write
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import PaymentMethod, PaymentRecord
from kessai.services.payment.api.orders import (
    CancelOrder,
    CaptureOrder,
    ConfirmOrder,
    CreateOrder,
    GetOrder,
    ListOrders,
    NetOrder,
    OrderAction,
    OrderHistory,
    OrderPage,
    OrderState,
    OrderStep,
)
from kessai.services.payment.domain import Asked, orders
from kessai.services.payment.domain.orders import Order, OrderChange, Own
from kessai.services.payment.service.charges import Charges
from kessai.services.payment.service.opening import New
from kessai.services.payment.store import orders as order_store

TURNS_MAX = 4
"""Times that an order is looked at anew because another step came first."""
EXPIRED_AT_ONCE = 256
"""Orders looked at together."""
KEY_BYTES = 32


class NetPayments(Charges):
    """ネット決済."""

    # -- creating -----------------------------------------------------------------------------------------------

    async def create_order(self, request: CreateOrder, /) -> NetOrder:
        """Create an order; the answer shows the key of its return addresses."""
        call = current_call()
        order_id = f"ord_{call.request_key or new_hex()}"
        digest = hashlib.sha256(msgspec.json.encode(request)).digest()
        try:
            order = self._new_order(request, order_id, digest)
        except PaymentError:
            if call.request_key is None or not await self._loaded([order_id]):
                raise
        else:
            change = OrderChange(order=order, action=OrderAction.CREATE, caller=call.caller)
            if await order_store.insert(self._database, [change]):
                return self._created(order)
        call.replayed = True
        (kept,) = await self._loaded([order_id])
        if kept.content_sha256 != digest:
            raise KeyReused
        return self._created(replace(kept, own=Own.OPEN, version=0, customer_id=request.customer_id, payment_id=None))

    def _new_order(self, request: CreateOrder, order_id: str, digest: bytes) -> Order:
        kind, now = self._kinds.require("charge"), self._clock.now()
        domain.check_amount(request.amount_minor, request.asset, kind)
        for name in ("success_url", "cancel_url"):
            orders.check_return_address(getattr(request, name), name)
        expires_at = orders.confirmable_until(request.expires_at, now, self._checkout.orders)
        orders.check_capture_days(request, kind)
        orders.check_accepted(request.accepted_sources, kind)
        key = secrets.token_bytes(KEY_BYTES).hex()
        return Order(
            order_id=order_id,
            own=Own.OPEN,
            version=0,
            asked=request,
            customer_id=request.customer_id,
            payment_id=None,
            expires_at=expires_at,
            sealed_key=self._vault.seal(key, context=order_store.context_of(order_id)),
            content_sha256=digest,
            caller=current_call().caller,
            created_at=now,
            updated_at=now,
        )

    def _created(self, order: Order) -> NetOrder:
        """The answer to the creation, however often it is asked for: the order as it was then, with its key."""
        told = orders.told(replace(order, updated_at=order.created_at), None, order.created_at)
        return msgspec.structs.replace(told, return_key=self._key_of(order).hex())

    def _key_of(self, order: Order) -> bytes:
        sealed, context = order.sealed_key, order_store.context_of(order.order_id)
        return bytes.fromhex(self._vault.open(sealed, context=context))

    # -- confirming ---------------------------------------------------------------------------------------------

    async def confirm_order(self, request: ConfirmOrder, /) -> NetOrder:
        """Pay an order: the charge begins in the flush that names it on the order."""
        for _ in range(TURNS_MAX):
            order, payment = await self._order(request.order_id)
            try:
                orders.check_confirm(order, payment, request.customer_id, self._clock.now())
            except PaymentError as refusal:
                paid = await self._confirmed_before(request, refusal)
            else:
                try:
                    paid = await self._create(request, lambda order=order: self._by_order(request, order))
                except Conflicted:
                    continue
            return self._told_order(_paid_by(order, paid, request.customer_id), paid)
        raise domain.Busy("order_confirming", "Somebody else is at this order; try again.", order_id=request.order_id)

    async def _confirmed_before(self, request: ConfirmOrder, refusal: PaymentError) -> PaymentRecord:
        """What the same request came to before; else the refusal."""
        call = current_call()
        earlier = await self._earlier(workflows.create, request, call.request_key or new_hex())
        if earlier is None:
            raise refusal
        call.replayed = True
        return await earlier.result()

    def _by_order(self, request: ConfirmOrder, order: Order) -> New:
        asked, caller = order.asked, current_call().caller

        def joining(payment: PaymentRecord) -> tuple[list[Write], list[Publish]]:
            after = replace(_paid_by(order, payment, request.customer_id), version=order.version + 1)
            return order_store.with_payment(OrderChange(order=after, action=OrderAction.CONFIRM, caller=caller))

        return New(
            kind=self._kinds.require("charge"),
            payer_id=request.customer_id,
            payee_id=asked.merchant_id,
            amount_minor=asked.amount_minor,
            asset=asked.asset,
            reference=asked.reference,
            description=asked.description,
            metadata=asked.metadata,
            asked=Asked(request.sources, request.points, asked.accepted_sources, request.return_url),
            at_once=asked.capture,
            expires_at=orders.capture_expiry(order, self._clock.now()),
            method=PaymentMethod.NET.value,
            joining=joining,
        )

    # -- giving up, and capturing -------------------------------------------------------------------------------

    async def cancel_order(self, request: CancelOrder, /) -> NetOrder:
        """Give an order up: what its payment holds is released; without one, it ends by itself."""
        for _ in range(TURNS_MAX):
            order, payment = await self._order(request.order_id)
            if not orders.is_undecided(payment):
                assert payment is not None
                return self._told_order(order, await self._cancel(request, payment.payment_id, payment.kind))
            state = orders.state_of(order, payment, self._clock.now())
            if state is not OrderState.OPEN:
                return await self._canceled_before(order, payment, state)
            ended = self._ended(order, OrderAction.CANCEL)
            if await order_store.change(self._database, [ended]):
                return self._told_order(ended.order, payment)
        raise domain.Busy("payment_busy", "Somebody else is at this order; try again.", order_id=request.order_id)

    async def _canceled_before(self, order: Order, payment: PaymentRecord | None, state: OrderState) -> NetOrder:
        """The same request's answer; raises what is said of an order that has ended."""
        call = current_call()
        if call.request_key is not None and order.own is Own.CANCELED:
            steps = await order_store.steps(self._database, [order.order_id])
            if steps[-1].request_key == call.request_key:
                call.replayed = True
                return self._told_order(order, payment)
        raise orders.over(order, state)

    async def capture_order(self, request: CaptureOrder, /) -> NetOrder:
        """Capture a confirmed order, whole or in part, within its capture window."""
        order, payment = await self._order(request.order_id)
        if orders.is_undecided(payment):
            raise Refused("order_not_confirmed", "Nobody has confirmed the order.", order_id=order.order_id)
        assert payment is not None
        paid = await self._capture(request, payment.payment_id, payment.kind, request.amount_minor, final=request.final)
        return self._told_order(order, paid)

    # -- time ---------------------------------------------------------------------------------------------------

    async def expire_orders(self) -> int:
        """End every open order past its time; gives how many nobody paid. What is being paid is left to later."""
        expired, after, now = 0, store.FIRST_DUE, self._clock.now()
        prefix = self._kinds.require("charge").id_prefix
        while page := await order_store.overdue(self._database, now, after, EXPIRED_AT_ONCE, prefix):
            payments = await self._payments_of(page)
            ends = {each.order_id: orders.when_overdue(payments.get(each.payment_id or "")) for each in page}
            unpaid = [self._ended(each, OrderAction.EXPIRE) for each in page if ends[each.order_id] is Own.EXPIRED]
            bound = [each for each in page if ends[each.order_id] is Own.BOUND]
            done, _ = await asyncio.gather(self._expired(unpaid), self._bound(bound))
            expired += done
            after = (page[-1].expires_at, bare(page[-1].order_id))
        return expired

    async def _expired(self, unpaid: Sequence[OrderChange]) -> int:
        return len(await order_store.change(self._database, unpaid)) if unpaid else 0

    async def _bound(self, paid: Sequence[Order]) -> None:
        if paid:
            after = [replace(order, own=Own.BOUND, version=order.version + 1) for order in paid]
            await order_store.bind(self._database, after)

    def _ended(self, order: Order, action: OrderAction) -> OrderChange:
        own = Own.CANCELED if action is OrderAction.CANCEL else Own.EXPIRED
        call = current_call()
        after = replace(order, own=own, version=order.version + 1, updated_at=self._clock.now())
        return OrderChange(order=after, action=action, caller=call.caller, request_key=call.request_key)

    # -- looking ------------------------------------------------------------------------------------------------

    async def get_order(self, request: GetOrder, /) -> NetOrder:
        """An order, and where to send its customer."""
        return self._told_order(*await self._order(request.order_id))

    async def list_orders(self, request: ListOrders, /) -> OrderPage:
        """A shop's orders, newest first."""
        before = store.LAST if request.cursor is None else _from_cursor(request.cursor)
        prefix = self._kinds.require("charge").id_prefix
        found = await order_store.of_merchant(
            self._database, request.merchant_id, request.reference, before, request.limit + 1, prefix
        )
        page, now = found[: request.limit], self._clock.now()
        payments = await self._payments_of(page)
        told = [orders.told(each, payments.get(each.payment_id or ""), now) for each in page]
        return OrderPage(orders=told, next_cursor=_cursor_of(page[-1]) if len(found) > request.limit else None)

    async def get_order_history(self, request: GetOrder, /) -> OrderHistory:
        """Every step of an order and of its payments."""
        order, _ = await self._order(request.order_id)
        own = await order_store.steps(self._database, [order.order_id])
        prefix = self._kinds.require("charge").id_prefix
        steps: list[OrderStep] = []
        for each in own:
            payment_id = each.payment_id and f"{prefix}_{each.payment_id}"
            steps.append(
                OrderStep(
                    recorded_at=each.recorded_at,
                    action=each.action,
                    payment_id=payment_id,
                    amount_minor=order.asked.amount_minor,
                    state=each.state,
                    code=None,
                    caller=each.caller,
                )
            )
            if each.action == OrderAction.CONFIRM and payment_id is not None:
                steps += await self._payment_steps(payment_id)
        return OrderHistory(order_id=order.order_id, steps=sorted(steps, key=lambda step: step.recorded_at))

    async def _payment_steps(self, payment_id: str) -> list[OrderStep]:
        return [
            OrderStep(
                recorded_at=each.recorded_at,
                action=each.action.value,
                payment_id=payment_id,
                amount_minor=each.amount_minor,
                state=each.state.value,
                code=each.code,
                caller=each.caller,
            )
            for each in await store.steps(self._database, [payment_id])
        ]

    async def _order(self, order_id: str) -> tuple[Order, PaymentRecord | None]:
        found = await self._loaded([order_id])
        if not found or found[0].order_id != order_id:
            raise NotFound("order_not_found", "There is no such order.", order_id=order_id)
        payments = await self._payments_of(found)
        return found[0], payments.get(found[0].payment_id or "")

    async def _loaded(self, order_ids: Sequence[str]) -> list[Order]:
        return await order_store.load(self._database, order_ids, self._kinds.require("charge").id_prefix)

    async def _payments_of(self, found: Sequence[Order]) -> dict[str, PaymentRecord]:
        ids = [each.payment_id for each in found if each.payment_id is not None]
        stored = await store.load(self._database, ids, self._kinds.prefixes) if ids else []
        return {each.payment.payment_id: each.payment for each in stored}

    def _told_order(self, order: Order, payment: PaymentRecord | None) -> NetOrder:
        told = orders.told(order, payment, self._clock.now())
        if told.state not in orders.RESULTS:
            return told
        return msgspec.structs.replace(told, redirect_url=orders.redirect_of(order, told.state, self._key_of(order)))


def _paid_by(order: Order, payment: PaymentRecord, customer_id: str) -> Order:
    """The order once this payment is its last attempt."""
    return replace(order, payment_id=payment.payment_id, customer_id=customer_id, updated_at=payment.created_at)


def _cursor_of(order: Order) -> str:
    micros = int(order.created_at.timestamp()) * 1_000_000 + order.created_at.microsecond
    return f"{micros}-{bare(order.order_id)}"


def _from_cursor(cursor: str) -> tuple[datetime, str]:
    micros, _, order_id = cursor.partition("-")
    whole = micros.isascii() and micros.isdigit() and len(micros) <= 17
    if not whole or len(order_id) != 32 or not set(order_id) <= set("0123456789abcdef"):
        raise Invalid("bad_cursor", "The cursor is not one that this list gave.")
    seconds, rest = divmod(int(micros), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest), order_id
