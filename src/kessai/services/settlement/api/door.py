"""The settlement service's verbs, and the errors of each in order of precedence: one Protocol a desk, joined in one."""

from __future__ import annotations

from typing import Protocol

from kessai.foundation.contract import verb
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.services.settlement.api.cycles import Cycles
from kessai.services.settlement.api.days import (
    DailySummaries,
    GetSettlementDay,
    ListDailySummaries,
    ListSettlementDays,
    SettlementDay,
    SettlementDays,
)
from kessai.services.settlement.api.fees import FeePage, ListFees, ListWaitingSales, WaitingSales
from kessai.services.settlement.api.transactions import (
    GetTransactionsOfPayment,
    ListOpenTransactions,
    ListTransactions,
    TransactionPage,
)

READ = "settlement:read"


class Intake(Protocol):
    """取引データ, 手数料, 日次精算."""

    @verb("GET /v1/settlement/transactions", scope=READ, errors=("bad_cursor",))
    async def list_transactions(self, request: ListTransactions, /) -> TransactionPage:
        """An owner's transactions."""
        ...

    @verb("GET /v1/settlement/open-transactions", scope=READ, errors=("bad_cursor",))
    async def list_open_transactions(self, request: ListOpenTransactions, /) -> TransactionPage:
        """What does not settle yet, with its reason."""
        ...

    @verb("GET /v1/settlement/payments/{payment_id}/transactions", scope=READ)
    async def transactions_of_payment(self, request: GetTransactionsOfPayment, /) -> TransactionPage:
        """The transactions that a payment came to."""
        ...

    @verb("GET /v1/settlement/fees", scope=READ, errors=("bad_cursor",))
    async def list_fees(self, request: ListFees, /) -> FeePage:
        """An owner's fees and their returns."""
        ...

    @verb("GET /v1/settlement/waiting-sales", scope=READ, errors=("bad_cursor",))
    async def list_waiting_sales(self, request: ListWaitingSales, /) -> WaitingSales:
        """Sales and refunds whose fee cannot be worked out yet, with the reason."""
        ...

    @verb("GET /v1/settlement/days/{day}", scope=READ, errors=("settlement_day_not_found",))
    async def get_settlement_day(self, request: GetSettlementDay, /) -> SettlementDay:
        """A closed day."""
        ...

    @verb("GET /v1/settlement/days", scope=READ, errors=("range_reversed", "range_too_long"))
    async def list_settlement_days(self, request: ListSettlementDays, /) -> SettlementDays:
        """Closed days."""
        ...

    @verb("GET /v1/settlement/daily-summaries", scope=READ, errors=("range_reversed", "range_too_long", "bad_cursor"))
    async def list_daily_summaries(self, request: ListDailySummaries, /) -> DailySummaries:
        """What was sold for a payee, by day."""
        ...

    @verb("POST /v1/settlement/effects", scope=READ, batch=True)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """What settlement had moved in these processings."""
        ...


class Settlement(Intake, Cycles, Protocol):
    """加盟店精算: transaction data, fees, days, cycles, payouts and claims."""
