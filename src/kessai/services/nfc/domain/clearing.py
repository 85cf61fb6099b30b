"""Lines of clearing files, the sales that they make, and findings; what one flush knows and changes of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import msgspec

from kessai.foundation.ids import derived_hex
from kessai.services.nfc.api.clearing import ClearingFindingState, LineKind, LineOutcome

Place = tuple[str, int]
"""A file's id and a line."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A detail of a clearing file."""

    file_id: str
    line: int
    kind: LineKind
    card: str
    """The issuer's reference."""
    amount_minor: int
    currency: str
    authorized_on: date
    approval_code: str | None
    rrn: str
    merchant: str
    mcc: str
    acquirer: str
    """Eleven digits."""
    reference: str
    """The acquirer's, one a sale."""
    processed_on: date
    outcome: LineOutcome | None = None
    moved_minor: int = 0
    authorization_id: str | None = None
    decided_at: datetime | None = None
    touched: tuple[str, ...] = ()
    """Authorizations of which something is to be done now that it is decided; not kept."""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.file_id, self.line

    @property
    def named(self) -> str:
        """What findings call it."""
        return f"{self.file_id}#{self.line}"


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """A sale that was cleared, by the acquirer's reference."""

    reference: str
    file_id: str
    line: int
    card: str
    merchant: str
    amount_minor: int
    borne_by: tuple[str, ...]
    """Authorizations: the network's own first, then what was charged by force."""


class ClearingCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card as clearing needs it, by the issuer's reference."""

    card_id: str
    customer_id: str
    token: str | None
    last_four: str | None


class FoundThing(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, as it begins."""

    kind: str
    about: str
    day: date
    file_id: str | None = None
    line: int | None = None
    authorization_id: str | None = None
    customer_id: str | None = None
    ours_minor: int = 0
    theirs_minor: int = 0
    detail: str = ""
    remedy: str | None = None

    @property
    def finding_id(self) -> str:
        """Its 32 digits: found again, it is the same."""
        return derived_hex("nfc", "finding", self.kind, self.about)


class StoredFinding(FoundThing, frozen=True, kw_only=True):
    """A finding as it is kept."""

    stored_id: str
    state: ClearingFindingState
    found_at: datetime
    closed_at: datetime | None = None
    closed_by: str | None = None


@dataclass(slots=True)
class ClearingPage:
    """What a flush that decides lines knows, and what it changes of clearing's rows."""

    lines: dict[Place, Line] = field(default_factory=dict[Place, Line])
    sales: dict[str, Sale] = field(default_factory=dict[str, Sale])
    """By the acquirer's reference."""
    of_merchant: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    """References of sales of a card at a merchant, the newest first."""
    candidates: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    """Authorizations by acquirer (eleven digits) and RRN."""
    cards: dict[str, ClearingCard] = field(default_factory=dict[str, ClearingCard])
    """By the issuer's reference."""
    taken_back: set[str] = field(default_factory=set[str])
    """Authorizations that the network reversed."""
    decided: list[Line] = field(default_factory=list[Line])
    sold: list[Sale] = field(default_factory=list[Sale])
    found: list[FoundThing] = field(default_factory=list[FoundThing])

    def sell(self, sale: Sale) -> None:
        """Add a sale."""
        self.sold.append(sale)
        self.sales[sale.reference] = sale
        self.of_merchant.setdefault((sale.card, sale.merchant), []).insert(0, sale.reference)

    def sales_at(self, line: Line) -> Sequence[Sale]:
        """What the line's card bought at its merchant, the newest first."""
        return [self.sales[each] for each in self.of_merchant.get((line.card, line.merchant), [])]


def forced_id_of(reference: str, part: str = "") -> str:
    """The 32 digits of what is charged by force for a sale."""
    return derived_hex("nfc", "clearing", reference, part)


def missed_id_of(authorization_id: str) -> str:
    """The 32 digits of what is charged by force in place of a hold that lapsed before it could be captured."""
    return derived_hex("nfc", "clearing", "missed", authorization_id)
