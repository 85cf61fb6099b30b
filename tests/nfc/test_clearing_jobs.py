"""The service's dated jobs: each run to its end, tried without writing, passed over where there is nothing to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.vault import new_vault_key
from kessai.sdk import jobs
from kessai.services.nfc.api import AuthenticateDevice, BatchState, GetPool, ReissueCard, RequestCards
from kessai.services.nfc.gateways import HttpIssuer
from kessai.services.nfc.jobs import NFC_JOBS
from kessai.simulators.cardnetwork.records import IssueFate
from tests.nfc.clearing_world import ClearingWorld, asked
from tests.nfc.clearing_world import opened as clearing_opened
from tests.nfc.whole_world import WholeWorld, whole

ONE_DAY = timedelta(days=1)
JOBS = {each.name: each for each in NFC_JOBS}


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WholeWorld]:
    async with whole(database) as running:
        yield running


@pytest.fixture
async def clearing(database: Database) -> AsyncIterator[ClearingWorld]:
    async with clearing_opened(database) as running:
        yield running


async def tried(world: WholeWorld, name: str) -> jobs.JobRun:
    """A dry run of a job for today."""
    engine = world.service.engine
    started = await jobs.start(world.database, engine, JOBS[name], world.today, dry_run=True)
    return await jobs.finish(world.database, engine, started)


async def busy(world: WholeWorld, name: str) -> bool:
    """Whether the job's week has a day that needs a run."""
    first_busy = JOBS[name].first_busy
    assert first_busy is not None
    return await first_busy(world.service.engine.deps, world.today - 6 * ONE_DAY, world.today) is not None


def test_every_batch_that_the_service_needs_is_a_job() -> None:
    wanted = {"issue", "import", "clear", "reconcile", "repair", "expire", "reseal", "devices"}
    assert set(JOBS) == {f"nfc.{each}" for each in wanted}


async def test_cards_are_asked_for_once_a_day_and_imported(world: WholeWorld) -> None:
    assert await busy(world, "nfc.issue")
    low_water, full = world.terms.pool.low_water, world.terms.pool.order_up_to
    assert (await tried(world, "nfc.issue")).done == low_water
    assert (await world.service.get_pool(GetPool())).on_order == 0
    world.network.books.issuing.foresee(IssueFate(after_s=60))
    assert (await world.job("nfc.issue")).done == full
    assert (await world.job("nfc.issue")).done == full  # the day's batch, and no other
    assert not await busy(world, "nfc.issue")
    world.pass_time(seconds=60)
    assert await busy(world, "nfc.import")
    assert (await tried(world, "nfc.import")).done == 1
    assert (await world.job("nfc.import")).done == full
    pool = await world.service.get_pool(GetPool())
    assert (pool.free, pool.on_order) == (full, 0)
    assert not await busy(world, "nfc.import")
    assert (await world.job("nfc.import")).done == 0


async def test_without_an_issuer_no_cards_are_asked_for_and_no_files_looked_for(world: WholeWorld) -> None:
    world.service = world.another_process(issuer=HttpIssuer(None))
    await world.service.clearing.open()
    assert not await busy(world, "nfc.issue")
    batch = await world.service.request_cards(RequestCards(count=1))
    assert batch.state is BatchState.REQUESTED
    assert not await busy(world, "nfc.import")
    world.service = world.another_process()
    await world.service.clearing.open()
    assert await busy(world, "nfc.import")


async def test_numbers_are_sealed_anew_under_a_new_key(world: WholeWorld) -> None:
    _, card = await world.holder()
    await world.fill()
    assert (await world.job("nfc.reseal")).done == 0
    world.keys.insert(0, new_vault_key())
    world.service = world.another_process()
    await world.service.clearing.open()
    again = ReissueCard(card_id=card.card_id, authentication=world.authentication(), note="before it is sealed anew")
    await world.service.reissue_card(again)
    assert await world.findings() == []
    assert (await tried(world, "nfc.reseal")).done == 0
    assert (await world.job("nfc.reseal")).done > 0
    assert (await world.job("nfc.reseal")).done == 0
    assert await world.findings() == []


async def test_devices_are_settled_and_heard_of(world: WholeWorld) -> None:
    _, card = await world.holder()
    device = await world.provisioned(card)
    request = AuthenticateDevice(
        card_id=card.card_id, device_id=device.device_id, authentication=world.authentication()
    )  # fmt: skip
    await world.service.authenticate_device(request)
    world.network.books.devices.activate(device.device_id, world.clock.now())
    run = await world.job("nfc.devices")
    assert run.done >= 1
    assert (await world.job("nfc.devices")).done == 0


async def test_what_lapsed_unheard_is_marked(world: WholeWorld) -> None:
    _, card = await world.holder(funds=5_000)
    assert (await world.tap(card, 700)).approved
    assert not await busy(world, "nfc.expire")
    world.pass_days(31)
    await world.payments.expire_due()
    assert await busy(world, "nfc.expire")
    assert (await tried(world, "nfc.expire")).done == 1
    assert (await world.job("nfc.expire")).done == 1
    assert not await busy(world, "nfc.expire")
    assert await world.findings() == []


async def test_a_day_without_files_or_taps_needs_no_run(world: WholeWorld) -> None:
    assert not await busy(world, "nfc.clear")
    assert not await busy(world, "nfc.reconcile")
    assert not await busy(world, "nfc.repair")
    _, card = await world.holder(funds=5_000)
    await world.tap(card, 700)
    assert await busy(world, "nfc.reconcile")
    world.network.books.clearing.close(world.today)
    assert await busy(world, "nfc.clear")
    await world.job("nfc.clear")
    assert not await busy(world, "nfc.clear")


@pytest.mark.parametrize("verb", ["capture_payment", "create_payment", "refund_payment"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_the_payment_service_does_not_answer_is_inquired(
    clearing: ClearingWorld, verb: str, when: str
) -> None:
    """Captured, charged by force and given back, with the first answer of each lost, before or after it took effect."""
    customer_id, card = await clearing.world.holder(funds=800)
    told = await clearing.world.tap(card, 700)
    clearing.foresee("other_amount", told, 1_000)
    clearing.close_day(asked("refund", told, amount=400))
    line = clearing.world.line

    async def lost() -> None:
        getattr(line, when).pop(verb)
        raise Unavailable("payment_unavailable", "away") if when == "before" else Unknown("answer_lost", "lost")

    getattr(line, when)[verb] = lost
    await clearing.clear()
    while await clearing.world.database.fetch(None, "SELECT 1 FROM nfc.id_authorization WHERE work IS NOT NULL"):
        await clearing.desk.engine.deps.authorizations.repair(open_for_ms=-1_000)
    borne = await clearing.borne(customer_id)
    assert sum(captured - refunded for _, captured, refunded in borne.values()) == 600
    assert await clearing.world.available(customer_id) == 200
    assert verb not in getattr(line, when)
