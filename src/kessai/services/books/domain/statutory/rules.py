"""The statutory books' configuration: versions by the day from which they hold, read once at start.

What is wrong is refused with its line named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

import msgspec

from kessai.foundation.config import KeyPath, TomlDocument, load_toml
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.domain.calendar import PERIOD_DAYS_MAX
from kessai.services.books.domain.versions import Versions, check_order, tables_of

Bps = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Minor = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
BookName = Literal["funds_transfer", "prepaid", "crypto_asset"]


class Category(StrEnum):
    """What a line is in the roll-forward of its book."""

    RECEIPT = "RECEIPT"
    FEE = "FEE"
    PAYOUT = "PAYOUT"
    RETURN = "RETURN"
    ISSUE = "ISSUE"
    REDEMPTION = "REDEMPTION"
    EXPIRY = "EXPIRY"
    REPAYMENT = "REPAYMENT"
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    PURCHASE = "PURCHASE"
    SALE = "SALE"


CATEGORIES: Mapping[str, frozenset[Category]] = {
    "funds_transfer": frozenset({Category.RECEIPT, Category.FEE, Category.PAYOUT, Category.RETURN}),
    "prepaid": frozenset({Category.ISSUE, Category.REDEMPTION, Category.EXPIRY, Category.REPAYMENT}),
    "crypto_asset": frozenset(
        {Category.DEPOSIT, Category.WITHDRAWAL, Category.PURCHASE, Category.SALE, Category.FEE}
    ),
}  # fmt: skip
"""Which categories a book's roll-forward knows."""


class Sides(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a kind of exchange is on each side; None: as the type says."""

    credit: Category | None = None
    debit: Category | None = None


class BookType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account type that stands in a book; see `config/statutory.toml`."""

    book: BookName
    name_ja: str
    asset: str
    credit: Category
    debit: Category
    kinds: dict[str, Sides] = {}
    trade_credit: Category | None = None
    trade_debit: Category | None = None
    fee_types: tuple[str, ...] = ()
    transfer_type: Literal[1, 2, 3] | None = None
    valid_months: Positive | None = None
    undone_as_done: bool = False

    def category_undone(self, kind: str, *, credit: bool, trade: bool) -> Category:
        """What a movement is that undoes one of a kind: the same, so that there is less of it."""
        return self.category(kind, credit=not credit, trade=trade)

    def category(self, kind: str, *, credit: bool, trade: bool) -> Category:
        """What a movement is."""
        if (sides := self.kinds.get(kind)) is not None:
            named = sides.credit if credit else sides.debit
            if named is not None:
                return named
        if trade and self.trade_credit is not None and self.trade_debit is not None:
            return self.trade_credit if credit else self.trade_debit
        return self.credit if credit else self.debit


class TransferType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One type of funds transfer business (第一種, 第二種, 第三種)."""

    name_ja: str
    period_days: Annotated[int, msgspec.Meta(ge=1, le=PERIOD_DAYS_MAX)]
    period_first: date
    retention_cap_minor: Positive | None = None
    transfer_max_minor: Positive | None = None


class SecurityRules(msgspec.Struct, frozen=True, kw_only=True):
    """How 要履行保証額 is worked out, in yen."""

    cost_rate_bps: Bps
    cost_step_minor: Minor
    cost_rate_above_bps: Bps
    floor_minor: Minor


class DepositTerms(NamedTuple):
    """When a type of funds transfer business deposits."""

    name_ja: str
    period_first: date
    period_days: int
    business_days: int
    """After a period's last day."""


class FundsTransferRules(SecurityRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What secures customers' money, in yen."""

    deposit_business_days: Positive
    transfer_types: dict[str, TransferType]

    def deposit_terms(self, number: str) -> DepositTerms:
        """Those of one type."""
        kind = self.transfer_types[number]
        return DepositTerms(kind.name_ja, kind.period_first, kind.period_days, self.deposit_business_days)


class PrepaidRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What secures unused balances, in yen."""

    deposit_over_minor: Minor
    deposit_share_bps: Bps
    deposit_months: Positive
    exempt_valid_months: Minor


class CryptoRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trades and safekeeping."""

    capacity: Literal["OWN", "AGENCY"]
    off_cold_max_bps: Bps


class FeedRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the feed is known to have told a whole day."""

    quiet_after_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)]


class StatutoryRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds from a day on. Days that are made keep it as it is here: what is added later needs a default."""

    number: int
    valid_from: date
    valid_until: date | None = None
    types: dict[str, BookType]
    funds_transfer: FundsTransferRules
    prepaid: PrepaidRules
    crypto_asset: CryptoRules
    retention_years: dict[str, Positive]

    def types_of(self, book: BookName) -> dict[str, BookType]:
        """The account types of a book, in the order of the file."""
        return {name: each for name, each in self.types.items() if each.book == book}


class StatutoryConfig(Versions[StatutoryRules]):
    """All versions, and when the feed is known to have told a whole day."""

    def __init__(self, versions: Sequence[StatutoryRules], feed: FeedRules) -> None:
        super().__init__(versions)
        self.feed = feed
        self.types: Mapping[str, BookType] = {
            name: each for version in versions for name, each in version.types.items()
        }
        """Every account type of any version, as the latest that has it tells."""
        self._first = versions[0]

    def of(self, day: date) -> StatutoryRules:
        """What holds on a day; before the first version, what that one says."""
        return self.on(day) or self._first

    def types_of(self, book: BookName) -> list[str]:
        """The account types of a book, in any version."""
        return [name for name, each in self.types.items() if each.book == book]


def read_statutory(
    document: TomlDocument | None = None, classes: Mapping[str, str] | None = None
) -> StatutoryConfig:  # fmt: skip
    """The configuration, or the platform's own; `classes` are the ledger's account types with their statutory class.

    Raises ConfigError that names the line of what is wrong.
    """
    document = document or load_toml("kessai.config", "statutory.toml")
    places = range(len(tables_of(document, beside=("feed",))))
    feed = document.convert(("feed",), FeedRules)
    versions = [document.convert(("version", place), StatutoryRules) for place in places]
    ends = check_order(document, versions)
    for place, rules in enumerate(versions):
        at: KeyPath = ("version", place)
        for name, each in rules.types.items():
            _check_type(document, at, name, each, rules)
        if classes is not None:
            _check_classes(document, at, rules, classes)
    ended = (msgspec.structs.replace(each, valid_until=last) for each, last in zip(versions, ends, strict=True))
    return StatutoryConfig(list(ended), feed)


def _check_type(document: TomlDocument, at: KeyPath, name: str, each: BookType, rules: StatutoryRules) -> None:
    if each.asset not in ASSET_EXPONENTS:
        raise document.error((*at, "types", name, "asset"), "no such asset")
    for path, category in _categories(each):
        if category not in CATEGORIES[each.book]:
            raise document.error((*at, "types", name, *path), f"{category} is nothing that the book {each.book} knows")
    if each.book == "funds_transfer" and str(each.transfer_type) not in rules.funds_transfer.transfer_types:
        raise document.error((*at, "types", name, "transfer_type"), "must name one of funds_transfer.transfer_types")
    if each.book == "prepaid" and each.valid_months is None:
        raise document.error((*at, "types", name, "valid_months"), "is missing")
    if each.undone_as_done and each.book != "prepaid":
        raise document.error((*at, "types", name, "undone_as_done"), "is said of prepaid instruments only")
    if each.book != "crypto_asset" and each.asset != "JPY":
        raise document.error((*at, "types", name, "asset"), f"the book {each.book} is kept in JPY")


def _categories(each: BookType) -> Sequence[tuple[tuple[str, ...], Category]]:
    found: list[tuple[tuple[str, ...], Category | None]] = [
        (("credit",), each.credit),
        (("debit",), each.debit),
        (("trade_credit",), each.trade_credit),
        (("trade_debit",), each.trade_debit),
    ]
    for kind, sides in each.kinds.items():
        found += [(("kinds", kind, "credit"), sides.credit), (("kinds", kind, "debit"), sides.debit)]
    if each.fee_types:
        found.append((("fee_types",), Category.FEE))
    return [(path, category) for path, category in found if category is not None]


def _check_classes(document: TomlDocument, at: KeyPath, rules: StatutoryRules, classes: Mapping[str, str]) -> None:
    for name, each in rules.types.items():
        if classes.get(name) != each.book:
            told = classes.get(name, "no account type")
            raise document.error((*at, "types", name, "book"), f"the ledger's account type says {told}")
    for name, told in classes.items():
        if told != "none" and name not in rules.types:
            why = f"the account type {name} is of class {told}, and stands in no book here"
            raise document.error((*at, "types"), why)
