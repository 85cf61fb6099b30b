"""What the door tells of clearing files and findings, and how a finding is explained and closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import NotFound, Refused
from kessai.foundation.events import wake
from kessai.foundation.ids import bare
from kessai.services.nfc.api import clearing as api
from kessai.services.nfc.api.clearing import ClearingFindingState
from kessai.services.nfc.domain.clearing import Line, StoredFinding
from kessai.services.nfc.service.paging import cursor_of, position_of
from kessai.services.nfc.store import ROLE, SCHEMA, findings, reconciling
from kessai.services.nfc.store import clearing as store
from kessai.services.nfc.store.authorizations import NEWEST
from kessai.services.nfc.store.clearing import File

Write = Callable[[Connection, StoredFinding, datetime], Awaitable[None]]


class _Overtaken(Exception):
    """Somebody else closed it first: look again."""


class ClearingLookups:
    """Implements the door `NfcClearing`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list_clearing_files(self, request: api.ListClearingFiles, /) -> api.ClearingFiles:
        """Files, the newest first."""
        before = store.LAST_SEQUENCE if request.before_sequence is None else request.before_sequence
        found = await store.files_before(self._database, before, request.limit)
        waiting = await store.undecided(self._database, [each.file_id for each in found])
        return api.ClearingFiles(files=[_shown_file(each, waiting.get(each.file_id, 0)) for each in found])

    async def get_clearing_file(self, request: api.GetClearingFile, /) -> api.ClearingFile:
        """A file, with its first wrong lines and how many lines came to what."""
        file = await self._file(request.file_id)
        outcomes = await store.outcomes(self._database, file.file_id)
        wrong = await store.wrong_lines(self._database, file.file_id, api.LINES_WRONG_SHOWN_MAX)
        shown = _shown_file(file, outcomes.pop(None, 0))
        return replace(shown, wrong=wrong, outcomes={name or "": each for name, each in sorted(outcomes.items())})

    async def list_clearing_lines(self, request: api.ListClearingLines, /) -> api.ClearingLines:
        """A file's lines and their outcomes."""
        file = await self._file(request.file_id)
        lines = await store.lines_after(
            self._database, file.file_id, request.after_line, request.limit, request.outcome
        )  # fmt: skip
        return api.ClearingLines(lines=[_shown_line(each) for each in lines])

    async def get_clearing_day(self, request: api.GetClearingDay, /) -> api.ClearingDay:
        """A day's totals, the processor's and ours."""
        known = await reconciling.day_named(self._database, request.day)
        if known is None:
            raise NotFound(
                "clearing_day_not_found", "The day was not compared with the processor's.", day=request.day.isoformat()
            )
        totals = list(await reconciling.totals_of(self._database, request.day))
        return api.ClearingDay(day=known.day, agrees=known.agrees, totals=totals, looked_at=known.looked_at)

    async def list_clearing_findings(self, request: api.ListClearingFindings, /) -> api.ClearingFindingPage:
        """Findings, the newest first."""
        before = position_of(request.cursor, tuple[datetime, str], NEWEST)
        found = await findings.findings_before(
            self._database, before, request.state, request.kind, request.limit + 1
        )  # fmt: skip
        page = found[: request.limit]
        more = len(found) > request.limit
        return api.ClearingFindingPage(
            findings=[_shown_finding(each, []) for each in page],
            next_cursor=cursor_of(page[-1].found_at, page[-1].stored_id) if more else None,
        )

    async def get_clearing_finding(self, request: api.GetClearingFinding, /) -> api.ClearingFinding:
        """A finding, with what was said of it."""
        return await self._database.transaction(ROLE, lambda connection: _told(connection, request.finding_id))

    async def explain_clearing_finding(self, request: api.ExplainClearingFinding, /) -> api.ClearingFinding:
        """Say what is known of it."""
        by = current_call().caller

        async def write(connection: Connection, found: StoredFinding, now: datetime) -> None:
            note = api.ClearingNote(text=request.note, by=by, at=now, closes=False)
            await findings.note_finding(connection, found, note)

        return await self._said(request.finding_id, request.note, write)

    async def close_clearing_finding(self, request: api.CloseClearingFinding, /) -> api.ClearingFinding:
        """Nothing is left to be done, and why."""
        by = current_call().caller

        async def write(connection: Connection, found: StoredFinding, now: datetime) -> None:
            note = api.ClearingNote(text=request.reason, by=by, at=now, closes=True)
            if not await findings.close_findings(connection, [found], by, now):
                raise _Overtaken
            await findings.note_finding(connection, found, note)

        return await self._said(request.finding_id, request.reason, write)

    async def _said(self, finding_id: str, text: str, write: Write) -> api.ClearingFinding:
        by = current_call().caller

        async def work(connection: Connection) -> api.ClearingFinding:
            found = await _stored(connection, finding_id)
            if found.state is ClearingFindingState.CLOSED:
                told = await _told(connection, finding_id)
                if any((each.text, each.by) == (text, by) for each in told.notes):
                    return told
                raise Refused("clearing_finding_closed", "The finding is closed.", finding_id=finding_id)
            await write(connection, found, self._clock.now())
            return await _told(connection, finding_id)

        try:
            told = await self._database.transaction(ROLE, work)
        except _Overtaken:  # closed by somebody else meanwhile: whose reason it is, is to be told
            told = await self._database.transaction(ROLE, work)
        wake(self._database, SCHEMA.service)
        return told

    async def _file(self, file_id: str) -> File:
        found = await store.files_named(self._database, [file_id])
        if file_id not in found:
            raise NotFound("clearing_file_not_found", "There is no such clearing file.", file_id=file_id)
        return found[file_id]


async def _stored(connection: Connection, finding_id: str) -> StoredFinding:
    found = await findings.findings_named(connection, [bare(finding_id)])
    if not found:
        raise NotFound("finding_not_found", "There is no such finding.", finding_id=finding_id)
    return next(iter(found.values()))


async def _told(connection: Connection, finding_id: str) -> api.ClearingFinding:
    found = await _stored(connection, finding_id)
    return _shown_finding(found, await findings.notes_of(connection, found.stored_id))


def _shown_file(file: File, undecided: int) -> api.ClearingFile:
    return api.ClearingFile(
        file_id=file.file_id,
        sequence=file.sequence,
        day=file.day,
        state=file.state,
        code=file.code,
        lines=file.lines,
        undecided=undecided,
        wrong=[],
        sales=api.LineSum(count=file.sales_count, amount_minor=file.sales_minor),
        refunds=api.LineSum(count=file.refunds_count, amount_minor=file.refunds_minor),
        reversals=api.LineSum(count=file.reversals_count, amount_minor=file.reversals_minor),
        outcomes={},
        taken_at=file.taken_at,
        cleared_at=file.cleared_at,
    )


def _shown_line(each: Line) -> api.ClearingLine:
    return api.ClearingLine(
        line=each.line,
        kind=each.kind,
        card=each.card,
        amount_minor=each.amount_minor,
        currency=each.currency,
        authorized_on=each.authorized_on,
        approval_code=each.approval_code,
        rrn=each.rrn,
        merchant=each.merchant,
        mcc=each.mcc,
        acquirer=each.acquirer,
        acquirer_reference=each.reference,
        processed_on=each.processed_on,
        outcome=each.outcome,
        moved_minor=each.moved_minor,
        authorization_id=each.authorization_id and f"ath_{each.authorization_id}",
        decided_at=each.decided_at,
    )


def _shown_finding(each: StoredFinding, notes: list[api.ClearingNote]) -> api.ClearingFinding:
    return api.ClearingFinding(
        finding_id=f"cfd_{each.stored_id}",
        kind=each.kind,
        about=each.about,
        state=each.state,
        file_id=each.file_id,
        line=each.line,
        authorization_id=each.authorization_id and f"ath_{each.authorization_id}",
        customer_id=each.customer_id,
        day=each.day,
        ours_minor=each.ours_minor,
        theirs_minor=each.theirs_minor,
        detail=each.detail,
        remedy=each.remedy,
        found_at=each.found_at,
        closed_at=each.closed_at,
        closed_by=each.closed_by,
        notes=notes,
    )
