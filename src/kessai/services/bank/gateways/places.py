"""Banks and branches of Japan by their codes (金融機関コード, 支店コード), as the package zengin-code knows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """A bank and one of its branches: their names in kana, as files have them."""

    bank: str
    branch: str


def has_bank(bank_code: str) -> bool:
    """Whether there is a bank of this code."""
    return bank_code in _banks()


@lru_cache(maxsize=4096)
def place_of(bank_code: str, branch_code: str) -> Place | None:
    """The names of a branch; None when there is no such one, or no longer."""
    if (bank := _banks().get(bank_code)) is None:
        return None
    branch = bank.branches.get(branch_code)
    return None if branch is None else Place(bank.kana, branch.kana)


@lru_cache(maxsize=1)
def _banks() -> dict[str, Any]:
    """All banks; loaded when they are first asked for, for it takes a tenth of a second and some megabytes."""
    return import_module("zengin_code").Bank.all
