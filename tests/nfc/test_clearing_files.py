"""Clearing files: taken once, whole or not at all, in whatever order and by however many processes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound, Refused
from kessai.services.nfc.api.clearing import (
    ClearingFinding,
    CloseClearingFinding,
    ExplainClearingFinding,
    GetClearingFile,
    GetClearingFinding,
    LineKind,
    ListClearingFindings,
)
from kessai.services.nfc.domain.clearing_file import FileWrong, ReadFile, read_clearing
from kessai.services.nfc.gateways.clearing import HttpClearing, ListedFile
from kessai.services.nfc.store import findings as store
from kessai.simulators.cardnetwork.records import Cleared
from kessai.simulators.faults import Fault
from tests.nfc.clearing_world import ClearingWorld, asked, opened


@pytest.fixture
async def clearing(database: Database) -> AsyncIterator[ClearingWorld]:
    async with opened(database) as running:
        yield running


def detail(line: int, amount: int | str = 700, card: str = "c000000000000001") -> str:
    """A sale."""
    text = (
        f"D{line:06d}S{card:<16}{amount:0>12}39220260430A1B2C3612012000001SHOP00000000001581210000000001"
        f"7410000000001{line:010d}20260430"
    )
    assert len(text) == 126
    return text


def content(
    *details: str, total: int, count: int | None = None, sales: int | None = None, file_id: str = "f-1"
) -> bytes:
    """A file of sales."""
    told = len(details) if sales is None else sales
    trailer = f"T{len(details) if count is None else count:06d}{told:06d}{total:015d}" + f"{0:06d}{0:015d}" * 2
    records = [f"HCL{file_id:<32}20260430000001", *details, trailer]
    return "".join(f"{each:<160}\n" for each in records).encode()


def wrong(data: bytes) -> tuple[str, int]:
    """Why a file cannot be taken."""
    with pytest.raises(FileWrong) as raised:
        read_clearing(data, "f-1")
    return raised.value.code, raised.value.record


def read(data: bytes) -> ReadFile:
    """A whole file."""
    return read_clearing(data, "f-1")


# -- the layout -----------------------------------------------------------------------------------------------------


def test_a_whole_file_gives_its_lines_and_sums() -> None:
    found = read(content(detail(1), detail(2, 300), total=1_000))
    assert (found.file_id, found.day, found.sequence, found.count) == ("f-1", date(2026, 4, 30), 1, 2)
    assert found.sums[LineKind.SALE].amount_minor == 1_000
    line = found.lines[0]
    assert (line.card, line.amount_minor, line.currency, line.approval_code) == (
        "c000000000000001",
        700,
        "392",
        "A1B2C3",
    )
    assert (line.rrn, line.merchant, line.mcc, line.acquirer) == (
        "612012000001",
        "SHOP00000000001",
        "5812",
        "10000000001",
    )
    assert (line.reference, line.processed_on) == ("74100000000010000000001", date(2026, 4, 30))


@pytest.mark.parametrize(
    ("data", "code", "record"),
    [
        (b"", "file_unreadable", 1),
        (content(detail(1), total=700)[:-1], "file_unreadable", 3),
        (content(detail(1), total=700)[:300], "file_unreadable", 2),
        (content(detail(1) + "x" * 40, total=700), "file_unreadable", 2),
        (content(detail(1), total=700).replace(b"HCL", b"HCX"), "file_unreadable", 1),
        (content(detail(1), total=700).replace(b"20260430000001", b"20261330000001"), "file_unreadable", 1),
        (content(detail(1), total=700, file_id="f-2"), "file_of_another_id", 1),
        (content(detail(1), total=701), "file_totals_differ", 3),
        (content(detail(1), total=700, count=2), "file_totals_differ", 3),
        (content(detail(1), total=700, sales=2), "file_totals_differ", 3),
    ],
)  # fmt: skip
def test_a_file_that_is_not_whole_says_why_and_where(data: bytes, code: str, record: int) -> None:
    assert wrong(data) == (code, record)


@pytest.mark.parametrize(
    ("record", "position", "code"),
    [
        (detail(2, "00000000A700"), 25, "amount_wrong"),
        (detail(2, 0), 25, "amount_wrong"),
        (detail(3), 2, "line_out_of_order"),
        ("X" + detail(2)[1:], 1, "record_unknown"),
        (detail(2)[:7] + "Q" + detail(2)[8:], 8, "kind_unknown"),
        (detail(2, card=" 123"), 9, "reference_wrong"),
        (detail(2)[:39] + "20260231" + detail(2)[47:], 40, "date_wrong"),
        (detail(2)[:36] + "JPY" + detail(2)[39:], 37, "number_wrong"),
        (detail(2)[:47] + "A B 12" + detail(2)[53:], 48, "code_wrong"),
        (detail(2)[:95] + "7" * 22 + "x" + detail(2)[118:], 96, "number_wrong"),
        (detail(2) + "  no spaces", 127, "filler_not_blank"),
    ],
)
def test_a_line_that_cannot_be_read_is_listed_with_its_position(record: str, position: int, code: str) -> None:
    found = read(content(detail(1), record, total=1_400))
    assert [each.line for each in found.lines] == [1]
    assert [(each.line, each.position, each.code) for each in found.wrong] == [(3, position, code)]


def test_lines_that_cannot_be_read_do_not_hide_a_wrong_total() -> None:
    assert wrong(content(detail(1), "X" + detail(2)[1:], total=600)) == ("file_totals_differ", 4)


# -- taking files -----------------------------------------------------------------------------------------------------


async def test_the_same_file_again_does_nothing(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    clearing.close_day()
    await clearing.clear()
    clearing.close_day(spoil="resend")
    run = await clearing.clear()
    assert (run.done, len(await clearing.files())) == (0, 1)
    assert await clearing.world.available(customer_id) == 4_300
    assert await clearing.findings() == []


@pytest.mark.parametrize(("spoil", "code"), [("count", "file_totals_differ"), ("total", "file_totals_differ"),
                                             ("cut", "file_unreadable")])  # fmt: skip
async def test_a_file_that_is_not_whole_is_taken_in_no_part(clearing: ClearingWorld, spoil: str, code: str) -> None:
    customer_id, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    file = clearing.close_day(spoil=spoil)
    run = await clearing.clear()
    found = await clearing.file(file.id)
    assert (run.done, found.state, found.code, found.lines) == (0, "REFUSED", code, 0)
    assert [each.state.value for each in await clearing.world.authorizations(customer_id)] == ["APPROVED"]
    assert await clearing.kinds() == ["file_refused"]
    await clearing.clear()
    assert await clearing.kinds() == ["file_refused"]


async def test_a_refused_file_is_taken_once_it_comes_whole(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    file = clearing.close_day(spoil="total")
    await clearing.clear()
    spoiled = clearing.world.network.books.clearing.files[file.id]
    clearing.world.network.books.clearing.files[file.id] = _mended(spoiled)
    assert (await clearing.clear()).done == 1
    assert (await clearing.file(file.id)).state == "CLEARED"
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 0)}


async def test_a_taken_file_with_another_content_is_a_finding_and_nothing_else(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    file = clearing.close_day()
    await clearing.clear()
    books = clearing.world.network.books.clearing
    books.files[file.id] = _mended(books.files[file.id], twice=True)
    await clearing.clear()
    assert await clearing.kinds() == ["file_changed"]
    assert (await clearing.file(file.id)).lines == 1
    assert await clearing.world.available(customer_id) == 4_300


async def test_a_sequence_that_was_left_out_is_noticed(clearing: ClearingWorld) -> None:
    clearing.close_day()
    await clearing.clear()
    skipped = clearing.close_day()
    clearing.close_day()
    del clearing.world.network.books.clearing.files[skipped.id]
    await clearing.clear()
    (found,) = await clearing.findings()
    assert (found.kind, found.about) == ("sequence_gap", "2")
    assert [each.sequence for each in await clearing.files()] == [3, 1]
    clearing.world.network.books.clearing.files[skipped.id] = skipped
    await clearing.clear()
    assert [each.sequence for each in await clearing.files()] == [3, 2, 1]
    assert await clearing.findings() == []


async def test_a_file_that_is_listed_and_not_there_is_noticed_until_it_comes(
    clearing: ClearingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    clearing.close_day()
    await clearing.clear()
    absent = clearing.close_day()
    clearing.close_day()
    read = HttpClearing.file

    async def file(network: HttpClearing, file_id: str, now: datetime) -> bytes | None:
        return None if file_id == absent.id else await read(network, file_id, now)

    with monkeypatch.context() as patched:
        patched.setattr(HttpClearing, "file", file)
        await clearing.clear()
        await clearing.clear()
        (found,) = await clearing.findings()
        assert (found.kind, found.about, found.file_id) == ("sequence_gap", "2", None)
    await clearing.clear()
    assert [each.sequence for each in await clearing.files()] == [3, 2, 1]
    assert await clearing.findings() == []


async def test_a_file_beyond_any_size_is_refused_by_itself_and_the_others_are_taken(
    clearing: ClearingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    large = clearing.close_day(*(asked("no_authorization", card=card, amount=1) for _ in range(40)))
    clearing.close_day()
    monkeypatch.setattr("kessai.services.nfc.gateways.words.FILE_BYTES_MAX", 4_000)
    await clearing.another_process()
    await clearing.clear()
    assert [(each.sequence, each.state, each.code) for each in await clearing.files()] == [
        (2, "CLEARED", None), (1, "REFUSED", "file_too_large"),
    ]  # fmt: skip
    (found,) = await clearing.findings()
    assert (found.kind, found.file_id) == ("file_refused", large.id)
    await clearing.clear()
    assert len(await clearing.findings()) == 1


def test_a_line_that_names_its_card_by_its_number_is_not_kept() -> None:
    number = "9990000000000011"
    read = read_clearing(content(detail(1), detail(2, card=number), total=1_400), "f-1")
    assert [(each.line, each.position, each.code) for each in read.wrong] == [(3, 9, "reference_wrong")]
    assert number not in repr(read)


async def test_a_line_that_cannot_be_read_leaves_the_others_cleared(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    await clearing.world.tap(card, 300)
    file = clearing.close_day(spoil="bad_line")
    await clearing.clear()
    found = await clearing.file(file.id)
    assert [(each.line, each.position, each.code) for each in found.wrong] == [(3, 25, "amount_wrong")]
    assert (found.state, found.outcomes, found.lines) == ("CLEARED", {"matched": 1}, 2)
    assert sorted(each.state.value for each in await clearing.world.authorizations(customer_id)) == [
        "APPROVED",
        "CLEARED",
    ]
    assert [(each.kind, each.line) for each in await clearing.findings()] == [("line_unreadable", 2)]


async def test_a_dry_run_says_what_there_is_and_takes_nothing(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    clearing.close_day()
    run = await clearing.run("nfc.clear", dry_run=True)
    assert run.note == "1 files would be taken; 0 lines wait already."
    assert await clearing.files() == []


async def test_lost_answers_of_the_processor_are_asked_for_again(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=5_000)
    await clearing.world.tap(card, 700)
    file = clearing.close_day()
    for verb in ("clearing_files", "clearing_file"):
        clearing.world.network.faults.program(Fault(verb=verb, reply="drop", times=2))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["matched"]
    assert await clearing.world.available(customer_id) == 4_300


async def test_a_file_that_arrives_spoiled_is_not_believed(clearing: ClearingWorld) -> None:
    file = clearing.close_day()
    (listed,) = await clearing.desk.engine.deps.network.files_after(0, clearing.world.clock.now())
    assert listed == ListedFile(file.id, 1, listed.sha256)
    data = await clearing.desk.engine.deps.network.file(file.id, clearing.world.clock.now())
    assert hashlib.sha256(data).digest() == listed.sha256


async def test_two_processes_clear_a_file_once(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=5_000)
    for _ in range(3):
        await clearing.world.tap(card, 500)
    file = clearing.close_day(asked("no_authorization", card=card, amount=400))
    other = await clearing.another_process()
    first = await clearing.run("nfc.clear")
    clearing.desks.remove(other)
    clearing.desks.insert(0, other)
    again = await clearing.run("nfc.clear")
    assert (first.done, again.done) == (4, 0)
    assert await clearing.outcomes(file.id) == ["matched"] * 3 + ["unauthorized"]
    assert await clearing.world.available(customer_id) == 5_000 - 1_900


# -- findings ---------------------------------------------------------------------------------------------------------


async def test_a_finding_is_explained_and_closed_with_who_and_why(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=5_000)
    clearing.close_day(asked("no_authorization", card=card, amount=400))
    await clearing.clear()
    (found,) = await clearing.findings()
    desk = clearing.desk
    token = enter_call(Call(caller="key_somebody"))
    try:
        note = ExplainClearingFinding(finding_id=found.finding_id, note="the shop was offline")
        assert (await desk.explain_clearing_finding(note)).state == "OPEN"
        assert len((await desk.explain_clearing_finding(note)).notes) == 1
        close = CloseClearingFinding(finding_id=found.finding_id, reason="the customer agrees")
        closed = await desk.close_clearing_finding(close)
        assert (closed.state, closed.closed_by, await desk.close_clearing_finding(close)) == (
            "CLOSED",
            "key_somebody",
            closed,
        )
        assert [(each.text, each.by, each.closes) for each in closed.notes] == [
            ("the shop was offline", "key_somebody", False),
            ("the customer agrees", "key_somebody", True),
        ]
        with pytest.raises(Refused, match="closed"):
            await desk.close_clearing_finding(CloseClearingFinding(finding_id=found.finding_id, reason="once more"))
    finally:
        leave_call(token)
    assert await clearing.findings() == []
    page = await desk.list_clearing_findings(ListClearingFindings(state=None, kind="unauthorized"))
    assert [each.finding_id for each in page.findings] == [found.finding_id]


async def test_of_two_who_close_a_finding_at_once_one_is_told_that_it_is_closed(
    clearing: ClearingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's reason is lost in silence."""
    _, card = await clearing.world.holder(funds=5_000)
    clearing.close_day(asked("no_authorization", card=card, amount=400))
    await clearing.clear()
    (found,) = await clearing.findings()
    close, first = store.close_findings, CloseClearingFinding(finding_id=found.finding_id, reason="the customer agrees")

    async def late(*arguments: Any) -> int:
        """Somebody else is first, after this one has looked."""
        monkeypatch.setattr(store, "close_findings", close)
        await clearing.desk.close_clearing_finding(first)
        return await close(*arguments)

    monkeypatch.setattr(store, "close_findings", late)
    with pytest.raises(Refused, match="clearing_finding_closed"):
        await clearing.desk.close_clearing_finding(
            CloseClearingFinding(finding_id=found.finding_id, reason="a mistake")
        )
    told = await clearing.desk.get_clearing_finding(GetClearingFinding(finding_id=found.finding_id))
    assert [each.text for each in told.notes] == ["the customer agrees"]


async def test_findings_come_in_pages(clearing: ClearingWorld) -> None:
    _, card = await clearing.world.holder(funds=5_000)
    clearing.close_day(*(asked("no_authorization", card=card, amount=100 + n) for n in range(3)))
    await clearing.clear()
    told: list[ClearingFinding] = []
    cursor = None
    while True:
        page = await clearing.desk.list_clearing_findings(ListClearingFindings(limit=2, cursor=cursor))
        told += page.findings
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(each.theirs_minor for each in told) == [100, 101, 102]


async def test_what_is_not_there_is_said_so(clearing: ClearingWorld) -> None:
    with pytest.raises(NotFound, match="clearing file"):
        await clearing.desk.get_clearing_file(GetClearingFile(file_id="clr-1"))
    with pytest.raises(NotFound, match="finding"):
        await clearing.desk.get_clearing_finding(GetClearingFinding(finding_id="cfd_" + "0" * 32))


def _mended(file: Cleared, *, twice: bool = False) -> Cleared:
    """The same file without what was spoiled (or with its lines twice)."""
    return replace(file, spoil=None, details=file.details * (2 if twice else 1))
