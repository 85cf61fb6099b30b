"""Whatever happens in the ledger, however often it is told: debits equal credits, and both agree with each other."""

from __future__ import annotations

import itertools
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.services.books.service.bookkeeping import Bookkeeper
from tests.books.test_rules import shipped
from tests.books.town import Town, config, town

MENDED = shipped("posting_rules.toml") + (
    '\n  [version.rules.windfall]\n  name_ja = "臨時収入"\n  takes = ["deposit", "funds"]\n'
)
MOVES = {
    "top_up": "internal:bank_deposit/deposit {a} > {c}/funds {a}",
    "windfall": "internal:bank_deposit/deposit {a} > {c}/funds {a}",
    "transfer": "{c}/funds {a} > {d}/funds {a}",
    "charge": "{c}/free_points <={a} + {c}/funds <={a} > mer:1/unsettled_sales {a}",
    "withdrawal": "{c}/funds {b} > internal:bank/bank_in_transit {a} + internal:withdrawal_fee/fee_income 200",
    "merchant_fee": "mer:1/unsettled_sales {a} > internal:merchant_fee/fee_income {a}",
    "point_grant": "internal:campaign/point_cost {a} > {c}/free_points {a} expires=3d",
    "exchange_in": "{c}/funds {a} > {c}/trading_funds {a}",
    "clearing": "mer:1/unsettled_sales {a} > mer:1/settled_sales {a}",
    "credit": "{c}/credit {a} + internal:credit/credit_advances {a} > mer:1/unsettled_sales {a} + {c}/receivable {a}",
    "repayment": "{c}/funds {a} + {c}/receivable {a} > internal:credit/credit_advances {a} + {c}/credit {a}",
}
KINDS = {"credit": "charge"}
AMOUNTS = st.one_of(st.integers(1, 50), st.integers(1, 3_000))
STEP = st.one_of(
    st.tuples(st.sampled_from(sorted(MOVES)), AMOUNTS, st.booleans()),
    st.tuples(st.just("trade"), st.integers(1, 9), st.booleans()),
    st.tuples(st.sampled_from(["capture", "reverse", "void"]), AMOUNTS, st.booleans()),
    st.tuples(st.sampled_from(["days", "hear", "another", "again", "close"]), st.integers(1, 4), st.booleans()),
)
SUITE = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.large_base_example],
)  # fmt: skip
_runs = itertools.count(1)


class Play:
    """One run: customers of its own, in a town that others have lived in."""

    def __init__(self, stage: Town) -> None:
        self.town = stage
        self.run = next(_runs)
        self.made: list[str] = []
        self.held: list[str] = []

    async def begin(self) -> None:
        book = self.town.book
        for each in (self.customer(first=True), self.customer(first=False)):
            await book.open(*(f"{each}/{account}" for account in ("funds", "credit", "trading_funds", "btc")))
            await book.give(f"{each}/funds 50_000", kind="top_up")
            await book.move(f"{each}/funds 20_000 > {each}/trading_funds 20_000", kind="exchange_in")
            await book.move(f"internal:campaign/point_cost 500 > {each}/free_points 500", kind="point_grant")

    def customer(self, *, first: bool) -> str:
        return f"cus:{self.run}{'a' if first else 'b'}"

    async def do(self, what: str, number: int, flag: bool) -> None:
        """One step; what the ledger refuses did not happen."""
        with suppress(PaymentError):
            await self._do(what, number, flag)

    async def _do(self, what: str, number: int, flag: bool) -> None:
        stage, name = self.town, f"{self.run}/{len(self.made)}/{len(self.held)}"
        if what in MOVES:
            words = {"c": self.customer(first=flag), "d": self.customer(first=not flag), "a": number, "b": number + 200}
            text, kind = MOVES[what].format(**words), KINDS.get(what, what)
            if flag and what in ("charge", "credit"):
                await stage.book.hold(text, name=name, kind=kind, reference=f"chg_{name}")
                self.held.append(name)
            else:
                await stage.book.move(text, name=name, kind=kind)
                self.made.append(name)
            return
        match what:
            case "trade":
                owner = self.customer(first=flag)
                text = f"{owner}/trading_funds {number * 1_000} > {owner}/btc {number * 10_000}"
                await stage.book.move(text, name=name, kind="trade", rate="10000000")
                self.made.append(name)
            case "capture" if self.held:
                await stage.book.capture(self.held[number % len(self.held)], number if flag else None, final=not flag)
                self.made.append(self.held[number % len(self.held)])
            case "void" if self.held:
                await stage.book.void(self.held[number % len(self.held)])
            case "reverse" if self.made:
                reversal = f"{name}/{number}"
                await stage.book.reverse(
                    self.made[number % len(self.made)], number if flag else None, reversal=reversal, kind="refund"
                )
                self.made.append(reversal)
            case "days":
                stage.clock.advance(days=number)
                await stage.book.run("expire_lots", "expire_exchanges")
            case "hear":
                await stage.heard()
            case "another":
                stage.subscriptions = stage.hear_with(Bookkeeper(stage.database, stage.clock, stage.bookkeeper.books))
            case "again":
                await _told_again(stage)
            case "close":
                await _close_this_month(stage)
            case _:
                pass

    async def end(self) -> None:
        """Everything is heard, the missing rule is written, and what waited for it is booked."""
        stage = self.town
        await stage.heard()
        reasons = {text.split()[0] for text in (await stage.unposted()).values()}
        assert reasons <= {"no_rule", "original_unposted"}
        mended = Bookkeeper(stage.database, stage.clock, config(rules=MENDED))
        done = await mended.repost(list(await stage.unposted()))
        assert done.standing == []
        await stage.proved()


async def _told_again(stage: Town) -> None:
    """A cursor that was restored from yesterday: everything is told once more."""
    await stage.heard()
    await stage.database.fetch(None, "UPDATE books.subscription_cursor SET position = 0, handled = 0")
    stage.subscriptions = stage.hear_with(stage.bookkeeper)
    for _ in range(2):
        with suppress(PaymentError):
            await stage.heard()


async def _close_this_month(stage: Town) -> None:
    """What happens in it from here on goes to the next one."""
    await stage.database.fetch(
        None,
        "INSERT INTO books.period (month, state, version, changed_at, changed_by)"
        " VALUES ($1::date, 'CLOSED', 1, $2, 'test') ON CONFLICT (month) DO NOTHING",
        stage.clock.now().date().replace(day=1),
        stage.clock.now(),
    )


SEEN = {"charge captured", "charge created", "reversed", "expiry created", "trade created", "late"}
"""What the runs come across: otherwise they would prove little."""


async def _seen(stage: Town) -> set[str]:
    rows = await stage.database.fetch(
        None, "SELECT DISTINCT kind, action, booked_on > event_on AS late FROM books.journal"
    )
    seen = {f"{row['kind']} {row['action']}" for row in rows} | {row["action"] for row in rows}
    return seen | {"late" for row in rows if row["late"]}


@pytest.fixture
def loop() -> Iterator[uvloop.Loop]:
    """A loop that the runs share."""
    made = uvloop.new_event_loop()
    yield made
    made.close()


def test_any_sequence_of_movements_is_booked_once_and_agrees_with_the_ledger(
    database_url: str, loop: uvloop.Loop
) -> None:
    def do(work: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(work)

    database = Database(database_url)
    opening = town(database)
    stage = do(opening.__aenter__())

    @SUITE
    @given(st.lists(STEP, min_size=15, max_size=50))
    def run(steps: list[tuple[str, int, bool]]) -> None:
        play = Play(stage)
        do(play.begin())
        for step in steps:
            do(play.do(*step))
        do(play.end())

    try:
        run()
        assert do(_seen(stage)) >= SEEN
    finally:
        do(opening.__aexit__(None, None, None))
        do(database.close())
