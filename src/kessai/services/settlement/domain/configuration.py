"""What settlement goes by: `config/settlement.toml`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from kessai.foundation.config import TomlDocument, load_toml

Prover = Literal["tracer", "books"]


class Intake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which payments are about a merchant's unsettled sales, by kind."""

    account_type: str
    """Where what is not settled yet stands; of an adjustment, the account that makes it one."""
    platform: str
    """How transaction data name the platform as the other side."""
    sales: list[str]
    escrows: list[str]
    """Of which the marketplace keeps a fee; that fee is its sale."""
    fees: list[str]
    adjustments_in: list[str]
    adjustments_out: list[str]


class Waiting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a day waits for what is still on its way."""

    quiet_after_s: Annotated[float, msgspec.Meta(ge=0)]
    """An event may be told so much later than another that was recorded after it."""
    proofs_s: Annotated[float, msgspec.Meta(ge=0)]
    """For verdicts that are pending (real time); what is not proved by then stays open."""
    margin_s: Annotated[float, msgspec.Meta(ge=0)]
    """Between the instant that an event carries and the tracer's having heard of it (real time): commit and clocks."""


class Pages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is done at once."""

    transactions: Annotated[int, msgspec.Meta(ge=1, le=50_000)]
    fees: Annotated[int, msgspec.Meta(ge=1, le=500)]
    """Of one call to the payment service, and so of one processing."""
    fee_pages: Annotated[int, msgspec.Meta(ge=1, le=32)]
    """Pages of fees that are issued at the same time."""


class SettlementConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    reconcile: Annotated[list[Prover], msgspec.Meta(min_length=1)]
    """Who proves a transaction; with both, both have to."""
    intake: Intake
    waiting: Waiting
    pages: Pages


def read_settlement(document: TomlDocument | None = None) -> SettlementConfig:
    """The configuration, or the platform's own; ConfigError names the line of what is wrong."""
    return (document or load_toml("kessai.config", "settlement.toml")).convert((), SettlementConfig)
