"""What one flush of the journal knows and changes, in memory. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from msgspec.structs import replace

from kessai.foundation.clock import business_date
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message, Response
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.api.cards import NumberStanding
from kessai.services.nfc.domain.authorization import Authorization, Plan, Usage, authorization_id_of, kind_of
from kessai.services.nfc.domain.clearing import ClearingPage, FoundThing
from kessai.services.nfc.domain.rules import AuthorizationRules, category_of


@dataclass(slots=True)
class StoredReversal:
    """A reversal's message, answered."""

    authorization_id: str
    reversal_id: str
    mti: str
    stands_minor: int
    response: str
    answer: bytes
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund that came to its end."""

    refund_id: str
    amount_minor: int
    state: str


@dataclass(slots=True)
class Page:
    """What a flush knows and changes: rows by id (None: there is none), cards by mark, usage by card."""

    rules: AuthorizationRules
    rows: dict[str, Authorization | None] = field(default_factory=dict[str, "Authorization | None"])
    reversals: dict[str, StoredReversal] = field(default_factory=dict[str, StoredReversal])
    standings: dict[bytes, NumberStanding] = field(default_factory=dict[bytes, NumberStanding])
    usages: dict[str, Usage] = field(default_factory=dict[str, Usage])
    changed: dict[str, int] = field(default_factory=dict[str, int])
    """Authorizations to write, with the version that each had in the store (0: none)."""
    used: dict[str, int] = field(default_factory=dict[str, int])
    """The same of usages."""
    made: list[StoredReversal] = field(default_factory=list[StoredReversal])
    refunds: list[tuple[str, GivenBack, datetime]] = field(default_factory=list["tuple[str, GivenBack, datetime]"])
    """By authorization; one that is known stays as it is."""
    refused: list[tuple[str, str, Plan]] = field(default_factory=list["tuple[str, str, Plan]"])
    """Payments that were refused before another plan was made, by authorization."""
    began: list[str] = field(default_factory=list[str])
    """Processings that begin with this flush."""
    found: list[FoundThing] = field(default_factory=list[FoundThing])
    """What somebody has to look at, where no line of a clearing file shows it."""
    clearing: ClearingPage | None = None
    """Lines of clearing files and what goes with them, where the flush decides any."""

    def put(self, after: Authorization, now: datetime) -> Authorization:
        """Change (or add) a row."""
        before = self.rows.get(after.authorization_id)
        version = 0 if before is None else before.version
        self.changed.setdefault(after.authorization_id, version)
        after = replace(after, version=version + 1, updated_at=now)
        self.rows[after.authorization_id] = after
        return after

    def standing_of(self, marks: list[bytes]) -> NumberStanding | None:
        """Whose a number is."""
        return next((self.standings[mark] for mark in marks if mark in self.standings), None)

    def usage_of(self, card_id: str, day: date) -> Usage:
        """How a card was used, as of a day."""
        known = self.usages.get(card_id) or Usage(card_id=card_id, day=day)
        return known.on(day)

    def use(self, after: Usage) -> None:
        """Change a card's usage."""
        before = self.usages.get(after.card_id)
        self.used.setdefault(after.card_id, 0 if before is None else before.version)
        self.usages[after.card_id] = replace(after, version=(0 if before is None else before.version) + 1)


def known_row(page: Page, authorization_id: str) -> Authorization:
    """A row that was journalled before."""
    row = page.rows.get(authorization_id)
    assert row is not None, "it was journalled before"
    return row


def release(page: Page, row: Authorization, amount_minor: int, *, whole: bool) -> None:
    """What came to nothing does not count towards the card's limits."""
    if row.card_id is None or row.kind is not AuthorizationKind.PURCHASE:
        return
    day = business_date(row.received_at)
    usage = page.usages.get(row.card_id)
    if usage is not None:
        page.use(usage.released(amount_minor, day, whole=whole))


def answer_to(message: Message, response: Response, approval_code: str | None = None) -> bytes:
    """The bytes of an answer; they hold no card's number."""
    return iso8583.encode(message.answer(response, approval_code=approval_code))


@dataclass(frozen=True, slots=True)
class Seen:
    """A request without its card's number, by whom and when."""

    message: Message
    marks: list[bytes]
    """What the number is looked up by."""
    last_four: str
    digest: bytes
    caller: str
    processing_id: str
    now: datetime
    real_now: datetime

    @property
    def authorization_id(self) -> str:
        """The row's 32 digits."""
        return authorization_id_of(self.message.key)


def new_row(command: Seen, standing: NumberStanding | None, rules: AuthorizationRules) -> Authorization:
    """An authorization as it begins."""
    message = command.message
    amount = message.amount or 0
    return Authorization(
        authorization_id=command.authorization_id,
        message_key=message.key,
        kind=kind_of(message),
        state=AuthorizationState.INSTRUCTED,
        work=None,
        work_since=None,
        caller=command.caller,
        digest=command.digest,
        token=None if standing is None else standing.token,
        last_four=command.last_four,
        card_id=None if standing is None else standing.card_id,
        customer_id=None if standing is None else standing.customer_id,
        device_id=None if standing is None else standing.device_id,
        amount_minor=amount,
        stands_minor=amount,
        currency=message.currency or "",
        mcc=message.mcc or "",
        entry_mode=message.entry_mode or "",
        category=category_of(message, rules),
        merchant=message.merchant or "",
        terminal=message.terminal or "",
        place=message.place or "",
        acquirer=message.acquirer or "",
        rrn=message.rrn or "",
        stan=message.stan or "",
        transmitted=message.transmitted or "",
        processing_code=message.processing_code or "",
        approval_code=None,
        response=None,
        answer=None,
        refusal_code=None,
        stood_in=False,
        plan=None,
        payment_id=None,
        payment_state=None,
        captured_minor=0,
        refunded_minor=0,
        processing_id=command.processing_id,
        received_at=command.now,
        updated_at=command.now,
        version=0,
    )
