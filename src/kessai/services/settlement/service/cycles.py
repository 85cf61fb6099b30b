"""The desk of cycles: sales summaries; with it go the desks of payouts, claims and statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection
from kessai.foundation.errors import NotFound
from kessai.foundation.ids import bare
from kessai.services.settlement import store
from kessai.services.settlement.api.cycles import (
    GetSalesSummary,
    ListPayeesWithoutTerms,
    ListSalesSummaries,
    PayeesWithoutTerms,
    PayeeWithoutTerms,
    SalesSummaries,
    SalesSummary,
)
from kessai.services.settlement.domain.drafting import OpenSum
from kessai.services.settlement.service.claims import ClaimDesk
from kessai.services.settlement.service.payouts import PayoutDesk
from kessai.services.settlement.service.statements import StatementDesk
from kessai.services.settlement.store import cycles
from kessai.services.settlement.store.cycles import Summary
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.cycle import terms_on

LOOKED_AT_ONCE = 500
"""Payees of which the merchant service is asked at a time."""


class SummaryDesk:
    """売上集計."""

    _deps: Deps

    async def list_sales_summaries(self, request: ListSalesSummaries, /) -> SalesSummaries:
        """A payee's cycles."""
        before = request.before or date.max
        found = await self._deps.database.transaction(
            store.ROLE, lambda connection: cycles.summaries_of(connection, request.payee_id, before, request.limit)
        )
        return SalesSummaries(summaries=[summary_record(each) for each in found])

    async def get_sales_summary(self, request: GetSalesSummary, /) -> SalesSummary:
        """One cycle of a payee."""

        async def read(connection: Connection) -> SalesSummary:
            found = await cycles.summary_of(connection, request.payee_id, bare(request.cycle_id))
            if found is None:
                raise NotFound("sales_summary_not_found", "There is no such cycle.", cycle_id=request.cycle_id)
            return summary_record(found)

        return await self._deps.database.transaction(store.ROLE, read)

    async def list_payees_without_terms(self, request: ListPayeesWithoutTerms, /) -> PayeesWithoutTerms:
        """Payees with money, as of today, of which the merchant service has no terms."""
        deps, today = self._deps, business_date(self._deps.clock.now())
        after, found = request.cursor or "", list[str]()
        while len(found) <= request.limit:
            page = await cycles.payees_with_money(deps.database, today, after, LOOKED_AT_ONCE)
            known = {each.payee_id for each in await terms_on(deps, page, today)}
            found += [each for each in page if each not in known]
            if len(page) < LOOKED_AT_ONCE:
                break
            after = page[-1]
        told = found[: request.limit]
        sums = await deps.database.transaction(store.ROLE, lambda connection: cycles.open_sums(connection, told, today))
        return PayeesWithoutTerms(
            payees=[_without_terms(each, sums.get(each, [])) for each in told],
            next_cursor=told[-1] if len(found) > len(told) else None,
        )


def _without_terms(payee_id: str, sums: Sequence[OpenSum]) -> PayeeWithoutTerms:
    return PayeeWithoutTerms(
        payee_id=payee_id,
        since=min((each.first_day for each in sums), default=None),
        net_minor=sum(each.net.net_minor for each in sums),
        transactions=sum(each.transactions for each in sums),
    )


def summary_record(found: Summary) -> SalesSummary:
    """A sales summary as it is told."""
    return SalesSummary(
        payee_id=found.payee_id,
        cycle_id=f"cyc_{found.cycle_id}",
        first_day=found.first_day,
        last_day=found.last_day,
        sales_minor=found.sales_minor,
        refunds_minor=found.refunds_minor,
        fees_minor=found.fees_minor,
        fee_refunds_minor=found.fee_refunds_minor,
        added_minor=found.added_minor,
        taken_minor=found.taken_minor,
        net_minor=found.net_minor,
        cleared_minor=found.cleared_minor,
        shortfall_minor=found.shortfall_minor,
        transactions=found.transactions,
        made_at=found.made_at,
    )


class CycleDesk(SummaryDesk, PayoutDesk, ClaimDesk, StatementDesk):
    """Its verbs work with `_deps`, which the service makes before it is used."""

    _deps: Deps
