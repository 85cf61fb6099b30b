"""How customers pay at a shop, as data: `config/checkout.toml`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kessai.foundation.config import TomlDocument, load_toml

Seconds = Annotated[int, msgspec.Meta(ge=10, le=3_600)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=60 * 24 * 60)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class CodeTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one-time codes."""

    prefix: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,6}$")] = "28"
    random_digits: Annotated[int, msgspec.Meta(ge=15, le=30)] = 17
    """Fewer could be guessed."""
    live_seconds: Seconds = 300
    live_max: Count = 2
    """Of one customer; a further one makes the oldest worthless."""
    kept_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 1
    """How long an expired code is told from an unknown one."""
    failures_max: Count = 20
    """Unknown codes of one API key in a window."""
    failures_window_minutes: Minutes = 10


class QrTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of merchants' static QR."""

    globally_unique_id: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9.-]{1,32}$")] = "org.kessai"
    """Tells our merchant accounts from other networks': a reverse domain name, or an application id."""


class OrderTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of net orders."""

    live_minutes: Minutes = 30
    """How long a customer may take to confirm."""
    live_minutes_max: Minutes = 10_080


class Checkout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    codes: CodeTerms = CodeTerms()
    merchant_qr: QrTerms = QrTerms()
    orders: OrderTerms = OrderTerms()


def read_checkout(document: TomlDocument) -> Checkout:
    """The terms of a file; ConfigError names the line of what is unknown or cannot be."""
    terms = document.convert((), Checkout)
    if terms.orders.live_minutes > terms.orders.live_minutes_max:
        raise document.error(("orders", "live_minutes"), "is above live_minutes_max")
    return terms


def load_checkout() -> Checkout:
    """The platform's own terms."""
    return read_checkout(load_toml("kessai.config", "checkout.toml"))
