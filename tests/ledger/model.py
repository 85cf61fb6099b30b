"""The ledger as a plain model: a few dictionaries and loops, slow and obvious, to hold the real one against.

It answers each request with the code of a refusal, or "" when it was done; it knows nothing of flushes, caches or SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kessai.services.ledger.api import ExchangeState, Freeze

UNIT = 100
"""Satoshi; whole yen buy whole units."""
HOLD_LIFETIME = timedelta(days=7)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Kind:
    """An account type, as far as the model needs it."""

    log_only: bool = False
    has_lots: bool = True
    auto_create: bool = False
    cap: int | None = None
    days: int | None = None
    grace: int = 0
    asset: str = "JPY"
    rated: bool = False


KINDS = {
    "funds": Kind(cap=1_000_000),
    "sales": Kind(auto_create=True),
    "free_points": Kind(auto_create=True, days=180, grace=30),
    "paid_points": Kind(auto_create=True, days=365),
    "credit": Kind(has_lots=False),
    "trading_funds": Kind(),
    "btc": Kind(asset="BTC", rated=True),
    "position": Kind(log_only=True, has_lots=False),
    "position_btc": Kind(log_only=True, has_lots=False, asset="BTC"),
    "unsettled_sales": Kind(log_only=True, has_lots=False, auto_create=True),
    "deposit": Kind(log_only=True, has_lots=False, auto_create=True),
}


@dataclass(eq=False)
class LotModel:
    """One credit."""

    amount: int
    remaining: int
    expires: datetime | None
    held: int = 0
    rate: int | None = None
    """Yen a unit (of 100 satoshi) at which it was acquired."""

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


Part = tuple[LotModel, int]
"""So much of a lot."""


@dataclass(eq=False)
class AccountModel:
    """One account with all the lots it ever had, in the order in which they came."""

    kind: Kind
    overdraft: int = 0
    balance: int = 0
    held: int = 0
    freeze: Freeze = Freeze.NONE
    closed: bool = False
    lots: list[LotModel] = field(default_factory=list)

    def in_order(self) -> list[LotModel]:
        """Soonest expiry first, those that never expire last, then the oldest."""
        return sorted(self.lots, key=lambda lot: lot.expires or NEVER)

    def available(self, now: datetime) -> int:
        stale = sum(lot.remaining - lot.held for lot in self.lots if lot.expired(now))
        return self.balance - self.held - stale + self.overdraft

    def credit(self, amount: int, expires: datetime | None, rate: int | None = None) -> list[Part]:
        """Gives what it has made."""
        self.balance += amount
        if not self.kind.has_lots:
            return []
        lot = LotModel(amount, amount, expires, rate=rate if self.kind.rated else None)
        self.lots.append(lot)
        return [(lot, amount)]

    def choose(self, amount: int, now: datetime) -> list[Part]:
        """The lots that a debit or hold takes, and how much of each."""
        chosen: list[Part] = []
        for lot in self.in_order():
            take = 0 if lot.expired(now) else min(amount, lot.remaining - lot.held)
            if take:
                chosen.append((lot, take))
                amount -= take
        assert not amount or not self.kind.has_lots
        return chosen


@dataclass(eq=False)
class LegModel:
    """One leg of an exchange; `amount` is signed.

    `taken` is what was consumed and not given back or, of a target, credited and not taken back.
    """

    account: AccountModel
    amount: int
    expires: datetime | None = None
    captured: int = 0
    reversed: int = 0
    holds: list[Part] = field(default_factory=list)
    taken: list[Part] = field(default_factory=list)
    gain: int = 0
    """Realised on what is sold and has not come back."""

    def realised(self, rate: int | None) -> int:
        """The gain on what it has taken, sold at a rate."""
        if rate is None or not self.account.kind.rated:
            return 0
        return sum(amount * (rate - lot.rate) for lot, amount in self.taken if lot.rate is not None) // UNIT


@dataclass(eq=False)
class ExchangeModel:
    """An exchange and how far it has come."""

    state: ExchangeState
    legs: list[LegModel]
    expires: datetime | None = None
    rate: int | None = None
    """Of an exchange of two assets."""


@dataclass(frozen=True)
class Ask:
    """One leg of a request. `amount` is positive; `days` is the new lot's life."""

    account: str
    amount: int
    balancing: bool = False
    returning: bool = False
    days: int | None = None


class LedgerModel:
    """Accounts by name (`owner/type`), exchanges by name."""

    def __init__(self) -> None:
        self.accounts: dict[str, AccountModel] = {}
        self.exchanges: dict[str, ExchangeModel] = {}
        self.breakage = 0

    def open(self, name: str, limit: int = 0) -> AccountModel:
        kind = KINDS[name.rsplit("/", 1)[1]]
        return self.accounts.setdefault(name, AccountModel(kind, overdraft=limit))

    def close(self, name: str) -> str:
        account = self.accounts[name]
        if account.balance or account.held or self._incoming(account):
            return "" if account.closed else "account_not_empty"
        account.closed, account.freeze = True, Freeze.NONE
        return ""

    def set_freeze(self, name: str, freeze: Freeze) -> str:
        if self.accounts[name].closed:
            return "account_closed"
        self.accounts[name].freeze = freeze
        return ""

    # -- create

    def create(
        self, name: str, sources: list[Ask], targets: list[Ask], now: datetime, *, capture: bool
    ) -> tuple[str, list[int]]:
        """The refusal's code, or "" with the signed amounts of the legs."""
        asks = [*sources, *targets]
        before = set(self.accounts)
        code, amounts = self._open_asked(asks, len(sources)), []
        if not code:
            code, amounts = self._decide(asks, len(sources), now)
        if code:
            for fresh in set(self.accounts) - before:
                del self.accounts[fresh]
            return code, []
        self._post(name, asks, amounts, now, capture=capture)
        return "", amounts

    def _open_asked(self, asks: list[Ask], sources: int) -> str:
        for number, ask in enumerate(asks):
            if ask.account not in self.accounts and not self._opens_itself(ask, source=number < sources):
                return "account_not_found"
            self.open(ask.account)
        return ""

    def _opens_itself(self, ask: Ask, *, source: bool) -> bool:
        kind = KINDS[ask.account.rsplit("/", 1)[1]]
        return kind.auto_create and (kind.log_only or ask.balancing or not source)

    def _decide(self, asks: list[Ask], sources: int, now: datetime) -> tuple[str, list[int]]:
        for number, ask in enumerate(asks):
            account, out = self.accounts[ask.account], number < sources
            if account.closed:
                return "account_closed", []
            stopped = {Freeze.BOTH, Freeze.OUT if out else Freeze.IN}
            if account.freeze in stopped and (out or not ask.returning):
                return "account_frozen", []
        amounts = self._amounts(asks, sources, now)
        if sum(amounts):
            return ("insufficient_funds" if any(ask.balancing for ask in asks[:sources]) else "unbalanced"), []
        return self._check_movements(asks, amounts, now), amounts

    def _amounts(self, asks: list[Ask], sources: int, now: datetime) -> list[int]:
        needed = sum(ask.amount for ask in asks[sources:])
        amounts: list[int] = []
        given: dict[str, int] = {}
        for ask in asks[:sources]:
            gives = ask.amount
            if ask.balancing:
                there = self.accounts[ask.account].available(now) - given.get(ask.account, 0)
                gives = max(0, min(gives, there, needed))
            given[ask.account] = given.get(ask.account, 0) + gives
            needed -= gives
            amounts.append(-gives)
        return amounts + [ask.amount for ask in asks[sources:]]

    def _check_movements(self, asks: list[Ask], amounts: list[int], now: datetime) -> str:
        pending: dict[str, int] = {}
        for ask, amount in zip(asks, amounts, strict=True):
            account, before = self.accounts[ask.account], pending.get(ask.account, 0)
            if account.kind.log_only or not amount:
                continue
            if amount < 0 and account.available(now) + before < -amount:
                return "insufficient_funds"
            cap = account.kind.cap
            held = account.balance + self._incoming(account) + before + amount
            if amount > 0 and cap is not None and not ask.returning and held > cap:
                return "retention_cap_exceeded"
            pending[ask.account] = before + amount
        return ""

    def _incoming(self, account: AccountModel) -> int:
        """What held exchanges may still bring to an account."""
        held = (each for each in self.exchanges.values() if each.state is ExchangeState.AUTHORIZED)
        return sum(
            leg.amount - leg.captured
            for exchange in held
            for leg in exchange.legs
            if leg.account is account and leg.amount > 0
        )

    def _post(self, name: str, asks: list[Ask], amounts: list[int], now: datetime, *, capture: bool) -> None:
        legs = [
            LegModel(self.accounts[ask.account], amount, self._expiry(ask, now))
            for ask, amount in zip(asks, amounts, strict=True)
        ]
        state = ExchangeState.CAPTURED if capture else ExchangeState.AUTHORIZED
        self.exchanges[name] = ExchangeModel(state, legs, None if capture else now + HOLD_LIFETIME)
        for leg in legs:
            if not leg.amount:
                continue
            if capture:
                leg.captured = abs(leg.amount)
                self._move(leg, now)
            elif leg.amount < 0 and not leg.account.kind.log_only:
                leg.holds = leg.account.choose(-leg.amount, now)
                leg.account.held -= leg.amount
                for lot, amount in leg.holds:
                    lot.held += amount

    def _move(self, leg: LegModel, now: datetime, rate: int | None = None) -> None:
        if leg.amount < 0:
            self._debit(leg, now)
            leg.gain = leg.realised(rate)
        else:
            leg.taken = leg.account.credit(leg.amount, leg.expires, rate)

    def trade(self, name: str, source: Ask, target: Ask, rate: int, now: datetime) -> str:
        """Yen for bitcoin or the other way, at once, past two position accounts."""
        if code := self._check_movements([source, target], [-source.amount, target.amount], now):
            return code
        legs = [LegModel(self.accounts[ask.account], amount)
                for ask, amount in ((source, -source.amount), (target, target.amount))]  # fmt: skip
        for kind in ("position_btc", "position"):
            moved = sum(leg.amount for leg in legs if leg.account.kind.asset == KINDS[kind].asset)
            legs.append(LegModel(AccountModel(KINDS[kind]), -moved))
        for leg in legs:
            leg.captured = abs(leg.amount)
            self._move(leg, now, rate)
        self.exchanges[name] = ExchangeModel(ExchangeState.CAPTURED, legs, rate=rate)
        return ""

    def _expiry(self, ask: Ask, now: datetime) -> datetime | None:
        days = ask.days or self.accounts[ask.account].kind.days
        return None if days is None else now + timedelta(days=days)

    def _debit(self, leg: LegModel, now: datetime) -> None:
        for lot, amount in leg.account.choose(-leg.amount, now):
            lot.remaining -= amount
            leg.taken.append((lot, amount))
        leg.account.balance += leg.amount

    # -- capture, void, expiry

    def capture(self, name: str, amount: int | None, now: datetime, *, final: bool) -> str:
        exchange = self.exchanges[name]
        if exchange.state is not ExchangeState.AUTHORIZED:
            return "exchange_not_authorized"
        if exchange.expires is not None and exchange.expires <= now:
            return "hold_expired"
        lefts = [abs(leg.amount) - leg.captured for leg in exchange.legs]
        amounts = _spread(exchange, amount, lefts)
        if amounts is None:
            return "capture_above_authorized"
        if any(leg.account.closed and part for leg, part in zip(exchange.legs, amounts, strict=True)):
            return "account_closed"
        release = final or amounts == lefts
        for leg, part in zip(exchange.legs, amounts, strict=True):
            self._capture_leg(leg, part, release=release)
        if release:
            exchange.state = ExchangeState.CAPTURED
        return ""

    def _capture_leg(self, leg: LegModel, part: int, *, release: bool) -> None:
        leg.captured += part
        if leg.amount > 0:
            if part:
                leg.taken += leg.account.credit(part, leg.expires)
            return
        if not leg.account.kind.log_only:
            rest = -leg.amount - leg.captured
            leg.account.held -= part + (rest if release else 0)
        leg.account.balance -= part
        kept: list[Part] = []
        for lot, held in leg.holds:
            take = min(held, part)
            part -= take
            lot.remaining -= take
            lot.held -= held if release else take
            if take:
                leg.taken.append((lot, take))
            if held > take and not release:
                kept.append((lot, held - take))
        leg.holds = kept

    def void(self, name: str) -> str:
        if self.exchanges[name].state is not ExchangeState.AUTHORIZED:
            return "exchange_not_authorized"
        self._release(self.exchanges[name], ExchangeState.VOIDED)
        return ""

    def _release(self, exchange: ExchangeModel, state: ExchangeState) -> None:
        for leg in exchange.legs:
            if leg.amount < 0:
                self._capture_leg(leg, 0, release=True)
        exchange.state = ExchangeState.CAPTURED if any(leg.captured for leg in exchange.legs) else state

    def expire_exchanges(self, now: datetime) -> None:
        for exchange in self.exchanges.values():
            if exchange.state is ExchangeState.AUTHORIZED and exchange.expires is not None and exchange.expires <= now:
                self._release(exchange, ExchangeState.EXPIRED)

    def expire_lots(self, now: datetime) -> None:
        for account in self.accounts.values():
            for lot in account.lots:
                if lot.expired(now):
                    account.balance -= lot.remaining - lot.held
                    self.breakage += lot.remaining - lot.held
                    lot.remaining = lot.held

    # -- reverse

    def reverse(
        self, name: str, reversal: str, amount: int | None, now: datetime, units: int | None = None
    ) -> tuple[str, list[int]]:
        """The refusal's code, or "" with the gains that its legs tell; of an exchange of two assets so many `units`."""
        exchange = self.exchanges[name]
        if not any(leg.captured for leg in exchange.legs):
            return "exchange_not_captured", []
        if exchange.rate is not None and amount is not None:
            return "unbalanced", []
        amounts = _spread(exchange, amount, [leg.captured - leg.reversed for leg in exchange.legs])
        if units is not None and exchange.rate is not None and amounts is not None:
            asked = [units * each for each in per_unit(exchange)]
            amounts = asked if asked[0] <= amounts[0] else None
        if amounts is None or not any(amounts):
            return "reversal_above_captured", []
        parts = [(leg, part) for leg, part in zip(exchange.legs, amounts, strict=True) if part]
        if code := self._check_reversal(parts, now):
            return code, []
        back: list[LegModel] = []
        for leg, part in sorted(parts, key=lambda each: each[0].amount < 0):
            leg.reversed += part
            mirrored = LegModel(leg.account, -part if leg.amount > 0 else part, captured=part)
            back.append(mirrored)
            if leg.amount > 0:
                self._take_back(leg, mirrored, now)
                mirrored.gain = mirrored.realised(exchange.rate)
            else:
                self._restore(leg, mirrored, now)
                mirrored.gain = leg.realised(exchange.rate) - leg.gain
                leg.gain += mirrored.gain
        self.exchanges[reversal] = ExchangeModel(ExchangeState.CAPTURED, back, rate=exchange.rate)
        return "", [leg.gain for leg in back]

    def _take_back(self, leg: LegModel, mirrored: LegModel, now: datetime) -> None:
        """From the lots that the credit made, the last first; then from others in order."""
        left = -mirrored.amount
        kept: list[Part] = []
        for lot, made in reversed(leg.taken):
            part = 0 if lot.expired(now) else min(made, left, lot.remaining - lot.held)
            lot.remaining -= part
            left -= part
            if part:
                mirrored.taken.append((lot, part))
            if made > part:
                kept.append((lot, made - part))
        leg.taken = kept[::-1]
        for lot, part in leg.account.choose(left, now):
            lot.remaining -= part
            mirrored.taken = _added(mirrored.taken, lot, part)
        leg.account.balance += mirrored.amount

    def _check_reversal(self, parts: list[tuple[LegModel, int]], now: datetime) -> str:
        pending: dict[int, int] = {}
        for leg, part in parts:
            if leg.account.closed:
                return "account_closed"
            if leg.amount > 0 and not leg.account.kind.log_only:
                pending[id(leg.account)] = pending.get(id(leg.account), 0) + part
                if leg.account.available(now) < pending[id(leg.account)]:
                    return "insufficient_funds"
        return ""

    def _restore(self, leg: LegModel, mirrored: LegModel, now: datetime) -> None:
        part, account = mirrored.amount, leg.account
        account.balance += part
        afresh = 0
        while part and leg.taken:
            lot, taken = leg.taken.pop()
            back = min(taken, part)
            part -= back
            if taken > back:
                leg.taken.append((lot, taken - back))
            if lot.expired(now) and account.kind.grace:
                afresh += back
            else:
                lot.remaining += back
                mirrored.taken = _added(mirrored.taken, lot, back)
        if afresh:
            fresh = LotModel(afresh, afresh, now + timedelta(days=account.kind.grace))
            account.lots.append(fresh)
            mirrored.taken.append((fresh, afresh))


def _added(parts: list[Part], lot: LotModel, amount: int) -> list[Part]:
    """Parts with more of a lot."""
    if any(each is lot for each, _ in parts):
        return [(each, there + (amount if each is lot else 0)) for each, there in parts]
    return [*parts, (lot, amount)]


def per_unit(exchange: ExchangeModel) -> list[int]:
    """What one unit of bitcoin moves on each leg of an exchange of two assets."""
    assert exchange.rate is not None
    return [UNIT if leg.account.kind.asset == "BTC" else exchange.rate for leg in exchange.legs]


def _spread(exchange: ExchangeModel, amount: int | None, lefts: list[int]) -> list[int] | None:
    """All that is left, or an amount over each side's legs in order; None when it is more than there is."""
    if amount is None:
        return lefts
    rest = {True: amount, False: amount}
    parts: list[int] = []
    for leg, left in zip(exchange.legs, lefts, strict=True):
        take = min(left, rest[leg.amount < 0])
        rest[leg.amount < 0] -= take
        parts.append(take)
    return None if any(rest.values()) else parts
