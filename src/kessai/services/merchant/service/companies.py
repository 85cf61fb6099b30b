"""The verbs about companies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import KeyReused, NotFound, Unavailable
from kessai.foundation.ids import new_hex
from kessai.services.merchant.api import (
    Aspect,
    ChangeCompany,
    Company,
    CompanyPage,
    CompanyProfile,
    GetCompany,
    GetCompanyHistory,
    ListCompanies,
    MerchantHistory,
    RegisterCompany,
)
from kessai.services.merchant.domain.companies import require_numbers
from kessai.services.merchant.domain.rules import ApprovalRules
from kessai.services.merchant.domain.standing import Entry
from kessai.services.merchant.service.changing import ATTEMPTS_MAX, Overtaken, digest_of, json_of
from kessai.services.merchant.service.consent import Act, Consent, Consents
from kessai.services.merchant.service.paging import cursor_of, history_page, position_of
from kessai.services.merchant.store import ROLE, changes

HIGHEST = 2**62
COMPANIES = "merchant-companies"
"""What an approval of a new company is about: it has no id yet."""
NOBODY = Consent()


class CompanyDesk:
    """Implements the door's part `Companies`."""

    _database: Database
    _clock: Clock
    _consents: Consents
    _rules: ApprovalRules

    async def register_company(self, request: RegisterCompany, /) -> Company:
        """A new company."""
        require_numbers(request.profile)
        key, digest = current_call().request_key or new_hex(), digest_of(request)
        company_id = request.company_id or f"cmp_{key}"

        async def known(connection: Connection) -> Company | None:
            entries = (await changes.entries_of(connection, [company_id])).get(company_id)
            return await _repeated(connection, entries[0], digest) if entries else None

        if found := await self._database.transaction(ROLE, known):
            return found
        consent = await self._consent(COMPANIES, request.approval_id, key, digest)

        async def write(connection: Connection) -> Company:
            if found := await known(connection):
                return found
            entry = self._entry(company_id, 1, key, request.profile, "registered", digest, consent)
            if not await changes.insert_companies(connection, [entry]):
                raise Overtaken
            return await _company(connection, company_id)

        return await self._again(write)

    async def change_company(self, request: ChangeCompany, /) -> Company:
        """Change a company's profile from now on."""
        require_numbers(request.profile)
        key, digest = current_call().request_key or new_hex(), digest_of(request)

        async def judge(connection: Connection) -> Company | int:
            """The answer to a repetition, or the version that is next."""
            entries = (await changes.entries_of(connection, [request.company_id])).get(request.company_id)
            if not entries:
                raise company_not_found(request.company_id)
            for each in entries:
                if each.change_id == key:
                    return await _repeated(connection, each, digest)
            return entries[-1].version + 1

        found = await self._database.transaction(ROLE, judge)
        if isinstance(found, Company):
            return found
        consent = await self._consent(request.company_id, request.approval_id, key, digest)

        async def write(connection: Connection) -> Company:
            version = await judge(connection)
            if isinstance(version, Company):
                return version
            entry = self._entry(request.company_id, version, key, request.profile, request.reason, digest, consent)
            if not await changes.change_companies(connection, [entry]):
                raise Overtaken
            return await _company(connection, request.company_id)

        return await self._again(write)

    async def _consent(self, subject: str, approval_id: str | None, act_id: str, digest: str) -> Consent:
        if not self._rules.needed_for(Aspect.COMPANY):
            return Consent()
        action = f"merchant.{Aspect.COMPANY.value}"
        return await self._consents.use(Act(act_id, subject, action, digest, approval_id))

    async def get_company(self, request: GetCompany, /) -> Company:
        """A company."""
        return await self._database.transaction(ROLE, lambda connection: _company(connection, request.company_id))

    async def get_company_history(self, request: GetCompanyHistory, /) -> MerchantHistory:
        """Everything that was changed of a company, newest first."""
        below = position_of(request.cursor, tuple[int], (HIGHEST,))[0]

        async def read(connection: Connection) -> MerchantHistory:
            await _company(connection, request.company_id)
            return await history_page(connection, request.company_id, below, None, request.limit)

        return await self._database.transaction(ROLE, read)

    async def list_companies(self, request: ListCompanies, /) -> CompanyPage:
        """Companies, by id."""
        after = position_of(request.cursor, tuple[str], ("",))[0]
        found = await self._database.transaction(
            ROLE, lambda connection: changes.companies_page(connection, after, request.limit + 1)
        )
        page = found[: request.limit]
        more = len(found) > request.limit
        return CompanyPage(companies=page, next_cursor=cursor_of(page[-1].company_id) if more else None)

    async def _again(self, write: Callable[[Connection], Awaitable[Company]]) -> Company:
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._database.transaction(ROLE, write)
            except Overtaken:
                continue
        raise Unavailable("contention", "Too many concurrent changes to the same company; try again.")

    def _entry(
        self, company_id: str, version: int, key: str, profile: CompanyProfile, reason: str, digest: str,
        consent: Consent = NOBODY,
    ) -> Entry:  # fmt: skip
        now = self._clock.now()
        return Entry(
            subject_id=company_id,
            version=version,
            change_id=key,
            aspect=Aspect.COMPANY,
            valid_from=now,
            valid_until=None,
            content=json_of(profile),
            reason=reason,
            changed_by=current_call().caller,
            approval_id=consent.approval_id,
            approved_by=consent.approved_by,
            digest=bytes.fromhex(digest),
            recorded_at=now,
        )


async def _repeated(connection: Connection, entry: Entry, digest: str) -> Company:
    if entry.digest.hex() != digest:
        raise KeyReused
    current_call().replayed = True
    return await _company(connection, entry.subject_id)


async def _company(connection: Connection, company_id: str) -> Company:
    found = await changes.companies_named(connection, [company_id])
    if not found:
        raise company_not_found(company_id)
    return found[company_id]


def company_not_found(company_id: str) -> NotFound:
    """No company of that id."""
    return NotFound("company_not_found", f"There is no company {company_id}.", company_id=company_id)
