"""Money: whole minor units and an asset code, never a float.

Exponents (how many decimals an asset is written with) live here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from enum import StrEnum

ASSET_EXPONENTS = {"JPY": 0, "USD": 2, "BTC": 8, "ETH": 8, "POINT": 0}
"""Decimals of each asset: ISO 4217 for currencies, 1e-8 for crypto-assets, whole points."""

AMOUNT_MINOR_MAX = 10**16
"""Largest amount of one leg; far below 2**63, so that no sum of a batch can overflow a bigint."""

BALANCE_MINOR_MAX = 2**63 - 1


class Rounding(StrEnum):
    """How a division settles the part below one minor unit."""

    DOWN = ROUND_DOWN
    HALF_UP = ROUND_HALF_UP
    UP = ROUND_UP


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of one asset; only like assets add."""

    amount_minor: int
    asset: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise TypeError("money is whole minor units, never a float")
        if self.asset not in ASSET_EXPONENTS:
            raise ValueError(f"unknown asset {self.asset!r}")

    def __add__(self, other: Money) -> Money:
        self._require_like(other)
        return Money(self.amount_minor + other.amount_minor, self.asset)

    def __sub__(self, other: Money) -> Money:
        self._require_like(other)
        return Money(self.amount_minor - other.amount_minor, self.asset)

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.asset)

    def __str__(self) -> str:
        return f"{format_amount(self.amount_minor, self.asset)} {self.asset}"

    def _require_like(self, other: Money) -> None:
        if self.asset != other.asset:
            raise ValueError(f"cannot add {self.asset} and {other.asset}")

    def split(self, weights: list[int]) -> list[Money]:
        """Shares in proportion to `weights`, largest remainders first; their sum is exactly this amount."""
        if not weights or min(weights) < 0 or sum(weights) == 0:
            raise ValueError("weights must be non-negative and not all zero")
        total, sign = sum(weights), -1 if self.amount_minor < 0 else 1
        shares = [divmod(abs(self.amount_minor) * weight, total) for weight in weights]
        left = abs(self.amount_minor) - sum(share for share, _ in shares)
        by_remainder = sorted(range(len(weights)), key=lambda i: (-shares[i][1], i))
        extra = set(by_remainder[:left])
        return [Money(sign * (share + (i in extra)), self.asset) for i, (share, _) in enumerate(shares)]


def format_amount(amount_minor: int, asset: str) -> str:
    """Decimal text of an amount, e.g. `0.00010000` for 10,000 satoshi."""
    exponent = ASSET_EXPONENTS[asset]
    return f"{Decimal(amount_minor).scaleb(-exponent):,.{exponent}f}"


def parse_amount(text: str, asset: str) -> int:
    """Minor units of a decimal text; raises ValueError when it has more decimals than the asset."""
    scaled = Decimal(text.replace(",", "")).scaleb(ASSET_EXPONENTS[asset])
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{text} has more decimals than {asset}")
    return int(scaled)


def convert(amount_minor: int, *, asset: str, into: str, rate: Decimal, rounding: Rounding) -> int:
    """Value of an amount in another asset at `rate` (units of `into` per one `asset`), rounded as named."""
    value = Decimal(amount_minor).scaleb(-ASSET_EXPONENTS[asset]) * rate
    return int(value.scaleb(ASSET_EXPONENTS[into]).quantize(Decimal(1), rounding=str(rounding)))
