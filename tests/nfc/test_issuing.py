"""Batches of cards: asked of the issuer, issued, imported into the pool; whatever the issuer's file or line does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from kessai.foundation.errors import Invalid, KeyReused, NotFound, PaymentError, Refused, Unavailable, Unknown
from kessai.foundation.ids import new_hex, new_id
from kessai.foundation.outbound import Unanswered
from kessai.services.nfc.api import (
    BatchState,
    GetIssueBatch,
    GetPool,
    GiveUpBatch,
    ImportCards,
    IssueBatch,
    ListIssueBatches,
    RequestCards,
)
from kessai.services.nfc.domain.pool import FileWrong, read_issued, request_file, request_reference
from kessai.services.nfc.gateways import FolderIssuer
from kessai.simulators.cardnetwork import IssueFate
from kessai.simulators.faults import PRESETS, Fault
from tests.nfc.world import World, calling

B = BatchState
BATCH = "0" * 31 + "1"


async def test_a_batch_is_requested_issued_and_imported(world: World) -> None:
    batch = await world.fill(7)
    assert (batch.count, batch.imported, batch.wrong, batch.errors) == (7, 7, 0, [])
    pool = await world.service.get_pool(GetPool())
    assert (pool.free, pool.assigned, pool.on_order, pool.low_water) == (7, 0, 0, 200)
    steps = await world.database.fetch(None, "SELECT state FROM nfc.issue_step ORDER BY version")
    assert [each["state"] for each in steps] == ["REQUESTED", "ISSUED", "IMPORTED"]
    assert (await world.service.get_batch(GetIssueBatch(batch_id=batch.batch_id))) == batch


async def test_a_request_repeated_is_one_batch(world: World) -> None:
    key = new_hex()
    with calling(key):
        first = await world.service.request_cards(RequestCards(count=3))
    with calling(key) as again:
        assert await world.service.request_cards(RequestCards(count=3)) == first
    assert again.replayed
    with calling(key), pytest.raises(KeyReused):
        await world.service.request_cards(RequestCards(count=4))
    assert (await world.service.get_pool(GetPool())).free == 3


async def test_a_file_that_is_not_ready_is_imported_later(world: World) -> None:
    world.network.books.issuing.foresee(IssueFate(after_s=3600))
    batch = await world.service.request_cards(RequestCards(count=3))
    assert (batch.state, batch.sent_at) == (B.REQUESTED, world.clock.now())
    assert (await world.service.get_pool(GetPool())).on_order == 3
    assert await world.service.import_open() == 0
    world.pass_time(hours=1)
    assert await world.service.import_open() == 3
    assert (await world.service.get_pool(GetPool())).free == 3
    assert await world.service.import_open() == 0


async def test_lines_that_give_no_card_are_listed_and_the_others_taken(world: World) -> None:
    issuing, spoiled = world.network.books.issuing, {2: "bad_pan", 3: "bad_expiry", 4: "twice", 5: "missing"}
    key = new_hex()
    for line, spoil in spoiled.items():
        issuing.foresee(IssueFate(reference=request_reference(key, line), spoil=spoil))  # type: ignore[arg-type]
    issuing.foresee(IssueFate(reference=request_reference(key, 1), refuse="R07"))
    with calling(key):
        batch = await world.service.request_cards(RequestCards(count=7))
    assert (batch.state, batch.imported, batch.wrong) == (B.IMPORTED, 3, 5)
    assert [(each.line, each.code, each.reason) for each in batch.errors] == [
        (1, "issuer_refused", "R07"),
        (2, "number_wrong", None),
        (3, "expiry_wrong", None),
        (4, "line_twice", None),
        (5, "line_missing", None),
    ]


@pytest.mark.parametrize(("spoil", "code"), [("cut", "file_unreadable"), ("count", "file_totals_differ")])
async def test_a_file_that_is_not_whole_is_taken_in_no_part(world: World, spoil: str, code: str) -> None:
    world.network.books.issuing.foresee(IssueFate(spoil=spoil))  # type: ignore[arg-type]
    batch = await world.service.request_cards(RequestCards(count=4))
    assert (batch.state, batch.code, batch.imported) == (B.ISSUED, code, 0)
    again = await world.service.import_cards(ImportCards(batch_id=batch.batch_id))
    assert again == batch
    steps = await world.database.fetch(None, "SELECT version FROM nfc.issue_step")
    assert len(steps) == 3


async def test_a_refused_request_ends_the_batch(world: World) -> None:
    world.network.faults.program(Fault(verb="issue", refuse="count_differs"))
    batch = await world.service.request_cards(RequestCards(count=4))
    assert (batch.state, batch.code) == (B.REFUSED, "count_differs")


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"hang", "slow_reply", "delay", "undone"}))
@pytest.mark.parametrize("verb", ["issue", "issued_file"])
async def test_whatever_befalls_the_line_a_batch_is_imported_once(world: World, verb: str, name: str) -> None:
    world.network.faults.program(replace(PRESETS[name], verb=verb))
    batch = await world.service.request_cards(RequestCards(count=3))
    if batch.state is not B.IMPORTED:
        batch = await _eventually(world, batch)
    assert (batch.imported, batch.wrong) == (3, 0)
    assert (await world.service.get_pool(GetPool())).free == 3


async def _eventually(world: World, batch: IssueBatch) -> IssueBatch:
    async def imported() -> bool:
        try:
            told = await world.service.import_cards(ImportCards(batch_id=batch.batch_id))
        except (Unavailable, Unknown):
            return False
        return told.state is B.IMPORTED

    await _until(imported)
    return await world.service.get_batch(GetIssueBatch(batch_id=batch.batch_id))


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Try until it holds; a test that hangs is ended from outside."""
    while not await holds():
        await asyncio.sleep(0.05)


async def test_an_issuer_that_is_away_is_asked_again(world: World) -> None:
    await world.network.go_away()
    batch = await world.service.request_cards(RequestCards(count=3))
    assert (batch.state, batch.sent_at) == (B.REQUESTED, None)
    with pytest.raises(PaymentError) as refused:
        await world.service.import_cards(ImportCards(batch_id=batch.batch_id))
    assert refused.value.code in {"issuer_unavailable", "issuer_answer_unknown"}
    await world.network.start()
    assert (await _eventually(world, batch)).imported == 3


async def test_a_file_imported_by_several_at_once_is_imported_once(world: World) -> None:
    world.network.books.issuing.foresee(IssueFate(after_s=60))
    batch = await world.service.request_cards(RequestCards(count=20))
    world.pass_time(minutes=1)
    request = ImportCards(batch_id=batch.batch_id)
    processes = [world.service, world.another_process(), world.another_process()]
    told = await asyncio.gather(*(each.import_cards(request) for each in processes))
    assert [each.imported for each in told] == [20, 20, 20]
    assert (await world.service.get_pool(GetPool())).free == 20
    kept = await world.database.fetch(None, "SELECT token FROM nfc.pan_vault")
    assert len(kept) == 20


async def test_a_card_that_comes_in_two_files_is_taken_once(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "issuer"
    service = world.another_process(issuer=FolderIssuer(folder))
    pans = ["9990000000000011", "9990000000000029"]
    for imported, wrong in ((2, []), (0, ["card_known", "card_known"])):
        batch = await service.request_cards(RequestCards(count=2))
        _issue(folder, batch.batch_id[4:], pans)
        batch = await service.import_cards(ImportCards(batch_id=batch.batch_id))
        assert (batch.state, batch.imported, [each.code for each in batch.errors]) == (B.IMPORTED, imported, wrong)


async def test_files_go_over_a_drop_folder(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "issuer"
    service = world.another_process(issuer=FolderIssuer(folder))
    batch = await service.request_cards(RequestCards(count=1))
    assert (batch.state, batch.sent_at) == (B.REQUESTED, world.clock.now())
    lies_there = folder / "in" / f"{batch.batch_id[4:]}.request"
    assert lies_there.read_bytes().startswith(b"HIR" + batch.batch_id[4:].encode())
    (folder / "taken").mkdir()
    lies_there.rename(folder / "taken" / lies_there.name)
    assert await service.import_open() == 0
    _issue(folder, batch.batch_id[4:], ["9990000000000011"])
    assert await service.import_open() == 1
    refused = await service.request_cards(RequestCards(count=1))
    (folder / "out" / f"{refused.batch_id[4:]}.refused").write_text("unreadable\n")
    told = await service.import_cards(ImportCards(batch_id=refused.batch_id))
    assert (told.state, told.code) == (B.REFUSED, "unreadable")


async def test_an_issued_file_goes_once_its_cards_are_in_the_vault(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = world.another_process(issuer=FolderIssuer(tmp_path))
    first, second, never = [await service.request_cards(RequestCards(count=1)) for _ in range(3)]
    file = tmp_path / "out" / f"{first.batch_id[4:]}.issued"
    _issue(tmp_path, first.batch_id[4:], ["9990000000000011"])
    with file.open("rb") as there:
        assert (await service.import_cards(ImportCards(batch_id=first.batch_id))).imported == 1
        assert (file.exists(), there.read().strip(b"\0")) == (False, b"")

    async def fail(issuer: FolderIssuer, file_id: str) -> None:
        raise Unanswered("no_answer", "The folder failed.", destination="files")

    with monkeypatch.context() as patched:
        patched.setattr(FolderIssuer, "remove", fail)
        _issue(tmp_path, second.batch_id[4:], ["9990000000000029"])
        await service.import_open()
    assert (await service.get_batch(GetIssueBatch(batch_id=second.batch_id))).state is B.IMPORTED
    assert [each.stem for each in (tmp_path / "out").iterdir()] == [second.batch_id[4:]]
    await service.give_up_batch(GiveUpBatch(batch_id=never.batch_id, reason="it never came"))
    _issue(tmp_path, never.batch_id[4:], ["9990000000000037"])
    assert await service.import_open() == 0
    assert [each.stem for each in (tmp_path / "out").iterdir()] == [never.batch_id[4:]]  # somebody has to look


async def test_an_issued_file_with_lines_that_cannot_be_read_stays(world: World, tmp_path: Path) -> None:
    service = world.another_process(issuer=FolderIssuer(tmp_path))
    batch = await service.request_cards(RequestCards(count=2))
    _issue(tmp_path, batch.batch_id[4:], ["9990000000000011", "9990000000000012"])
    told = await service.import_cards(ImportCards(batch_id=batch.batch_id))
    assert (told.state, told.imported, told.wrong) == (B.IMPORTED, 1, 1)
    assert await service.import_open() == 0
    assert [each.stem for each in (tmp_path / "out").iterdir()] == [batch.batch_id[4:]]


async def test_a_folders_refusal_that_names_a_card_is_kept_without_its_number(world: World, tmp_path: Path) -> None:
    service = world.another_process(issuer=FolderIssuer(tmp_path))
    batch = await service.request_cards(RequestCards(count=1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{batch.batch_id[4:]}.refused").write_text("9990 0000 0000 0011 is there already\n")
    told = await service.import_cards(ImportCards(batch_id=batch.batch_id))
    assert (told.state, told.code) == (B.REFUSED, "… is there already")


async def test_a_file_in_the_folder_beyond_any_size_is_not_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = world.another_process(issuer=FolderIssuer(tmp_path))
    batch = await service.request_cards(RequestCards(count=1))
    _issue(tmp_path, batch.batch_id[4:], ["9990000000000011"])
    with monkeypatch.context() as patched:
        patched.setattr("kessai.services.nfc.gateways.folder.FILE_BYTES_MAX", 128)
        with pytest.raises(Unavailable, match="issuer_unavailable"):
            await service.import_cards(ImportCards(batch_id=batch.batch_id))
    assert (await service.import_cards(ImportCards(batch_id=batch.batch_id))).imported == 1


def test_a_card_whose_reference_is_a_number_is_not_taken() -> None:
    number = "9990000000000011"
    content = _file(BATCH, [number]).replace(f"c{BATCH[-9:]}000001".encode(), number.encode())
    read = read_issued(content, BATCH, 1, date(2026, 4, 30))
    assert (list(read.cards), [each.code for each in read.errors]) == ([], ["line_unreadable"])


def _issue(folder: Path, batch_id: str, pans: list[str]) -> None:
    """An issuer who works by hand."""
    (folder / "out").mkdir(parents=True, exist_ok=True)
    (folder / "out" / f"{batch_id}.issued").write_bytes(_file(batch_id, pans))


def _file(batch_id: str, pans: list[str], expiry: str = "3112", of: str | None = None) -> bytes:
    records = [f"HII{'issued-000001':<32}20260430000001{of or batch_id:<32}"]
    for line, pan in enumerate(pans, 1):
        reference = request_reference(batch_id, line)
        records.append(f"D{line:06d}{reference:<32}0{f'c{batch_id[-9:]}{line:06d}':<16}{pan:<19}{expiry}")
    records.append(f"T{len(pans):06d}{len(pans):06d}{0:06d}")
    return "".join(f"{each:<128}\n" for each in records).encode()


async def test_a_pool_that_runs_low_is_filled_up_once_a_day(world: World) -> None:
    day = date(2026, 4, 30)
    first = await world.service.replenish(day)
    assert first is not None
    assert (first.count, first.state) == (world.terms.pool.order_up_to, B.IMPORTED)
    assert await world.service.replenish(day) == first
    assert await world.service.replenish(date(2026, 5, 1)) is None
    pool = await world.service.get_pool(GetPool())
    assert (pool.free, pool.low) == (1000, False)


async def test_a_batch_whose_file_never_comes_is_not_counted_on_for_ever(world: World) -> None:
    world.network.books.issuing.foresee(IssueFate(after_s=10**9))
    first = await world.service.replenish(date(2026, 4, 30))
    assert first is not None
    assert await world.service.replenish(date(2026, 5, 1)) is None
    world.pass_time(days=world.terms.pool.order_days_max, minutes=1)
    pool = await world.service.get_pool(GetPool())
    assert (pool.free, pool.on_order, pool.overdue) == (0, 0, first.count)
    second = await world.service.replenish(date(2026, 5, 8))
    assert second is not None
    assert (second.count, second.state) == (first.count, B.IMPORTED)
    with structlog.testing.capture_logs() as logs:
        await world.service.import_open()
    assert [(each["event"], each["cards"]) for each in logs if each["log_level"] == "error"] == [
        ("issue_batches_overdue", first.count)
    ]


async def test_a_batch_is_given_up_by_an_operator_who_says_why(world: World) -> None:
    world.network.books.issuing.foresee(IssueFate(after_s=3600))
    batch = await world.service.request_cards(RequestCards(count=3))
    give_up = GiveUpBatch(batch_id=batch.batch_id, reason="the issuer lost it")
    told = await world.service.give_up_batch(give_up)
    assert (told.state, told.code, told.imported) == (B.REFUSED, "given_up", 0)
    assert await world.service.give_up_batch(give_up) == told
    world.pass_time(hours=1)
    assert await world.service.import_open() == 0
    assert (await world.service.import_cards(ImportCards(batch_id=batch.batch_id))).state == B.REFUSED
    pool = await world.service.get_pool(GetPool())
    assert (pool.free, pool.on_order, pool.overdue) == (0, 0, 0)
    steps = await world.database.fetch(None, "SELECT detail FROM nfc.issue_step ORDER BY version DESC LIMIT 1")
    assert steps[0]["detail"] == "given up: the issuer lost it"
    finished = await world.fill(1)
    with pytest.raises(Refused, match="issue_batch_finished"):
        await world.service.give_up_batch(GiveUpBatch(batch_id=finished.batch_id, reason="by mistake"))


async def test_cards_near_their_end_are_given_to_nobody(world: World) -> None:
    await world.fill(2)
    world.pass_time(days=5 * 365)
    pool = await world.service.get_pool(GetPool())
    assert (pool.free, pool.stale) == (0, 2)
    with pytest.raises(PaymentError, match="card_pool_empty"):
        await world.registered()


async def test_batches_are_listed_newest_first(world: World) -> None:
    made: list[str] = []
    for _ in range(3):
        made.append((await world.fill(1)).batch_id)
        world.pass_time(minutes=1)
    page = await world.service.list_batches(ListIssueBatches(limit=2))
    rest = await world.service.list_batches(ListIssueBatches(limit=2, cursor=page.next_cursor))
    assert [each.batch_id for each in (*page.batches, *rest.batches)] == made[::-1]
    assert (await world.service.list_batches(ListIssueBatches(state=B.REFUSED))).batches == []
    with pytest.raises(Invalid, match="bad_cursor"):
        await world.service.list_batches(ListIssueBatches(cursor="x"))
    with pytest.raises(NotFound, match="issue_batch_not_found"):
        await world.service.get_batch(GetIssueBatch(batch_id=new_id("isb")))


# -- files, without anybody ---------------------------------------------------------------------------------------

TODAY = datetime(2026, 4, 30, tzinfo=UTC).date()


def test_a_request_file_is_always_the_same() -> None:
    made = request_file(BATCH, 2, TODAY, 7)
    assert made == request_file(BATCH, 2, TODAY, 7)
    lines = made.split(b"\n")
    assert lines[0] == f"HIR{BATCH}20260430000007".ljust(80).encode()
    assert lines[1] == f"D000001{request_reference(BATCH, 1)}".ljust(80).encode()
    assert lines[3] == b"T000002".ljust(80)


def test_an_expired_card_and_a_number_that_comes_twice_are_not_taken() -> None:
    expired = read_issued(_file(BATCH, ["9990000000000011"], expiry="2603"), BATCH, 1, TODAY)
    assert [each.code for each in expired.errors] == ["expired"]
    twice = read_issued(_file(BATCH, ["9990000000000011"] * 2), BATCH, 2, TODAY)
    assert ([each.line for each in twice.cards], [each.code for each in twice.errors]) == ([1], ["card_known"])


def test_a_line_that_was_never_asked_for_is_not_taken() -> None:
    told = read_issued(_file(BATCH, ["9990000000000011", "9990000000000029"]), BATCH, 1, TODAY)
    assert ([each.line for each in told.cards], [each.code for each in told.errors]) == ([1], ["line_unknown"])


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"HII\nT\n", _file(BATCH, [])[:-1], _file(BATCH, ["9990000000000011"]) + b"x\n"]
)
def test_what_is_no_file_is_unreadable(content: bytes) -> None:
    with pytest.raises(FileWrong, match="file_unreadable"):
        read_issued(content, BATCH, 1, TODAY)


def test_a_file_of_another_request_is_not_taken() -> None:
    with pytest.raises(FileWrong, match="file_of_another_request"):
        read_issued(_file(BATCH, [], of="f" * 32), BATCH, 1, TODAY)
