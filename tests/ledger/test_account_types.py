"""Account types are configuration: a new one needs no code, an impossible one is refused with its line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import resources

import pytest

from kessai.foundation.config import ConfigError, TomlDocument
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Refused
from kessai.services.ledger.domain.types import load_account_types

from .book import Book, FakeClock, start


def document(text: str) -> TomlDocument:
    """A configuration of account types as an operator would write it."""
    return TomlDocument(text, "account_types.toml")


def platform_types() -> str:
    """The text of the platform's own types."""
    return resources.files("kessai.config").joinpath("account_types.toml").read_text(encoding="utf-8")


GIFT = """
[types.gift_card]
name_ja = "ギフトカード"
asset = "JPY"
owner_kind = "customer"
auto_create = true
retention_cap_minor = 50_000
spending_cap_minor = 10_000
expires_after_days = 90
grace_days = 14
statutory_class = "prepaid"

[types.dollars]
name_ja = "米ドル"
asset = "USD"
owner_kind = "customer"
auto_create = true
rate_tracked = true

[types.position_usd]
name_ja = "持高口座(ドル)"
asset = "USD"
owner_kind = "internal"
auto_create = true
log_only = true
position = true
"""


@pytest.fixture
async def gifts(database: Database, clock: FakeClock) -> AsyncIterator[Book]:
    """A ledger that knows two more types, by configuration alone."""
    service, book = await start(database, clock, load_account_types(document(platform_types() + GIFT)))
    yield book
    await service.close()


async def test_configured_type_is_opened_by_its_first_credit_and_spent(gifts: Book) -> None:
    await gifts.give("cus:1/gift_card 20000")
    assert await gifts.remaining("cus:1/gift_card") == [(20_000, 90)]
    await gifts.move("cus:1/gift_card 10000 > mer:1/unsettled_sales 10000", name="order")
    await gifts.shows("cus:1/gift_card", balance=10_000)
    gifts.clock.advance(days=91)
    await gifts.reverse("order", 400)
    assert await gifts.remaining("cus:1/gift_card") == [(10_000, -1), (400, 14)]
    await gifts.run("expire_lots")
    await gifts.shows("cus:1/gift_card", balance=400, available=400)


@pytest.mark.parametrize("times", [1, 2])
async def test_spending_cap_limits_what_leaves_in_one_exchange(gifts: Book, times: int) -> None:
    await gifts.give("cus:1/gift_card 20000")
    part = 10_001 if times == 1 else 5_001
    source = " + ".join([f"cus:1/gift_card {part}"] * times)
    with pytest.raises(Refused) as refusal:
        await gifts.move(f"{source} > mer:1/unsettled_sales {part * times}")
    assert refusal.value.code == "spending_cap_exceeded"


async def test_retention_cap_of_a_configured_type_holds(gifts: Book) -> None:
    await gifts.give("cus:1/gift_card 50000")
    with pytest.raises(Refused) as refusal:
        await gifts.give("cus:1/gift_card 1")
    assert refusal.value.code == "retention_cap_exceeded"


async def test_new_asset_is_exchanged_through_its_own_position(gifts: Book) -> None:
    await gifts.open("cus:1/trading_funds")
    await gifts.give("cus:1/trading_funds 20000")
    await gifts.move("cus:1/trading_funds 15000 > cus:1/dollars 10000", rate="150")
    await gifts.shows("cus:1/dollars", balance=10_000, asset="USD")
    sold = await gifts.move("cus:1/dollars 5000 > cus:1/trading_funds 8000", rate="160")
    assert sold.legs[0].realised_gain_minor == 500


async def test_balancing_source_respects_the_spending_cap(gifts: Book) -> None:
    await gifts.give("cus:1/gift_card 20000")
    await gifts.open("cus:1/funds")
    await gifts.give("cus:1/funds 20000")
    try:
        paid = await gifts.move("cus:1/gift_card <=20000 + cus:1/funds <=20000 > mer:1/unsettled_sales 15000")
    except PaymentError as refusal:
        assert refusal.code == "spending_cap_exceeded"  # noqa: PT017
    else:
        assert [leg.amount_minor for leg in paid.legs] == [-10_000, -5_000, 15_000]


TYPE = '[types.odd]\nname_ja = "奇"\nasset = "{asset}"\nowner_kind = "{kind}"\n'
IMPOSSIBLE = {
    "log-only-with-a-cap": ("log_only = true\nretention_cap_minor = 1\n", "retention_cap_minor"),
    "log-only-with-a-spending-cap": ("log_only = true\nspending_cap_minor = 1\n", "spending_cap_minor"),
    "log-only-with-an-overdraft": ("log_only = true\noverdraft_limit_minor = 1\n", "overdraft_limit_minor"),
    "log-only-with-lots-that-expire": ("log_only = true\nexpires_after_days = 1\n", "expires_after_days"),
    "log-only-with-rates": ("log_only = true\nrate_tracked = true\n", "rate_tracked"),
    "overdraft-with-lots-that-expire": ("overdraft_limit_minor = 1\nexpires_after_days = 1\n", "expires_after_days"),
    "grace-without-expiry": ("grace_days = 1\n", "grace_days"),
    "expiry-consumed-by-acquisition": ('expires_after_days = 1\nconsumption = "acquisition"\n', "consumption"),
    "position-with-a-balance": ("position = true\n", "position"),
    "rate-in-its-own-asset": ("rate_tracked = true\n", "price_asset"),
    "unknown-attribute": ("colour = 1\n", "colour"),
    "derived-attribute": ("has_lots = true\n", "has_lots"),
    "float-cap": ("retention_cap_minor = 1.5\n", "retention_cap_minor"),
    "negative-cap": ("retention_cap_minor = -1\n", "retention_cap_minor"),
    "cap-of-zero": ("retention_cap_minor = 0\n", "retention_cap_minor"),
    "unknown-consumption": ('consumption = "random"\n', "consumption"),
    "text-where-a-number-belongs": ('expires_after_days = "1"\n', "expires_after_days"),
}


@pytest.mark.parametrize(("written", "key"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_type_is_refused_with_its_line(written: str, key: str) -> None:
    text = platform_types() + "\n" + TYPE.format(asset="JPY", kind="customer") + written
    lines = text.splitlines()
    table = lines.index("[types.odd]") + 1
    line = next((n for n, each in enumerate(lines, 1) if n > table and each.startswith(key)), table)
    with pytest.raises(ConfigError, match=rf"account_types\.toml, line {line}: types\.odd\.{key}"):
        load_account_types(document(text))


@pytest.mark.parametrize(("asset", "kind", "key"), [("GOLD", "customer", "asset"), ("JPY", "robot", "owner_kind")])
def test_type_of_an_unknown_asset_or_owner_is_refused(asset: str, kind: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load_account_types(document(TYPE.format(asset=asset, kind=kind)))


def test_internal_type_with_a_retention_cap_is_refused() -> None:
    text = TYPE.format(asset="JPY", kind="internal") + "retention_cap_minor = 1\n"
    with pytest.raises(ConfigError, match="retention_cap_minor"):
        load_account_types(document(text))


@pytest.mark.parametrize("missing", ["name_ja", "asset", "owner_kind"])
def test_type_without_a_required_attribute_is_refused(missing: str) -> None:
    text = "\n".join(
        line for line in TYPE.format(asset="JPY", kind="customer").splitlines() if not line.startswith(missing)
    )
    with pytest.raises(ConfigError, match=missing):
        load_account_types(document(text))


def test_two_positions_of_one_asset_are_refused() -> None:
    position = "log_only = true\nposition = true\n"
    text = platform_types() + "\n" + TYPE.format(asset="JPY", kind="internal") + position
    with pytest.raises(ConfigError, match="position"):
        load_account_types(document(text))


def test_expiring_type_of_an_asset_without_breakage_is_refused() -> None:
    text = TYPE.format(asset="USD", kind="customer") + "expires_after_days = 1\n"
    with pytest.raises(ConfigError, match="breakage"):
        load_account_types(document(text))
