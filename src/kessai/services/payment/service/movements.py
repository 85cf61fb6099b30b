"""Top-ups, transfers, withdrawals, repayments, exchanges, incentives; merchants' movements; and any declared kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

from kessai.foundation.call import current_call
from kessai.foundation.errors import Invalid, KeyReused, Refused
from kessai.sdk.workflow import Conflicted
from kessai.services.identity.api import content_digest
from kessai.services.payment import domain, store
from kessai.services.payment.api import (
    Adjust,
    ChargeMerchantFee,
    ClearSales,
    CreatePayment,
    Direction,
    ExchangeFunds,
    FundingSource,
    GrantIncentive,
    PaymentRecord,
    PaymentState,
    PayOut,
    Repay,
    RepayClaim,
    TopUp,
    Transfer,
    Withdraw,
)
from kessai.services.payment.domain import Asked, PaymentKind
from kessai.services.payment.service.desk import COUNT_ATTEMPTS_MAX, Desk
from kessai.services.payment.service.opening import New
from kessai.services.payment.workflows import ApprovalUse

OWN_VERBS = frozenset(
    {"charge", "escrow", "top_up", "transfer", "repayment", "claim_repayment", "exchange_in", "exchange_out"}
)
"""Kinds that the verb for any kind does not make, beside those that need more than it takes."""

Told: TypeAlias = (
    TopUp
    | Transfer
    | Withdraw
    | Repay
    | ExchangeFunds
    | GrantIncentive
    | ChargeMerchantFee
    | ClearSales
    | PayOut
    | RepayClaim
    | Adjust
    | CreatePayment
)
"""Whatever tells an amount, and a reference and the like."""


class Movements(Desk):
    """Value into, out of and between accounts."""

    async def top_up(self, request: TopUp, /) -> PaymentRecord:
        """Bring money into a customer's funds."""

        def ask() -> New:
            kind = self._kinds.require("top_up")
            source = FundingSource(source=request.source, instrument_id=request.instrument_id)
            return self._from_inside(request, kind, source, request.customer_id)

        return await self._create(request, ask)

    async def transfer(self, request: Transfer, /) -> PaymentRecord:
        """Send funds from one customer to another."""

        def ask() -> New:
            if request.customer_id == request.recipient_id:
                raise Invalid("same_participant", "A transfer needs two customers.")
            kind = self._kinds.require("transfer")
            return new_of(request, kind, payer_id=request.customer_id, payee_id=request.recipient_id)

        return await self._create(request, ask)

    async def withdraw(self, request: Withdraw, /) -> PaymentRecord:
        """Send funds to a customer's bank account."""
        return await self._pay_out(request, "withdrawal", request.customer_id)

    async def pay_out(self, request: PayOut, /) -> PaymentRecord:
        """Send settled sales to a merchant's bank account, at once or on a day."""
        for _ in range(COUNT_ATTEMPTS_MAX):
            if request.payout_id is not None and (made := await self._made(request, request.payout_id)) is not None:
                return made
            try:
                return await self._pay_out(
                    request, "payout", request.merchant_id, pay_on=request.pay_on, payment_id=request.payout_id
                )
            except Conflicted:  # it was made at this moment, under another key
                continue
        raise domain.Busy("payment_busy", "Another call makes the same payout; try again.")

    async def _made(self, request: PayOut, payout_id: str) -> PaymentRecord | None:
        """The payout of that id as it is; None when there is none.

        Raises `malformed_id`; `idempotency_key_reused` where it is of other content; why it was refused, where it was.
        """
        kind = self._kinds.require("payout")
        if payout_id[:3] != kind.id_prefix:
            raise Invalid("malformed_id", f"The id of a payout begins with {kind.id_prefix}_.", field="payout_id")
        found = await store.load(self._database, [payout_id], self._kinds.prefixes)
        if not found:
            return None
        payment = found[0].payment
        if _content_of(payment) != (kind.name, request.merchant_id, *(getattr(request, name) for name in PAYOUT)):
            raise KeyReused
        current_call().replayed = True
        if payment.state is PaymentState.REFUSED:
            code = str(payment.refusal_code)
            raise Refused(code, f"The payout was refused: {code}.", payment_id=payout_id)
        return payment

    async def _pay_out(self, request: Withdraw | PayOut, name: str, payer_id: str, **more: Any) -> PaymentRecord:
        def ask() -> New:
            kind = self._kinds.require(name)
            return new_of(
                request,
                kind,
                payer_id=payer_id,
                payee_id=str(kind.payee_owner),
                bank_account_id=request.bank_account_id,
                **more,
            )

        return await self._create(request, ask)

    async def repay(self, request: Repay, /) -> PaymentRecord:
        """Pay a receivable back."""

        def ask() -> New:
            kind = self._kinds.require("repayment")
            sources: list[FundingSource] = []
            if request.source is not None:
                sources = [FundingSource(source=request.source, instrument_id=request.instrument_id)]
            return new_of(
                request,
                kind,
                payer_id=request.customer_id,
                payee_id=str(kind.payee_owner),
                asked=Asked(sources),
            )

        return await self._create(request, ask)

    async def exchange(self, request: ExchangeFunds, /) -> PaymentRecord:
        """Move value into or out of a customer's trading account, at once or provisionally."""

        def ask() -> New:
            return new_of(
                request,
                self._kinds.require(f"exchange_{request.direction.value}"),
                payer_id=request.customer_id,
                payee_id=request.customer_id,
                asked=Asked(request.sources),
                at_once=request.capture,
                expires_at=request.expires_at,
            )

        return await self._create(request, ask)

    async def grant_incentive(self, request: GrantIncentive, /) -> PaymentRecord:
        """Give a customer points."""

        def ask() -> New:
            kind = self._kinds.require("incentive")
            source = FundingSource(source=request.cost_bearer)
            return self._from_inside(
                request, kind, source, request.customer_id, lot_expires_at=request.points_expire_at
            )

        return await self._create(request, ask)

    async def charge_merchant_fee(self, request: ChargeMerchantFee, /) -> PaymentRecord:
        """Take a fee from a merchant's unsettled sales."""

        def ask() -> New:
            kind = self._kinds.require("merchant_fee")
            return new_of(request, kind, payer_id=request.merchant_id, payee_id=str(kind.payee_owner))

        return await self._create(request, ask)

    async def clear_sales(self, request: ClearSales, /) -> PaymentRecord:
        """Make unsettled sales settled."""

        def ask() -> New:
            kind, payee_id = self._kinds.require("clearing"), request.payee_id or request.merchant_id
            return new_of(request, kind, payer_id=request.merchant_id, payee_id=payee_id)

        return await self._create(request, ask)

    async def repay_claim(self, request: RepayClaim, /) -> PaymentRecord:
        """Pay back what a merchant owes the platform."""

        def ask() -> New:
            kind = self._kinds.require("claim_repayment")
            source = FundingSource(source=request.source, instrument_id=request.instrument_id)
            if request.debit_on is not None and (named := kind.sources.get(request.source)) and named.gateway != "bank":
                raise Invalid("debit_day_misplaced", "Only a debit has a day.", field="debit_on")
            new = self._from_inside(request, kind, source, request.merchant_id, pay_on=request.debit_on)
            return replace(new, approval=_approval_of(request, kind))

        return await self._create(request, ask)

    async def adjust(self, request: Adjust, /) -> PaymentRecord:
        """Correct an account, with the approval of a second person."""

        def ask() -> New:
            kind = self._kinds.require(f"adjustment_{request.direction.value}")
            approval = ApprovalUse(
                approval_id=request.approval_id,
                subject=request.owner,
                action="payment.adjustment",
                content_sha256=content_digest(request),
            )
            if request.direction is Direction.IN:
                _check_adjustable(request.account_type, (kind.payee_account_type, *kind.payee_account_types))
                source = FundingSource(source=next(iter(kind.sources)))
                return self._from_inside(
                    request,
                    kind,
                    source,
                    request.owner,
                    payee_account_type=request.account_type,
                    account_type=request.account_type,
                    approval=approval,
                )
            _check_adjustable(request.account_type, kind.payer_account_types)
            asked = Asked([FundingSource(source=request.account_type)])
            return new_of(
                request,
                kind,
                payer_id=request.owner,
                payee_id=str(kind.payee_owner),
                asked=asked,
                account_type=request.account_type,
                approval=approval,
            )

        return await self._create(request, ask)

    async def create_payment(self, request: CreatePayment, /) -> PaymentRecord:
        """Make a payment of a kind that is known by its declaration alone."""

        def ask() -> New:
            kind = self._kinds.require(request.kind)
            if kind.name in OWN_VERBS or kind.parks or kind.pays_out or kind.needs_approval:
                raise Invalid("kind_has_own_verb", f"A {kind.name} is made by a verb of its own.", kind=kind.name)
            payee_id = request.payee_id if kind.payee_owner is None else kind.payee_owner
            more: dict[str, Any] = {"at_once": _at_once(request, kind), "expires_at": request.expires_at}
            if kind.payer == "internal":
                source = request.sources[0] if len(request.sources) == 1 else None
                return self._from_inside(request, kind, source, _named(payee_id, "payee_id"), **more)
            payer_id = _named(request.payer_id, "payer_id")
            if payer_id == payee_id and kind.payee_account_type in kind.payer_account_types:
                raise Invalid("same_participant", f"A {kind.name} needs two participants.")
            if kind.own_accounts:
                domain.check_counterpart(payer_id, payee_id, kind)
            asked = Asked(request.sources)
            return new_of(request, kind, payer_id=payer_id, payee_id=_named(payee_id, "payee_id"), asked=asked, **more)

        return await self._create(request, ask)

    def _from_inside(
        self, request: Any, kind: PaymentKind, source: FundingSource | None, payee_id: str, **more: Any
    ) -> New:
        """A payment out of one of a kind's internal sources; raises `unknown_source`."""
        named = None if source is None else kind.sources.get(source.source)
        if source is None or named is None:
            name = "none" if source is None else source.source
            raise Invalid("unknown_source", f"{name} is not a source of a {kind.name}.", source=name)
        return new_of(request, kind, payer_id=named.owner, payee_id=payee_id, asked=Asked([source]), **more)


PAYOUT = ("bank_account_id", "amount_minor", "asset", "pay_on", "reference", "description", "metadata")
"""What a payout is asked for with, beside its merchant."""


def _content_of(payment: PaymentRecord) -> tuple[object, ...]:
    """What a payment was asked for with, as a payout's request would have it."""
    told = (payment.amount_minor, payment.asset, payment.pay_on, payment.reference, payment.description)
    return (payment.kind, payment.payer_id, payment.instrument_id, *told, payment.metadata)


def new_of(request: Told, kind: PaymentKind, *, payer_id: str, payee_id: str, **more: Any) -> New:
    """A new payment of a request's amount, with what it tells."""
    return New(
        kind=kind,
        payer_id=payer_id,
        payee_id=payee_id,
        amount_minor=request.amount_minor,
        asset=request.asset,
        reference=request.reference,
        description=request.description,
        metadata=request.metadata,
        **more,
    )


def _at_once(request: CreatePayment, kind: PaymentKind) -> bool:
    if not request.capture and "capture" not in kind.actions:
        raise Refused("action_not_allowed", f"A {kind.name} has no capture.", kind=kind.name)
    return request.capture


def _named(participant: str | None, field: str) -> str:
    if participant is None:
        raise Invalid("participant_missing", f"Name the {field}.", field=field)
    return participant


def _approval_of(request: RepayClaim, kind: PaymentKind) -> ApprovalUse | None:
    """Who else says that it has arrived, where a person says so; the platform's own services answer for themselves.

    Raises `approval_required`.
    """
    if kind.sources[request.source].gateway is not None or current_call().scopes is None:
        return None
    if request.approval_id is None:
        raise Refused("approval_required", "A second person has to confirm that the money has arrived.")
    return ApprovalUse(
        approval_id=request.approval_id,
        subject=request.merchant_id,
        action="payment.claim_repayment",
        content_sha256=content_digest(request),
    )


def _check_adjustable(account_type: str, among: tuple[str, ...]) -> None:
    if account_type not in among:
        raise Refused("account_not_adjustable", f"{account_type} is not adjusted by hand.", account_type=account_type)
