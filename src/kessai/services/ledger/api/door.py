"""The ledger's verbs, and the errors of each in order of precedence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from kessai.foundation.contract import verb
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.services.ledger.api.accounts import (
    Account,
    Accounts,
    CloseAccount,
    ExportAccounts,
    ExportedAccount,
    FreezeAccount,
    GetAccount,
    ListAccounts,
    ListOverCap,
    OpenAccount,
    UpdateAccount,
)
from kessai.services.ledger.api.exchanges import (
    CaptureExchange,
    CreateExchange,
    CreateExchanges,
    Exchange,
    ExchangeOutcomes,
    GetExchange,
    GetExchangeByReference,
    ReverseExchange,
    VoidExchange,
)
from kessai.services.ledger.api.queries import (
    AccountLog,
    AccountLogPage,
    AccountTypes,
    ExportLogs,
    GetSnapshot,
    ListAccountLogs,
    ListAccountTypes,
    ListLots,
    ListTypeTotals,
    LotPage,
    Snapshot,
    TypeTotals,
)

_LEG_ERRORS = (
    "malformed_id", "leg_account_ambiguous", "unknown_account_type", "account_not_found", "wrong_asset",
    "account_closed", "account_frozen", "unbalanced", "rate_required", "rate_mismatch", "condition_failed",
    "insufficient_funds", "spending_cap_exceeded", "retention_cap_exceeded", "balance_overflow",
    "expiry_not_allowed", "expires_in_past", "expires_too_far", "invalid_amount", "asset_not_exchangeable",
)  # fmt: skip


class Ledger(Protocol):
    """台帳: customers' value and every movement of it."""

    @verb("POST /v1/ledger/accounts", scope="ledger:write", status=201,
          errors=("unknown_account_type", "overdraft_not_allowed", "account_closed"))  # fmt: skip
    async def open_account(self, request: OpenAccount, /) -> Account:
        """Open an account; one that is there already is given as it is."""
        ...

    @verb("GET /v1/ledger/accounts/{account_id}", scope="ledger:read",
          errors=("account_not_found", "balance_overflow"))  # fmt: skip
    async def get_account(self, request: GetAccount, /) -> Account:
        """An account with its balance, held and available amounts."""
        ...

    @verb("GET /v1/ledger/accounts", scope="ledger:read", errors=("balance_overflow",))
    async def list_accounts(self, request: ListAccounts, /) -> Accounts:
        """An owner's accounts."""
        ...

    @verb("GET /v1/ledger/accounts-over-cap", scope="ledger:read")
    async def list_over_cap(self, request: ListOverCap, /) -> Accounts:
        """Accounts above their retention cap: returns and refunds always land, and are listed here."""
        ...

    @verb("POST /v1/ledger/accounts/{account_id}/freeze", scope="ledger:write",
          errors=("account_not_found", "account_closed"))  # fmt: skip
    async def freeze_account(self, request: FreezeAccount, /) -> Account:
        """Freeze an account in, out or both ways, or thaw it."""
        ...

    @verb("POST /v1/ledger/accounts/{account_id}/close", scope="ledger:write",
          errors=("account_not_found", "account_not_empty"))  # fmt: skip
    async def close_account(self, request: CloseAccount, /) -> Account:
        """Close an empty account."""
        ...

    @verb("PATCH /v1/ledger/accounts/{account_id}", scope="ledger:write",
          errors=("account_not_found", "account_closed", "overdraft_not_allowed"))  # fmt: skip
    async def update_account(self, request: UpdateAccount, /) -> Account:
        """Change metadata or the overdraft limit."""
        ...

    @verb("POST /v1/ledger/exchanges", scope="ledger:write", moves_value=True, status=201,
          errors=("exchange_id_reused", "reference_reused", *_LEG_ERRORS))  # fmt: skip
    async def create_exchange(self, request: CreateExchange, /) -> Exchange:
        """Move value, at once or provisionally."""
        ...

    @verb("POST /v1/ledger/exchanges/batch", scope="ledger:write", moves_value=True, batch=True)
    async def create_exchanges(self, request: CreateExchanges, /) -> ExchangeOutcomes:
        """Move value many times in one flush; each outcome stands in its place."""
        ...

    @verb("POST /v1/ledger/exchanges/{exchange_id}/capture", scope="ledger:write", moves_value=True,
          errors=("malformed_id", "exchange_not_found", "action_id_reused", "exchange_not_authorized", "hold_expired",
                  "invalid_amount", "unknown_leg", "capture_above_authorized", "unbalanced", "rate_mismatch",
                  "account_closed", "balance_overflow"))  # fmt: skip
    async def capture_exchange(self, request: CaptureExchange, /) -> Exchange:
        """Capture a held exchange, whole or in part."""
        ...

    @verb("POST /v1/ledger/exchanges/{exchange_id}/void", scope="ledger:write", moves_value=True,
          errors=("malformed_id", "exchange_not_found", "action_id_reused", "exchange_not_authorized"))  # fmt: skip
    async def void_exchange(self, request: VoidExchange, /) -> Exchange:
        """Release what a held exchange still holds."""
        ...

    @verb("POST /v1/ledger/exchanges/{exchange_id}/reverse", scope="ledger:write", moves_value=True, status=201,
          errors=("malformed_id", "exchange_id_reused", "reference_reused", "exchange_not_found",
                  "exchange_not_captured", "invalid_amount", "unknown_leg", "reversal_above_captured", "unbalanced",
                  "rate_mismatch", "account_closed", "balance_overflow",
                  "insufficient_funds"))  # fmt: skip
    async def reverse_exchange(self, request: ReverseExchange, /) -> Exchange:
        """Undo captured value, whole or in part."""
        ...

    @verb("GET /v1/ledger/exchanges/{exchange_id}", scope="ledger:read", errors=("exchange_not_found",))
    async def get_exchange(self, request: GetExchange, /) -> Exchange:
        """An exchange by its id."""
        ...

    @verb("GET /v1/ledger/exchanges", scope="ledger:read", errors=("exchange_not_found",))
    async def get_exchange_by_reference(self, request: GetExchangeByReference, /) -> Exchange:
        """An exchange by its caller's reference."""
        ...

    @verb("GET /v1/ledger/accounts/{account_id}/logs", scope="ledger:read",
          errors=("account_not_found", "bad_cursor"))  # fmt: skip
    async def list_account_logs(self, request: ListAccountLogs, /) -> AccountLogPage:
        """An account's log, newest first."""
        ...

    @verb("GET /v1/ledger/accounts/{account_id}/lots", scope="ledger:read",
          errors=("account_not_found", "bad_cursor"))  # fmt: skip
    async def list_lots(self, request: ListLots, /) -> LotPage:
        """An account's lots in order of consumption."""
        ...

    @verb("GET /v1/ledger/accounts/{account_id}/snapshot", scope="ledger:read",
          errors=("account_not_found", "as_of_in_future", "snapshot_not_stable", "balance_overflow"))  # fmt: skip
    async def get_snapshot(self, request: GetSnapshot, /) -> Snapshot:
        """An account and its lots at any past instant."""
        ...

    @verb("GET /v1/ledger/totals", scope="ledger:read",
          errors=("as_of_in_future", "snapshot_not_stable", "balance_overflow"))  # fmt: skip
    async def list_type_totals(self, request: ListTypeTotals, /) -> TypeTotals:
        """Totals of every account type, now or as of a past instant."""
        ...

    @verb("GET /v1/ledger/export/logs", scope="ledger:export", stream=True, errors=("snapshot_not_stable",))
    def export_logs(self, request: ExportLogs, /) -> AsyncIterator[AccountLog]:
        """Every account log as NDJSON, up to an instant that no process still writes below (seconds ago, at most)."""
        ...

    @verb("GET /v1/ledger/export/accounts", scope="ledger:export", stream=True)
    def export_accounts(self, request: ExportAccounts, /) -> AsyncIterator[ExportedAccount]:
        """Every account as NDJSON, with its owner and type, in the order of ids."""
        ...

    @verb("POST /v1/ledger/effects", scope="ledger:read", batch=True)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The exchanges of some processings, as their callers should know them."""
        ...

    @verb("GET /v1/ledger/account-types", scope="ledger:read")
    async def list_account_types(self, request: ListAccountTypes, /) -> AccountTypes:
        """The configured account types."""
        ...
