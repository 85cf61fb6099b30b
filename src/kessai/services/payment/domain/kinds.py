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

Participant = Literal["customer", "merchant", "internal"]
KindAction = Literal["create", "capture", "cancel", "refund", "expire"]
Positive = Annotated[int, msgspec.Meta(gt=0, le=AMOUNT_MINOR_MAX)]
Days = Annotated[int, msgspec.Meta(gt=0, le=366)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]


class InternalSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where money comes in from: its owner name in the ledger."""

    name_ja: str
    owner: str


class PaymentKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One configured kind; see `config/payment_kinds.toml`."""

    name_ja: str
    id_prefix: Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]
    asset: str
    payer: Participant
    payer_account_types: Annotated[tuple[Code, ...], msgspec.Meta(min_length=1, max_length=8)]
    payee: Participant
    payee_account_type: Code
    actions: tuple[KindAction, ...]
    amount_minor_max: Positive
    hold_days: Days = 7
    hold_days_max: Days = 60
    captures_max: Positive = 1
    refunds_max: Positive = 1
    sources: Mapping[Code, InternalSource] = {}
    name: str = ""
    """Derived: the key it is written under."""


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
        lambda k: "capture" not in k.actions and not {"cancel", "expire"}.isdisjoint(k.actions),
        "only what is captured later can be canceled or expire",
    ),
    ("sources", lambda k: bool(k.sources) != (k.payer == "internal"), "internal payers, and only they, name sources"),
    ("hold_days", lambda k: k.hold_days > k.hold_days_max, "is above hold_days_max"),
    ("name", lambda k: bool(k.name), "is derived"),
)
"""What cannot be: (attribute, test, why)."""


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
