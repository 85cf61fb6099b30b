"""Claims (請求): what a payee owes when its sales of a cycle were negative (赤残), and how that is settled."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import AmountMinor, Message, PageLimit, verb
from kessai.services.settlement.api.words import ApprovalId, ClaimId, Cursor, OwnerId

READ, WRITE = "settlement:read", "settlement:write"
APPROVAL = ("approval_required", "approvals_not_available", "approval_not_found", "approval_content_differs",
            "approval_consumed", "approval_not_approved", "approval_expired")  # fmt: skip

BankAccountId = Annotated[str, msgspec.Meta(pattern=r"^bac_[0-9a-f]{32}$")]


class ClaimStanding(StrEnum):
    """Where a claim stands."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"


class ClaimStepKind(StrEnum):
    """What was done to a claim."""

    MADE = "made"
    OFFSET = "offset"
    """相殺: settled sales went to it."""
    COLLECTED = "collected"
    """It was paid back."""


class RepaymentState(StrEnum):
    """Where a repayment stands."""

    ASKED = "ASKED"
    """Its payment is under way."""
    DONE = "DONE"
    REFUSED = "REFUSED"


class RepaymentWay(StrEnum):
    """How a payee pays back."""

    DEPOSIT = "bank_deposit"
    """The money has arrived in our account."""
    DEBIT = "bank_debit"
    """Its bank account is to be debited."""


class GetClaim(Message):
    """Which claim."""

    claim_id: ClaimId


class ListClaims(Message):
    """A page of claims, newest first; every condition that is given must hold."""

    payee_id: OwnerId | None = None
    state: ClaimStanding | None = None
    limit: PageLimit = 50
    cursor: Cursor | None = None


class RecordRepayment(Message):
    """A payee pays back (a part of) what it owes."""

    claim_id: ClaimId
    amount_minor: AmountMinor
    source: RepaymentWay = RepaymentWay.DEPOSIT
    bank_account_id: BankAccountId | None = None
    """Whose account is debited, of a debit."""
    debit_on: date | None = None
    """Of a debit: the business day on which the bank is to make it, with a file (口座振替); None: at once, online."""
    approval_id: ApprovalId | None = None
    """Of what is said to have arrived (`bank_deposit`): an approval of this very content, less this field. Action
    `settlement.repayment`, subject the claim's id."""


class ClaimRecord(Message):
    """A claim: amount − offset − collected = owed."""

    claim_id: str
    payee_id: str
    cycle_id: str
    state: ClaimStanding
    amount_minor: int
    offset_minor: int
    collected_minor: int
    pending_minor: int
    """Of what is owed: what an offset or a repayment under way will settle."""
    owed_minor: int
    due_on: date
    version: int
    made_at: datetime


class ClaimStep(Message):
    """One thing that was done to a claim."""

    sequence: int
    kind: ClaimStepKind
    amount_minor: int
    payment_id: str | None
    recorded_at: datetime


class ClaimHistory(Message):
    """A claim with every step, oldest first."""

    claim: ClaimRecord
    steps: list[ClaimStep]


class ClaimPage(Message):
    """A page; `next_cursor` is None on the last one."""

    claims: list[ClaimRecord]
    next_cursor: str | None


class Repayment(Message):
    """A repayment of a claim."""

    claim_id: str
    payment_id: str | None
    """None while it is not known yet."""
    amount_minor: int
    state: RepaymentState
    code: str | None
    """Why it was refused."""
    claim: ClaimRecord
    """As it is now."""


class Claims(Protocol):
    """請求."""

    @verb("GET /v1/settlement/claims", scope=READ, errors=("bad_cursor",))
    async def list_claims(self, request: ListClaims, /) -> ClaimPage:
        """Claims by payee or state."""
        ...

    @verb("GET /v1/settlement/claims/{claim_id}", scope=READ, errors=("claim_not_found",))
    async def get_claim(self, request: GetClaim, /) -> ClaimHistory:
        """A claim with everything that was done to it."""
        ...

    @verb("POST /v1/settlement/claims/{claim_id}/repayments", scope=WRITE, moves_value=True, status=201,
          errors=("claim_not_found", "instrument_required", "debit_day_misplaced", "repayment_above_claim", *APPROVAL,
                  "contention"))  # fmt: skip
    async def record_repayment(self, request: RecordRepayment, /) -> Repayment:
        """Record that a payee pays back, which a second person confirms, or have its bank account debited for it."""
        ...
