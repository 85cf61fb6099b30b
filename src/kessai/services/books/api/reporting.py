"""The reporting desk (報告): reports as files, by name, days and format.

A door carries a report whole, so its size is limited; `kessai books report` writes one of any size.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, verb

FILTERS_MAX = 16

ReportName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z_]+$")]
FormatName = Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern=r"^[a-z0-9_]+$")]
Filter = Annotated[
    str, msgspec.Meta(max_length=256, pattern=r"^[a-z_]+:.+$", description="name and value, e.g. account:1110")
]


class ListReports(Message):
    """What can be asked for."""


class GetReport(Message):
    """A report of a day, or of a range of days (both included)."""

    name: ReportName
    format: FormatName = "json"
    day: date | None = None
    since: date | None = None
    until: date | None = None
    filters: Annotated[list[Filter], msgspec.Meta(max_length=FILTERS_MAX)] = []


class ReportOffer(Message):
    """A report that can be asked for."""

    name: str
    required_filters: list[str]
    optional_filters: list[str]
    formats: list[str]


class ReportOffers(Message):
    """All of them."""

    reports: list[ReportOffer]


class ReportFile(Message):
    """A report as a file. The same request gives the same bytes as long as nothing is booked into its days."""

    name: str
    format: str
    since: date
    until: date
    file_name: str
    media_type: str
    base64: bool
    """Whether `content` is base64; otherwise it is the text itself."""
    content: str
    bytes: int
    """Of the file."""
    sha256: str
    """Of the file, in hexadecimal."""
    rows: int
    """Without totals; of a journal for other books: journals."""
    left_out: int = 0
    """Lines that the form cannot hold, such as crypto-assets in 弥生会計."""


class Reporting(Protocol):
    """報告."""

    @verb("GET /v1/books/reports", scope="books:read")
    async def list_reports(self, request: ListReports, /) -> ReportOffers:
        """The reports there are, the filters each takes, and the formats it can be had in."""
        ...

    @verb("GET /v1/books/reports/{name}", scope="books:read",
          errors=("report_not_found", "unknown_format", "range_required", "range_reversed", "future_date",
                  "filter_unknown", "filter_required", "account_not_found", "asset_unknown", "reconciliation_unknown",
                  "statutory_day_not_made", "range_too_long", "report_too_large", "amount_out_of_form",
                  "asset_out_of_form"))  # fmt: skip
    async def get_report(self, request: GetReport, /) -> ReportFile:
        """A report as a file."""
        ...
