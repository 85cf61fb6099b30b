"""Companies and merchants: registered, changed, looked up, with everything that was ever changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from kessai.foundation.contract import Instant, Message, PageLimit
from kessai.services.merchant.api.contracts import Contract
from kessai.services.merchant.api.words import (
    ApprovalId,
    Aspect,
    BankAccountId,
    Cause,
    CompanyId,
    CorporateNumber,
    Cursor,
    MerchantId,
    MerchantKind,
    MerchantState,
    Name,
    RegistrationNumber,
)

# -- companies ----------------------------------------------------------------------------------------------------


class CompanyProfile(Message):
    """What is known of a company (事業者). No person's name belongs here."""

    name: Name
    name_kana: Name | None = None
    corporate_number: CorporateNumber | None = None
    registration_number: RegistrationNumber | None = None
    """As it stands on qualified invoices; of a corporation: T and its corporate number."""


class RegisterCompany(Message):
    """A new company."""

    profile: CompanyProfile
    company_id: CompanyId | None = None
    """Chosen by the caller; None: derived from the call's idempotency key."""
    approval_id: ApprovalId | None = None
    """An approval of `merchant.company` of this content, less `approval_id`, about `merchant-companies`."""


class ChangeCompany(Message):
    """All of a company's profile, as it is from now on."""

    company_id: CompanyId
    profile: CompanyProfile
    reason: Cause
    approval_id: ApprovalId | None = None
    """An approval of `merchant.company` of this content, less `approval_id`, about the company's id."""


class GetCompany(Message):
    """Which company."""

    company_id: CompanyId


class ListCompanies(Message):
    """A page of companies, by id; `cursor` comes from the page before."""

    limit: PageLimit = 100
    cursor: Cursor | None = None


class Company(Message):
    """A company as it is now."""

    company_id: str
    profile: CompanyProfile
    version: int
    created_at: datetime
    updated_at: datetime


class CompanyPage(Message):
    """A page; `next_cursor` is None on the last one."""

    companies: list[Company]
    next_cursor: str | None


# -- merchants ----------------------------------------------------------------------------------------------------


class MerchantProfile(Message):
    """What a merchant (加盟店) is called, what it is and whose."""

    name: Name
    name_kana: Name | None = None
    kind: MerchantKind
    company_id: CompanyId


class RegisterMerchant(Message):
    """An application: the merchant begins as APPLIED."""

    profile: MerchantProfile
    merchant_id: MerchantId | None = None
    """Chosen by the caller; None: derived from the call's idempotency key."""


class ChangeProfile(Message):
    """All of a merchant's profile, as it is from now on."""

    merchant_id: MerchantId
    profile: MerchantProfile
    reason: Cause
    approval_id: ApprovalId | None = None
    """An approval of `merchant.profile` of this content, less `approval_id`, about the merchant's id."""


class ChangeState(Message):
    """Screen, activate, suspend, resume or close a merchant, from now on."""

    merchant_id: MerchantId
    state: MerchantState
    reason: Cause
    approval_id: ApprovalId | None = None
    """Where the change asks for it (`config/merchant.toml`): an approval of `merchant.state` of this content, less
    `approval_id`, about the merchant's id."""


class SetParent(Message):
    """入金集約: who collects a merchant's money."""

    merchant_id: MerchantId
    parent_id: MerchantId | None
    """None: it collects its own again. Who collects for others has nobody who collects for it."""
    valid_from: Instant | None = None
    """Never in the past; None: from now on."""
    reason: Cause
    approval_id: ApprovalId | None = None
    """An approval of `merchant.parent` of this content, less `approval_id`, about the merchant's id."""


class SetBankAccount(Message):
    """To which bank account a merchant is paid."""

    merchant_id: MerchantId
    bank_account_id: BankAccountId | None
    """Registered with the bank service as this merchant's, which proves the holder's name; None: to none."""
    valid_from: Instant | None = None
    """Never in the past; None: from now on."""
    reason: Cause
    approval_id: ApprovalId | None = None
    """An approval of `merchant.bank_account` of this content, less `approval_id`, about the merchant's id."""


class GetMerchant(Message):
    """Which merchant, and as of when."""

    merchant_id: MerchantId
    at: Instant | None = None
    """None: now."""


class ListMerchants(Message):
    """A page of merchants, by id; `cursor` comes from the page before."""

    company_id: CompanyId | None = None
    state: MerchantState | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class ListChildren(Message):
    """A page of those for whom a merchant collects, by id."""

    merchant_id: MerchantId
    at: Instant | None = None
    """None: now."""
    limit: PageLimit = 100
    cursor: Cursor | None = None


class GetMerchantHistory(Message):
    """A page of what was changed, newest first."""

    merchant_id: MerchantId
    aspect: Aspect | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class GetCompanyHistory(Message):
    """A page of what was changed, newest first."""

    company_id: CompanyId
    limit: PageLimit = 100
    cursor: Cursor | None = None


class MerchantRecord(Message):
    """A merchant as of an instant; the version is the present one."""

    merchant_id: str
    profile: MerchantProfile
    state: MerchantState
    parent_id: str | None
    bank_account_id: str | None
    contract: Contract | None
    contract_id: str | None
    contract_version: int | None
    contract_valid_until: datetime | None
    as_of: datetime
    version: int
    """Grows with every change, of whatever is valid from whenever."""
    created_at: datetime
    updated_at: datetime


class MerchantSummary(Message):
    """A merchant as it is now, in a line."""

    merchant_id: str
    name: str
    kind: MerchantKind
    company_id: str
    state: MerchantState
    version: int
    created_at: datetime
    updated_at: datetime


class MerchantPage(Message):
    """A page; `next_cursor` is None on the last one."""

    merchants: list[MerchantSummary]
    next_cursor: str | None


class Change(Message):
    """One entry of a history: never edited, never removed."""

    version: int
    aspect: Aspect
    valid_from: datetime
    content: Annotated[str, msgspec.Meta(description="JSON")]
    """What it is from then on."""
    reason: str
    changed_by: str
    approval_id: str | None
    approved_by: str | None
    """The second person."""
    recorded_at: datetime


class MerchantHistory(Message):
    """A page, newest first; `next_cursor` is None on the last one."""

    changes: list[Change]
    next_cursor: str | None
