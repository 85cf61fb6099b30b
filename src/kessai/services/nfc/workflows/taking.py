"""Taking the processor's clearing files: each once, whole or not at all; whatever is odd about them is a finding."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime

import structlog
from msgspec.structs import replace

from kessai.foundation.db import Connection
from kessai.foundation.events import wake
from kessai.services.nfc.api.clearing import ClearingFileState, ClearingFindingState, FindingKind, LineKind
from kessai.services.nfc.domain.clearing import FoundThing, StoredFinding
from kessai.services.nfc.domain.clearing_file import FileWrong, ReadFile, read_clearing
from kessai.services.nfc.gateways.clearing import FileTooLarge, ListedFile
from kessai.services.nfc.store import ROLE, SCHEMA
from kessai.services.nfc.store import clearing as store
from kessai.services.nfc.store.authorizations import NEWEST
from kessai.services.nfc.store.clearing import File
from kessai.services.nfc.store.findings import add_findings, close_as, findings_before
from kessai.services.nfc.workflows.deps import Deps

log = structlog.get_logger(__name__)
F, S = FindingKind, ClearingFileState
BY = "nfc.clear"


@dataclass(slots=True)
class Offered:
    """What the processor has for us, beside what we know."""

    listed: list[ListedFile]
    known: dict[str, File]
    last: int | None
    """The highest sequence that we know; None: no file yet."""
    sequences: dict[int, str] = field(default_factory=dict[int, str])
    """Of known files, whose sequence it is."""

    @property
    def new(self) -> list[ListedFile]:
        """Those to be taken: new ones, and those of which nothing was taken so far and which are others now."""
        return [
            each
            for each in self.listed
            if (known := self.known.get(each.file_id)) is None
            or (known.state is S.REFUSED and known.sha256 != each.sha256)
        ]


async def offered(deps: Deps) -> Offered:
    """Ask for files: those beyond the last one, and once more those shortly before it."""
    before = await store.files_before(deps.database, store.LAST_SEQUENCE, deps.terms.files.look_back + 1)
    refused = await store.files_in(deps.database, S.REFUSED, deps.terms.files.look_back + 1)
    last = before[0].sequence if before else None
    since = max(0, min([each.sequence for each in [*before, *refused]], default=1) - 1)
    listed = list(await deps.network.files_after(since, deps.clock.now()))
    known = await store.files_named(deps.database, [each.file_id for each in listed])
    return Offered(listed, known, last, {each.sequence: each.file_id for each in known.values()})


async def take_all(deps: Deps, day: date) -> int:
    """Take what is new, in the order of its sequence; gives how many files are taken now that were not."""
    there = await offered(deps)
    await _note(deps, _changed(there, day))
    taken, expected = 0, None if there.last is None else there.last + 1
    for each in there.new:
        found = _out_of_order(there, each, expected, day)
        expected = max(each.sequence + 1, expected or 0)
        known = there.known.get(each.file_id)
        try:
            content = await deps.network.file(each.file_id, deps.clock.now())
        except FileTooLarge:  # by itself: those after it are taken
            await _keep(deps, each, None, known, found, day)
        else:
            if content is None:
                await _note(deps, _absent(there, each, found, day))
                continue
            taken += await _keep(deps, each, content, known, found, day)
        there.sequences.setdefault(each.sequence, each.file_id)
    await _close_gaps(deps)
    return taken


def _absent(there: Offered, each: ListedFile, found: list[FoundThing], day: date) -> list[FoundThing]:
    """A file that is listed, and not to be had: left out until it has come."""
    if each.file_id in there.known:
        return []  # it was refused, and is a finding
    gap = FoundThing(kind=F.SEQUENCE_GAP.value, about=f"{each.sequence}", day=day, detail=f"{each.file_id} is listed")
    return [*(replace(thing, file_id=None) for thing in found), gap]


async def _close_gaps(deps: Deps) -> None:
    """What had been left out, and has come after all."""
    kind, limit = F.SEQUENCE_GAP.value, deps.terms.files.look_back + 1
    filled: list[StoredFinding] = []
    for each in await findings_before(deps.database, NEWEST, ClearingFindingState.OPEN, kind, limit):
        first, _, last = each.about.partition("-")
        wanted = range(int(first), int(last or first) + 1)
        if not set(wanted) - await store.sequences_between(deps.database, wanted[0], wanted[-1]):
            filled.append(each)
    if not filled:
        return

    async def work(connection: Connection) -> None:
        await close_as(connection, filled, BY, "It came after all.", deps.clock.now())

    await deps.database.transaction(ROLE, work)
    wake(deps.database, SCHEMA.service)


def _changed(there: Offered, day: date) -> list[FoundThing]:
    """Files that were taken and are offered with another content: what was taken stays."""
    return [
        FoundThing(
            kind=F.FILE_CHANGED.value,
            about=f"{each.file_id} {each.sha256.hex()[:16]}",
            day=day,
            file_id=each.file_id,
            detail=f"taken with {known.sha256.hex()[:16]}; nothing of the other content was taken",
        )
        for each in there.listed
        if (known := there.known.get(each.file_id)) is not None
        and known.state is not S.REFUSED
        and known.sha256 != each.sha256
    ]


def _out_of_order(there: Offered, each: ListedFile, expected: int | None, day: date) -> list[FoundThing]:
    if expected is not None and each.sequence > expected:
        missing = f"{expected}" if each.sequence == expected + 1 else f"{expected}-{each.sequence - 1}"
        return [FoundThing(kind=F.SEQUENCE_GAP.value, about=missing, day=day, file_id=each.file_id)]
    other = there.sequences.get(each.sequence)
    if other not in (None, each.file_id):
        about = f"{each.sequence} {each.file_id}"
        detail = f"{other} has it too"
        return [FoundThing(kind=F.SEQUENCE_TWICE.value, about=about, day=day, file_id=each.file_id, detail=detail)]
    return []


async def _keep(
    deps: Deps, listed: ListedFile, content: bytes | None, known: File | None, found: list[FoundThing], day: date
) -> int:
    """`content` None: it is larger than any file may be, and was not read."""
    now = deps.clock.now()
    read, wrong = (None, FileWrong("file_too_large")) if content is None else _read(listed, content)
    if read is None or content is None:
        assert wrong is not None
        sha256 = listed.sha256 if content is None else hashlib.sha256(content).digest()
        file = _refused(listed, sha256, wrong, day, now)
        about = f"{listed.file_id} {file.sha256.hex()[:16]}"
        detail = f"{wrong.code}, record {wrong.record}"
        found = [
            *found,
            FoundThing(
                kind=F.FILE_REFUSED.value, about=about, day=file.day, file_id=listed.file_id, detail=detail
            ),
        ]  # fmt: skip
        log.error("clearing_file_refused", file_id=listed.file_id, code=wrong.code, record=wrong.record)
    else:
        file = _taken(read, content, now)
        found = [*found, *_wrong_lines(read)]
    if known is not None:
        file = replace(file, version=known.version + 1)

    async def work(connection: Connection) -> bool:
        lines, bad = ((), ()) if read is None else (read.lines, read.wrong)
        kept = await store.write_file(connection, file, lines, bad, now)
        if kept:
            await add_findings(connection, found, now)
        return kept

    kept = await deps.database.transaction(ROLE, work)
    wake(deps.database, SCHEMA.service)
    return int(kept and file.state is S.TAKEN)


def _read(listed: ListedFile, content: bytes) -> tuple[ReadFile | None, FileWrong | None]:
    if hashlib.sha256(content).digest() != listed.sha256:
        return None, FileWrong("file_digest_differs")
    try:
        read = read_clearing(content, listed.file_id)
    except FileWrong as wrong:
        return None, wrong
    return (read, None) if read.sequence == listed.sequence else (None, FileWrong("file_of_another_sequence", 1))


def _taken(read: ReadFile, content: bytes, now: datetime) -> File:
    sales, refunds, reversals = (read.sums[kind] for kind in (LineKind.SALE, LineKind.REFUND, LineKind.REVERSAL))
    return File(
        file_id=read.file_id,
        sequence=read.sequence,
        day=read.day,
        state=S.TAKEN,
        code=None,
        sha256=hashlib.sha256(content).digest(),
        lines=read.count,
        sales_count=sales.count,
        sales_minor=sales.amount_minor,
        refunds_count=refunds.count,
        refunds_minor=refunds.amount_minor,
        reversals_count=reversals.count,
        reversals_minor=reversals.amount_minor,
        taken_at=now,
    )


def _refused(listed: ListedFile, sha256: bytes, wrong: FileWrong, day: date, now: datetime) -> File:
    return File(
        file_id=listed.file_id,
        sequence=listed.sequence,
        day=day,
        state=S.REFUSED,
        code=wrong.code,
        sha256=sha256,
        lines=0,
        taken_at=now,
    )


def _wrong_lines(read: ReadFile) -> list[FoundThing]:
    return [
        FoundThing(
            kind=F.LINE_UNREADABLE.value,
            about=f"{read.file_id}#{each.line - 1}",
            day=read.day,
            file_id=read.file_id,
            line=each.line - 1,
            detail=f"{each.code} at record {each.line}, position {each.position}",
        )
        for each in read.wrong
    ]


async def _note(deps: Deps, found: list[FoundThing]) -> None:
    if not found:
        return

    async def work(connection: Connection) -> int:
        return await add_findings(connection, found, deps.clock.now())

    if await deps.database.transaction(ROLE, work):
        log.error("clearing_files_differ", files=[each.file_id or each.about for each in found])
        wake(deps.database, SCHEMA.service)
