"""The ledger against a plain model: random business through two processes on one database, step by step the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar, cast

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unavailable
from kessai.services.ledger import api
from kessai.services.ledger.api import Exchange, Freeze
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService

from .book import Book, FakeClock, start
from .invariants import broken
from .model import UNIT, Ask, LedgerModel, per_unit

T = TypeVar("T")

SUITE = settings(
    max_examples=30, stateful_step_count=40, derandomize=True, deadline=None, database=None, print_blob=False,
    report_multiple_bugs=False, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
"""The same short runs each time; a failure is told as it was found."""
SOAK = settings(
    SUITE, max_examples=300, stateful_step_count=80, derandomize=False, phases=[Phase.generate, Phase.shrink]
)
"""Other runs each time; a failure is made as short as can be."""

AMOUNTS = st.one_of(st.integers(1, 20), st.integers(1, 2_000), st.just(999_990))
UNITS = st.integers(1, 40)
PRICES = st.integers(5, 15)
PARTS = st.one_of(st.none(), st.integers(1, 30), st.integers(1, 1_000))
DAYS = st.one_of(st.none(), st.integers(1, 12))
SIDE = st.integers(0, 1)
Made: TypeAlias = "str | MultipleResults[str]"
"""A new exchange's name, or none."""
"""Which of the two processes is asked."""

PAYERS = ("funds", "free_points", "paid_points", "credit", "sales")
ACCOUNTS = [f"{owner}/{kind}" for owner in ("cus:a", "cus:b") for kind in PAYERS] + ["mer:m/unsettled_sales"]
NOTHING: MultipleResults[str] = multiple()
_runs = itertools.count(1)


@dataclass
class Stage:
    """Two ledgers on one database with one clock, and the loop on which they live."""

    loop: asyncio.AbstractEventLoop
    clock: FakeClock
    database: Database
    databases: list[Database]
    services: list[LedgerService]
    books: list[Book]

    def do(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(_awaited(work))

    def close(self) -> None:
        for service in self.services:
            self.do(service.close())
        for database in (self.database, *self.databases):
            self.do(database.close())
        self.loop.close()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    """Set once for all runs of the machine: each run has owners of its own."""
    made = Stage(uvloop.new_event_loop(), FakeClock(), Database(database_url), [], [], [])
    for _ in range(2):
        made.databases.append(Database(database_url))
        service, book = made.do(start(made.databases[-1], made.clock, load_account_types(None)))
        made.services.append(service)
        made.books.append(book)
    yield made
    made.close()


class LedgerMachine(RuleBasedStateMachine):
    """Each rule asks the real ledger and the model the same; both must answer alike and be left alike."""

    exchanges = Bundle("exchanges")
    trades = Bundle("trades")

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.model = LedgerModel()
        self.run = next(_runs)
        self.names = (f"{self.run}-{n}" for n in itertools.count())
        self.answers: list[tuple[Callable[[Book], Awaitable[Exchange]], Exchange]] = []
        self.refused: list[tuple[Callable[[Book], Awaitable[Exchange]], str]] = []
        self.told: list[tuple[str, api.Snapshot]] = []

    # -- the world

    def own(self, account: str) -> str:
        """This run's own account of that name."""
        owner, kind = account.rsplit("/", 1)
        return f"{owner}:{self.run}/{kind}"

    @property
    def now(self) -> datetime:
        return self.stage.clock.now()

    def tick(self) -> None:
        """A whole second begins, so that no two requests share an instant."""
        self.stage.clock.advance(microseconds=1_000_000 - self.now.microsecond)

    def ask(self, side: int, work: Callable[[Book], Awaitable[T]]) -> tuple[str, T | None]:
        """The real ledger's answer: code and result. A moment passes, for flushes may be some microseconds ahead."""
        try:
            return "", self.stage.do(work(self.stage.books[side]))
        except PaymentError as error:
            return error.code, None
        finally:
            self.stage.clock.advance(milliseconds=1)

    def exchange(self, side: int, work: Callable[[Book], Awaitable[Exchange]], *, final: bool = False) -> str:
        """Ask for an exchange; its answer must come back whenever the same is asked again; a `final` refusal too."""
        code, answer = self.ask(side, work)
        if answer is not None:
            self.answers.append((work, answer))
        elif final:
            self.refused.append((work, code))
        return code

    def compare(self, *accounts: str) -> None:
        """The real accounts are as the model's, to the last lot."""
        for name in accounts or list(self.model.accounts):
            expected = self.model.accounts.get(name)
            if expected is None:
                continue
            book = self.stage.books[0]
            found = self.stage.do(book.account(name))
            seen = (found.balance_minor, found.held_minor, found.freeze, found.closed)
            assert seen == (expected.balance, expected.held, expected.freeze, expected.closed), name
            lots = [] if expected.kind.log_only else self.stage.do(book.lots(name))
            if not expected.kind.log_only:
                assert found.available_minor == expected.available(self.now), name
            assert [(lot.remaining_minor, lot.held_minor, _second(lot.expires_at)) for lot in lots] == [
                (lot.remaining, lot.held, _second(lot.expires)) for lot in expected.in_order() if lot.remaining
            ], name
            self._remember(name, found, lots)

    def _remember(self, name: str, found: api.Account, lots: list[api.Lot]) -> None:
        if len(self.told) < 60:
            then = api.Snapshot(
                account_id=found.account_id, as_of=self.now, balance_minor=found.balance_minor,
                held_minor=found.held_minor, lots=lots,
            )  # fmt: skip
            self.told.append((name, then))

    # -- rules

    @initialize(limit=st.integers(0, 2_000))
    def open(self, limit: int) -> None:
        for name in (self.own("cus:a/trading_funds"), self.own("cus:a/btc")):
            self.model.open(name)
            self.stage.do(self.stage.books[0].open(name))
        self._create(0, [Ask("bank/deposit", 2_000)], [Ask("cus:a/trading_funds", 2_000)], capture=True)
        for owner in ("cus:a", "cus:b"):
            for kind in ("funds", "credit"):
                name = self.own(f"{owner}/{kind}")
                self.model.open(name, limit if kind == "credit" else 0)
                self.stage.do(self.stage.books[0].open(name, limit=limit if kind == "credit" else None))

    @rule(days=st.sampled_from([0, 0, 1, 3, 8, 40]), hours=st.integers(0, 23))
    def time_passes(self, days: int, hours: int) -> None:
        self.stage.clock.advance(days=days, hours=hours)

    @rule(target=exchanges, side=SIDE, account=st.sampled_from(ACCOUNTS), amount=AMOUNTS, days=DAYS,
          returning=st.booleans(), capture=st.sampled_from([True, True, True, False]))  # fmt: skip
    def give(self, side: int, account: str, amount: int, days: int | None, returning: bool, capture: bool) -> Made:
        days = days if account.endswith("points") else None
        return self._create(side, [Ask("bank/deposit", amount)], [Ask(account, amount, returning=returning, days=days)],
                            capture=capture)  # fmt: skip

    @rule(target=exchanges, side=SIDE, capture=st.booleans(), amount=AMOUNTS,
          sources=st.lists(st.tuples(st.sampled_from(ACCOUNTS[:-1]), st.booleans()), min_size=1, max_size=3),
          payee=st.sampled_from([*ACCOUNTS, ACCOUNTS[-1]]), fee=st.integers(0, 5), final=st.booleans())  # fmt: skip
    def pay(
        self, side: int, capture: bool, amount: int, sources: list[tuple[str, bool]], payee: str, fee: int, final: bool
    ) -> Made:
        """Several sources, some of them balancing; fixed ones share the amount."""
        share = max(1, amount // len(sources))
        asks = [Ask(name, amount if balancing else share, balancing=balancing) for name, balancing in sources]
        targets = [Ask(payee, amount)]
        if 0 < fee < amount:
            targets = [Ask(payee, amount - fee), Ask("mer:m/unsettled_sales", fee)]
        return self._create(side, asks, targets, capture=capture, final=final)

    @rule(target=trades, side=SIDE, buying=st.booleans(), units=UNITS, price=PRICES)
    def trade(self, side: int, buying: bool, units: int, price: int) -> Made:
        """Bitcoin bought or sold at a price in yen a unit."""
        name, yen, btc = next(self.names), self.own("cus:a/trading_funds"), self.own("cus:a/btc")
        asks = [Ask(yen, units * price), Ask(btc, units * UNIT)]
        source, target = asks if buying else asks[::-1]
        request = self.stage.books[0].request
        self.tick()
        text = f"{source.account} {source.amount} > {target.account} {target.amount}"
        made = request(text, name=name, rate=str(price * 10**8 // UNIT))
        code, answer = self.ask(side, lambda book: book.ledger.create_exchange(made))
        assert code == self.model.trade(name, source, target, price, self.now), text
        if answer is None:
            return NOTHING
        told = [leg.realised_gain_minor or 0 for leg in answer.legs]
        assert told == [leg.gain for leg in self.model.exchanges[name].legs]
        self.compare(yen, btc)
        return name

    @rule(target=trades, side=SIDE, name=trades, units=st.one_of(st.none(), UNITS))
    def undo_a_trade(self, side: int, name: str, units: int | None) -> Made:
        """So many units of it, or all that is left; the gain goes back with the lots."""
        reversal, exchange = next(self.names), self.model.exchanges[name]
        legs = None if units is None else dict(enumerate(units * each for each in per_unit(exchange)))
        self.tick()
        code, answer = self.ask(side, lambda book: book.reverse(name, legs=legs, reversal=reversal))
        expected, gains = self.model.reverse(name, reversal, None, self.now, units)
        assert code == expected
        self._compare_exchange(name)
        if answer is None:
            return NOTHING
        assert [leg.realised_gain_minor or 0 for leg in answer.legs] == gains
        return reversal

    def _create(self, side: int, sources: list[Ask], targets: list[Ask], *, capture: bool, final: bool = False) -> Made:
        name = next(self.names)
        own = [[_renamed(ask, self.own(ask.account)) for ask in asks] for asks in (sources, targets)]
        text = " > ".join(" + ".join(_written(ask) for ask in asks) for asks in own)
        request = self.stage.books[0].request
        self.tick()
        made = request(text, name=name, capture=capture, remember_refusal=final)
        code = self.exchange(side, lambda book: book.ledger.create_exchange(made), final=final)
        expected, _ = self.model.create(name, own[0], own[1], self.now, capture=capture)
        assert code == expected, text
        self.compare(*(ask.account for asks in own for ask in asks))
        return NOTHING if code else name

    @rule(side=SIDE, name=exchanges, part=PARTS, final=st.booleans())
    def capture(self, side: int, name: str, part: int | None, final: bool) -> None:
        action = next(self.names)
        self.tick()
        code = self.exchange(side, lambda book: book.capture(name, part, final=final, action=action))
        assert code == self.model.capture(name, part, self.now, final=final)
        self._compare_exchange(name)

    @rule(side=SIDE, name=exchanges)
    def void(self, side: int, name: str) -> None:
        action = next(self.names)
        self.tick()
        code = self.exchange(side, lambda book: book.void(name, action=action))
        assert code == self.model.void(name)
        self._compare_exchange(name)

    @rule(target=exchanges, side=SIDE, name=exchanges, part=PARTS, final=st.booleans())
    def reverse(self, side: int, name: str, part: int | None, final: bool) -> Made:
        reversal = next(self.names)
        self.tick()
        code = self.exchange(
            side, lambda book: book.reverse(name, part, reversal=reversal, remember_refusal=final), final=final
        )
        assert code == self.model.reverse(name, reversal, part, self.now)[0]
        self._compare_exchange(name)
        return NOTHING if code else reversal

    def _compare_exchange(self, name: str) -> None:
        found, expected = self.stage.do(self.stage.books[0].exchange(name)), self.model.exchanges[name]
        assert found.state is expected.state
        real = {leg.leg: (leg.amount_minor, leg.captured_minor, leg.reversed_minor) for leg in found.legs}
        model = [(leg.amount, leg.captured, leg.reversed) for leg in expected.legs]
        assert [real.get(number, (0, 0, 0)) for number in range(len(model))] == model
        accounts = {id(account): account_name for account_name, account in self.model.accounts.items()}
        self.compare(*(accounts[id(leg.account)] for leg in expected.legs if id(leg.account) in accounts))

    @rule(side=SIDE, account=st.sampled_from(ACCOUNTS[:-1]), freeze=st.sampled_from([*Freeze, Freeze.NONE]))
    def freeze(self, side: int, account: str, freeze: Freeze) -> None:
        name = self.own(account)
        if name in self.model.accounts:
            self.tick()
            code, _ = self.ask(side, lambda book: book.freeze(name, freeze))
            assert code == self.model.set_freeze(name, freeze)

    @rule(side=SIDE, account=st.sampled_from(ACCOUNTS[:-1]))
    def close(self, side: int, account: str) -> None:
        name = self.own(account)
        if name in self.model.accounts:
            self.tick()
            code, _ = self.ask(side, lambda book: book.close(name))
            assert code == self.model.close(name)

    @rule(side=SIDE, job=st.sampled_from(["expire_exchanges", "expire_lots", "roll_up", "anchor_seals"]))
    def run_a_job(self, side: int, job: str) -> None:
        self.tick()
        self.ask(side, lambda book: book.run(job))
        match job:
            case "expire_exchanges":
                self.model.expire_exchanges(self.now)
            case "expire_lots":
                self.model.expire_lots(self.now)
            case _:
                pass
        self.compare()

    @rule(side=SIDE, which=st.integers(0, 10_000))
    def ask_again(self, side: int, which: int) -> None:
        """Any request that was carried out may come again, from anywhere, and gets the same answer."""
        if self.answers:
            work, answer = self.answers[which % len(self.answers)]
            code, again = self.ask(side, work)
            assert (code, again) == ("", answer)

    @rule(side=SIDE, which=st.integers(0, 10_000))
    def ask_again_for_what_was_refused(self, side: int, which: int) -> None:
        """What was refused for good stays refused, whatever has come to be since."""
        if self.refused:
            work, code = self.refused[which % len(self.refused)]
            self.tick()
            assert self.ask(side, work)[0] == code
            self.compare()

    # -- the end

    def teardown(self) -> None:
        self.compare()
        self.tick()
        for name, then in self.told:
            found = self.stage.do(self._snapshot(name, then.as_of))
            assert found == then, f"{name}: {found}, told {then}"
        assert self.stage.do(broken(self.stage.database)) == []

    async def _snapshot(self, name: str, as_of: datetime) -> api.Snapshot:
        for attempt in range(100):
            try:
                return await self.stage.books[attempt % 2].snapshot(name, as_of)
            except Unavailable as unstable:
                code = unstable.code
            assert code == "snapshot_not_stable"
            await asyncio.sleep(0.1)
        raise AssertionError("the snapshot never became stable")


def _renamed(ask: Ask, account: str) -> Ask:
    return Ask(account, ask.amount, ask.balancing, ask.returning, ask.days)


def _written(ask: Ask) -> str:
    """An ask in the little language of the book."""
    words = [ask.account, f"<={ask.amount}" if ask.balancing else str(ask.amount)]
    words += ["returning"] if ask.returning else []
    words += [] if ask.days is None else [f"expires={ask.days}d"]
    return " ".join(words)


def _second(at: datetime | None) -> datetime | None:
    """Without the microseconds by which flushes of one instant are told apart."""
    return None if at is None else at.replace(microsecond=0)


def _machine_on(stage: Stage) -> type[LedgerMachine]:
    return cast("type[LedgerMachine]", lambda: LedgerMachine(stage))  # all that is asked of it is to be called


def test_ledger_and_model_agree(stage: Stage) -> None:
    run_state_machine_as_test(_machine_on(stage), settings=SUITE)
    assert stage.do(verify(stage.database.dsn)) == []


@pytest.mark.soak
@pytest.mark.parametrize("_stretch", range(10))
def test_ledger_and_model_agree_for_long(stage: Stage, _stretch: int) -> None:
    """In stretches on a stage of their own: each run takes a month or so, and a ledger's time ends in 2091."""
    run_state_machine_as_test(_machine_on(stage), settings=SOAK)
    assert stage.do(verify(stage.database.dsn)) == []
