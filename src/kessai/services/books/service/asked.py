"""What a report is asked for with, and how a desk offers one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

from kessai.services.books.domain.table import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One report, of some days (both included), with its filters."""

    name: str
    since: date
    until: date
    filters: Mapping[str, str] = field(default_factory=dict[str, str])


Builder: TypeAlias = Callable[[Asked], Awaitable[Report]]
"""Makes a report. Its rows may be read later, while nobody holds a transaction open for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A report that can be asked for, and the filters it takes."""

    build: Builder
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


Offers: TypeAlias = Mapping[str, Offer]
"""By the reports' names."""
