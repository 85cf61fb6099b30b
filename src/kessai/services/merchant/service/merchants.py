"""The verbs about merchants: registered, changed, agreed with, looked up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid, NotFound, Refused, Unavailable
from kessai.foundation.ids import derived_hex, new_hex
from kessai.services.bank.api import CheckHolder, GetBankAccount, OwnerKind
from kessai.services.merchant.api import (
    AgreeContract,
    Aspect,
    ChangeProfile,
    ChangeState,
    GetMerchant,
    GetMerchantHistory,
    ListChildren,
    ListMerchants,
    MerchantHistory,
    MerchantPage,
    MerchantRecord,
    MerchantState,
    MerchantSummary,
    RegisterMerchant,
    SetBankAccount,
    SetParent,
)
from kessai.services.merchant.domain.consolidation import collects_since, refuse_end_of_contract, refuse_parent
from kessai.services.merchant.domain.schedules import require_sound
from kessai.services.merchant.domain.standing import Agreed, Entry, Standing, standing_of
from kessai.services.merchant.domain.states import refuse_state
from kessai.services.merchant.gateways import BankAccounts
from kessai.services.merchant.service.changing import (
    Changes,
    Overtaken,
    Side,
    Wish,
    digest_of,
    json_of,
    merchant_not_found,
    repeated,
    shown,
)
from kessai.services.merchant.service.companies import company_not_found
from kessai.services.merchant.service.paging import cursor_of, history_page, position_of
from kessai.services.merchant.store import ROLE, changes, master

HIGHEST = 2**62


class MerchantDesk:
    """Implements the door's part `Merchants`."""

    _database: Database
    _clock: Clock
    _changes: Changes
    _bank: BankAccounts | None

    async def register_merchant(self, request: RegisterMerchant, /) -> MerchantRecord:
        """A new merchant, which has applied."""
        key = current_call().request_key or new_hex()
        merchant_id, digest = request.merchant_id or f"mer_{key}", digest_of(request)

        async def write(connection: Connection) -> MerchantRecord:
            known = (await changes.entries_of(connection, [merchant_id])).get(merchant_id)
            if known:
                return repeated(standing_of(merchant_id, known), known[0], digest)
            await _require_company(connection, request.profile.company_id)
            if await master.ever_mapped(connection, merchant_id):
                raise Refused("id_mapped_by_master", "The merchant master has this id for another merchant.")
            entries = self._application(request, merchant_id, derived_hex("merchant.registered", merchant_id), digest)
            now = entries[0].recorded_at
            if not await changes.insert_merchants(connection, [(merchant_id, request.profile)], entries, now):
                raise Overtaken
            return shown((await changes.standings(connection, [merchant_id]))[merchant_id], now)

        return await self._changes.again(write)

    def _application(self, request: RegisterMerchant, merchant_id: str, change_id: str, digest: str) -> list[Entry]:
        now = self._clock.now()
        contents = ((Aspect.PROFILE, json_of(request.profile)), (Aspect.STATE, json_of(MerchantState.APPLIED)))
        return [
            Entry(
                subject_id=merchant_id,
                version=number,
                change_id=change_id,
                aspect=aspect,
                valid_from=now,
                valid_until=None,
                content=content,
                reason="registered",
                changed_by=current_call().caller,
                approval_id=None,
                approved_by=None,
                digest=bytes.fromhex(digest),
                recorded_at=now,
            )
            for number, (aspect, content) in enumerate(contents, 1)
        ]

    async def change_profile(self, request: ChangeProfile, /) -> MerchantRecord:
        """Change a merchant's profile from now on."""

        async def judge(connection: Connection, _: Standing, __: datetime, ___: datetime) -> Sequence[Side]:
            await _require_company(connection, request.profile.company_id)
            return ()

        return await self._changes.make(
            Wish(
                request=request,
                merchant_id=request.merchant_id,
                aspect=Aspect.PROFILE,
                content=request.profile,
                reason=request.reason,
                judge=judge,
                approval_id=request.approval_id,
                profile=request.profile,
            )
        )

    async def change_state(self, request: ChangeState, /) -> MerchantRecord:
        """Screen, activate, suspend, resume or close a merchant."""

        async def judge(connection: Connection, standing: Standing, now: datetime, _: datetime) -> Sequence[Side]:
            children = await changes.children_ever(connection, request.merchant_id)
            collects = collects_since(request.merchant_id, children, now)
            if (refusal := refuse_state(standing, request.state, now, collects=collects)) is not None:
                raise refusal
            return ()

        return await self._changes.make(
            Wish(
                request=request,
                merchant_id=request.merchant_id,
                aspect=Aspect.STATE,
                content=request.state,
                reason=request.reason,
                judge=judge,
                approval_id=request.approval_id,
                state=request.state,
            )
        )

    async def agree_contract(self, request: AgreeContract, /) -> MerchantRecord:
        """Agree a contract or its next version."""
        require_sound(request)

        async def judge(
            connection: Connection, standing: Standing, _: datetime, valid_from: datetime
        ) -> Sequence[Side]:
            if request.valid_until is None:
                return ()
            if request.valid_until <= valid_from:
                raise Invalid("validity_reversed", "The validity ends before it begins.", field="$.valid_until")
            agreed = Agreed(standing.version + 1, request.contract, {}, request.valid_until)
            children = await changes.children_ever(connection, request.merchant_id)
            if (refusal := refuse_end_of_contract(standing, children, agreed, valid_from)) is not None:
                raise refusal
            return ()

        return await self._changes.make(
            Wish(
                request=request,
                merchant_id=request.merchant_id,
                aspect=Aspect.CONTRACT,
                content=request.contract,
                reason=request.reason,
                judge=judge,
                approval_id=request.approval_id,
                valid_from=request.valid_from,
                valid_until=request.valid_until,
            )
        )

    async def set_parent(self, request: SetParent, /) -> MerchantRecord:
        """Say who collects a merchant's money (入金集約)."""
        if request.parent_id == request.merchant_id:
            raise Invalid("parent_is_itself", "A merchant collects its own without being told to.")

        async def judge(
            connection: Connection, standing: Standing, _: datetime, valid_from: datetime
        ) -> Sequence[Side]:
            return await _sides_of_parent(connection, request, standing, valid_from)

        return await self._changes.make(
            Wish(
                request=request,
                merchant_id=request.merchant_id,
                aspect=Aspect.PARENT,
                content=request.parent_id,
                reason=request.reason,
                judge=judge,
                approval_id=request.approval_id,
                valid_from=request.valid_from,
            )
        )

    async def set_bank_account(self, request: SetBankAccount, /) -> MerchantRecord:
        """Say to which bank account a merchant is paid; a closed one's last sales are paid, too."""

        async def judge(*_: object) -> Sequence[Side]:
            return ()

        async def outside() -> None:
            await self._require_own_account(request)

        return await self._changes.make(
            Wish(
                request=request,
                merchant_id=request.merchant_id,
                aspect=Aspect.BANK_ACCOUNT,
                content=request.bank_account_id,
                reason=request.reason,
                judge=judge,
                approval_id=request.approval_id,
                valid_from=request.valid_from,
                of_closed=True,
                outside=outside,
            )
        )

    async def _require_own_account(self, request: SetBankAccount) -> None:
        if request.bank_account_id is None:
            return
        if self._bank is None:
            raise Unavailable("bank_not_available", "This platform runs without a bank.")
        account = await self._bank.get_account(GetBankAccount(account_id=request.bank_account_id))
        if (account.owner_kind, account.owner_id) != (OwnerKind.MERCHANT, request.merchant_id):
            raise Refused("bank_account_not_merchants", "This bank account is registered as somebody else's.")
        if account.removed_at is not None:
            raise Refused("bank_account_removed", "This bank account was removed.")
        names = await self._database.transaction(ROLE, lambda connection: _names_of(connection, request.merchant_id))
        if names:
            asked = CheckHolder(account_id=account.account_id, names=names)
            if not (await self._bank.check_holder(asked)).same:
                raise Refused(
                    "holder_name_differs", "The account's holder bears neither the merchant's nor its company's name."
                )

    # -- looked up ------------------------------------------------------------------------------------------------

    async def get_merchant(self, request: GetMerchant, /) -> MerchantRecord:
        """A merchant as of an instant."""
        found = await self._database.transaction(
            ROLE, lambda connection: changes.standings(connection, [request.merchant_id])
        )
        if not found:
            raise merchant_not_found(request.merchant_id)
        return shown(found[request.merchant_id], request.at or self._clock.now())

    async def get_history(self, request: GetMerchantHistory, /) -> MerchantHistory:
        """Everything that was changed of a merchant, newest first."""
        below = position_of(request.cursor, tuple[int], (HIGHEST,))[0]

        async def read(connection: Connection) -> MerchantHistory:
            if not await changes.versions(connection, [request.merchant_id]):
                raise merchant_not_found(request.merchant_id)
            return await history_page(connection, request.merchant_id, below, request.aspect, request.limit)

        return await self._database.transaction(ROLE, read)

    async def list_merchants(self, request: ListMerchants, /) -> MerchantPage:
        """Merchants, by id."""
        after = position_of(request.cursor, tuple[str], ("",))[0]
        wanted = (after, request.company_id, request.state, request.limit + 1)
        found = await self._database.transaction(ROLE, lambda connection: changes.merchants_page(connection, *wanted))
        return _page(found, request.limit)

    async def list_children(self, request: ListChildren, /) -> MerchantPage:
        """For whom a merchant collects at an instant."""
        after, at = position_of(request.cursor, tuple[str], ("",))[0], request.at or self._clock.now()

        async def read(connection: Connection) -> list[MerchantSummary]:
            if not await changes.versions(connection, [request.merchant_id]):
                raise merchant_not_found(request.merchant_id)
            return await changes.children_page(connection, request.merchant_id, at, after, request.limit + 1)

        return _page(await self._database.transaction(ROLE, read), request.limit)


def _page(found: list[MerchantSummary], limit: int) -> MerchantPage:
    page = found[:limit]
    return MerchantPage(merchants=page, next_cursor=cursor_of(page[-1].merchant_id) if len(found) > limit else None)


async def _require_company(connection: Connection, company_id: str) -> None:
    if not await changes.companies_named(connection, [company_id]):
        raise company_not_found(company_id)


async def _names_of(connection: Connection, merchant_id: str) -> list[str]:
    """The names in kana under which a merchant and its company are registered."""
    profile = (await changes.standings(connection, [merchant_id]))[merchant_id].latest_profile
    company = (await changes.companies_named(connection, [profile.company_id]))[profile.company_id].profile
    return [each for each in (profile.name_kana, company.name_kana) if each is not None]


async def _sides_of_parent(
    connection: Connection, request: SetParent, child: Standing, valid_from: datetime
) -> list[Side]:
    """The histories of who collects from then on, and of who did: both see the change, and are guarded by it."""
    named = {child.parents.at(valid_from), request.parent_id}
    found = await changes.standings(connection, sorted(each for each in named if each is not None))
    if request.parent_id is not None:
        if request.parent_id not in found:
            raise NotFound("parent_not_found", f"There is no merchant {request.parent_id}.")
        children = await changes.children_ever(connection, request.merchant_id)
        if (refusal := refuse_parent(child, found[request.parent_id], children, valid_from)) is not None:
            raise refusal
    return [
        Side(
            found[each],
            Aspect.CHILDREN,
            json_of({"child_id": child.merchant_id, "collects": each == request.parent_id}),
        )
        for each in sorted(found)
    ]
