"""The ledger's door: messages, published events, verbs and the errors of each in order of precedence.

Amounts are whole minor units. In an answer a leg's `amount_minor` is signed: negative leaves the account.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Instant, Label, Message, PageLimit, Reference, verb
from kessai.foundation.ids import AccountId, derived_hex

LEGS_MAX = 64
BATCH_EXCHANGES_MAX = 8_000
METADATA_MAX = 16

Legs = Annotated[list["Leg"], msgspec.Meta(min_length=1, max_length=LEGS_MAX)]
Metadata = Annotated[dict[Label, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=METADATA_MAX)]
Owner = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{3}_[0-9a-f]{32}$")]


class ExchangeState(StrEnum):
    """AUTHORIZED (仮売上) holds the sources; CAPTURED is final; what was never captured ends VOIDED or EXPIRED."""

    AUTHORIZED = "AUTHORIZED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    EXPIRED = "EXPIRED"


class Freeze(StrEnum):
    """Which way an account is frozen. Voluntary credits are stopped by IN and BOTH; returns and refunds still land."""

    NONE = "NONE"
    IN = "IN"
    OUT = "OUT"
    BOTH = "BOTH"


@lru_cache(maxsize=65_536)
def account_id_of(owner: str, account_type: str) -> AccountId:
    """The id of an owner's account of a type: derived, so that callers need no look-up and none can exist twice."""
    return AccountId("acc_" + derived_hex("account", owner, account_type))


# -- accounts ---------------------------------------------------------------------------------------------------


class OpenAccount(Message):
    """Open an owner's account of a configured type; opening it again gives the same account."""

    owner: Owner
    account_type: Label
    metadata: Metadata = {}
    overdraft_limit_minor: Annotated[int, msgspec.Meta(ge=0, le=10**16)] | None = None
    """How far below zero it may go; only for types with an overdraft (credit), at most the type's own limit."""


class Account(Message):
    """A value account. `available = balance − held − expired but not yet posted (+ overdraft limit)`."""

    account_id: str
    owner: str
    account_type: str
    asset: str
    balance_minor: int
    held_minor: int
    available_minor: int
    overdraft_limit_minor: int
    freeze: Freeze
    closed: bool
    version: int
    metadata: Metadata
    opened_at: Instant
    log_only: bool
    """No running balance: `balance_minor` is summed when asked, `version` is always 0."""


class GetAccount(Message):
    """Which account."""

    account_id: Id


class ListAccounts(Message):
    """An owner's accounts."""

    owner: Owner


class Accounts(Message):
    """Accounts, in order of their type."""

    accounts: list[Account]


class FreezeAccount(Message):
    """Freeze, or thaw with NONE."""

    account_id: Id
    freeze: Freeze


class CloseAccount(Message):
    """Close for good; only at a balance of zero with nothing held."""

    account_id: Id


class UpdateAccount(Message):
    """Replace metadata or the overdraft limit; what is left out stays."""

    account_id: Id
    metadata: Metadata | None = None
    overdraft_limit_minor: Annotated[int, msgspec.Meta(ge=0, le=10**16)] | None = None


# -- exchanges --------------------------------------------------------------------------------------------------


class Leg(Message):
    """One side's part of an exchange: by `account_id`, or by `owner` and `account_type` (auto-created if so configured)."""

    amount_minor: AmountMinor
    asset: Asset
    account_id: Id | None = None
    owner: Owner | None = None
    account_type: Label | None = None
    balancing: bool = False
    """Source: as much as there is, up to `amount_minor`. Target: whatever the sources gave (one a side and asset)."""
    expires_at: Instant | None = None
    """Target: when the new lot expires; None takes the type's own lifetime."""
    balance_at_least_minor: int | None = None
    """Condition: the balance before this exchange."""
    version_equals: int | None = None
    """Condition: the account's version before this exchange."""
    returning: bool = False
    """Target: value coming back to its owner (a return, a refund): caps and freezes do not stop it."""


class CreateExchange(Message):
    """Move value from sources to targets; per asset both sides must be equal, or carry `rate` between two assets."""

    sources: Legs
    targets: Legs
    exchange_id: Id | None = None
    """`exc_…` chosen by the caller makes the call idempotent; None: derived from the idempotency key, or fresh."""
    reference: Reference | None = None
    """The caller's own name for it, unique in this ledger."""
    kind: Label = "transfer"
    capture: bool = True
    """False: only hold the sources (仮売上) until capture, void or `expires_at`."""
    expires_at: Instant | None = None
    """When an uncaptured exchange lapses; None: seven days."""
    rate: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}(\.[0-9]{1,12})?$")] | None = None
    """Units of the price asset (JPY) per one unit of the other (BTC), for an exchange of two assets."""
    metadata: Metadata = {}
    linked: bool = False
    """In a batch: stands or falls together with the next exchange."""


class LotTaking(Message):
    """How much of which lot a leg consumed (negative) or gave back (positive)."""

    lot_id: str
    amount_minor: int


class ExchangeLeg(Message):
    """One account's part. Numbers run over sources, then targets, then the position accounts of a cross-asset exchange."""

    leg: int
    account_id: str
    asset: str
    amount_minor: int
    captured_minor: int
    reversed_minor: int
    balance_after_minor: int | None
    """Right after the movement that this answer tells of; None for log-only accounts and in look-ups."""
    realised_gain_minor: int | None
    """Where acquisition rates are tracked: proceeds less cost, in the price asset."""
    lots: list[LotTaking]


class Exchange(Message):
    """An exchange and how far it has come."""

    exchange_id: str
    kind: str
    state: ExchangeState
    legs: list[ExchangeLeg]
    recorded_at: Instant
    reference: str | None
    expires_at: Instant | None
    reverses: str | None
    """The exchange that this one undoes, wholly or in part."""
    rate: str | None
    metadata: Metadata
    processing_id: str | None


class CreateExchanges(Message):
    """Up to 8,000 exchanges in one flush: all or none, or each alone (and linked chains together)."""

    exchanges: Annotated[list[CreateExchange], msgspec.Meta(min_length=1, max_length=BATCH_EXCHANGES_MAX)]
    all_or_nothing: bool = False


class Failure(Message):
    """Why one of a batch was not done."""

    code: str
    message: str
    retryable: bool


class ExchangeOutcome(Message):
    """Exactly one of the two is set."""

    exchange: Exchange | None
    failure: Failure | None


class ExchangeOutcomes(Message):
    """One outcome an exchange, in the order of the request."""

    outcomes: list[ExchangeOutcome]


class LegAmount(Message):
    """An amount of one leg of an exchange."""

    leg: int
    amount_minor: AmountMinor


class CaptureExchange(Message):
    """Make a held exchange final: all of it, an amount of it, or named amounts of its legs (both sides equal)."""

    exchange_id: Id
    amount_minor: AmountMinor | None = None
    """Of a one-asset exchange: taken from the sources in order and given to the targets in order."""
    legs: list[LegAmount] = []
    final: bool = True
    """Release what is left uncaptured; False keeps holding it for a further capture."""
    action_id: Id | None = None
    """`act_…` makes the call idempotent; None: derived from the idempotency key, or fresh."""


class VoidExchange(Message):
    """Release what an exchange still holds."""

    exchange_id: Id
    action_id: Id | None = None


class ReverseExchange(Message):
    """Undo captured value by a new exchange the other way; consumed lots come back with their own expiry."""

    exchange_id: Id
    amount_minor: AmountMinor | None = None
    """Of a one-asset exchange, taken over its legs in order; None with no `legs`: all that is left."""
    legs: list[LegAmount] = []
    reversal_id: Id | None = None
    """`exc_…` of the reversing exchange; makes the call idempotent."""
    reference: Reference | None = None
    kind: Label = "reversal"
    metadata: Metadata = {}


class GetExchange(Message):
    """Which exchange."""

    exchange_id: Id


class GetExchangeByReference(Message):
    """By the caller's own reference."""

    reference: Reference


# -- queries ----------------------------------------------------------------------------------------------------


class ListAccountLogs(Message):
    """A page of an account's log, newest first; `cursor` comes from the page before."""

    account_id: Id
    limit: PageLimit = 100
    cursor: str | None = None


class AccountLog(Message):
    """One entry: what changed and what was there after it. `sequence` is the account's version at the entry."""

    account_id: str
    sequence: int
    exchange_id: str
    amount_minor: int
    held_change_minor: int
    balance_minor: int | None
    held_minor: int | None
    recorded_at: Instant


class AccountLogPage(Message):
    """A page; `next_cursor` is None on the last one."""

    logs: list[AccountLog]
    next_cursor: str | None


class ListLots(Message):
    """An account's lots in the order they would be consumed; open ones only unless asked."""

    account_id: Id
    include_empty: bool = False
    limit: PageLimit = 100
    cursor: str | None = None


class Lot(Message):
    """One credit: how much of it is left and held, until when, and at which rate it was acquired."""

    lot_id: str
    amount_minor: int
    remaining_minor: int
    held_minor: int
    expires_at: Instant | None
    acquisition_rate: str | None


class LotPage(Message):
    """A page; `next_cursor` is None on the last one."""

    lots: list[Lot]
    next_cursor: str | None


class GetSnapshot(Message):
    """An account with its lots as of any past instant; None is now."""

    account_id: Id
    as_of: Instant | None = None


class Snapshot(Message):
    """What the account held at that instant."""

    account_id: str
    as_of: Instant
    balance_minor: int
    held_minor: int
    lots: list[Lot]


class ListTypeTotals(Message):
    """Totals of every account type."""


class TypeTotal(Message):
    """Sum over all accounts of one type."""

    account_type: str
    asset: str
    accounts: int
    balance_minor: int
    held_minor: int


class TypeTotals(Message):
    """In order of type; per asset the balances add up to zero."""

    totals: list[TypeTotal]


class ExportLogs(Message):
    """All account logs, or those recorded at or after an instant."""

    since: Instant | None = None


class ListAccountTypes(Message):
    """The configured account types."""


class AccountTypeInfo(Message):
    """One configured type, as far as callers need it."""

    account_type: str
    name_ja: str
    asset: str
    owner_kind: str
    auto_create: bool
    log_only: bool
    retention_cap_minor: int | None
    spending_cap_minor: int | None
    overdraft_limit_minor: int | None
    expires_after_days: int | None
    rate_tracked: bool


class AccountTypes(Message):
    """All of them."""

    types: list[AccountTypeInfo]


# -- events -----------------------------------------------------------------------------------------------------


class ExchangeRecorded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Published as `ledger.exchange` (and `ledger.expiry`): one effect on an exchange, with everything it posted.

    `postings` are arrays `[leg, account_id, asset, amount, held_change, balance_after, held_after, sequence,
    [[lot_sequence, amount, held_change] …], new_lot_expires_at, new_lot_rate, realised_gain]`, instants in whole
    microseconds since 2020-01-01 UTC; in log-only accounts balance and held are null. The text of this message is
    what the ledger's seal covers.
    """

    exchange_id: str
    action: str
    """created (captured at once), authorized, captured, voided, expired or reversed (told of the reversing exchange)."""
    kind: str
    state: ExchangeState
    caller: str
    postings: list[list[object]] = []
    legs: list[list[object]] = []
    """Of `authorized`: `[account_id, asset, signed amount, lot expiry]` a leg. Of later actions: `[captured, reversed]`."""
    action_id: str | None = None
    content: str | None = None
    """Digest of what the action was asked with."""
    reference: str | None = None
    expires: int | None = None
    reverses: str | None = None
    rate: str | None = None
    metadata: dict[str, str] = {}
    processing_id: str | None = None


# -- the door ---------------------------------------------------------------------------------------------------

_LEG_ERRORS = (
    "malformed_id", "leg_account_ambiguous", "unknown_account_type", "account_not_found", "wrong_asset",
    "account_closed", "account_frozen", "unbalanced", "rate_required", "rate_mismatch", "condition_failed",
    "insufficient_funds", "spending_cap_exceeded", "retention_cap_exceeded", "balance_overflow",
    "expiry_not_allowed", "asset_not_exchangeable",
)  # fmt: skip


class Ledger(Protocol):
    """台帳: customers' value and every movement of it."""

    @verb("POST /v1/ledger/accounts", scope="ledger:write", status=201,
          errors=("unknown_account_type", "overdraft_not_allowed", "account_closed"))  # fmt: skip
    async def open_account(self, request: OpenAccount, /) -> Account:
        """Open an account."""
        ...

    @verb("GET /v1/ledger/accounts/{account_id}", scope="ledger:read", errors=("account_not_found",))
    async def get_account(self, request: GetAccount, /) -> Account:
        """An account with its balance, held and available amounts."""
        ...

    @verb("GET /v1/ledger/accounts", scope="ledger:read")
    async def list_accounts(self, request: ListAccounts, /) -> Accounts:
        """An owner's accounts."""
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
          errors=("exchange_id_reused", "reference_reused", *_LEG_ERRORS, "expires_in_past"))  # fmt: skip
    async def create_exchange(self, request: CreateExchange, /) -> Exchange:
        """Move value, at once or provisionally."""
        ...

    @verb("POST /v1/ledger/exchanges/batch", scope="ledger:write", moves_value=True, batch=True,
          errors=("batch_id_reused",))  # fmt: skip
    async def create_exchanges(self, request: CreateExchanges, /) -> ExchangeOutcomes:
        """Move value many times in one flush; each outcome stands in its place."""
        ...

    @verb("POST /v1/ledger/exchanges/{exchange_id}/capture", scope="ledger:write", moves_value=True,
          errors=("exchange_not_found", "action_id_reused", "exchange_not_authorized", "hold_expired",
                  "unknown_leg", "capture_above_authorized", "unbalanced"))  # fmt: skip
    async def capture_exchange(self, request: CaptureExchange, /) -> Exchange:
        """Capture a held exchange, whole or in part."""
        ...

    @verb("POST /v1/ledger/exchanges/{exchange_id}/void", scope="ledger:write", moves_value=True,
          errors=("exchange_not_found", "action_id_reused", "exchange_not_authorized"))  # fmt: skip
    async def void_exchange(self, request: VoidExchange, /) -> Exchange:
        """Release what a held exchange still holds."""
        ...

    @verb("POST /v1/ledger/exchanges/{exchange_id}/reverse", scope="ledger:write", moves_value=True, status=201,
          errors=("exchange_not_found", "exchange_id_reused", "reference_reused", "exchange_not_captured",
                  "unknown_leg", "reversal_above_captured", "unbalanced", "account_closed",
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
          errors=("account_not_found", "as_of_in_future", "snapshot_not_stable"))  # fmt: skip
    async def get_snapshot(self, request: GetSnapshot, /) -> Snapshot:
        """An account and its lots at any past instant."""
        ...

    @verb("GET /v1/ledger/totals", scope="ledger:read")
    async def list_type_totals(self, request: ListTypeTotals, /) -> TypeTotals:
        """Totals of every account type."""
        ...

    @verb("GET /v1/ledger/export/logs", scope="ledger:export", stream=True)
    def export_logs(self, request: ExportLogs, /) -> AsyncIterator[AccountLog]:
        """Every account log as NDJSON."""
        ...

    @verb("GET /v1/ledger/account-types", scope="ledger:read")
    async def list_account_types(self, request: ListAccountTypes, /) -> AccountTypes:
        """The configured account types."""
        ...
