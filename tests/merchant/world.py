"""A small world for the merchant's tests: the real service and the real identity, and a bank of which is only asked."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import SandboxClock
from kessai.foundation.contract import Message
from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound, PaymentError
from kessai.foundation.ids import new_hex, new_id
from kessai.services.bank.api import (
    BankAccount,
    CheckHolder,
    DepositType,
    GetBankAccount,
    HolderChecked,
    OwnerKind,
)
from kessai.services.bank.domain import same_holder
from kessai.services.identity.api import ApproveApproval, RequestApproval, content_digest
from kessai.services.identity.service import IdentityService
from kessai.services.merchant.api import (
    AgreeContract,
    ChangeProfile,
    ChangeState,
    CompanyProfile,
    Contract,
    FeeSchedule,
    ImportIds,
    ImportMode,
    ImportOutcome,
    MapId,
    MappedIds,
    MerchantKind,
    MerchantProfile,
    MerchantRecord,
    MerchantState,
    MethodTerms,
    RegisterCompany,
    RegisterMerchant,
    ResolveTerms,
    SetBankAccount,
    SetParent,
    Terms,
    TermsQuestion,
)
from kessai.services.merchant.service import MerchantService

ANNA, BEN = ("key_" + digit * 32 for digit in "12")
S = MerchantState


class BankOfNames:
    """Knows whose each bank account is, as the bank's door tells it."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self.accounts: dict[str, BankAccount] = {}
        self.holders: dict[str, str] = {}

    async def get_account(self, request: GetBankAccount, /) -> BankAccount:
        """A registered bank account."""
        if request.account_id not in self.accounts:
            raise NotFound("bank_account_not_found", "There is no such bank account.")
        return self.accounts[request.account_id]

    async def check_holder(self, request: CheckHolder, /) -> HolderChecked:
        """Whether its holder bears one of some names."""
        return HolderChecked(same=any(same_holder(self.holders[request.account_id], each) for each in request.names))

    def account(self, merchant_id: str, holder: str = "カ)ミドリ", **other: object) -> str:
        """A new account of a merchant."""
        account_id = new_id("bac")
        self.holders[account_id] = holder
        plain: dict[str, object] = {
            "account_id": account_id,
            "owner_kind": OwnerKind.MERCHANT,
            "owner_id": merchant_id,
            "bank_code": "0005",
            "branch_code": "001",
            "deposit_type": DepositType.ORDINARY,
            "last_digits": "567",
            "debits": False,
            "registered_at": self._clock.now(),
            "removed_at": None,
        }
        self.accounts[account_id] = msgspec.convert(plain | other, BankAccount)
        return account_id


class World:
    """The service, and two persons: Anna asks, Ben approves."""

    def __init__(self, database: Database, clock: SandboxClock) -> None:
        self.database = database
        self.clock = clock
        self.identity = IdentityService(database, clock)
        self.bank = BankOfNames(clock)
        self.service = self.another_process()

    def another_process(self) -> MerchantService:
        """A service that shares nothing with the first but the database."""
        return MerchantService(self.database, self.clock, approvals=self.identity, bank=self.bank)

    async def approved(self, request: Any, action: str, subject: str) -> Any:
        """The request with Ben's approval of it."""
        digest = digest_of(request)
        asked = RequestApproval(subject=subject, action=action, content_sha256=digest, reason="as agreed")
        with calling(ANNA):
            approval = await self.identity.request_approval(asked)
        with calling(BEN):
            await self.identity.approve(ApproveApproval(approval_id=approval.approval_id, content_sha256=digest))
        return replace(request, approval_id=approval.approval_id)

    # -- what a story is made of ----------------------------------------------------------------------------------

    async def company(self, **profile: str) -> str:
        """A new company."""
        profile = {"name": "株式会社みどり"} | profile
        request = RegisterCompany(profile=msgspec.convert(profile, CompanyProfile))
        approved = await self.approved(request, "merchant.company", "merchant-companies")
        return (await self.service.register_company(approved)).company_id

    async def merchant(self, merchant_id: str, state: MerchantState = S.ACTIVE, **fee: object) -> str:
        """A new merchant that has come to a state; with a contract, if it was activated."""
        profile = MerchantProfile(name=f"{merchant_id} shop", kind=MerchantKind.SHOP, company_id=await self.company())
        await self.service.register_merchant(RegisterMerchant(profile=profile, merchant_id=merchant_id))
        if state is S.APPLIED:
            return merchant_id
        await self.state(merchant_id, S.SCREENED)
        if state in (S.ACTIVE, S.SUSPENDED):
            await self.contract(merchant_id, contract(**fee))
            await self.state(merchant_id, S.ACTIVE)
        if state in (S.SUSPENDED, S.CLOSED):
            await self.state(merchant_id, state)
        return merchant_id

    async def state(self, merchant_id: str, state: MerchantState) -> MerchantRecord:
        """Bring a merchant into a state."""
        request = ChangeState(merchant_id=merchant_id, state=state, reason="as agreed")
        if state in (S.ACTIVE, S.CLOSED):
            request = await self.approved(request, "merchant.state", merchant_id)
        return await self.service.change_state(request)

    async def contract(
        self, merchant_id: str, agreed: Contract, *, since: datetime | None = None, until: datetime | None = None
    ) -> MerchantRecord:
        """Agree a contract."""
        request = AgreeContract(
            merchant_id=merchant_id, contract=agreed, valid_from=since, valid_until=until, reason="as agreed"
        )
        return await self.service.agree_contract(await self.approved(request, "merchant.contract", merchant_id))

    async def parent(self, merchant_id: str, parent_id: str | None, since: datetime | None = None) -> MerchantRecord:
        """Say who collects."""
        request = SetParent(merchant_id=merchant_id, parent_id=parent_id, valid_from=since, reason="as agreed")
        return await self.service.set_parent(await self.approved(request, "merchant.parent", merchant_id))

    async def profile(self, merchant_id: str, profile: MerchantProfile) -> MerchantRecord:
        """Change what a merchant is called, and whose it is."""
        request = ChangeProfile(merchant_id=merchant_id, profile=profile, reason="renamed")
        return await self.service.change_profile(await self.approved(request, "merchant.profile", merchant_id))

    async def bank_account(self, merchant_id: str, bank_account_id: str | None) -> MerchantRecord:
        """Say where a merchant is paid to."""
        request = SetBankAccount(merchant_id=merchant_id, bank_account_id=bank_account_id, reason="as agreed")
        return await self.service.set_bank_account(await self.approved(request, "merchant.bank_account", merchant_id))

    async def map_id(self, methods_id: str, merchant_id: str, method: str = "id", **other: Any) -> MappedIds:
        """Map a payment method's id to a merchant."""
        request = MapId(
            payment_method=method, methods_id=methods_id, merchant_id=merchant_id, reason="as agreed", **other
        )
        return await self.service.map_id(await self.approved(request, "merchant.master", "merchant-master"))

    async def import_csv(self, csv: str, mode: ImportMode) -> ImportOutcome:
        """Import mappings."""
        request = ImportIds(csv=csv, mode=mode, reason="as agreed")
        return await self.service.import_ids(await self.approved(request, "merchant.master", "merchant-master"))

    async def terms(self, owner_id: str, at: datetime | None = None, method: str = "code") -> Terms:
        """The terms of an owner."""
        question = TermsQuestion(owner_id=owner_id, method=method, at=at or self.clock.now())
        return (await self.service.resolve_terms(ResolveTerms(questions=[question]))).answers[0]

    def pass_time(self, **by: float) -> datetime:
        """Let business time go by; gives the instant that it is then."""
        self.clock.advance(timedelta(**by))
        return self.clock.now()


def contract(**fee: object) -> Contract:
    """A contract by which codes are accepted, for 3 % unless a test says otherwise."""
    schedule = msgspec.convert({"rate_ppm": 30_000} | fee, FeeSchedule)
    return Contract(methods=[MethodTerms(method="code", fee=schedule)])


def digest_of(request: Message) -> str:
    """What an approval of a request is for."""
    return content_digest(replace(request, approval_id=None))


@contextmanager
def calling(caller: str, key: str | None = None) -> Generator[Call]:
    """Call as somebody, under an idempotency key."""
    call = Call(caller=caller, request_key=key)
    token = enter_call(call)
    try:
        yield call
    finally:
        leave_call(token)


def fresh_key() -> str:
    """An idempotency key as it reaches a service."""
    return new_hex()


async def refusal(work: Any) -> str:
    """The code with which something is refused."""
    try:
        await work
    except PaymentError as error:
        return error.code
    return "done"
