"""The reporting desk: a report by name, days and format, to a file of any size or through a door up to a limit."""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO

from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, Refused
from kessai.services.books.api.reporting import (
    GetReport,
    ListReports,
    ReportFile,
    ReportOffer,
    ReportOffers,
)
from kessai.services.books.domain.accruals import FiscalYear
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.exporting import ExportedAccount
from kessai.services.books.domain.table import Report
from kessai.services.books.service.asked import Asked
from kessai.services.books.service.forms import FORMS, Form, file_name, write
from kessai.services.books.service.forms.journals import JOURNAL_FORMS, JournalForm, write_journals
from kessai.services.books.service.reports import Reports
from kessai.services.books.store.exporting import journal_book

CONTENT_BYTES_MAX = 4 * 1024 * 1024
"""What a door carries of a file."""
CONTENT_ROWS_MAX = 20_000
"""Past it a form may take longer than a request should."""
JOURNAL = "journal"
"""The report that the journal forms are of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a report."""

    file_name: str
    media_type: str
    text: bool
    rows: int
    left_out: int = 0


class ReportingDesk:
    """Implements the reporting verbs of the door `Books`."""

    def __init__(
        self, database: Database, clock: Clock, books: BooksConfig, reports: Reports, year: FiscalYear
    ) -> None:  # fmt: skip
        self._year = year
        self._database = database
        self._clock = clock
        self._reports = reports
        self._chart = {
            code: ExportedAccount(code=code, name=each.name, name_ja=each.name_ja, section=each.section.value)
            for code, each in books.chart.accounts.items()
        }

    async def list_reports(self, request: ListReports, /) -> ReportOffers:
        """The reports there are."""
        del request
        return ReportOffers(reports=[self._offer(name) for name in self._reports.names])

    async def get_report(self, request: GetReport, /) -> ReportFile:
        """A report as a file, of limited size."""
        self._form(request.name, request.format)
        since, until = _days_of(request)
        asked = Asked(name=request.name, since=since, until=until, filters=_filters_of(request.filters))
        out = io.BytesIO()

        def require_little(rows: int) -> None:
            if rows > CONTENT_ROWS_MAX or out.tell() > CONTENT_BYTES_MAX:
                raise _too_large()

        written = await self.write_report(asked, request.format, out, require_little)
        require_little(written.rows)
        content = out.getvalue()
        return ReportFile(
            name=request.name,
            format=request.format,
            since=since,
            until=until,
            file_name=written.file_name,
            media_type=written.media_type,
            base64=not written.text,
            content=content.decode() if written.text else b64encode(content).decode(),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            rows=written.rows,
            left_out=written.left_out,
        )

    async def write_report(
        self, asked: Asked, form_name: str, out: BinaryIO, told: Callable[[int], None] | None = None
    ) -> Written:
        """Write a report of any size; `told` hears how many rows are written. Raises as `get_report` does."""
        form = self._form(asked.name, form_name)
        if isinstance(form, JournalForm):
            return await self._journals(asked, form, out, told)
        report = await self.build(asked)
        rows = await write(form, report, out, told)
        return Written(file_name=file_name(form, report), media_type=form.media_type, text=form.text, rows=rows)

    async def build(self, asked: Asked) -> Report:
        """A report, not yet in any form. Raises as `get_report` does."""
        self._reports.filters_of(asked.name)
        self._require_past(asked)
        return await self._reports.build(asked)

    async def _journals(
        self, asked: Asked, form: JournalForm, out: BinaryIO, told: Callable[[int], None] | None
    ) -> Written:
        self._require_past(asked)
        if asked.filters:
            raise Invalid("filter_unknown", f"The form {form.name} has no filters: it takes all journals.")
        async with journal_book(self._database, asked.since, asked.until, self._chart, self._year) as book:
            written = await write_journals(form, book, out, told)
        return Written(
            file_name=f"{asked.name}_{asked.since}_{asked.until}{form.suffix}",
            media_type=form.media_type,
            text=form.text,
            rows=written.vouchers,
            left_out=written.left_out,
        )

    def _require_past(self, asked: Asked) -> None:
        if asked.until < asked.since:
            raise Invalid("range_reversed", "The range ends before it begins.")
        if asked.until > business_date(self._clock.now()):
            raise Invalid("future_date", f"{asked.until} lies in the future.")

    def _form(self, name: str, form_name: str) -> Form | JournalForm:
        self._reports.filters_of(name)
        forms = _forms_of(name)
        if form_name not in forms:
            raise Invalid("unknown_format", f"{name} is not to be had as {form_name}, but as {', '.join(forms)}.")
        return forms[form_name]

    def _offer(self, name: str) -> ReportOffer:
        required, optional = self._reports.required_of(name), self._reports.filters_of(name)
        return ReportOffer(
            name=name,
            required_filters=list(required),
            optional_filters=[each for each in optional if each not in required],
            formats=list(_forms_of(name)),
        )


def _too_large() -> Refused:
    return Refused("report_too_large", "The report is larger than a request carries; `kessai books report` writes it.")


def _forms_of(name: str) -> dict[str, Form | JournalForm]:
    return {**FORMS, **JOURNAL_FORMS} if name == JOURNAL else {**FORMS}


def _days_of(request: GetReport) -> tuple[date, date]:
    if request.day is not None and request.since is None and request.until is None:
        return request.day, request.day
    if request.day is not None or request.since is None or request.until is None:
        raise Invalid("range_required", "Name either a `day`, or both `since` and `until`.")
    return request.since, request.until


def _filters_of(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition(":") for text in texts]
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise Invalid("duplicate_key", "A filter is given twice.", field="$.filters")
    return {name: value for name, _, value in pairs}
