"""Posting rules (仕訳ルール): which account each posting of an event is booked on. Read and proved once, at start.

What an event posts adds up to zero per asset, and nothing more is known of it beforehand. So whatever it may be, its
entries add up to zero exactly if every posting is booked once, whole (with the tax that it includes), and what a rule
adds besides cancels by itself: that is what is checked here, symbolically, with one symbol an account type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from kessai.foundation.config import KeyPath, TomlDocument, load_toml
from kessai.services.books.domain.chart import Chart, Code, Name
from kessai.services.books.domain.versions import Versions, check_order, convert_each, tables_of

T = TypeVar("T")
Side = Literal["debit", "credit"]
Label = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
RATE_WHOLE_BPS = 10_000
YEN = "JPY"
DIRECTIONS = ("debit_in", "transfer_out")


class TaxCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of consumption tax (消費税区分)."""

    name_ja: Name
    direction: Literal["output", "input"]
    """Of what is sold (課税売上), or of what is bought (課税仕入)."""
    rate_bps: Annotated[int, msgspec.Meta(gt=0, le=RATE_WHOLE_BPS)]
    account: Code
    """Where the tax stands until it is paid or got back."""
    rounding: Literal["down", "half_up"] = "down"
    code: str = ""
    """Derived: the key it is written under."""

    def included_in(self, amount: int) -> int:
        """The tax that an amount includes (内税), with the amount's sign; the rest of it is net."""
        whole, rate = RATE_WHOLE_BPS + self.rate_bps, abs(amount) * self.rate_bps
        tax = rate // whole if self.rounding == "down" else (2 * rate + whole) // (2 * whole)
        return tax if amount >= 0 else -tax


class Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where postings on accounts of a type are booked."""

    account: Code
    by_owner: dict[str, Code] = {}
    tax: str | None = None

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every account that it may be booked on."""
        return (self.account, *self.by_owner.values())


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further entry: the amount of all postings of a type, on one side."""

    account: Code
    side: Side
    of: Label


class Clearing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How what a bank did is booked."""

    deposit: Code
    clearing: Code


class _Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name_ja: Name
    takes: Annotated[list[Label], msgspec.Meta(min_length=1)]
    product: Label | None = None
    legs: dict[str, Any] = {}
    lines: list[Line] = []


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: int
    valid_from: date
    legs: dict[str, Any]
    rules: dict[Label, Any]
    tax: dict[str, Any] = {}
    bank: dict[str, Any] = {}
    valid_until: date | None = None


class BoundLeg(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A leg with everything that booking it needs."""

    account: str
    by_owner: Mapping[str, str]
    tax: TaxCode | None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How exchanges of one kind are booked."""

    name: str
    name_ja: str
    product: str | None
    legs: Mapping[str, BoundLeg]
    """By account type: what such an exchange may post on."""
    lines: tuple[Line, ...]


class RulesVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The rules as they hold over some days."""

    number: int
    valid_from: date
    valid_until: date | None
    rules: Mapping[str, Rule]
    """By kind."""
    tax: Mapping[str, TaxCode]
    bank: Mapping[str, Clearing]
    control: Mapping[str, str]
    """The account type that each control account stands for."""


class PostingRules(Versions[RulesVersion]):
    """All versions of the rules."""

    def __init__(self, versions: Sequence[RulesVersion]) -> None:
        super().__init__(versions)
        self.tax_codes: Mapping[str, TaxCode] = {code: tax for version in versions for code, tax in version.tax.items()}
        """Every tax code of any version, as the latest that has it tells."""


def read_posting_rules(document: TomlDocument, chart: Chart, assets: Mapping[str, str]) -> PostingRules:
    """The rules of a file, proved against the chart and the ledger's account types, of which `assets` tells the asset.

    ConfigError names file and line of what is unknown, booked on no account, on an account of another type, or does not
    balance; of a tax on something else than yen, and of a code that has two rates.
    """
    written = [document.convert(("version", place), _Written) for place, _ in enumerate(tables_of(document))]
    ends = check_order(document, written)
    versions: list[RulesVersion] = []
    for place, each in enumerate(written):
        check = _Check(document, place, each, assets)
        version = check.version(ends[place])
        _check_accounts(document, check, version, chart)
        _check_tax(document, place, version, versions, chart)
        versions.append(version)
    return PostingRules(versions)


def load_posting_rules(chart: Chart, assets: Mapping[str, str]) -> PostingRules:
    """The platform's own rules."""
    return read_posting_rules(load_toml("kessai.config", "posting_rules.toml"), chart, assets)


class _Check:
    """One version, checked key by key. `used`: the accounts that it names, each with the first place that does."""

    def __init__(self, document: TomlDocument, place: int, written: _Written, assets: Mapping[str, str]) -> None:
        self._document = document
        self._at: KeyPath = ("version", place)
        self._written = written
        self._assets = assets
        self.used: dict[str, KeyPath] = {}
        self.control: dict[str, str] = {}
        self._others: list[tuple[str, KeyPath]] = []
        """Accounts that are booked on by something else than legs."""

    def version(self, until: date | None) -> RulesVersion:
        """The version with everything bound; raises ConfigError."""
        written = self._written
        tax: dict[str, TaxCode] = {}
        for code, each in self._read(("tax",), written.tax, TaxCode).items():
            if each.code:
                raise self._error(("tax", code, "code"), "unknown key")
            self._use(each.account, ("tax", code, "account"))
            tax[code] = msgspec.structs.replace(each, code=code)
        read = self._read(("legs",), written.legs, Leg)
        legs = {name: self._leg(name, leg, tax, ("legs", name)) for name, leg in read.items()}
        bank = self._read(("bank",), written.bank, Clearing)
        for direction, clearing in bank.items():
            if direction not in DIRECTIONS:
                raise self._error(("bank", direction), f"unknown key; expected are {', '.join(DIRECTIONS)}")
            self._use(clearing.deposit, ("bank", direction, "deposit"))
            self._use(clearing.clearing, ("bank", direction, "clearing"))
        read_rules = self._read(("rules",), written.rules, _Rule)
        rules = {kind: self._rule(kind, rule, legs, tax) for kind, rule in read_rules.items()}
        for account, path in self._others:
            if account in self.control:
                why = f"{account} is a control account, of {self.control[account]}: only its legs are booked on it"
                raise self._document.error(path, why)
        return RulesVersion(
            number=written.number, valid_from=written.valid_from, valid_until=until,
            rules=rules, tax=tax, bank=bank, control=self.control,
        )  # fmt: skip

    def _rule(self, kind: str, rule: _Rule, legs: Mapping[str, BoundLeg], tax: Mapping[str, TaxCode]) -> Rule:
        at: KeyPath = ("rules", kind)
        read = self._read((*at, "legs"), rule.legs, Leg)
        own = {name: self._leg(name, leg, tax, (*at, "legs", name)) for name, leg in read.items()}
        taken: dict[str, BoundLeg] = {}
        for name in rule.takes:
            self._known(name, (*at, "takes"))
            if name in taken:
                raise self._error((*at, "takes"), f"{name} is named twice")
            if (leg := own.get(name) or legs.get(name)) is None:
                why = f"nothing books {name}, so that the rule does not balance; there is no [version.legs.{name}]"
                raise self._error((*at, "takes"), why)
            taken[name] = leg
        for name in own:
            if name not in taken:
                raise self._error((*at, "legs", name), "is not among what the rule takes")
        self._lines(rule, taken, at)
        return Rule(name=kind, name_ja=rule.name_ja, product=rule.product, legs=taken, lines=tuple(rule.lines))

    def _lines(self, rule: _Rule, taken: Collection[str], at: KeyPath) -> None:
        """Further lines cancel: of each type's amount as much is debited as credited."""
        sums: Counter[str] = Counter()
        for number, line in enumerate(rule.lines):
            if line.of not in taken:
                raise self._error((*at, "lines", number), f"{line.of} is not among what the rule takes")
            sums[line.of] += 1 if line.side == "debit" else -1
            self._use(line.account, (*at, "lines", number))
        for name, left in sums.items():
            if left:
                more, less = ("debits", "credits") if left > 0 else ("credits", "debits")
                why = f"does not balance: the lines have {abs(left)} more {more} of {name} than {less}"
                raise self._error((*at, "lines"), why)

    def _leg(self, name: str, leg: Leg, tax: Mapping[str, TaxCode], path: KeyPath) -> BoundLeg:
        self._known(name, path)
        if leg.tax is not None and leg.tax not in tax:
            raise self._error((*path, "tax"), f"there is no [version.tax.{leg.tax}]")
        if leg.tax is not None and (asset := self._assets[name]) != YEN:
            raise self._error((*path, "tax"), f"{name} is kept in {asset}; consumption tax is counted in {YEN} alone")
        for account in leg.accounts:
            self.used.setdefault(account, (*self._at, *path))
            if (other := self.control.setdefault(account, name)) != name:
                raise self._error(path, f"{account} is the control account of {other} already")
        return BoundLeg(account=leg.account, by_owner=leg.by_owner, tax=None if leg.tax is None else tax[leg.tax])

    def _read(self, path: KeyPath, names: Iterable[str], into: type[T]) -> dict[str, T]:
        return convert_each(self._document, (*self._at, *path), names, into)

    def _known(self, name: str, path: KeyPath) -> None:
        if name not in self._assets:
            raise self._error(path, f"there is no account type {name}")

    def _use(self, account: str, path: KeyPath) -> None:
        self.used.setdefault(account, (*self._at, *path))
        self._others.append((account, (*self._at, *path)))

    def _error(self, path: KeyPath, reason: str) -> Exception:
        return self._document.error((*self._at, *path), reason)


def _check_accounts(document: TomlDocument, check: _Check, version: RulesVersion, chart: Chart) -> None:
    """Every account is in the chart on every day of the version, and a control account there exactly if it is here."""
    charts = chart.during(version)
    for account, path in check.used.items():
        if not charts or chart.on(version.valid_from) is None:
            raise document.error(
                ("version", version.number - 1, "valid_from"), "is before the chart of accounts begins"
            )
        for each in charts:
            if (found := each.find(account)) is None:
                raise document.error(path, f"there is no account {account} in version {each.number} of the chart")
            if found.control != (account in version.control):
                kind = "a control account" if found.control else "no control account"
                raise document.error(path, f"{account} is {kind} in version {each.number} of the chart")


def _check_tax(
    document: TomlDocument, place: int, version: RulesVersion, earlier: Sequence[RulesVersion], chart: Chart
) -> None:
    """A code has one rate for good, and its account stays: what was sold under it may come back later."""
    for code, tax in version.tax.items():
        at: KeyPath = ("version", place, "tax", code)
        for each in earlier:
            before = each.tax.get(code)
            if before is not None and (before.rate_bps, before.direction) != (tax.rate_bps, tax.direction):
                why = f"was another rate or direction in version {each.number}: a new rate is a code of its own"
                raise document.error((*at, "rate_bps"), why)
        for each in chart:
            ended = each.valid_until is not None and each.valid_until < version.valid_from
            if not ended and each.find(tax.account) is None:
                why = f"there is no account {tax.account} in version {each.number} of the chart, for what is given back"
                raise document.error((*at, "account"), why)
