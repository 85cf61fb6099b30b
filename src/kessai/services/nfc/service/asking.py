"""Asking the payment service to bear an authorization, and to let go of it. Each thing under a key of its own, which is
derived from the message: asked again, it is the same payment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import structlog

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.errors import (
    Conflict,
    DeadlineExceeded,
    Invalid,
    KeyReused,
    PaymentError,
    Refused,
    Unavailable,
    Unknown,
)
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.domain.authorization import ASSET, Authorization, Plan, request_key_of
from kessai.services.nfc.domain.carrying import Standing
from kessai.services.nfc.domain.decide import Heard
from kessai.services.nfc.domain.page import GivenBack
from kessai.services.nfc.service.holding import Holding
from kessai.services.payment.api import (
    CancelPayment,
    CapturePayment,
    CreatePayment,
    FundingSource,
    GetPayment,
    Hold,
    ListRefunds,
    Payment,
    PaymentRecord,
    PaymentState,
    Refund,
    RefundPayment,
    RefundState,
)

log = structlog.get_logger(__name__)

SERVICE = "nfc"
ANSWER_MARGIN_S = 0.2
"""Of a call's deadline, the payment service keeps this to answer in."""
REVERSED = "reversed by the network"
PATIENCE_S = 5.0
"""How long what nobody waits for may take."""
_UNDECIDED = (PaymentState.PENDING, PaymentState.UNKNOWN)
_HOLDING = (PaymentState.AUTHORIZED, PaymentState.PARTIALLY_CAPTURED)
_NEVER_MADE = ("malformed_id", "amount_above_limit")
"""Refused before there was a payment."""
_OVER = ("already_canceled", "already_captured", "authorization_expired", "charge_not_authorized")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was heard of a payment that was asked for."""

    heard: Heard
    payment_id: str | None = None
    payment_state: str | None = None
    code: str | None = None
    never: bool = False
    """Nobody can make it later either: it is not a payment that there could be."""


class NotYet(Exception):
    """What became of the payment cannot be told, or it cannot be changed, just now."""


class Bearing:
    """The payment service, as authorizations need it."""

    def __init__(self, payment: Payment) -> None:
        self._payment = payment
        self._holding = Holding(payment, SERVICE, Plan.CHARGE.payment_kind, ANSWER_MARGIN_S)
        self._again = Holding(payment, SERVICE, Plan.CHARGE.payment_kind, ANSWER_MARGIN_S)
        """What may have been asked before, and may have to wait for that: nothing new waits with it."""

    async def hold(self, row: Authorization, plan: Plan, until: float | None = None, *, again: bool = True) -> Answer:
        """Have what stands of an authorization held; `until`: of the loop's time, after which nothing is known."""
        if plan is Plan.CHARGE:
            return await self._held(row, until, self._again if again else self._holding)
        with _within(row, plan, "create", until):
            try:
                record = await self._payment.create_payment(request_of(row, plan))
            except PaymentError as error:
                return _refused(error)
            except Exception:
                log.exception("id_payment_failed", authorization_id=row.authorization_id)
                return Answer(Heard.LOST)
        if record.state in _UNDECIDED:
            return Answer(Heard.LOST, record.payment_id)
        return Answer(Heard.HELD, record.payment_id, record.state.value)

    async def _held(self, row: Authorization, until: float | None, holding: Holding) -> Answer:
        """Together with whatever else is to be held at this moment."""
        until = asyncio.get_running_loop().time() + PATIENCE_S if until is None else until
        try:
            outcome = await holding.ask(hold_of(row), until)
        except PaymentError as error:
            return _not_asked(row, error)
        except Exception:
            log.exception("id_payment_failed", authorization_id=row.authorization_id)
            return Answer(Heard.LOST)
        if outcome.state in _UNDECIDED:
            return Answer(Heard.LOST, outcome.payment_id)
        if outcome.state is not PaymentState.REFUSED:
            return Answer(Heard.HELD, outcome.payment_id, outcome.state.value)
        if outcome.code == KeyReused().code:
            return Answer(Heard.LOST, code=outcome.code)
        payment_id = None if outcome.code in _NEVER_MADE else outcome.payment_id
        return Answer(Heard.REFUSED, payment_id, payment_id and outcome.state.value, outcome.code)

    async def shrink(self, row: Authorization, today: date) -> tuple[Standing, tuple[GivenBack, ...]]:
        """Bring the payment to what stands; gives how it is then. What a clearing file claimed is captured.

        It is asked for once more under its key, which tells what became of it; what never came to be is made and let go
        of, so that nobody can make it later. A refund that is refused (the customer's account is frozen, or closed)
        is asked for once more each business day, for `today` may be the day on which it can be. Raises NotYet.
        """
        assert row.plan is not None
        payment_id = row.payment_id or await self._found(row, row.plan)
        if payment_id is None:
            return Standing(None, row.payment_state), ()
        try:
            record = await self._read(payment_id)
            if not row.stands_minor and record.state in _HOLDING:
                record = await self._let_go(row, row.plan, record)
            elif row.state is AuthorizationState.CLEARED and record.state in _HOLDING:
                record = await self._capture(row, row.plan, record)
            if await self._give_back(row, row.plan, record, today):
                record = await self._read(payment_id)
            back = await self._given_back(record) if record.captured_minor else ()
        except PaymentError as error:
            raise NotYet(error.code) from error
        return standing_of(record), back

    async def standing(self, payment_id: str) -> Standing:
        """How a payment is; raises PaymentError."""
        return standing_of(await self._read(payment_id))

    async def _found(self, row: Authorization, plan: Plan) -> str | None:
        """The payment that bears it; None when there never will be one."""
        answer = await self.hold(row, plan)
        match answer.heard:
            case Heard.HELD | Heard.REFUSED:
                return answer.payment_id
            case Heard.FAILED if answer.never:
                return None
            case Heard.DOWN | Heard.FAILED | Heard.LOST:
                raise NotYet(answer.code or "payment_unresolved")

    async def _read(self, payment_id: str) -> PaymentRecord:
        record = await self._payment.get_payment(GetPayment(payment_id=payment_id))
        if record.state in _UNDECIDED:
            raise NotYet("payment_unresolved")
        return record

    async def _capture(self, row: Authorization, plan: Plan, record: PaymentRecord) -> PaymentRecord:
        """Take what stands for good; what is held beyond that is let go of."""
        amount = row.stands_minor - record.captured_minor
        if amount <= 0:
            return await self._let_go(row, plan, record)
        with _within(row, plan, f"capture:{row.stands_minor}"):
            try:
                return await self._payment.capture_payment(
                    CapturePayment(payment_id=record.payment_id, amount_minor=amount)
                )
            except PaymentError as error:
                if error.code not in _OVER:
                    raise
        return await self._ended(record.payment_id)

    async def _let_go(self, row: Authorization, plan: Plan, record: PaymentRecord) -> PaymentRecord:
        with _within(row, plan, "cancel"):
            try:
                return await self._payment.cancel_payment(CancelPayment(payment_id=record.payment_id))
            except PaymentError as error:
                if error.code not in _OVER:
                    raise
        return await self._ended(record.payment_id)

    async def _ended(self, payment_id: str) -> PaymentRecord:
        record = await self._read(payment_id)
        if record.state in _HOLDING:
            raise NotYet("authorization_expiring")  # its time is over, and the job that ends it is still to come
        return record

    async def _give_back(self, row: Authorization, plan: Plan, record: PaymentRecord, today: date) -> bool:
        more = record.captured_minor - record.refunded_minor - row.stands_minor
        if more <= 0 or record.state is not PaymentState.CAPTURED:
            return False
        request = RefundPayment(payment_id=record.payment_id, amount_minor=more, reason=REVERSED)
        step = f"refund:{row.stands_minor}"
        try:
            with _within(row, plan, step):
                refund = await self._payment.refund_payment(request)
        except Refused as error:
            log.warning("id_refund_refused", authorization_id=row.authorization_id, code=error.code)
            refund = await self._once_more(row, plan, record.payment_id, step, today)
        if refund.state is not RefundState.SUCCEEDED:
            raise NotYet("refund_unresolved")
        return True

    async def _once_more(self, row: Authorization, plan: Plan, payment_id: str, step: str, today: date) -> Refund:
        """Ask again for what was refused, once a business day. The payment is read again: what was read before the
        refusal may be older than a refund that somebody else has asked for. Raises NotYet."""
        record = await self._read(payment_id)
        more = record.captured_minor - record.refunded_minor - row.stands_minor
        if more <= 0:
            raise NotYet("refund_unresolved")
        request = RefundPayment(payment_id=payment_id, amount_minor=more, reason=REVERSED)
        with _within(row, plan, f"{step}:{today.isoformat()}"):
            return await self._payment.refund_payment(request)

    async def _given_back(self, record: PaymentRecord) -> tuple[GivenBack, ...]:
        """Every refund of it, whoever asked for it, and whether we ever heard of it."""
        found = await self._payment.list_refunds(ListRefunds(payment_id=record.payment_id))
        if any(each.state in (RefundState.PENDING, RefundState.UNKNOWN) for each in found.refunds):
            raise NotYet("refund_unresolved")
        return tuple(GivenBack(each.refund_id, each.amount_minor, each.state.value) for each in found.refunds)


def hold_of(row: Authorization) -> Hold:
    """The payment that holds an authorization's amount; the same each time, under an id that is derived from it."""
    assert row.customer_id is not None
    return Hold(
        payment_id=f"idc_{request_key_of(row.authorization_id, Plan.CHARGE)}",
        customer_id=row.customer_id,
        amount_minor=row.amount_minor,
        reference=f"ath_{row.authorization_id}",
        metadata=_metadata(row),
        processing_id=row.processing_id,
    )


def _metadata(row: Authorization) -> dict[str, str]:
    return {"category": row.category.value, "mcc": row.mcc, "merchant": row.merchant}


def request_of(row: Authorization, plan: Plan) -> CreatePayment:
    """The payment that bears an authorization; the same each time."""
    assert row.customer_id is not None
    return CreatePayment(
        kind=plan.payment_kind,
        payer_id=row.customer_id,
        amount_minor=row.amount_minor,
        asset=ASSET,
        capture=row.kind is AuthorizationKind.CLEARING,
        sources=[FundingSource(source="id_claims")] if plan is Plan.OWED else [],
        reference=f"ath_{row.authorization_id}",
        metadata=_metadata(row),
    )


def standing_of(record: PaymentRecord) -> Standing:
    """What an authorization keeps of its payment."""
    return Standing(record.payment_id, record.state.value, record.captured_minor, record.refunded_minor)


def _refused(error: PaymentError) -> Answer:
    match error:
        case Unknown() | DeadlineExceeded() | KeyReused() | Conflict():
            return Answer(Heard.LOST, code=error.code)
        case Unavailable():
            return Answer(Heard.DOWN, code=error.code)
        case _:
            payment_id = error.details.get("payment_id")
            if not isinstance(payment_id, str):
                return Answer(Heard.REFUSED, code=error.code)
            return Answer(Heard.REFUSED, payment_id, PaymentState.REFUSED.value, error.code)


def _not_asked(row: Authorization, error: PaymentError) -> Answer:
    """What it means that the payment service decided nothing: only a rule of the business is a refusal."""
    answer = _refused(error)
    if answer.heard is not Heard.REFUSED or isinstance(error, Refused):
        return answer
    log.error("id_payment_failed", authorization_id=row.authorization_id, error=error.code)
    return Answer(Heard.FAILED, code=error.code, never=isinstance(error, Invalid))


@contextmanager
def _within(row: Authorization, plan: Plan, step: str, until: float | None = None) -> Generator[None]:
    """Call the payment service within the authorization's processing, under a key of its own."""
    until = asyncio.get_running_loop().time() + PATIENCE_S if until is None else until
    deadline = until + ANSWER_MARGIN_S
    key = request_key_of(row.authorization_id, plan, step)
    token = enter_call(Call(caller=SERVICE, processing_id=row.processing_id, request_key=key, deadline=deadline))
    try:
        yield
    finally:
        leave_call(token)
