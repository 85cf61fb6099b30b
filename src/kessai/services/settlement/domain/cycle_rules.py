"""What cycles go by: `config/settlement_cycles.toml`."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import msgspec

from kessai.foundation.config import TomlDocument, load_toml


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who issues statements and invoices (適格請求書発行事業者)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    registration_number: Annotated[str, msgspec.Meta(pattern=r"^T[0-9]{13}$")]


class ChargedFees(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fees that belong to no schedule."""

    transfer_fee_tax_bps: Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class ClaimRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a claim falls due."""

    due_days: Annotated[int, msgspec.Meta(ge=0, le=365)]


class CyclePages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is done at once."""

    payees: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    transfers: Annotated[int, msgspec.Meta(ge=1, le=64)]


class CycleRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    issuer: Issuer
    fees: ChargedFees
    claims: ClaimRules
    pages: CyclePages


def read_cycle_rules(document: TomlDocument | None = None) -> CycleRules:
    """The rules, or the platform's own; ConfigError names the line of what is wrong."""
    return (document or load_toml("kessai.config", "settlement_cycles.toml")).convert((), CycleRules)


@cache
def cycle_rules() -> CycleRules:
    """The platform's own rules."""
    return read_cycle_rules()
