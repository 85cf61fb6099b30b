"""The chart of accounts (勘定科目表): read from configuration, checked once at start, immutable afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from kessai.foundation.config import TomlDocument, load_toml
from kessai.foundation.errors import Invalid
from kessai.services.books.domain.versions import Versions, check_order, convert_each, tables_of

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Code = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_.-]{1,32}$")]


class Section(StrEnum):
    """Where an account stands in the statements."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense"

    @property
    def debit_side(self) -> bool:
        """Whether a balance on the debit side (借方) is the usual one."""
        return self in (Section.ASSET, Section.EXPENSE)

    @property
    def on_balance_sheet(self) -> bool:
        """Whether its balance is carried into the next year."""
        return self in (Section.ASSET, Section.LIABILITY, Section.EQUITY)


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account (勘定科目)."""

    name: Name
    name_ja: Name
    section: Section
    control: bool = False
    """Stands for accounts of the ledger: only the ledger's events are booked on it."""
    contra_to: Code | None = None
    """Nets this other account, beside which it is shown."""
    code: str = ""
    """Derived: the key it is written under."""


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: int
    valid_from: date
    accounts: dict[str, Any]
    valid_until: date | None = None


class ChartVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The chart as it holds over some days."""

    number: int
    valid_from: date
    valid_until: date | None
    """The last day; None: it holds for good."""
    accounts: Mapping[str, Account]
    """By code, in order of their codes."""

    def find(self, code: str) -> Account | None:
        """The account of that code, if there is one."""
        return self.accounts.get(code)


class Chart(Versions[ChartVersion]):
    """All versions of the chart. An account that was ever in it stays known by name."""

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Every account of any version, as the latest that has it tells."""
        return {code: account for version in self for code, account in version.accounts.items()}

    def require(self, code: str, day: date) -> Account:
        """The account of that code on a day; raises Invalid `account_unknown`."""
        version = self.on(day)
        if version is None or (found := version.find(code)) is None:
            raise Invalid("account_unknown", f"There is no account {code} on {day}.", account=code)
        return found


def read_chart(document: TomlDocument) -> Chart:
    """The chart of a file; ConfigError names the line of what is unknown or cannot be."""
    written = [document.convert(("version", place), _Written) for place, _ in enumerate(tables_of(document))]
    ends = check_order(document, written)
    versions: list[ChartVersion] = []
    for place, each in enumerate(written):
        version = _version(document, place, each, ends[place])
        for earlier in versions:
            _check_kept(document, place, version, earlier)
        versions.append(version)
    return Chart(versions)


def load_chart() -> Chart:
    """The platform's own chart."""
    return read_chart(load_toml("kessai.config", "chart_of_accounts.toml"))


def _check_kept(document: TomlDocument, place: int, version: ChartVersion, earlier: ChartVersion) -> None:
    """An account stands where it stood: in another section, its entries would change statements of the past."""
    for code, account in version.accounts.items():
        before = earlier.find(code)
        if before is not None and before.section is not account.section:
            why = f"was {before.section} in version {earlier.number}: another section needs another account"
            raise document.error(("version", place, "accounts", code, "section"), why)
        if before is not None and before.control is not account.control:
            why = f"was {'a' if before.control else 'no'} control account in version {earlier.number}, and stays it"
            raise document.error(("version", place, "accounts", code), why)


def _version(document: TomlDocument, place: int, written: _Written, until: date | None) -> ChartVersion:
    accounts: dict[str, Account] = {}
    read = convert_each(document, ("version", place, "accounts"), sorted(written.accounts), Account)
    for code, account in read.items():
        path = ("version", place, "accounts", code)
        try:
            msgspec.convert(code, Code)
        except msgspec.ValidationError as error:
            raise document.error(path, "a code is letters, digits, dots, dashes") from error
        if account.code:
            raise document.error((*path, "code"), "unknown key")
        if (other := account.contra_to) is not None and (other == code or other not in written.accounts):
            raise document.error((*path, "contra_to"), f"there is no other account {other}")
        accounts[code] = msgspec.structs.replace(account, code=code)
    return ChartVersion(number=written.number, valid_from=written.valid_from, valid_until=until, accounts=accounts)
