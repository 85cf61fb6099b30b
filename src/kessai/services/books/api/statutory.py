"""The statutory desk (法定帳簿): days of the books that the law asks for, and what people record for them.

Amounts are whole minor units of their asset; days are days in Asia/Tokyo.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal, Protocol

import msgspec

from kessai.foundation.contract import Asset, Label, Message, Reference, verb

SAFEGUARD_MINOR_MAX = 10**15
COUNTS_MAX = 500
PRICES_MAX = 100

Quantity = Annotated[int, msgspec.Meta(ge=0, le=10**17, description="whole smallest units of the asset")]
UnitPrice = Annotated[
    str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,10})?$", description="yen a whole unit")
]
Place = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class MakeStatutoryDay(Message):
    """Make the books of a day, and of every day before it that is not made yet; of one that is: make it again."""

    day: date


class GetStatutoryDay(Message):
    """Which day."""

    day: date


class CategoryFigure(Message):
    """What moved in one category; up is positive."""

    category: str
    amount_minor: int
    lines: int
    late_lines: int
    """Those of earlier days: they were told of after their own day was made."""


class BookFigure(Message):
    """An account type's day: opening, what moved, closing."""

    account_type: str
    asset: str
    opening_minor: int
    categories: list[CategoryFigure]
    closing_minor: int
    told_minor: int
    """The sum of all customers' balances as the ledger told them; the same as the closing when nothing is missing."""
    accounts: int
    moved: int
    differing: int
    """Accounts whose closing is not what the ledger told."""


class SecurityFigure(Message):
    """要履行保証額 of one type of funds transfer at the end of the day."""

    transfer_type: int
    business_day: bool
    obligation_minor: int
    """未達債務."""
    procedure_cost_minor: int
    required_minor: int


class StatutoryDay(Message):
    """A day of the statutory books. Made again, it is the same to the byte."""

    day: date
    digest: str
    """Over every row of the day and the digest of the day before."""
    previous_digest: str
    made_at: datetime
    lines: int
    late_lines: int
    books: list[BookFigure]
    security: list[SecurityFigure]
    over_cap: int
    """Customers above the retention cap (滞留)."""


class SafeguardMeans(StrEnum):
    """How customers' money is secured."""

    DEPOSIT = "DEPOSIT"
    """供託."""
    GUARANTEE = "GUARANTEE"
    """保全契約."""
    TRUST = "TRUST"
    """信託."""


class RecordSafeguard(Message):
    """What was deposited, guaranteed or entrusted, or (negative) released. Sent again it is recorded once."""

    book: Literal["funds_transfer", "prepaid"]
    reference: Reference
    """Of the deposit certificate or the contract; unique in its book."""
    means: SafeguardMeans
    amount_minor: Annotated[int, msgspec.Meta(ge=-SAFEGUARD_MINOR_MAX, le=SAFEGUARD_MINOR_MAX)]
    effective_on: date
    place: Place
    """The deposit office, the bank or the trust company."""
    transfer_type: Literal["1", "2", "3"] | None = None
    """Of funds transfer: which type of it; None: the only one there is. Of prepaid: None."""


class Safeguarded(Message):
    """What secures a book now, counting what was recorded just now."""

    book: str
    reference: str
    secured_minor: int
    """All that takes effect up to the day named, together."""


class WalletCount(Message):
    """What stood in one wallet."""

    wallet: Label
    asset: Asset
    cold: bool
    """Whether its keys were never connected to a network."""
    quantity: Quantity


class RecordWallets(Message):
    """What stood in the wallets at the end of a day, as they were counted. Sent again it is recorded once."""

    day: date
    wallets: Annotated[list[WalletCount], msgspec.Meta(min_length=1, max_length=COUNTS_MAX)]


class AssetPrice(Message):
    """Yen for one whole unit of an asset."""

    asset: Asset
    unit_price: UnitPrice


class RecordPrices(Message):
    """The prices that value a day. Sent again they are recorded once."""

    day: date
    source: Label
    """Whose prices they are."""
    prices: Annotated[list[AssetPrice], msgspec.Meta(min_length=1, max_length=PRICES_MAX)]


class Recorded(Message):
    """How many rows there were to record; those that were there already are not counted."""

    recorded: int


class Statutory(Protocol):
    """The statutory books' verbs, and the errors of each in order of precedence."""

    @verb("POST /v1/books/statutory-days", scope="books:close",
          errors=("day_not_over", "day_before_books", "feed_behind", "statutory_day_differs"))  # fmt: skip
    async def make_statutory_day(self, request: MakeStatutoryDay, /) -> StatutoryDay:
        """Make the statutory books of a day, or make them again and compare."""
        ...

    @verb("GET /v1/books/statutory-days/{day}", scope="books:read", errors=("statutory_day_not_made",))
    async def get_statutory_day(self, request: GetStatutoryDay, /) -> StatutoryDay:
        """A day of the statutory books."""
        ...

    @verb("POST /v1/books/safeguards", scope="books:write", status=201,
          errors=("future_date", "amount_zero", "transfer_type_unknown", "safeguard_differs",
                  "release_exceeds_safeguard"))  # fmt: skip
    async def record_safeguard(self, request: RecordSafeguard, /) -> Safeguarded:
        """Record a deposit, a guarantee or a trust that secures customers' money, or its release."""
        ...

    @verb("POST /v1/books/wallets", scope="books:write", status=201,
          errors=("future_date", "unknown_asset", "wallet_count_differs"))  # fmt: skip
    async def record_wallets(self, request: RecordWallets, /) -> Recorded:
        """Record what stood in the wallets at the end of a day."""
        ...

    @verb("POST /v1/books/prices", scope="books:write", status=201,
          errors=("future_date", "unknown_asset", "price_differs"))  # fmt: skip
    async def record_prices(self, request: RecordPrices, /) -> Recorded:
        """Record the prices that value crypto-assets on a day."""
        ...
