"""What accounts were opened as stays so: a configuration that would misread them is refused."""

from __future__ import annotations

import pytest

from kessai.foundation.config import TomlDocument
from kessai.foundation.db import Database
from kessai.services.ledger.domain.types import AccountTypes, load_account_types
from kessai.services.ledger.store.shapes import Misfit, settle_shapes

from .book import Book
from .test_account_types import platform_types


def types_with(old: str, new: str) -> AccountTypes:
    """The platform's types, with a change in their text."""
    text = platform_types()
    assert old in text
    return load_account_types(TomlDocument(text.replace(old, new, 1), "account_types.toml"))


SALES = platform_types().split("[types.sales]")[1].split("[types.")[0]
CHANGES = {
    "log_only": (SALES, SALES.rstrip() + "\nlog_only = true\n\n", "log_only"),
    "asset": (SALES, SALES.replace('"JPY"', '"USD"'), "asset"),
    "owner_kind": (SALES, SALES.replace('"customer"', '"merchant"'), "owner_kind"),
    "has_lots": (SALES, SALES.rstrip() + "\noverdraft_limit_minor = 5\n\n", "overdraft_limit_minor"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_type_of_accounts_that_are_there_keeps_its_shape(book: Book, database: Database, change: str) -> None:
    old, new, attribute = CHANGES[change]
    assert await settle_shapes(database, load_account_types()) == []
    assert await settle_shapes(database, types_with(old, new)) == []  # nobody has such an account yet
    assert await settle_shapes(database, load_account_types()) == []
    await book.give("cus:1/sales 5")
    (misfit,) = await settle_shapes(database, types_with(old, new))
    assert (misfit.account_type, misfit.attribute) == ("sales", attribute)
    assert await settle_shapes(database, load_account_types()) == []


async def test_type_of_accounts_that_are_there_cannot_go(book: Book, database: Database) -> None:
    without = types_with("[types.sales]" + SALES, "")
    assert await settle_shapes(database, load_account_types()) == []
    assert await settle_shapes(database, without) == []
    assert await settle_shapes(database, load_account_types()) == []
    await book.give("cus:1/sales 5")
    reason = "the database has accounts of the type sales, which the configuration lacks"
    assert await settle_shapes(database, without) == [Misfit("sales", None, reason)]


async def test_value_may_begin_to_expire_but_not_stop(book: Book, database: Database) -> None:
    expiring = types_with(SALES, SALES.rstrip() + "\nexpires_after_days = 5\n\n")
    assert await settle_shapes(database, load_account_types()) == []
    await book.give("cus:1/sales 5")
    assert await settle_shapes(database, expiring) == []
    (misfit,) = await settle_shapes(database, load_account_types())
    assert (misfit.account_type, misfit.attribute) == ("sales", "expires_after_days")


async def test_limits_and_names_of_a_type_may_change(book: Book, database: Database) -> None:
    assert await settle_shapes(database, load_account_types()) == []
    await book.open("cus:1/funds")
    lower = types_with("retention_cap_minor = 1_000_000", "retention_cap_minor = 500_000")
    assert await settle_shapes(database, lower) == []
