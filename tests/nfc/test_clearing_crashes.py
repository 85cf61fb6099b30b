"""A process dies at every boundary of a clearing: before and after each thing that it asks of the processor, the
journal, the database and the payment service. Another process clears the same file; every case comes to the same end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound
from kessai.sdk.jobs import JobOrder
from kessai.sdk.workflow import Activity
from kessai.sdk.workflow.testing import CrashAt
from kessai.services.ledger.api import GetAccount, account_id_of
from kessai.services.nfc.service.asking import Bearing
from kessai.services.nfc.service.authorize import AuthorizationDesk
from kessai.services.nfc.service.repairing import Repairer
from kessai.services.nfc.workflows.clear import PageOrder, clear_page
from kessai.services.nfc.workflows.deps import Deps
from kessai.services.nfc.workflows.taking import take_all
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import Tap
from tests.nfc.clearing_world import ClearingWorld, asked, opened
from tests.nfc.test_authorization_crashes import Death
from tests.nfc.wire_world import VAULT, rules_with

FUNDS = 5_000
BOUNDARIES_MAX = 90


@pytest.fixture
async def clearing(database: Database) -> AsyncIterator[ClearingWorld]:
    async with opened(database) as running:
        yield running


Check = Callable[[], Awaitable[None]]
Story = Callable[[ClearingWorld], Awaitable[Check]]


class Passed:
    """A party as a process that dies sees it: it dies before it asks for one of these. To die after that is to die
    before the next thing."""

    def __init__(self, party: Any, death: Death, *verbs: str) -> None:
        self._party = party
        self._death = death
        self._verbs = verbs

    def __getattr__(self, verb: str) -> Any:
        if verb not in self._verbs:
            return getattr(self._party, verb)

        async def call(*asked: Any, **options: Any) -> Any:
            await self._death.pass_by()
            return await getattr(self._party, verb)(*asked, **options)

        return call


def dying_desk(clearing: ClearingWorld, death: Death) -> AuthorizationDesk:
    """What authorizes in that process: its journal, and the payment service as it sees it."""
    world = clearing.world
    verbs = "create_payment", "capture_payment", "cancel_payment", "refund_payment"
    line: Any = Passed(world.line, death, *verbs)
    desk = AuthorizationDesk(world.database, world.clock, payment=line, vault=VAULT, rules=rules_with())
    journal: Any = Passed(desk.journal, death, "submit")
    desk.journal = journal
    desk.repairer = Repairer(world.database, world.clock, journal, Bearing(line), desk.rules.window)
    world.desks.insert(0, desk)
    return desk


def doomed_deps(clearing: ClearingWorld, death: Death) -> Deps:
    """Those of a process that dies."""
    desk, deps = dying_desk(clearing, death), clearing.desk.engine.deps
    network: Any = Passed(deps.network, death, "file")
    database: Any = Passed(deps.database, death, "transaction")
    return replace(deps, database=database, network=network, journal=desk.journal, authorizations=desk.repairer)


async def cleared_until(deps: Deps, day: Any) -> None:
    """What a run of nfc.clear does."""
    order = JobOrder(name="nfc.clear", day=day)
    await take_all(deps, day)
    activity = Activity(workflow_id="doomed", seq=1, key="doomed:1", attempt=1, deps=deps)
    while (await clear_page(activity, PageOrder(job=order, done=0))).more:
        pass


async def live(clearing: ClearingWorld, death: Death) -> bool:
    """Let a process clear; False when it died of it."""
    clearings = asyncio.create_task(cleared_until(doomed_deps(clearing, death), clearing.today))
    dying = asyncio.create_task(death.struck.wait())
    await asyncio.wait((clearings, dying), return_when=asyncio.FIRST_COMPLETED)
    lived = not death.struck.is_set()
    if lived:
        await clearings
    for task in (clearings, dying):
        task.cancel()
    await asyncio.gather(clearings, dying, return_exceptions=True)
    return lived


async def nothing_open(clearing: ClearingWorld) -> None:
    """Another process clears what is left, and repairs until nothing is open."""
    survivor = clearing.desk.engine.deps
    async with asyncio.timeout(120):
        await clearing.run("nfc.clear")
        while await clearing.world.database.fetch(None, "SELECT 1 FROM nfc.id_authorization WHERE work IS NOT NULL"):
            await survivor.authorizations.repair(open_for_ms=-1_000)


async def standing(clearing: ClearingWorld, customer_id: str) -> tuple[int, int]:
    """What a customer may spend, and owes."""
    spendable = await clearing.world.available(customer_id)
    owing = GetAccount(account_id=account_id_of(customer_id, "id_claims"))
    try:
        return spendable, -(await clearing.world.ledger.get_account(owing)).balance_minor
    except NotFound:  # there is no such account before anything is owed
        return spendable, 0


async def bought(clearing: ClearingWorld, amount: int = 700, funds: int = FUNDS) -> tuple[str, Heard]:
    """A customer who has paid at a terminal."""
    customer_id, card = await clearing.world.holder(funds=funds)
    told = await clearing.world.tap(card, amount)
    assert told.approved
    return customer_id, told


def ending(
    clearing: ClearingWorld,
    customer_id: str,
    outcomes: list[str],
    borne: dict[str, tuple[str, int, int]],
    left: tuple[int, int],
) -> Check:
    """How a story must end, whoever told it."""
    file_id = list(clearing.world.network.books.clearing.files)[-1]

    async def check() -> None:
        assert await clearing.outcomes(file_id) == outcomes
        assert await clearing.borne(customer_id) == borne
        assert await standing(clearing, customer_id) == left
        assert (await clearing.file(file_id)).state == "CLEARED"
        bad = [each for each in outcomes if each not in ("matched", "lower", "refunded", "reversed")]
        found = [each.kind for each in await clearing.findings() if each.file_id == file_id]
        assert sorted(found) == sorted(bad)

    return check


async def a_match(clearing: ClearingWorld) -> Check:
    customer_id, _ = await bought(clearing)
    clearing.close_day()
    return ending(clearing, customer_id, ["matched"], {"purchase": ("CLEARED", 700, 0)}, (4_300, 0))


async def a_lower_amount(clearing: ClearingWorld) -> Check:
    customer_id, told = await bought(clearing)
    clearing.foresee("other_amount", told, 500)
    clearing.close_day()
    return ending(clearing, customer_id, ["lower"], {"purchase": ("CLEARED", 500, 0)}, (4_500, 0))


async def a_higher_amount(clearing: ClearingWorld) -> Check:
    customer_id, told = await bought(clearing, 700, funds=800)
    clearing.foresee("other_amount", told, 1_000)
    clearing.close_day()
    borne = {"purchase": ("CLEARED", 700, 0), "clearing": ("CLEARED", 300, 0)}
    return ending(clearing, customer_id, ["higher"], borne, (0, 200))


async def no_authorization(clearing: ClearingWorld) -> Check:
    customer_id, card = await clearing.world.holder(funds=400)
    clearing.close_day(asked("no_authorization", card=card, amount=900))
    return ending(clearing, customer_id, ["unauthorized"], {"clearing": ("CLEARED", 900, 0)}, (0, 500))


async def an_expired_one(clearing: ClearingWorld) -> Check:
    customer_id, told = await bought(clearing)
    clearing.world.pass_days(31)
    await clearing.world.payments.expire_due()
    await clearing.world.desk.expire()
    clearing.close_day()
    borne = {"purchase": ("EXPIRED", 0, 0), "clearing": ("CLEARED", 700, 0)}
    assert told.approved
    return ending(clearing, customer_id, ["expired"], borne, (4_300, 0))


async def one_reversed_before(clearing: ClearingWorld) -> Check:
    customer_id, told = await bought(clearing)
    await clearing.world.network.reverse(told.id)
    clearing.close_day(asked("late", told))
    return ending(clearing, customer_id, ["reversed_before"], {"purchase": ("REVERSED", 0, 0)}, (FUNDS, 0))


async def a_duplicate(clearing: ClearingWorld) -> Check:
    customer_id, told = await bought(clearing)
    clearing.foresee("duplicate", told)
    clearing.close_day()
    return ending(clearing, customer_id, ["matched", "duplicate"], {"purchase": ("CLEARED", 700, 0)}, (4_300, 0))


async def a_refund(clearing: ClearingWorld) -> Check:
    customer_id, told = await bought(clearing)
    clearing.close_day()
    await clearing.clear()
    clearing.close_day(asked("refund", told, amount=200))
    return ending(clearing, customer_id, ["refunded"], {"purchase": ("CLEARED", 700, 200)}, (4_500, 0))


async def a_reversal_after_the_clearing(clearing: ClearingWorld) -> Check:
    customer_id, told = await bought(clearing, 700, funds=800)
    clearing.foresee("other_amount", told, 1_000)
    clearing.close_day()
    await clearing.clear()
    clearing.close_day(asked("reversal", told))
    borne = {"purchase": ("REVERSED", 700, 700), "clearing": ("REVERSED", 300, 300)}
    return ending(clearing, customer_id, ["reversed"], borne, (800, 0))


async def a_sale_and_its_refund_in_one_file(clearing: ClearingWorld) -> Check:
    customer_id, card = await clearing.world.holder(funds=400)
    told = clearing.world.network.books.open(Tap(card=card, amount=900))
    clearing.world.network.books.answer(told, "00", "A1A1A1")  # it never reached us
    clearing.close_day(asked("refund", told, amount=300))
    borne = {"clearing": ("CLEARED", 900, 300)}
    return ending(clearing, customer_id, ["unauthorized", "refunded"], borne, (0, 200))


STORIES: tuple[Story, ...] = (
    a_match,
    a_lower_amount,
    a_higher_amount,
    no_authorization,
    an_expired_one,
    one_reversed_before,
    a_duplicate,
    a_refund,
    a_reversal_after_the_clearing,
    a_sale_and_its_refund_in_one_file,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_a_death_at_every_boundary_comes_to_the_same_end(clearing: ClearingWorld, story: Story) -> None:
    for at in range(1, BOUNDARIES_MAX):
        check = await story(clearing)
        lived = await live(clearing, Death(at))
        await nothing_open(clearing)
        await check()
        if lived:
            assert at > 4, "it passed too few boundaries"
            return
    raise AssertionError("the story has no end")


@pytest.mark.parametrize("flush", range(1, 4))
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_run_killed_at_a_boundary_of_its_journal_is_gone_on_with(
    clearing: ClearingWorld, flush: int, when: Any
) -> None:
    check = await a_higher_amount(clearing)
    crash = CrashAt(flush, when)
    dying = await clearing.another_process(lease_s=0.5, hook=crash)
    killed = asyncio.create_task(clearing.run("nfc.clear"))
    async with asyncio.timeout(60):
        while not crash.crashed and not killed.done():
            await asyncio.sleep(0.02)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    await dying.crash()
    clearing.desks.remove(dying)
    assert crash.crashed
    await nothing_open(clearing)
    await check()
