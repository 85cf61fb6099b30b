"""Booking (記帳): events and what is known of their accounts in, journals with balanced entries out. Pure.

An event is booked whole or stands unposted with its reason, alone: its neighbours in the batch are booked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeAlias

from kessai.foundation.clock import business_date
from kessai.services.bank.api import InstructionChanged, InstructionKind, InstructionState
from kessai.services.books.domain.faults import fault_of, writable
from kessai.services.books.domain.given_back import Legs, copied, give_back, note
from kessai.services.books.domain.rules import YEN, BoundLeg, PostingRules, Rule, RulesVersion, TaxCode
from kessai.services.books.domain.statutory.trades import Order
from kessai.services.ledger.api import ExchangeRecorded

POSTED_BY = "books"
SOURCES = {"ledger": 1, "bank": 2}
"""Where an event's journal stands among those of its instant; journals made by hand come after them."""
AHEAD_MAX = timedelta(minutes=5)
"""How far clocks may differ before an event is of the future."""


class Unposted:
    """Why an event is not booked."""

    NO_RULE = "no_rule"
    LEG_NOT_TAKEN = "leg_not_taken"
    ACCOUNT_UNKNOWN = "account_unknown"
    ORIGINAL_UNPOSTED = "original_unposted"
    """Of a reversal: what it reverses is not booked itself."""
    FUTURE_DATE = "future_date"
    UNBALANCED = "unbalanced"
    UNREADABLE = "unreadable"
    """It is no event as this program knows it, or what it tells cannot be written."""


class Happening(NamedTuple):
    """An event as it was told; `(source, position, ordinal)` names it for ever."""

    source: str
    position: int
    ordinal: int
    topic: str
    payload: bytes
    at: datetime
    told: ExchangeRecorded | InstructionChanged | str
    """A str: why it cannot be read."""

    @property
    def event_id(self) -> str:
        """Its name in the books."""
        return f"{self.source}/{self.position}/{self.ordinal}"


class Known:
    """An account of the ledger. `dimension`: its owner, unless that is a customer."""

    __slots__ = ("account_type", "dimension", "merchant", "owner")

    def __init__(self, owner: str, account_type: str, owner_kind: str) -> None:
        self.owner = owner
        self.account_type = account_type
        self.dimension = "" if owner_kind == "customer" else owner
        self.merchant = owner if owner_kind == "merchant" else None


class Original(NamedTuple):
    """What is known of an exchange (or a bank's instruction) that was booked before."""

    kind: str
    payment_id: str | None
    merchant: str | None
    root: str
    """The exchange itself; of a reversal the one that was reversed first, however long the chain."""


class Periods(Protocol):
    """How far the books are closed."""

    def booking_day(self, event_on: date) -> date:
        """Where an event of a day is booked."""
        ...


class Journal(NamedTuple):
    """A row of `journal`, in the order of its columns."""

    journal_id: str
    source: str
    event_id: str
    kind: str
    action: str
    rule: str
    rule_version: int
    booked_on: date
    event_on: date
    occurred_at: datetime
    recorded_at: datetime
    exchange_id: str | None
    payment_id: str | None
    processing_id: str | None
    merchant: str | None
    product: str | None
    reverses: str | None
    description: str
    posted_by: str
    origin: str | None = None
    """Of a reversal: the exchange at the beginning of its chain."""


class Entry(NamedTuple):
    """A row of `entry`, in the order of its columns; `amount` is positive on the debit side."""

    journal_id: str
    line: int
    account: str
    asset: str
    amount: int
    tax_code: str
    account_type: str
    owner: str
    booked_on: date


Posting: TypeAlias = "list[Any]"
"""`[leg, account, asset, amount, …]`, see ExchangeRecorded."""
TotalKey: TypeAlias = tuple[str, date, date, str, str, str, str]
"""account, booked_on, event_on, asset, account_type, kind, tax_code"""


@dataclass(slots=True)
class Batch:
    """What some events come to: rows to be written."""

    recorded_at: datetime
    """When they are booked."""
    journals: list[Journal] = field(default_factory=list[Journal])
    entries: list[Entry] = field(default_factory=list[Entry])
    totals: dict[TotalKey, list[int]] = field(default_factory=dict[TotalKey, list[int]])
    """Debit, credit, number of entries."""
    held: dict[str, str] = field(default_factory=dict[str, str])
    """Payments by exchanges that were held: their captures do not tell it again."""
    unposted: list[tuple[Happening, str, str]] = field(default_factory=list[tuple[Happening, str, str]])
    """Events with reason and detail."""
    originals: dict[str, Original] = field(default_factory=dict[str, Original])
    """By exchange or instruction: what was booked before, and by now."""
    standing: set[str] = field(default_factory=set[str])
    """Instructions of which an event stands unposted."""
    reversed: set[str] = field(default_factory=set[str])
    """Exchanges that the batch's events reverse."""
    taxed: dict[str, Legs] = field(default_factory=dict[str, Legs])
    """Of those, and of the exchanges that their chains begin with: what is booked under tax codes."""
    orders: dict[str, Order] = field(default_factory=dict[str, Order])
    """By exchange of two assets: how it was ordered."""
    booked: int = 0
    """Journals that were taken."""

    def taken(self) -> tuple[list[Journal], list[Entry]]:
        """The journals and entries since they were last taken."""
        journals, entries = self.journals, self.entries
        self.booked += len(journals)
        self.journals, self.entries = [], []
        return journals, entries


class _Refused(Exception):
    """An event that cannot be booked: reason and detail."""


@dataclass(frozen=True, slots=True)
class Book:
    """What events are booked by."""

    rules: PostingRules
    directory: Mapping[str, Known]
    """Accounts of the ledger that are known, by `acc_…`."""
    periods: Periods

    def book(self, batch: Batch, events: Sequence[Happening]) -> None:
        """Book events, in the order in which they happened."""
        latest = batch.recorded_at + AHEAD_MAX
        at: datetime | None = None
        event_on = booked_on = date.min
        version: RulesVersion | None = None
        for event in events:
            if event.at is not at:
                at = event.at
                event_on = business_date(at)
                booked_on = self.periods.booking_day(event_on)
                version = self.rules.on(event_on)
            told = event.told
            try:
                if isinstance(told, str):
                    raise _Refused(Unposted.UNREADABLE, told)
                if event.at > latest:
                    raise _Refused(Unposted.FUTURE_DATE, event_on.isoformat())
                if isinstance(told, ExchangeRecorded):
                    self._exchange(batch, event, told, version, event_on, booked_on)
                else:
                    self._instruction(batch, event, told, version, event_on, booked_on)
            except _Refused as refusal:
                self._refuse(batch, event, *refusal.args)
            except Exception as error:  # noqa: BLE001  (whatever is wrong with one event is no reason to keep others)
                batch.unposted.append((event, Unposted.UNREADABLE, fault_of(error)))

    def _refuse(self, batch: Batch, event: Happening, reason: str, detail: str) -> None:
        """Put an event aside. An unknown account comes before other reasons: its news tries the event again."""
        told = event.told
        if isinstance(told, ExchangeRecorded):
            unknown = (posting[1] for posting in told.postings if posting[3] and posting[1] not in self.directory)
            if (account_id := next(unknown, None)) is not None:
                reason, detail = Unposted.ACCOUNT_UNKNOWN, str(account_id)
        elif isinstance(told, InstructionChanged):
            batch.standing.add(told.instruction_id)
        batch.unposted.append((event, reason, detail))

    # -- the ledger's events --------------------------------------------------------------------------------------

    def _exchange(
        self,
        batch: Batch,
        event: Happening,
        told: ExchangeRecorded,
        version: RulesVersion | None,
        event_on: date,
        booked_on: date,
    ) -> None:
        moved: list[Posting] = [posting for posting in told.postings if posting[3]]
        if not moved:
            return
        _require_balance(moved)
        original = None if told.reverses is None else batch.originals.get(told.reverses)
        if told.reverses is not None and original is None:
            raise _Refused(Unposted.ORIGINAL_UNPOSTED, told.reverses)
        kind = told.kind if original is None else original.kind
        rule = None if version is None else version.rules.get(kind)
        if version is None or rule is None:
            raise _Refused(Unposted.NO_RULE, kind)
        journal_id = journal_id_of(event)
        origin = None if original is None else original.root
        lines = _Lines(journal_id, booked_on, None if origin is None else copied(batch.taxed.get(origin)))
        merchant = self._legs(lines, rule, moved, version.tax)
        if rule.lines:
            _further(lines, rule, moved, self.directory)
        payment_id = writable(told.metadata.get("payment_id")) or batch.held.get(told.exchange_id)
        if original is not None:
            payment_id, merchant = payment_id or original.payment_id, merchant or original.merchant
        elif payment_id is None:
            payment_id = told.reference
        description = _description(rule, told, event_on, booked_on)
        batch.originals[told.exchange_id] = Original(kind, payment_id, merchant, origin or told.exchange_id)
        if origin is not None and lines.back is not None:
            batch.taxed[origin] = lines.back
        elif told.exchange_id in batch.reversed:
            accounts = {code: frozenset((tax.account,)) for code, tax in version.tax.items()}
            taxed = (((each[6], each[7], each[3], each[5]), each[2], each[4]) for each in lines.entries if each[5])
            note(batch.taxed.setdefault(told.exchange_id, {}), taxed, accounts, is_back=False)
        batch.journals.append(
            Journal(
                journal_id, event.source, event.event_id, kind, told.action, rule.name, version.number, booked_on,
                event_on, event.at, batch.recorded_at, told.exchange_id, payment_id, told.processing_id, merchant,
                rule.product, None, description, POSTED_BY, origin,
            )
        )  # fmt: skip
        lines.into(batch, kind, event_on)

    def _legs(
        self, lines: _Lines, rule: Rule, moved: list[Posting], tax: Mapping[str, TaxCode]
    ) -> str | None:  # fmt: skip
        """Book each posting on its control account; gives the merchant, if one is among the owners."""
        directory, legs = self.directory, rule.legs
        merchant: str | None = None
        for posting in moved:
            account_id: str = posting[1]
            if (known := directory.get(account_id)) is None:
                raise _Refused(Unposted.ACCOUNT_UNKNOWN, account_id)
            if (leg := legs.get(known.account_type)) is None:
                raise _Refused(Unposted.LEG_NOT_TAKEN, known.account_type)
            if known.merchant is not None and merchant is None:
                merchant = known.merchant
            if lines.back is None:
                lines.leg(leg, known, posting[2], -posting[3])
            else:
                lines.leg_back(leg, known, posting[2], -posting[3], {**self.rules.tax_codes, **tax})
        return merchant

    # -- the bank's events ----------------------------------------------------------------------------------------

    def _instruction(
        self,
        batch: Batch,
        event: Happening,
        told: InstructionChanged,
        version: RulesVersion | None,
        event_on: date,
        booked_on: date,
    ) -> None:
        """What left our account at the bank or came in.

        What came back was out before: where that was not told yet, both are booked now, and what is told of it later
        is booked already. Where it was told and stands unposted, the return waits for it.
        """
        returned, known = told.state is InstructionState.RETURNED, told.instruction_id in batch.originals
        if not returned and (told.state is not InstructionState.DONE or known):
            return
        if returned and not known and told.instruction_id in batch.standing:
            raise _Refused(Unposted.ORIGINAL_UNPOSTED, told.instruction_id)
        debit = told.kind is InstructionKind.DEBIT
        direction = "debit_in" if debit else "transfer_out"
        clearing = None if version is None else version.bank.get(direction)
        if version is None or clearing is None:
            raise _Refused(Unposted.NO_RULE, direction)
        journal_id = journal_id_of(event)
        lines = _Lines(journal_id, booked_on)
        ways = (1, -1) if returned and not known else (-1 if returned else 1,)
        for way in ways:
            amount = way * (told.amount_minor if debit else -told.amount_minor)
            lines.add(clearing.deposit, YEN, amount)
            lines.add(clearing.clearing, YEN, -amount)
        kind = f"bank_{told.kind.value}"
        merchant = told.owner_id if told.owner_kind.value == "merchant" else None
        batch.originals[told.instruction_id] = Original(kind, told.reference, merchant, told.instruction_id)
        late = "" if booked_on == event_on else f" ({event_on} 分)"
        text = ("口座振替" if debit else "振込") + (" 資金返却" if returned else "") + late
        action = "returned" if returned else "done"
        batch.journals.append(
            Journal(
                journal_id, event.source, event.event_id, kind, action, direction, version.number, booked_on, event_on,
                event.at, batch.recorded_at, told.instruction_id, told.reference, told.processing_id, merchant, None,
                None, text, POSTED_BY,
            )
        )  # fmt: skip
        lines.into(batch, kind, event_on)


_new: Callable[[type[Entry], Iterable[object]], Entry] = tuple[object, ...].__new__
"""A NamedTuple from its fields, in half the time of calling its class."""


class _Lines:
    """The entries of one journal in the making; nothing is of the batch before all of them are."""

    __slots__ = ("back", "booked_on", "entries", "journal_id")

    def __init__(self, journal_id: str, booked_on: date, back: Legs | None = None) -> None:
        self.journal_id = journal_id
        self.booked_on = booked_on
        self.back = back
        """Of a reversal: what is booked of the exchange under tax codes, to be changed with it."""
        self.entries: list[Entry] = []

    def add(
        self, account: str, asset: str, amount: int, tax_code: str = "", account_type: str = "", owner: str = ""
    ) -> None:
        """An entry; nothing for an amount of zero."""
        if amount:
            entries = self.entries
            day, line = self.booked_on, len(entries) + 1
            row = (self.journal_id, line, account, asset, amount, tax_code, account_type, owner, day)
            entries.append(_new(Entry, row))

    def leg(self, leg: BoundLeg, known: Known, asset: str, amount: int) -> None:
        """A posting of the ledger, and the tax that it includes."""
        account = leg.by_owner.get(known.owner, leg.account) if leg.by_owner else leg.account
        account_type, owner = known.account_type, known.dimension
        if leg.tax is None:
            self.add(account, asset, amount, "", account_type, owner)
            return
        tax = leg.tax.included_in(amount)
        self.add(account, asset, amount - tax, leg.tax.code, account_type, owner)
        self.add(leg.tax.account, asset, tax, leg.tax.code, account_type, owner)

    def leg_back(self, leg: BoundLeg, known: Known, asset: str, amount: int, codes: Mapping[str, TaxCode]) -> None:
        """A posting of a reversal, with the tax of what it gives back."""
        account = leg.by_owner.get(known.owner, leg.account) if leg.by_owner else leg.account
        account_type, owner = known.account_type, known.dimension
        parts = give_back(self.back or {}, (account_type, owner, asset), amount, codes)
        if not parts:
            self.add(account, asset, amount, "", account_type, owner)
        for code, part, tax in parts:
            self.add(account, asset, part - tax, code.code, account_type, owner)
            self.add(code.account, asset, tax, code.code, account_type, owner)

    def into(self, batch: Batch, kind: str, event_on: date) -> None:
        """Hand all of them over, and count them."""
        totals, booked_on = batch.totals, self.booked_on
        for entry in self.entries:
            key = (entry[2], booked_on, event_on, entry[3], entry[6], kind, entry[5])
            total = totals.get(key)
            if total is None:
                total = totals[key] = [0, 0, 0]
            amount = entry[4]
            if amount > 0:
                total[0] += amount
            else:
                total[1] -= amount
            total[2] += 1
        batch.entries += self.entries


def journal_id_of(event: Happening) -> str:
    """The id that an event's journal always has: a UUIDv8 (RFC 9562) that runs with the events' positions.

    So that what is booked one after the other stands together in every index.
    """
    return f"{SOURCES[event.source]:02x}{event.position:010x}80008000{event.ordinal:012x}"


def subject_of(told: ExchangeRecorded | InstructionChanged | str) -> str:
    """The exchange or the instruction that an event tells of; empty where it cannot be read."""
    if isinstance(told, str):
        return ""
    return told.exchange_id if isinstance(told, ExchangeRecorded) else told.instruction_id


def _require_balance(moved: list[Posting]) -> None:
    sums: dict[object, int] = {}
    for posting in moved:
        sums[posting[2]] = sums.get(posting[2], 0) + posting[3]
    for asset, total in sums.items():
        if total:
            raise _Refused(Unposted.UNBALANCED, f"{asset} {total:+d}")


def _further(lines: _Lines, rule: Rule, moved: list[Posting], directory: Mapping[str, Known]) -> None:
    """What a rule adds besides: of a type's amount, credited in the ledger, as much on both sides."""
    for line in rule.lines:
        sums: dict[str, int] = {}
        for posting in moved:
            if directory[posting[1]].account_type == line.of:
                sums[posting[2]] = sums.get(posting[2], 0) + posting[3]
        for asset, amount in sums.items():
            lines.add(line.account, asset, amount if line.side == "debit" else -amount)


_REVERSALS = {"refund": "返金", "cancel": "取消", "return": "組戻し", "expire": "期限切れ", "reversal": "取消"}


def _description(rule: Rule, told: ExchangeRecorded, event_on: date, booked_on: date) -> str:
    """摘要: what it was, and its own day where it is booked on another."""
    text = rule.name_ja
    if told.reverses is not None:
        text += f" {_REVERSALS.get(told.kind, told.kind)}"
    return text if booked_on == event_on else f"{text} ({event_on} 分)"
