"""What the journal could not tell: an answer that may have been written down, and requests that may have begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable, Unknown
from kessai.services.nfc.domain.decide import Command, Conclude, Heard, Open, conclude
from kessai.services.nfc.service import authorize
from kessai.services.nfc.service.repairing import real_now
from kessai.simulators.cardnetwork.records import Tap
from tests.nfc.test_authorization_doubts import ask, request, reversal
from tests.nfc.test_authorization_pages import instructed
from tests.nfc.wire_world import WireWorld, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


async def test_an_approval_that_was_written_though_91_was_told_is_undone(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorize, "GIVE_UP_PAUSE_S", 0.01)
    journal = world.another_desk().journal
    customer_id, card = await world.holder(funds=5_000)
    write, left = journal.submit, 2

    async def submit(command: Command) -> object:
        """The write lands and its answer is lost; then the database is away for a moment."""
        nonlocal left
        if isinstance(command, Conclude):
            await write(command)
            raise Unknown("commit_unknown", "The line was cut.")
        if not isinstance(command, Open) and left:
            left -= 1
            raise Unavailable("database_unavailable", "The database cannot be reached.")
        return await write(command)

    monkeypatch.setattr(journal, "submit", submit)
    assert (await ask(world, await request(world, card, 700))).response == "91"
    ended = await world.ends(customer_id, "REVERSED")
    assert (ended.response, ended.stands_minor) == ("91", 0)
    assert await world.available(customer_id) == 5_000


async def test_a_request_whose_beginning_was_written_twice_over_is_no_repeat_of_itself(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = world.another_desk(window={"answer_ms": 2_000, "journal_ms": 100}).journal
    customer_id, card = await world.holder(funds=5_000)
    write, late = journal.submit, asyncio.Event()

    async def submit(command: Command) -> object:
        """What began is handed in once more; the approval is written after the window."""
        if isinstance(command, Open):
            await write(command)
        if isinstance(command, Conclude):
            await late.wait()
        return await write(command)

    monkeypatch.setattr(journal, "submit", submit)
    assert (await ask(world, await request(world, card, 700))).response == "91"
    late.set()
    ended = await world.ends(customer_id, "REVERSED")
    assert (ended.response, ended.stands_minor) == ("91", 0)
    assert await world.available(customer_id) == 5_000


async def test_an_advice_that_was_taken_back_before_it_came_is_00_and_charges_nothing(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    advice = world.message(world.network.books.open(Tap(card=card, amount=700), advice=True))
    assert (await ask(world, reversal(advice))).response == "25"
    assert (await ask(world, advice)).response == "00"
    assert (await world.only(customer_id)).kind == "tombstone"
    assert await world.available(customer_id) == 5_000


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"processing_code": "200000"}, None),
        ({"processing_code": "310000"}, "processing_not_offered"),
        ({"currency": "840"}, "currency_not_accepted"),
    ],
)
async def test_an_advice_of_anything_but_a_purchase_in_yen_is_00_and_charges_nothing(
    world: WireWorld, other: dict[str, str], code: str | None
) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    advice = replace(world.message(world.network.books.open(Tap(card=card, amount=700), advice=True)), **other)
    assert (await ask(world, advice)).response == "00"
    found = await world.only(customer_id)
    assert (found.state, found.refusal_code, found.open_work) == ("APPROVED", code, None)
    assert await world.available(customer_id) == 5_000


async def test_what_a_repeat_asked_for_in_vain_is_looked_for_and_undone(world: WireWorld) -> None:
    page, message = await instructed(world)
    (authorization_id,) = page.rows
    now = world.clock.now()
    conclude(page, Conclude(authorization_id, message, Heard.DOWN, now, real_now(), code="payment_crowded"))
    after = conclude(page, Conclude(authorization_id, message, Heard.LOST, now, real_now(), code="payment_slow"))
    assert (after.state, after.work, after.response) == ("LATE", "undo", "91")


async def test_one_that_cannot_be_repaired_does_not_keep_the_others_from_it(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, carried = world.another_desk(), list[str]()
    customer_id, card = await world.holder(funds=5_000)
    for amount in (100, 200):
        advice = world.message(world.network.books.open(Tap(card=card, amount=amount), advice=True))
        assert (await ask(world, advice)).response == "00"
    ids = [each.authorization_id[4:] for each in await world.authorizations(customer_id)]

    async def carry(authorization_id: str) -> bool:
        carried.append(authorization_id)
        if authorization_id == ids[0]:
            raise AssertionError("nobody thought of this")
        return True

    pages = [[(real_now(), ids[0])], [(real_now(), ids[1])], []]

    async def page(*_: object) -> object:
        return pages.pop(0)

    with monkeypatch.context() as patched:
        patched.setattr(desk.repairer, "carry", carry)
        patched.setattr("kessai.services.nfc.store.authorizations.open_work", page)
        assert await desk.repair() == 1
    assert carried == ids


async def test_what_is_decided_on_a_flush_in_doubt_is_decided_again_on_what_is_stored(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = world.another_desk().journal
    customer_id, card = await world.holder(funds=5_000)
    message = await request(world, card, 700)
    flushes = journal._flushes  # pyright: ignore[reportPrivateUsage]
    write, begun, cut, tries = flushes.write, asyncio.Event(), asyncio.Event(), 0

    async def lose(page: object, now: object) -> None:
        """The first approval is not written, and nobody can tell; what is handed in again is not for a while."""
        nonlocal tries
        rows = [row for row in page.rows.values() if row is not None and row.state == "APPROVED"]  # type: ignore[attr-defined]
        if rows and page.changed:  # type: ignore[attr-defined]
            tries += 1
            begun.set()
            if tries == 1:
                await cut.wait()
            raise Unknown("commit_unknown", "The line was cut.")
        await write(page, now)  # type: ignore[arg-type]

    monkeypatch.setattr(flushes, "write", lose)
    first = asyncio.create_task(ask(world, message))
    await begun.wait()
    repeat = asyncio.create_task(ask(world, message))
    await asyncio.sleep(0.2)  # it is decided ahead of the flush that is under way
    cut.set()
    answers = [(await each).response for each in (first, repeat)]
    assert "00" not in answers
    monkeypatch.setattr(flushes, "write", write)
    await world.ends(customer_id, "REVERSED")
    assert await world.available(customer_id) == 5_000


async def _held_back(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> tuple[asyncio.Event, asyncio.Event]:
    """The latest process's conclusions wait, before or after they are written, until they are let go."""
    journal = world.desk.journal
    write, waits, go_on = journal.submit, asyncio.Event(), asyncio.Event()

    async def submit(command: Command) -> object:
        if not isinstance(command, Conclude):
            return await write(command)
        written = await write(command) if after else None
        waits.set()
        await go_on.wait()
        return written or await write(command)

    monkeypatch.setattr(journal, "submit", submit)
    return waits, go_on


async def test_a_repeat_is_told_91_while_what_its_original_was_told_is_still_to_be_written(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original's approval is written down, its 91 has left, and that is not written down yet."""
    world.another_desk(window={"answer_ms": 1_500, "journal_ms": 100})
    customer_id, card = await world.holder(funds=5_000)
    message = await request(world, card, 700)
    stored, go_on = await _held_back(world, monkeypatch, after=True)
    original = asyncio.create_task(ask(world, message))
    await stored.wait()
    assert (await world.only(customer_id)).state == "APPROVED"
    assert (await original).response == "91"
    assert (await ask(world, message)).response == "91"
    go_on.set()
    await world.ends(customer_id, "REVERSED")
    assert (await ask(world, message)).response == "91"
    assert await world.available(customer_id) == 5_000


async def test_a_repeat_elsewhere_approves_nothing_once_the_originals_window_is_over(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original was told 91 before anything of it could be written down; its repeat comes to another process."""
    rules = {"window": {"answer_ms": 1_500, "journal_ms": 100}}
    world.another_desk(**rules)
    customer_id, card = await world.holder(funds=5_000)
    message = await request(world, card, 700)
    _, go_on = await _held_back(world, monkeypatch, after=False)
    assert (await ask(world, message)).response == "91"
    world.another_desk(**rules)
    assert (await ask(world, message)).response == "91"
    go_on.set()
    await world.ends(customer_id, "REVERSED")
    assert (await ask(world, message)).response == "91"
    assert await world.available(customer_id) == 5_000
