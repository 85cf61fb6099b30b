"""A day beside the processor's: what does not agree is found, let go of where that is safe, closed when it agrees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.foundation.db import Database
from kessai.sdk import iso8583
from kessai.services.nfc.api.clearing import ClearingFinding, GetClearingDay, ListClearingFindings
from kessai.services.nfc.domain.clearing_terms import read_clearing_terms
from kessai.services.nfc.store import ROLE
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import Tap
from kessai.simulators.cardnetwork.wire_faults import Fault
from tests.nfc.clearing_world import ONE_DAY, ClearingWorld, asked, opened

FUNDS = 5_000


@pytest.fixture
async def clearing(database: Database) -> AsyncIterator[ClearingWorld]:
    async with opened(database) as running:
        yield running


async def reconciled(clearing: ClearingWorld, day: date | None = None) -> None:
    run = await clearing.run("nfc.reconcile", day)
    assert run.state == "DONE", run


async def totals(clearing: ClearingWorld, day: date | None = None) -> dict[str, tuple[int, int, int, int]]:
    """Each figure of a day: ours and theirs."""
    found = await clearing.desk.get_clearing_day(GetClearingDay(day=day or clearing.today))
    return {
        each.figure: (each.ours_count, each.ours_minor, each.theirs_count, each.theirs_minor) for each in found.totals
    }


async def unheard(clearing: ClearingWorld, card: str, amount: int, response: str | None) -> Heard:
    """A tap that we approve, of which the network hears something else: nothing at all, or 91."""
    books = clearing.world.network.books
    heard = books.open(Tap(card=card, amount=amount))
    answer = await clearing.world.desk.answer(iso8583.encode(clearing.world.message(heard)), "network")
    assert answer is not None
    assert iso8583.decode(answer).response == "00"
    if response is None:
        books.give_up(heard)
    else:
        books.answer(heard, response, None)
    return heard


async def closed(clearing: ClearingWorld, kind: str) -> ClearingFinding:
    """The one closed finding of a kind."""
    page = await clearing.desk.list_clearing_findings(ListClearingFindings(state=None, kind=kind))
    (found,) = page.findings
    assert found.state == "CLOSED", found
    return found


async def test_a_day_whose_file_comes_after_it_was_compared_is_compared_once_more(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=FUNDS)
    await clearing.world.tap(card, 700)
    day = clearing.today
    await reconciled(clearing)
    assert (await totals(clearing))["sales"] == (0, 0, 0, 0)
    clearing.close_day()
    clearing.world.clock.advance(ONE_DAY)
    await clearing.clear()
    await reconciled(clearing)
    assert (await totals(clearing, day))["sales"] == (1, 700, 1, 700)


async def test_a_day_of_every_kind_agrees_to_the_yen(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    told = [await clearing.world.tap(card, amount) for amount in (700, 300, 200)]
    assert (await clearing.world.tap(card, 9_000)).response == "51"
    await clearing.world.network.reverse(told[1].id)
    await clearing.world.network.reverse(told[2].id, 50)
    clearing.close_day()
    await clearing.clear()
    clearing.close_day(asked("refund", told[0], amount=100))
    await clearing.clear()
    await reconciled(clearing)
    assert await totals(clearing) == {
        "authorized": (3, 1_200, 3, 1_200),
        "declined": (1, 9_000, 1, 9_000),
        "reversed": (2, 350, 2, 350),
        "sales": (2, 850, 2, 850),
        "refunds": (1, 100, 1, 100),
        "reversals": (0, 0, 0, 0),
        "net": (3, 750, 3, 750),
    }
    assert await clearing.findings() == []
    assert await clearing.world.available(customer_id) == FUNDS - 750


async def test_an_answer_that_was_lost_and_taken_back_counts_on_neither_side(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=FUNDS)
    heard = await unheard(clearing, card, 700, None)
    await clearing.world.network.reverse(heard.id, advice=True)
    await reconciled(clearing)
    assert (await totals(clearing))["authorized"] == (0, 0, 0, 0)
    assert await clearing.findings() == []


async def test_what_the_processor_heard_declined_is_let_go_of(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    await unheard(clearing, card, 700, "91")
    await reconciled(clearing)
    kinds = await clearing.kinds()
    assert kinds[0] == "declined_there"
    assert (await clearing.run("nfc.repair", dry_run=True)).done == 1
    assert await clearing.world.available(customer_id) == FUNDS - 700
    await clearing.run("nfc.repair")
    assert [each.state for each in await clearing.rests(customer_id)] == ["REVERSED"]
    assert await clearing.world.available(customer_id) == FUNDS
    found = await closed(clearing, "declined_there")
    assert (found.closed_by, found.ours_minor, found.theirs_minor) == ("nfc.repair", 700, 0)
    await reconciled(clearing)


async def test_what_the_processor_does_not_know_is_let_go_of(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    heard = await clearing.world.tap(card, 700)
    books = clearing.world.network.books
    del books.authorizations[heard.id], books.by_key[heard.key]
    await reconciled(clearing)
    assert set(await clearing.kinds()) == {"unknown_there", "totals_differ"}
    await clearing.run("nfc.repair")
    assert await clearing.world.available(customer_id) == FUNDS
    await closed(clearing, "unknown_there")


async def test_what_was_taken_back_there_alone_shrinks_here(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    heard = await clearing.world.tap(card, 700)
    heard.reversed = 200
    await reconciled(clearing)
    assert await clearing.kinds() == ["reversed_there"]
    await clearing.run("nfc.repair")
    assert (await clearing.world.only(customer_id)).stands_minor == 500
    await closed(clearing, "reversed_there")
    heard.reversed = 400  # once more, of what was repaired before
    await reconciled(clearing)
    assert await clearing.kinds() == ["reversed_there"]
    await clearing.run("nfc.repair")
    assert (await clearing.world.only(customer_id)).stands_minor == 300
    await closed(clearing, "reversed_there")
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["matched"]
    assert await clearing.world.available(customer_id) == FUNDS - 300


async def test_what_was_approved_there_alone_is_charged_when_it_is_cleared(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=500)
    heard = await clearing.world.tap(card, 700)
    heard.response, heard.state, heard.approval_code = "00", "approved", "Z9Z9Z9"
    await reconciled(clearing)
    assert set(await clearing.kinds()) == {"approved_there", "totals_differ"}
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["not_approved"]
    assert await clearing.borne(customer_id) == {"purchase": ("DECLINED", 0, 0), "clearing": ("CLEARED", 700, 0)}


async def test_an_approval_that_never_reached_us_is_a_finding(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    books = clearing.world.network.books
    heard = books.open(Tap(card=card, amount=700))
    books.answer(heard, "00", "Z9Z9Z9")
    await reconciled(clearing)
    (found, *_) = [each for each in await clearing.findings() if each.kind == "unknown_here"]
    assert (found.about, found.theirs_minor) == (heard.key, 700)
    clearing.close_day()
    await clearing.clear()
    assert await clearing.borne(customer_id) == {"clearing": ("CLEARED", 700, 0)}


async def test_what_is_still_under_way_there_is_no_finding(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=FUNDS)
    heard = clearing.world.network.books.open(Tap(card=card, amount=700))
    await clearing.world.desk.answer(iso8583.encode(clearing.world.message(heard)), "network")
    await reconciled(clearing)
    assert "declined_there" not in await clearing.kinds()


async def test_totals_that_agree_later_close_their_findings(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=FUNDS)
    await clearing.world.tap(card, 700)
    clearing.close_day()
    await reconciled(clearing)  # before the file is cleared
    kinds = [(each.kind, each.about) for each in await clearing.findings()]
    day = clearing.today.isoformat()
    assert sorted(kinds) == [("totals_differ", f"{day} net"), ("totals_differ", f"{day} sales")]
    await clearing.clear()
    yesterday = clearing.today
    clearing.world.pass_days(1)
    await reconciled(clearing)
    assert await clearing.findings() == []
    assert (await clearing.desk.get_clearing_day(GetClearingDay(day=yesterday))).agrees


async def test_what_the_payment_service_did_not_take_is_found(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    await clearing.world.tap(card, 700)
    clearing.close_day()
    await clearing.clear()
    row = await clearing.world.only(customer_id)

    async def spoil(connection: Any) -> None:
        await connection.execute(
            "UPDATE nfc.id_authorization SET captured_minor = 600 WHERE authorization_id = $1", row.authorization_id[4:]
        )

    await clearing.world.database.transaction(ROLE, spoil)
    await reconciled(clearing)
    (found,) = await clearing.findings()
    assert (found.kind, found.ours_minor, found.theirs_minor) == ("not_borne", 600, 700)

    async def mend(connection: Any) -> None:
        await connection.execute("UPDATE nfc.id_authorization SET captured_minor = 700 WHERE captured_minor = 600")

    await clearing.world.database.transaction(ROLE, mend)
    await reconciled(clearing)
    assert await clearing.findings() == []


async def test_each_finding_of_what_was_not_taken_is_closed_once_it_agrees(
    clearing: ClearingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: more than are read at once."""
    _, card = await clearing.world.holder(funds=FUNDS)
    for amount in (100, 200, 300):
        await clearing.world.tap(card, amount)
    clearing.close_day()
    await clearing.clear()
    more = "UPDATE nfc.id_authorization SET refunded_minor = $1 WHERE state = 'CLEARED'"
    await clearing.world.database.transaction(ROLE, lambda connection: connection.execute(more, 1))
    await reconciled(clearing)
    assert await clearing.kinds() == ["not_borne"] * 3
    await clearing.world.database.transaction(ROLE, lambda connection: connection.execute(more, 0))
    terms = read_clearing_terms()
    terms = replace(terms, reconcile=replace(terms.reconcile, page=1))
    await clearing.another_process(terms=terms)
    await reconciled(clearing)
    assert await clearing.findings() == []


async def test_days_are_compared_one_after_the_other(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=FUNDS)
    first = clearing.today
    await clearing.world.tap(card, 100)
    await reconciled(clearing)
    clearing.world.pass_days(1)
    await clearing.world.tap(card, 200)
    await reconciled(clearing)
    assert (await totals(clearing, first))["authorized"] == (1, 100, 1, 100)
    assert (await totals(clearing))["authorized"] == (1, 200, 1, 200)
    assert (await clearing.run("nfc.reconcile", dry_run=True)).done == 1


async def test_what_was_refused_before_the_journal_is_declined_on_both_sides(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=FUNDS)
    clearing.world.network.wire_faults.program(Fault(on="request", do="spoil", mti="0100"))
    assert (await clearing.world.tap(card, 700)).response == "30"
    await reconciled(clearing)
    assert (await totals(clearing))["declined"] == (1, 700, 1, 700)
    assert await clearing.findings() == []
