"""Code payment: codes are issued and used up, merchants' QR are made, read and paid."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime, timedelta

from kessai.foundation.call import current_call
from kessai.foundation.errors import Invalid, NotFound, PaymentError
from kessai.foundation.ids import new_hex
from kessai.sdk.workflow import Conflicted
from kessai.services.payment import domain, workflows
from kessai.services.payment.api import METADATA_MAX, PaymentMethod, PaymentRecord
from kessai.services.payment.api.codes import (
    ChargeCode,
    ChargeMerchantQr,
    CodeState,
    GetCode,
    IssueCode,
    IssuedCode,
    MerchantQr,
    OneTimeCode,
    QrContent,
    ReadMerchantQr,
    RevokeCode,
)
from kessai.services.payment.domain import Asked, codes, emvco
from kessai.services.payment.domain.codes import Code
from kessai.services.payment.service.desk import Desk
from kessai.services.payment.service.opening import New
from kessai.services.payment.store import codes as code_store

USES_MAX = 3
"""Times that a code is looked at anew because somebody else was at it."""
CONTEXT = "payment.one_time_code"
"""What the keyed digests of codes are bound to."""


class CodePayments(Desk):
    """コード決済."""

    # -- one-time codes -----------------------------------------------------------------------------------------

    async def issue_code(self, request: IssueCode, /) -> IssuedCode:
        """Issue a one-time code for a customer."""
        asked = Asked(request.sources, request.points, (), request.return_url)
        codes.check_preference(asked, self._kinds.require("charge"))
        terms, now = self._checkout.codes, self._clock.now()
        digits = codes.digits_of(secrets.randbelow(codes.random_below(terms)), terms)
        code = Code(
            code_id=self._code_ids(digits)[0],
            customer_id=request.customer_id,
            sources=request.sources,
            points=request.points,
            return_url=request.return_url,
            caller=current_call().caller,
            issued_at=now,
            expires_at=now + timedelta(seconds=terms.live_seconds),
        )
        await code_store.issue(self._database, [code], live_max=terms.live_max)
        return IssuedCode(
            code_id=code.code_id,
            customer_id=code.customer_id,
            code=digits,
            content=codes.content_of(digits),
            issued_at=code.issued_at,
            expires_at=code.expires_at,
        )

    async def get_code(self, request: GetCode, /) -> OneTimeCode:
        """What became of a code."""
        return self._told_code(await self._code(request.code_id))

    async def revoke_code(self, request: RevokeCode, /) -> OneTimeCode:
        """Make a code worthless that was not used yet."""
        await code_store.revoke(self._database, [(await self._code(request.code_id)).code_id], self._clock.now())
        code = await self._code(request.code_id)
        if code.state(self._clock.now()) is CodeState.USED:
            raise codes.used(code)
        return self._told_code(code)

    async def _code(self, code_id: str) -> Code:
        found = await code_store.find(self._database, [code_id])
        if not found or found[0].code_id != code_id:
            raise NotFound("code_not_found", "There is no such code.", code_id=code_id)
        return found[0]

    def _told_code(self, code: Code) -> OneTimeCode:
        prefix = self._kinds.require("charge").id_prefix
        return OneTimeCode(
            code_id=code.code_id,
            customer_id=code.customer_id,
            state=code.state(self._clock.now()),
            issued_at=code.issued_at,
            expires_at=code.expires_at,
            used_at=code.used_at,
            payment_id=code.payment_id and f"{prefix}_{code.payment_id}",
        )

    def _code_ids(self, digits: str) -> list[str]:
        """Under which ids the digits may be kept, the newest key's first; nobody gets from an id to its digits."""
        return [f"otc_{each.hex()[:32]}" for each in self._vault.fingerprints(digits, context=CONTEXT)]

    # -- a charge by code ---------------------------------------------------------------------------------------

    async def charge_code(self, request: ChargeCode, /) -> PaymentRecord:
        """Charge whoever shows a one-time code. The code is used up in the flush that begins the charge."""
        for _ in range(USES_MAX):
            try:
                code = await self._usable_code(request.code)
            except PaymentError as refusal:
                return await self._again(request, refusal)
            try:
                return await self._create(request, lambda code=code: self._by_code(request, code))
            except Conflicted:
                continue
        raise domain.Busy("payment_busy", "Somebody else is using this code; try again.")

    def _by_code(self, request: ChargeCode, code: Code) -> New:
        return New(
            kind=self._kinds.require("charge"),
            payer_id=code.customer_id,
            payee_id=request.merchant_id,
            amount_minor=request.amount_minor,
            asset=request.asset,
            reference=request.reference,
            description=request.description,
            metadata=request.metadata,
            asked=Asked(code.sources, code.points, request.accepted_sources, code.return_url),
            at_once=request.capture,
            expires_at=request.expires_at,
            method=PaymentMethod.CODE.value,
            joining=lambda payment: ([code_store.use(code, payment.payment_id, payment.created_at)], []),
        )

    async def _usable_code(self, shown: str) -> Code:
        """The code that is shown; one that nobody knows is counted against the API key that asks."""
        terms, now, caller = self._checkout.codes, self._clock.now(), current_call().caller
        digits = codes.digits_in(shown, terms)
        begin, end = codes.window_of(now, terms)
        failures, found = await asyncio.gather(
            code_store.failures_of(self._database, [caller], begin),
            code_store.find(self._database, self._code_ids(digits)),
        )
        codes.check_attempts(failures.get(caller, 0), end, terms)
        return codes.usable(found[0] if found else None, now)

    async def _again(self, request: ChargeCode, refusal: PaymentError) -> PaymentRecord:
        """The same request's earlier answer, which may be the very reason why its code is used; else the refusal."""
        call = current_call()
        earlier = await self._earlier(workflows.create, request, call.request_key or new_hex())
        if earlier is not None:
            call.replayed = True
            return await earlier.result()
        if refusal.code == "code_unknown":
            begin, _ = codes.window_of(self._clock.now(), self._checkout.codes)
            await code_store.count_failures(self._database, [(call.caller, begin)])
        raise refusal

    async def forget_codes(self) -> int:
        """Remove unused codes and windows that tell nothing any more; gives how many codes."""
        before = self._clock.now() - timedelta(days=self._checkout.codes.kept_days)
        await code_store.forget_attempts(self._database, _earlier_window(before, self._checkout.codes))
        return await code_store.forget(self._database, before)

    # -- merchants' QR ------------------------------------------------------------------------------------------

    async def make_merchant_qr(self, request: QrContent, /) -> MerchantQr:
        """The static QR of a merchant or one of its shops."""
        return MerchantQr(qr=emvco.make(request, self._checkout.merchant_qr.globally_unique_id), content=request)

    async def read_merchant_qr(self, request: ReadMerchantQr, /) -> MerchantQr:
        """Whom a scanned QR pays, and how much."""
        content = emvco.read(request.qr, self._checkout.merchant_qr.globally_unique_id)
        return MerchantQr(qr=request.qr, content=content)

    async def charge_merchant_qr(self, request: ChargeMerchantQr, /) -> PaymentRecord:
        """Pay the merchant whose static QR was scanned."""
        return await self._create(request, lambda: self._by_qr(request))

    def _by_qr(self, request: ChargeMerchantQr) -> New:
        content = emvco.read(request.qr, self._checkout.merchant_qr.globally_unique_id)
        return New(
            kind=self._kinds.require("charge"),
            payer_id=request.customer_id,
            payee_id=content.merchant_id,
            amount_minor=_amount_of(request, content),
            asset=content.asset,
            reference=request.reference or content.reference_label or content.bill_number,
            description=request.description,
            metadata=_metadata_of(request, content),
            asked=Asked(request.sources, request.points, request.accepted_sources, request.return_url),
            at_once=request.capture,
            expires_at=request.expires_at,
            method=PaymentMethod.CODE.value,
        )


def _amount_of(request: ChargeMerchantQr, content: QrContent) -> int:
    """Raises `amount_required`, `amount_differs`."""
    asked, said = request.amount_minor, content.amount_minor
    if asked is None and said is None:
        raise Invalid("amount_required", "The QR says no amount; the customer enters it.", field="amount_minor")
    if asked is not None and said is not None and asked != said:
        raise Invalid("amount_differs", f"The QR asks for {said}.", field="amount_minor")
    return said or asked or 0


def _metadata_of(request: ChargeMerchantQr, content: QrContent) -> dict[str, str]:
    """The caller's own, and where there is room what the QR says of the place."""
    said = {"shop_id": content.shop_id, "terminal": content.terminal_label}
    added = {name: value for name, value in said.items() if value is not None and name not in request.metadata}
    return request.metadata | dict(list(added.items())[: METADATA_MAX - len(request.metadata)])


def _earlier_window(at: datetime, terms: codes.CodeTerms) -> datetime:
    return codes.window_of(at, terms)[0]
