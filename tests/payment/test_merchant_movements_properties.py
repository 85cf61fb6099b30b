"""Random pages of merchants' movements against a plain model: ids met again, changed contents, refusals and all."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import NamedTuple

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.foundation.ids import derived_hex, new_hex
from kessai.services.payment.api import MerchantMovement
from tests.payment.merchants import PREFIXES, moved
from tests.payment.world import World, opened

PATHS = {
    "merchant_fee": ("unsettled_sales", None),
    "clearing": ("unsettled_sales", "settled_sales"),
    "shortfall": ("settled_claims", "unsettled_sales"),
    "claim_offset": ("settled_sales", "settled_claims"),
    "transfer_fee": ("settled_sales", None),
}
"""From which of a merchant's accounts to which; None: to the platform's."""
OPENED_BY_CREDIT = {"settled_sales"}


class Asked(NamedTuple):
    """A movement as it is drawn; `number` makes its id."""

    number: int
    kind: str
    merchant: int
    other: int | None
    amount: int


kinds = st.sampled_from(sorted(PATHS))
asked = st.builds(Asked, st.integers(0, 12), kinds, st.integers(0, 1), st.none() | st.integers(0, 1), st.integers(1, 9))
pages = st.lists(st.lists(asked, min_size=1, max_size=6), min_size=1, max_size=8)


class Model:
    """What two merchants have."""

    def __init__(self) -> None:
        self.balances: Counter[tuple[int, str]] = Counter()
        self.known: dict[int, tuple[tuple[str, int, int, int], str]] = {}

    def ask(self, each: Asked) -> str:
        """The code or state that it comes to."""
        source, target = PATHS[each.kind]
        other = each.merchant if each.other is None else each.other
        if each.other is not None and target is None:
            return "counterpart_not_allowed"
        content = (each.kind, each.merchant, other, each.amount)
        if each.number not in self.known:
            self.known[each.number] = content, self._move((each.merchant, source), (other, target), each.amount)
        before, outcome = self.known[each.number]
        return outcome if before == content else "idempotency_key_reused"

    def _move(self, source: tuple[int, str], target: tuple[int, str | None], amount: int) -> str:
        if source not in self.balances and source[1] in OPENED_BY_CREDIT:
            return "account_not_found"
        if source[1] in OPENED_BY_CREDIT and self.balances[source] < amount:
            return "insufficient_funds"
        if target[1] == "settled_claims" and self.balances[target[0], target[1]] + amount > 0:
            return "retention_cap_exceeded"
        self.balances[source] -= amount
        if target[1] is not None:
            self.balances[target[0], target[1]] += amount
        return "CAPTURED"


def test_random_pages_come_to_what_the_model_says(database_url: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        database = Database(database_url)
        world_of = opened(database)
        world = runner.run(world_of.__aenter__())

        @settings(max_examples=40, deadline=None, derandomize=True, database=None)
        @given(pages)
        def plays(drawn: list[list[Asked]]) -> None:
            runner.run(_played(world, drawn))

        try:
            plays()
        finally:
            runner.run(world_of.__aexit__(None, None, None))
            runner.run(database.close())
        assert runner.run(verify(database_url)) == []


async def _played(world: World, drawn: list[list[Asked]]) -> None:
    town, model = new_hex(), Model()
    for page in drawn:
        told = await moved(world.payments, [_movement(each, town) for each in page])
        assert [code or state for _, state, code in told] == [model.ask(each) for each in page]
    for (merchant, account_type), amount in model.balances.items():
        assert (await world.balance(f"mer:{town}:{merchant}", account_type))[0] == amount


def _movement(each: Asked, town: str) -> MerchantMovement:
    return MerchantMovement(
        payment_id=f"{PREFIXES[each.kind]}_{derived_hex(town, str(each.number))}",
        kind=each.kind,
        merchant_id=f"mer:{town}:{each.merchant}",
        counterpart_id=None if each.other is None else f"mer:{town}:{each.other}",
        amount_minor=each.amount,
    )
