"""Statements (精算明細書) of a payee's cycle, and invoices (請求書) of claims, as files."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, verb
from kessai.services.settlement.api.words import ClaimId, CycleId, OwnerId

READ = "settlement:read"


class StatementForm(StrEnum):
    """What kind of file."""

    PDF = "pdf"
    CSV = "csv"
    JSON = "json"


class GetStatement(Message):
    """The statement of a payee's cycle."""

    payee_id: OwnerId
    cycle_id: CycleId
    format: StatementForm = StatementForm.JSON
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """One that was issued; None: the last one or, until settlement.statement has issued one, what it would say."""


class ListStatementVersions(Message):
    """All that was issued of a payee's cycle."""

    payee_id: OwnerId
    cycle_id: CycleId


class StatementVersion(Message):
    """One that was issued."""

    version: int
    issued_on: date
    issued_at: datetime
    sha256: str
    """Of its contents as JSON without spaces, which never change."""


class StatementVersions(Message):
    """The oldest first; none until the job settlement.statement has looked at the cleared cycle."""

    versions: list[StatementVersion]


class GetClaimInvoice(Message):
    """The invoice of a claim."""

    claim_id: ClaimId
    format: StatementForm = StatementForm.PDF


class StatementFile(Message):
    """A statement or invoice as a file; the same contents give the same bytes."""

    file_name: str
    media_type: str
    base64: bool
    """Whether `content` is base64; otherwise it is the text itself."""
    content: str
    bytes: int
    sha256: str
    version: int | None = None
    """Of a statement: 0 while none is issued."""


# -- what is in one ---------------------------------------------------------------------------------------------------


class StatementLine(Message):
    """A day of one merchant by one payment method."""

    day: date
    merchant_id: str
    method: str
    sales_minor: int
    refunds_minor: int
    fees_minor: int
    fee_refunds_minor: int
    added_minor: int
    taken_minor: int
    net_minor: int
    transactions: int
    late: int
    """How many of its transactions are of an earlier day."""


class TaxLine(Message):
    """What was charged under one tax rate; the tax is rounded once for the rate."""

    rate_bps: int
    gross_minor: int
    base_minor: int
    tax_minor: int


class ReturnLine(Message):
    """適格返還請求書 (返還インボイス): what was given back of fees under one tax rate, the tax rounded once for it."""

    rate_bps: int
    gross_minor: int
    base_minor: int
    tax_minor: int
    returned_from: date
    """The days on which it was given back."""
    returned_until: date
    charged_from: date
    """The days of what is given back."""
    charged_until: date


class StatementPayout(Message):
    """A payout of the cycle: its only one, unless it comes to more than one transfer moves."""

    payout_id: str
    state: str
    """When the statement was issued."""
    pay_on: date
    payable_minor: int
    transfer_fee_minor: int
    amount_minor: int


class Party(Message):
    """Issuer or recipient."""

    name: str
    id: str | None
    registration_number: str | None


class Statement(Message):
    """精算明細書 兼 適格請求書・適格返還請求書: what a cycle came to, its charges and returns, and what is paid."""

    payee_id: str
    cycle_id: str
    first_day: date
    last_day: date
    issued_on: date
    issuer: Party
    recipient: Party
    lines: list[StatementLine]
    sales_minor: int
    refunds_minor: int
    fees_minor: int
    """Less what was given back, tax included."""
    adjustments_minor: int
    net_minor: int
    shortfall_minor: int
    carried_minor: int
    failed_minor: int
    offset_minor: int
    payable_minor: int
    transfer_fee_minor: int
    """Less what went back because its transfer failed or was returned."""
    amount_minor: int
    claim_minor: int
    payout_id: str
    payout_state: str
    pay_on: date
    taxes: list[TaxLine]
    """Of fees and the transfer fee, by rate."""
    returns: list[ReturnLine]
    """Of fees that were given back, by rate."""
    payouts: list[StatementPayout]
    version: int
    corrects: int | None
    """The version in whose place it is."""


class ClaimInvoice(Message):
    """請求書 of what a payee owes."""

    claim_id: str
    payee_id: str
    cycle_id: str
    issued_on: date
    due_on: date
    issuer: Party
    recipient: Party
    first_day: date
    last_day: date
    amount_minor: int
    offset_minor: int
    collected_minor: int
    owed_minor: int


class Statements(Protocol):
    """明細."""

    @verb("GET /v1/settlement/statements/{cycle_id}", scope=READ,
          errors=("sales_summary_not_found", "statement_not_found"))  # fmt: skip
    async def get_statement(self, request: GetStatement, /) -> StatementFile:
        """A payee's statement of a cycle, with the fields of a qualified invoice (適格請求書); kept once issued."""
        ...

    @verb("GET /v1/settlement/statements/{cycle_id}/versions", scope=READ)
    async def list_statement_versions(self, request: ListStatementVersions, /) -> StatementVersions:
        """What was issued of a payee's cycle, and when."""
        ...

    @verb("GET /v1/settlement/claims/{claim_id}/invoice", scope=READ, errors=("claim_not_found",))
    async def get_claim_invoice(self, request: GetClaimInvoice, /) -> StatementFile:
        """The invoice of what a payee owes."""
        ...
