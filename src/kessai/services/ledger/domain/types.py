"""Account types: read from configuration, checked once at start, immutable afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec

from kessai.foundation.config import TomlDocument, load_toml
from kessai.foundation.errors import Invalid
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.ledger.api import AccountTypeInfo

Positive = Annotated[int, msgspec.Meta(gt=0, le=10**16)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=10**16)]


class AccountType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One configured type; see `config/account_types.toml` for what each attribute does."""

    name_ja: str
    asset: str
    owner_kind: Literal["customer", "merchant", "internal"]
    code: str = ""
    auto_create: bool = False
    log_only: bool = False
    retention_cap_minor: Amount | None = None
    spending_cap_minor: Positive | None = None
    overdraft_limit_minor: Positive | None = None
    expires_after_days: Positive | None = None
    grace_days: Annotated[int, msgspec.Meta(ge=0)] = 0
    consumption: Literal["expiry", "acquisition"] = "expiry"
    rate_tracked: bool = False
    price_asset: str = "JPY"
    position: bool = False
    statutory_class: Literal["funds_transfer", "prepaid", "crypto_asset", "none"] = "none"
    has_lots: bool = True
    """Derived: neither log-only nor with an overdraft (whose debt is no lot)."""
    expires: bool = True
    """Derived: lots of this type may carry an expiry."""
    plain: bool = True
    """Derived: with a running balance, nothing that expires and no rate to track."""

    @property
    def overdraws(self) -> bool:
        """Whether its accounts may go below zero, within a limit."""
        return self.overdraft_limit_minor is not None

    def info(self) -> AccountTypeInfo:
        """As callers see it."""
        return AccountTypeInfo(
            account_type=self.code,
            name_ja=self.name_ja,
            asset=self.asset,
            owner_kind=self.owner_kind,
            auto_create=self.auto_create,
            log_only=self.log_only,
            retention_cap_minor=self.retention_cap_minor,
            spending_cap_minor=self.spending_cap_minor,
            overdraft_limit_minor=self.overdraft_limit_minor,
            expires_after_days=self.expires_after_days,
            rate_tracked=self.rate_tracked,
            statutory_class=self.statutory_class,
        )


class AccountTypes:
    """All configured types."""

    def __init__(self, types: Mapping[str, AccountType]) -> None:
        self._types = dict(types)
        self._positions = {each.asset: each for each in types.values() if each.position}

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._types.values())

    def find(self, code: str) -> AccountType | None:
        """The type of that code, if there is one."""
        return self._types.get(code)

    def require(self, code: str) -> AccountType:
        """The type of that code; raises Invalid `unknown_account_type`."""
        if (found := self._types.get(code)) is None:
            raise Invalid("unknown_account_type", f"There is no account type {code}.", account_type=code)
        return found

    def position(self, asset: str) -> AccountType:
        """The counter-account type of an asset in exchanges of two assets; raises Invalid `asset_not_exchangeable`."""
        if (found := self._positions.get(asset)) is None:
            raise Invalid("asset_not_exchangeable", f"{asset} cannot be exchanged for another asset.", asset=asset)
        return found

    def breakage(self, asset: str) -> AccountType | None:
        """Where expired value of an asset goes."""
        return next((t for t in self if t.code.startswith("expiry_breakage") and t.asset == asset), None)


IMPOSSIBLE: tuple[tuple[str, Callable[[AccountType], bool], str], ...] = (
    ("asset", lambda t: t.asset not in ASSET_EXPONENTS, "no such asset"),
    ("retention_cap_minor", lambda t: t.log_only and t.retention_cap_minor is not None, "a log-only type has no cap"),
    (
        "retention_cap_minor",
        lambda t: t.retention_cap_minor == 0 and not t.overdraws,
        "nothing could ever be held; a cap of zero is for what may be owed",
    ),
    ("spending_cap_minor", lambda t: t.log_only and t.spending_cap_minor is not None, "a log-only type has no cap"),
    (
        "overdraft_limit_minor",
        lambda t: t.log_only and t.overdraft_limit_minor is not None,
        "a log-only type has no balance to overdraw",
    ),
    (
        "expires_after_days",
        lambda t: t.expires_after_days is not None and (t.log_only or t.overdraft_limit_minor is not None),
        "expiry needs lots, which log-only and overdraft types have not",
    ),
    (
        "rate_tracked",
        lambda t: t.rate_tracked and (t.log_only or t.overdraft_limit_minor is not None),
        "rate tracking needs lots, which log-only and overdraft types have not",
    ),
    ("price_asset", lambda t: t.rate_tracked and t.price_asset == t.asset, "an asset has no rate in itself"),
    ("grace_days", lambda t: t.grace_days > 0 and t.expires_after_days is None, "grace needs expires_after_days"),
    (
        "consumption",
        lambda t: t.consumption == "acquisition" and t.expires_after_days is not None,
        "lots that expire are consumed by expiry",
    ),
    (
        "retention_cap_minor",
        lambda t: t.retention_cap_minor is not None and t.owner_kind == "internal",
        "an internal account has no retention cap",
    ),
    ("position", lambda t: t.position and not t.log_only, "a position account must be log-only"),
)
"""What cannot be: (attribute, test, why). Each is refused at start with the line named."""


def load_account_types(document: TomlDocument | None = None) -> AccountTypes:
    """The platform's account types, or those of another document.

    Raises ConfigError, naming file, line and key, for an unknown attribute or a type that cannot be.
    """
    document = document or load_toml("kessai.config", "account_types.toml")
    types: dict[str, AccountType] = {}
    for code, written in document.table("types", AccountType).items():
        for derived in ("code", "has_lots", "expires", "plain"):
            if derived in document.data["types"][code]:
                raise document.error(("types", code, derived), "unknown key")
        for attribute, impossible, why in IMPOSSIBLE:
            if impossible(written):
                raise document.error(("types", code, attribute), why)
        types[code] = complete(code, written)
    _check_together(document, types)
    return AccountTypes(types)


def _check_together(document: TomlDocument, types: dict[str, AccountType]) -> None:
    together = AccountTypes(types)
    positions: set[str] = set()
    for code, each in types.items():
        if each.position and each.asset in positions:
            raise document.error(("types", code, "position"), f"{each.asset} has another position type already")
        if each.position:
            positions.add(each.asset)
        if each.expires and together.breakage(each.asset) is None:
            why = f"there is no expiry_breakage type of {each.asset} for what expires"
            raise document.error(("types", code, "expires_after_days"), why)


def complete(code: str, written: AccountType) -> AccountType:
    """The type with its derived attributes."""
    has_lots = not written.log_only and written.overdraft_limit_minor is None
    return msgspec.structs.replace(
        written,
        code=code,
        has_lots=has_lots,
        expires=has_lots and written.expires_after_days is not None,
        plain=not written.log_only and written.expires_after_days is None and not written.rate_tracked,
    )
