"""Money is whole, adds only to its like, and loses nothing when it is split."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.money import (
    AMOUNT_MINOR_MAX,
    ASSET_EXPONENTS,
    Money,
    Rounding,
    convert,
    format_amount,
    parse_amount,
)

amounts = st.integers(min_value=-AMOUNT_MINOR_MAX, max_value=AMOUNT_MINOR_MAX)
weights = st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=12).filter(any)


@given(amounts, weights)
def test_split_conserves_its_total(amount: int, parts: list[int]) -> None:
    shares = Money(amount, "JPY").split(parts)
    assert sum(share.amount_minor for share in shares) == amount
    assert len(shares) == len(parts)


@given(amounts, weights)
def test_split_is_off_by_less_than_one_unit(amount: int, parts: list[int]) -> None:
    for share, weight in zip(Money(amount, "JPY").split(parts), parts, strict=True):
        assert abs(share.amount_minor * sum(parts) - amount * weight) < sum(parts)


@given(amounts, st.sampled_from(sorted(ASSET_EXPONENTS)))
def test_formatted_amount_is_parsed_back(amount: int, asset: str) -> None:
    assert parse_amount(format_amount(amount, asset), asset) == amount


def test_only_like_assets_add() -> None:
    assert Money(1, "JPY") + Money(2, "JPY") - Money(5, "JPY") == -Money(2, "JPY")
    with pytest.raises(ValueError, match="cannot add JPY and USD"):
        _ = Money(1, "JPY") + Money(1, "USD")


@pytest.mark.parametrize("amount", [1.0, True, "1", Decimal(1)])
def test_anything_but_a_whole_number_is_refused(amount: object) -> None:
    with pytest.raises(TypeError):
        Money(amount, "JPY")  # pyright: ignore[reportArgumentType]


def test_unknown_asset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown asset"):
        Money(1, "XXX")


@pytest.mark.parametrize("parts", [[], [0, 0], [-1, 2]])
def test_split_over_impossible_weights_is_refused(parts: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Money(10, "JPY").split(parts)


def test_more_decimals_than_the_asset_has_are_refused() -> None:
    assert parse_amount("1,234.50", "USD") == 123_450
    with pytest.raises(ValueError, match="more decimals"):
        parse_amount("0.5", "JPY")


def test_conversion_names_its_rounding() -> None:
    def satoshi_in_yen(rounding: Rounding) -> int:
        return convert(1_000, asset="BTC", into="JPY", rate=Decimal(9_950_000), rounding=rounding)

    assert [satoshi_in_yen(each) for each in (Rounding.DOWN, Rounding.HALF_UP, Rounding.UP)] == [99, 100, 100]
