"""The merchant service's verbs, and the errors of each in order of precedence: one Protocol a desk, joined in one."""

from __future__ import annotations

from typing import Protocol

from kessai.foundation.contract import verb
from kessai.services.merchant.api.contracts import AgreeContract
from kessai.services.merchant.api.master import (
    ConflictPage,
    DismissConflict,
    Dismissed,
    EndId,
    GetIdHistory,
    GetImport,
    IdAnswers,
    IdHistory,
    ImportIds,
    ImportOutcome,
    ImportPage,
    ListConflicts,
    ListImports,
    ListMappedIds,
    MapId,
    MappedIdPage,
    MappedIds,
    ResolveIds,
)
from kessai.services.merchant.api.merchants import (
    ChangeCompany,
    ChangeProfile,
    ChangeState,
    Company,
    CompanyPage,
    GetCompany,
    GetCompanyHistory,
    GetMerchant,
    GetMerchantHistory,
    ListChildren,
    ListCompanies,
    ListMerchants,
    MerchantHistory,
    MerchantPage,
    MerchantRecord,
    RegisterCompany,
    RegisterMerchant,
    SetBankAccount,
    SetParent,
)
from kessai.services.merchant.api.terms import (
    ResolveTerms,
    SettlementTermsAnswers,
    SettlementTermsOf,
    TermsAnswers,
)

READ = "merchant:read"
WRITE = "merchant:write"
APPROVAL = (
    "approval_required",
    "approvals_not_available",
    "approval_not_found",
    "approval_content_differs",
    "approval_consumed",
    "approval_not_approved",
    "approval_expired",
)
"""What every verb refuses that a second person has to approve."""


class MerchantTerms(Protocol):
    """What settlement lives on."""

    @verb("POST /v1/merchants/terms", scope=READ, batch=True)
    async def resolve_terms(self, request: ResolveTerms, /) -> TermsAnswers:
        """By what terms each owner accepted a payment method at an instant."""
        ...

    @verb("POST /v1/merchants/settlement-terms", scope=READ, batch=True)
    async def settlement_terms(self, request: SettlementTermsOf, /) -> SettlementTermsAnswers:
        """How each merchant is paid, as of the end of a day."""
        ...


class Companies(Protocol):
    """事業者."""

    @verb("POST /v1/merchant-companies", scope=WRITE, moves_value=True, status=201,
          errors=("corporate_number_wrong", "registration_number_differs", "idempotency_key_reused",
                  *APPROVAL))  # fmt: skip
    async def register_company(self, request: RegisterCompany, /) -> Company:
        """A new company."""
        ...

    @verb("POST /v1/merchant-companies/{company_id}/profile", scope=WRITE, moves_value=True,
          errors=("corporate_number_wrong", "registration_number_differs", "company_not_found",
                  "idempotency_key_reused", *APPROVAL))  # fmt: skip
    async def change_company(self, request: ChangeCompany, /) -> Company:
        """Change a company's profile from now on."""
        ...

    @verb("GET /v1/merchant-companies/{company_id}", scope=READ, errors=("company_not_found",))
    async def get_company(self, request: GetCompany, /) -> Company:
        """A company."""
        ...

    @verb("GET /v1/merchant-companies/{company_id}/history", scope=READ, errors=("bad_cursor", "company_not_found"))
    async def get_company_history(self, request: GetCompanyHistory, /) -> MerchantHistory:
        """Everything that was changed of a company, newest first."""
        ...

    @verb("GET /v1/merchant-companies", scope=READ, errors=("bad_cursor",))
    async def list_companies(self, request: ListCompanies, /) -> CompanyPage:
        """Companies, by id."""
        ...


class Merchants(Protocol):
    """加盟店管理."""

    @verb("POST /v1/merchants", scope=WRITE, moves_value=True, status=201,
          errors=("company_not_found", "id_mapped_by_master", "idempotency_key_reused"))  # fmt: skip
    async def register_merchant(self, request: RegisterMerchant, /) -> MerchantRecord:
        """A new merchant, which has applied."""
        ...

    @verb("POST /v1/merchants/{merchant_id}/profile", scope=WRITE, moves_value=True,
          errors=("merchant_not_found", "idempotency_key_reused", "merchant_closed",
                  "company_not_found", *APPROVAL))  # fmt: skip
    async def change_profile(self, request: ChangeProfile, /) -> MerchantRecord:
        """Change a merchant's profile from now on."""
        ...

    @verb("POST /v1/merchants/{merchant_id}/state", scope=WRITE, moves_value=True,
          errors=("merchant_not_found", "idempotency_key_reused", "merchant_closed", "state_not_reachable",
                  "contract_required", "merchant_has_children", *APPROVAL))  # fmt: skip
    async def change_state(self, request: ChangeState, /) -> MerchantRecord:
        """Screen, activate, suspend, resume or close a merchant."""
        ...

    @verb("POST /v1/merchants/{merchant_id}/contract", scope=WRITE, moves_value=True,
          errors=("method_twice", "tiers_not_rising", "tax_rate_mismatch", "campaign_reversed", "campaigns_overlap",
                  "cycle_day_mismatch", "payout_rule_mismatch", "validity_reversed", "merchant_not_found",
                  "idempotency_key_reused", "merchant_closed", "in_the_past", "merchant_has_children",
                  *APPROVAL))  # fmt: skip
    async def agree_contract(self, request: AgreeContract, /) -> MerchantRecord:
        """Agree a contract or its next version; answers with the merchant as of when it becomes valid."""
        ...

    @verb("POST /v1/merchants/{merchant_id}/parent", scope=WRITE, moves_value=True,
          errors=("parent_is_itself", "merchant_not_found", "idempotency_key_reused", "merchant_closed", "in_the_past",
                  "parent_not_found", "parent_closed", "parent_has_parent", "merchant_has_children",
                  "parent_without_contract", *APPROVAL))  # fmt: skip
    async def set_parent(self, request: SetParent, /) -> MerchantRecord:
        """Say who collects a merchant's money (入金集約); answers with the merchant as of when it becomes valid."""
        ...

    @verb("POST /v1/merchants/{merchant_id}/bank-account", scope=WRITE, moves_value=True,
          errors=("merchant_not_found", "idempotency_key_reused", "merchant_closed", "in_the_past",
                  "bank_not_available", "bank_account_not_found", "bank_account_not_merchants",
                  "bank_account_removed", "holder_name_differs", *APPROVAL))  # fmt: skip
    async def set_bank_account(self, request: SetBankAccount, /) -> MerchantRecord:
        """Say to which bank account a merchant is paid; answers with the merchant as of when it becomes valid."""
        ...

    @verb("GET /v1/merchants/{merchant_id}", scope=READ, errors=("merchant_not_found",))
    async def get_merchant(self, request: GetMerchant, /) -> MerchantRecord:
        """A merchant as of an instant."""
        ...

    @verb("GET /v1/merchants/{merchant_id}/history", scope=READ, errors=("bad_cursor", "merchant_not_found"))
    async def get_history(self, request: GetMerchantHistory, /) -> MerchantHistory:
        """Everything that was changed of a merchant, newest first."""
        ...

    @verb("GET /v1/merchants/{merchant_id}/children", scope=READ, errors=("bad_cursor", "merchant_not_found"))
    async def list_children(self, request: ListChildren, /) -> MerchantPage:
        """For whom a merchant collects at an instant."""
        ...

    @verb("GET /v1/merchants", scope=READ, errors=("bad_cursor",))
    async def list_merchants(self, request: ListMerchants, /) -> MerchantPage:
        """Merchants, by id."""
        ...


class MerchantMaster(Protocol):
    """加盟店マスタ."""

    @verb("POST /v1/merchant-master/ids", scope=WRITE, moves_value=True, status=201,
          errors=("idempotency_key_reused", "merchant_not_found", "merchant_closed", "id_is_a_merchants",
                  "validity_reversed", "master_id_conflict", "validity_overlaps", "in_the_past",
                  *APPROVAL))  # fmt: skip
    async def map_id(self, request: MapId, /) -> MappedIds:
        """Map an id of a payment method to a merchant; answers with all that the id means from now on."""
        ...

    @verb("POST /v1/merchant-master/ids/end", scope=WRITE, moves_value=True,
          errors=("idempotency_key_reused", "in_the_past", "id_not_mapped", *APPROVAL))  # fmt: skip
    async def end_id(self, request: EndId, /) -> MappedIds:
        """End what an id of a payment method means; answers with all that it means from now on."""
        ...

    @verb("POST /v1/merchant-master/ids/history", scope=READ)
    async def get_id_history(self, request: GetIdHistory, /) -> IdHistory:
        """Everything that was done to an id of a payment method."""
        ...

    @verb("POST /v1/merchant-master/resolve", scope=READ, batch=True)
    async def resolve_ids(self, request: ResolveIds, /) -> IdAnswers:
        """Which merchant each id of a payment method means at an instant."""
        ...

    @verb("GET /v1/merchant-master/ids", scope=READ, errors=("bad_cursor",))
    async def list_ids(self, request: ListMappedIds, /) -> MappedIdPage:
        """Mappings, by payment method and id."""
        ...

    @verb("POST /v1/merchant-master/imports", scope=WRITE, moves_value=True, batch=True,
          errors=("csv_header_wrong", "csv_malformed", "too_many_lines", "idempotency_key_reused",
                  *APPROVAL))  # fmt: skip
    async def import_ids(self, request: ImportIds, /) -> ImportOutcome:
        """Map many ids at once; lines that are wrong are listed."""
        ...

    @verb("GET /v1/merchant-master/imports/{import_id}", scope=READ, errors=("import_not_found",))
    async def get_import(self, request: GetImport, /) -> ImportOutcome:
        """What became of an import."""
        ...

    @verb("GET /v1/merchant-master/imports", scope=READ, errors=("bad_cursor",))
    async def list_imports(self, request: ListImports, /) -> ImportPage:
        """Imports, newest first."""
        ...

    @verb("GET /v1/merchant-master/conflicts", scope=READ, errors=("bad_cursor",))
    async def list_conflicts(self, request: ListConflicts, /) -> ConflictPage:
        """Conflicts that imports found and that still stand."""
        ...

    @verb("POST /v1/merchant-master/conflicts/dismiss", scope=WRITE, errors=("conflict_not_found",))
    async def dismiss_conflict(self, request: DismissConflict, /) -> Dismissed:
        """Say that what an import wanted is not so."""
        ...


class Merchant(MerchantTerms, Companies, Merchants, MerchantMaster, Protocol):
    """加盟店管理・加盟店マスタ: merchants, what was agreed with them, and the ids by which they are known."""
