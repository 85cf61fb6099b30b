"""Payment kinds as data: participants × payer account types × payee account types × actions (document 001's model).

Read from `config/payment_kinds.toml`; an unknown key or an impossible kind stops the start, naming the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

import msgspec

from kessai.foundation.config import TomlDocument, load_toml
from kessai.foundation.errors import Invalid
from kessai.foundation.money import AMOUNT_MINOR_MAX, ASSET_EXPONENTS

Participant = Literal["customer", "merchant", "internal", "any"]
KindAction = Literal["create", "capture", "cancel", "refund", "expire"]
Gateway = Literal["card", "bank", "cash"]
Positive = Annotated[int, msgspec.Meta(gt=0, le=AMOUNT_MINOR_MAX)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MINOR_MAX)]
Days = Annotated[int, msgspec.Meta(gt=0, le=366)]
Minutes = Annotated[int, msgspec.Meta(gt=0, le=60 * 24 * 60)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
Owner = Annotated[str, msgspec.Meta(pattern=r"^(payer|payee|internal:[a-z0-9_:-]+)$")]
"""A participant of the payment, or an internal owner by name."""
PAYER = "payer"


class Along(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second movement of the same amount that always goes along, such as a receivable with a draw on credit."""

    from_owner: Owner
    from_account_type: Code
    to_owner: Owner
    to_account_type: Code


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source beside the payer's own accounts: a credit line, a card, a bank account, cash, an internal account."""

    name_ja: str
    owner: Owner
    """Whose account gives the value in the ledger; of an outside source the internal account that stands for it."""
    account_type: Code | None = None
    """None: the kind's first payer account type."""
    gateway: Gateway | None = None
    """Who brings it from outside."""
    amount_minor_min: Amount = 0
    """Less than this is not taken from it."""
    wait_minutes: Minutes = 15
    """How long it may take the customer to act, where that is asked for."""
    along: Along | None = None
    surplus_account_types: Annotated[tuple[Code, ...], msgspec.Meta(max_length=8)] = ()
    """Where goes what can no longer be taken back along, as it was repaid: the first of the payer's that there is."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one customer may move by payments of a kind, in Japan's calendar; what came to nothing does not count."""

    day_minor_max: Positive | None = None
    month_minor_max: Positive | None = None


class Fee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fee on top of the amount, and where it goes. It stays when the payment is returned."""

    amount_minor: Positive
    owner: Owner
    account_type: Code


class PaymentKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One configured kind; see `config/payment_kinds.toml`."""

    name_ja: str
    id_prefix: Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]
    asset: str
    payer: Participant
    payer_account_types: Annotated[tuple[Code, ...], msgspec.Meta(min_length=1, max_length=16)]
    payee: Participant
    payee_account_type: Code
    actions: tuple[KindAction, ...]
    amount_minor_max: Positive
    hold_days: Days = 7
    hold_days_max: Days = 60
    captures_max: Positive = 1
    refunds_max: Positive = 1
    sources: Mapping[Code, Source] = {}
    payee_account_types: tuple[Code, ...] = ()
    """Others that a request may name."""
    payee_owner: Owner | None = None
    """Where the payee is internal."""
    point_types: tuple[Code, ...] = ()
    """Which of the payer's account types are points: a request may ask for them last, or not at all."""
    along: Along | None = None
    """Goes along with the whole amount."""
    fee: Fee | None = None
    limits: Limits = Limits()
    pays_out: bool = False
    """The payee is a bank account, paid by 振込."""
    beneficiary_account_type: Code | None = None
    """Of an escrow: the payee keeps the money, and a capture pays it on to the beneficiary's account of this type."""
    needs_approval: bool = False
    batch: bool = False
    """A merchant's inner movement, of which many are made at once."""
    own_accounts: bool = False
    """Payer and payee are one and the same."""
    name: str = ""
    """Derived: the key it is written under."""

    @property
    def is_merchants_own(self) -> bool:
        """Whether it moves merchants' money with no customer in it, such as a fee, a clearing or a payout."""
        sides = {self.payer, self.payee}
        return "merchant" in sides and sides <= {"merchant", "internal"}

    @property
    def parks(self) -> bool:
        """Whether the payee keeps the money for somebody else."""
        return self.beneficiary_account_type is not None


class PaymentKinds:
    """All configured kinds."""

    def __init__(self, kinds: Mapping[str, PaymentKind]) -> None:
        self._kinds = {name: msgspec.structs.replace(kind, name=name) for name, kind in kinds.items()}
        self.prefixes = {name: kind.id_prefix for name, kind in kinds.items()}

    def require(self, name: str) -> PaymentKind:
        """The kind of that name; raises Invalid `unknown_kind`."""
        if (found := self._kinds.get(name)) is None:
            raise Invalid("unknown_kind", f"There is no payment kind {name}.", kind=name)
        return found

    def __iter__(self) -> Iterator[PaymentKind]:
        return iter(self._kinds.values())


IMPOSSIBLE: tuple[tuple[str, Callable[[PaymentKind], bool], str], ...] = (
    ("asset", lambda k: k.asset not in ASSET_EXPONENTS, "no such asset"),
    ("payer_account_types", lambda k: len(set(k.payer_account_types)) < len(k.payer_account_types), "named twice"),
    ("actions", lambda k: "create" not in k.actions, "a payment must be created"),
    (
        "actions",
        lambda k: "capture" not in k.actions and "expire" in k.actions and not _waits(k),
        "only what is captured later, or waits, can expire",
    ),
    (
        "actions",
        lambda k: "capture" not in k.actions and "cancel" in k.actions and not _waits(k),
        "only what is captured later, or waits, can be canceled",
    ),
    ("sources", lambda k: k.payer == "internal" and not k.sources, "an internal payer names its sources"),
    ("sources", lambda k: not set(k.sources).isdisjoint(k.payer_account_types), "a source is named like an account"),
    ("payer", lambda k: k.payer == "any" and not k.needs_approval, "somebody in particular must pay"),
    ("payee_owner", lambda k: (k.payee == "internal") != (k.payee_owner is not None), "internal payees have an owner"),
    ("point_types", lambda k: not set(k.point_types) <= set(k.payer_account_types), "not among the payer's accounts"),
    ("pays_out", lambda k: k.pays_out and k.payee != "internal", "the payee must be the account that stands for banks"),
    ("pays_out", lambda k: k.pays_out and any(s.gateway for s in k.sources.values()), "pays out what comes in"),
    ("fee", lambda k: k.fee is not None and {"capture", "refund"} & set(k.actions) != set(), "a fee has no parts"),
    ("beneficiary_account_type", lambda k: k.parks and "capture" not in k.actions, "what parks must be captured"),
    ("batch", lambda k: k.batch and not _is_plain(k), "made in bulk: one account of a merchant's to another, at once"),
    ("own_accounts", lambda k: k.own_accounts and k.payer != k.payee, "payer and payee are of two sorts"),
    ("hold_days", lambda k: k.hold_days > k.hold_days_max, "is above hold_days_max"),
    (
        "sources",
        lambda k: any(s.surplus_account_types and (s.along is None or s.owner != PAYER) for s in k.sources.values()),
        "a surplus is of a payer's source that something goes along with",
    ),
    ("name", lambda k: bool(k.name), "is derived"),
)
"""What cannot be: (attribute, test, why)."""


def _waits(kind: PaymentKind) -> bool:
    return any(source.gateway for source in kind.sources.values())


def _is_plain(kind: PaymentKind) -> bool:
    """From one account of a merchant's, at once, with nothing besides."""
    besides = (
        kind.sources,
        kind.along,
        kind.fee,
        kind.pays_out,
        kind.needs_approval,
        len(kind.payer_account_types) > 1,
    )
    outward = kind.payer == "merchant" and kind.payee in ("merchant", "internal")
    return outward and not any(besides) and not kind.parks and "capture" not in kind.actions


def read_kinds(document: TomlDocument) -> PaymentKinds:
    """The kinds of a file; ConfigError names the line of what is unknown or cannot be."""
    kinds = document.table("kinds", PaymentKind)
    prefixes: dict[str, str] = {}
    for name, kind in kinds.items():
        for attribute, holds, why in IMPOSSIBLE:
            if holds(kind):
                raise document.error(("kinds", name, attribute), why)
        if (other := prefixes.setdefault(kind.id_prefix, name)) != name:
            raise document.error(("kinds", name, "id_prefix"), f"is that of {other}")
    for needed in ("charge", "top_up", "transfer"):
        if needed not in kinds:
            raise document.error(("kinds", needed), "is missing")
    return PaymentKinds(kinds)


def load_kinds() -> PaymentKinds:
    """The platform's own kinds."""
    return read_kinds(load_toml("kessai.config", "payment_kinds.toml"))
