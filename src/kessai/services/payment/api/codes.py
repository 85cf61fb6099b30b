"""Code payment (コード決済): one-time codes that a customer shows, and static QR that a merchant shows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Instant, Message, Reference, verb
from kessai.services.payment.api.answers import PaymentRecord
from kessai.services.payment.api.refusals import CHARGE_ERRORS
from kessai.services.payment.api.words import (
    Description,
    Id,
    Metadata,
    Participant,
    PointsUse,
    SourceNames,
    Sources,
    Url,
)

QR_CHARACTERS_MAX = 512
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"

ShownCode = Annotated[str, msgspec.Meta(min_length=8, max_length=64)]
"""As it was scanned or typed: its digits (spaces and hyphens between them do not count), or the content of its QR."""
QrText = Annotated[str, msgspec.Meta(min_length=1, max_length=QR_CHARACTERS_MAX)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=25, pattern=r"^[ -~]*[!-~][ -~]*$(?!\n)")]
City = Annotated[str, msgspec.Meta(min_length=1, max_length=15, pattern=r"^[ -~]*[!-~][ -~]*$(?!\n)")]
LocalName = Annotated[str, msgspec.Meta(min_length=1, max_length=25, pattern=_NO_CONTROLS)]
LocalCity = Annotated[str, msgspec.Meta(min_length=1, max_length=15, pattern=_NO_CONTROLS)]
QrLabel = Annotated[str, msgspec.Meta(min_length=1, max_length=25, pattern=r"^[ -~]*[!-~][ -~]*$(?!\n)")]
ShopId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:/-]+$(?!\n)")]
CategoryCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$(?!\n)", description="ISO 18245")]
Language = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}$(?!\n)", description="ISO 639-1")]


class CodeState(StrEnum):
    """Where a one-time code stands."""

    ISSUED = "ISSUED"
    USED = "USED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


class IssueCode(Message):
    """A code that lets one merchant charge this customer once, soon, from these sources."""

    customer_id: Participant
    sources: Sources = []
    """In the customer's order of preference; empty: the kind's order."""
    points: PointsUse = PointsUse.FIRST
    return_url: Url | None = None
    """Where the customer comes back to from 3-D Secure; without it a card that asks for it is refused."""


class IssuedCode(Message):
    """A new code. Only this answer shows it: what is kept is a keyed digest."""

    code_id: str
    customer_id: str
    code: str
    """Digits, the last of which is a check digit; for a barcode (Code 128), or to be typed."""
    content: str
    """The same, as the content of a QR code (alphanumeric mode)."""
    issued_at: datetime
    expires_at: datetime


class OneTimeCode(Message):
    """A code and what became of it, without its digits."""

    code_id: str
    customer_id: str
    state: CodeState
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None
    payment_id: str | None
    """The charge that used it."""


class GetCode(Message):
    """Which code."""

    code_id: Id


class RevokeCode(Message):
    """Make a code worthless that was not used yet, as when the customer leaves the screen that shows it."""

    code_id: Id


class ChargeCode(Message):
    """A merchant charges whoever shows a one-time code; the code says who pays, and from what."""

    code: ShownCode
    merchant_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    capture: bool = False
    expires_at: Instant | None = None
    """When the authorization lapses; None: the kind's own time."""
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}
    accepted_sources: SourceNames = []


class QrContent(Message):
    """What a merchant's static QR says (EMVCo merchant-presented mode)."""

    merchant_id: Participant
    name: Name
    """In ASCII, as the standard wants it; the customer's app shows `local_name` where there is one."""
    city: City
    shop_id: ShopId | None = None
    amount_minor: AmountMinor | None = None
    """None: the customer enters it."""
    asset: Asset = "JPY"
    category_code: CategoryCode = "0000"
    language: Language | None = None
    local_name: LocalName | None = None
    """In the merchant's own script; needs `language`."""
    local_city: LocalCity | None = None
    bill_number: QrLabel | None = None
    store_label: QrLabel | None = None
    reference_label: QrLabel | None = None
    terminal_label: QrLabel | None = None
    purpose: QrLabel | None = None


class MerchantQr(Message):
    """A static QR: what is printed, and what it says."""

    qr: str
    content: QrContent


class ReadMerchantQr(Message):
    """A QR that a customer's app has scanned."""

    qr: QrText


class ChargeMerchantQr(Message):
    """A customer pays the merchant whose static QR was scanned."""

    qr: QrText
    customer_id: Participant
    amount_minor: AmountMinor | None = None
    """Where the QR says none; where it does, the same or None."""
    sources: Sources = []
    points: PointsUse = PointsUse.FIRST
    accepted_sources: SourceNames = []
    return_url: Url | None = None
    capture: bool = True
    """Nobody captures later what was paid by a printed QR, unless it is asked for."""
    expires_at: Instant | None = None
    reference: Reference | None = None
    """None: the QR's own reference label, or bill number."""
    description: Description | None = None
    metadata: Metadata = {}


_CODE = ("code_malformed", "too_many_attempts", "code_unknown", "code_used", "code_revoked", "code_expired")
_QR = ("qr_malformed", "qr_checksum_wrong", "qr_not_ours", "qr_unsupported", "qr_amount_invalid")
_NO_VAULT = "vault_not_configured"


class CodePayments(Protocol):
    """コード決済: by a code that the customer shows, or a QR that the merchant shows."""

    @verb("POST /v1/codes", scope="payment:write", status=201,
          errors=("unknown_source", "duplicate_source", "too_many_outside_sources", "instrument_required",
                  _NO_VAULT))  # fmt: skip
    async def issue_code(self, request: IssueCode, /) -> IssuedCode:
        """Issue a one-time code for a customer; each request gives another one."""
        ...

    @verb("GET /v1/codes/{code_id}", scope="payment:read", errors=("code_not_found",))
    async def get_code(self, request: GetCode, /) -> OneTimeCode:
        """What became of a code."""
        ...

    @verb("POST /v1/codes/{code_id}/revoke", scope="payment:write", errors=("code_not_found", "code_used"))
    async def revoke_code(self, request: RevokeCode, /) -> OneTimeCode:
        """Make a code worthless that was not used yet."""
        ...

    @verb("POST /v1/code-charges", scope="payment:write", moves_value=True, status=201,
          errors=(*_CODE, *CHARGE_ERRORS, _NO_VAULT))  # fmt: skip
    async def charge_code(self, request: ChargeCode, /) -> PaymentRecord:
        """Charge whoever shows a one-time code."""
        ...

    @verb("POST /v1/merchant-qrs", scope="payment:write", errors=("qr_unsupported", "qr_too_long"))
    async def make_merchant_qr(self, request: QrContent, /) -> MerchantQr:
        """The static QR of a merchant or one of its shops."""
        ...

    @verb("POST /v1/merchant-qrs/read", scope="payment:read", errors=_QR)
    async def read_merchant_qr(self, request: ReadMerchantQr, /) -> MerchantQr:
        """Whom a scanned QR pays, and how much."""
        ...

    @verb("POST /v1/merchant-qr-charges", scope="payment:write", moves_value=True, status=201,
          errors=(*_QR, "amount_required", "amount_differs", *CHARGE_ERRORS))  # fmt: skip
    async def charge_merchant_qr(self, request: ChargeMerchantQr, /) -> PaymentRecord:
        """Pay the merchant whose static QR was scanned."""
        ...
