"""Payment kinds are data: what is misspelt or impossible stops the start and names the line."""

from __future__ import annotations

from importlib import resources

import pytest

from kessai.foundation.config import ConfigError, TomlDocument
from kessai.foundation.errors import Invalid
from kessai.services.payment.domain.kinds import load_kinds, read_kinds

OWN = resources.files("kessai.config").joinpath("payment_kinds.toml").read_text(encoding="utf-8")


def test_the_platforms_own_kinds_are_read() -> None:
    kinds = load_kinds()
    assert {kind.name for kind in kinds} >= {"charge", "escrow", "top_up", "transfer", "withdrawal", "repayment"}
    assert kinds.require("top_up").sources["bank_deposit"].owner == "internal:bank_deposit"


def test_every_account_type_that_a_kind_names_is_configured() -> None:
    types = resources.files("kessai.config").joinpath("account_types.toml").read_text(encoding="utf-8")
    configured = TomlDocument(types, "account_types.toml").data["types"]
    for kind in load_kinds():
        for name in (*kind.payer_account_types, kind.payee_account_type):
            assert configured[name]["asset"] == kind.asset


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Invalid, match="unknown_kind"):
        load_kinds().require("barter")


@pytest.mark.parametrize(
    ("written", "instead", "reason"),
    [
        ("hold_days = 7 ", "hold_dayz = 7 ", "unknown key"),
        ('payee = "merchant"', 'payee = "stranger"', "stranger"),
        ('asset = "JPY"\npayer = "customer"', 'asset = "XXX"\npayer = "customer"', "no such asset"),
        ("hold_days_max = 60", "hold_days_max = 0", "1"),
        (
            'actions = ["create", "capture", "cancel", "expire"]',
            'actions = ["create", "cancel", "expire"]',
            "captured later",
        ),
        ('payee_owner = "internal:credit"', 'payee_owner = "somebody"', "match"),
        ('id_prefix = "trf"', 'id_prefix = "chg"', "is that of charge"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(written: str, instead: str, reason: str) -> None:
    assert written in OWN
    changed = OWN.replace(written, instead, 1)
    with pytest.raises(ConfigError) as error:
        read_kinds(TomlDocument(changed, "payment_kinds.toml"))
    line = OWN[: OWN.index(written)].count("\n") + 1
    assert f"line {line}:" in str(error.value)
    assert reason in str(error.value)


def test_a_kind_that_the_platform_needs_may_not_be_left_out() -> None:
    without = OWN[: OWN.index("[kinds.transfer]")] + OWN[OWN.index("[kinds.withdrawal]") :]
    with pytest.raises(ConfigError, match="transfer: is missing"):
        read_kinds(TomlDocument(without, "payment_kinds.toml"))
