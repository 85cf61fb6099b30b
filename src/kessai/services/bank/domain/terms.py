"""What is agreed with the bank about files (`config/bank.toml`), and the days and hours that follow from it. Pure."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Literal

import msgspec

from kessai.foundation.calendar import business_day_on_or_after, next_business_day, previous_business_day
from kessai.foundation.clock import TOKYO
from kessai.foundation.config import TomlDocument, load_toml
from kessai.services.bank.api import DepositType, FailureCode, InstructionKind

Hour = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class ClientTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """委託者: who we are in the files, and our own account."""

    code: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{10}$")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    bank_code: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")]
    branch_code: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3}$")]
    deposit_type: DepositType
    account_number: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{7}$")]


class RunTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the files of one kind are made, and how long they may be."""

    cut_off: Hour
    days_before: Annotated[int, msgspec.Meta(ge=0, le=20)]
    """Business days from the cut-off to the file's own day."""
    lines_max: Annotated[int, msgspec.Meta(ge=1, le=999_999)]


class ApprovalTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many different keys must approve a file."""

    needed: Annotated[int, msgspec.Meta(ge=0, le=9)]


class RetryTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines that the bank did not take go into another file, and how often."""

    codes: list[FailureCode]
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=20)]


class FreezeTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how many failures in a row, and which, an account is frozen."""

    after: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    codes: list[FailureCode]


class ConnectionTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How files go to the bank."""

    way: Literal["http", "folder"]
    folder: str
    group: bool = False
    """Whether the folder's group may read files there and take them away."""


class AlarmTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When somebody is to look."""

    overdue_after: Annotated[int, msgspec.Meta(ge=1, le=60)] = 5
    """So many business days after its file's day, an instruction without an end is one too many."""


class FileTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything of `config/bank.toml`."""

    client: ClientTerms
    transfer: RunTerms
    debit: RunTerms
    approvals: ApprovalTerms
    retry: RetryTerms
    freeze: FreezeTerms
    connection: ConnectionTerms
    alarm: AlarmTerms = AlarmTerms()

    def run(self, kind: InstructionKind) -> RunTerms:
        """Those of one kind of file."""
        return self.transfer if kind is InstructionKind.TRANSFER else self.debit

    def cut_off_of(self, kind: InstructionKind, transfer_on: date) -> datetime:
        """Until when an instruction may still go with the files of a business day."""
        run = self.run(kind)
        day = previous_business_day(transfer_on, run.days_before) if run.days_before else transfer_on
        return _at(day, run)

    def day_for(self, kind: InstructionKind, asked: date, now: datetime) -> date:
        """The day of the files that an instruction goes with: the one asked for, or the next one not cut off yet."""
        day = max(asked, business_day_on_or_after(now.astimezone(TOKYO).date()))
        while self.cut_off_of(kind, day) < now:
            day = next_business_day(day)
        return day

    def overdue_before(self, day: date) -> date:
        """What goes with a file of a day before this one should have come to its end by `day`."""
        return previous_business_day(day, self.alarm.overdue_after)

    def day_cut_off_on(self, kind: InstructionKind, day: date, now: datetime) -> date | None:
        """The day whose files are made on a business day; None while its cut-off is still to come."""
        run = self.run(kind)
        if _at(day, run) > now:
            return None
        return next_business_day(day, run.days_before) if run.days_before else day


def _at(day: date, run: RunTerms) -> datetime:
    return datetime.combine(day, time.fromisoformat(run.cut_off), TOKYO)


def load_terms(document: TomlDocument | None = None) -> FileTerms:
    """The terms, by default the platform's own; ConfigError names the line of what is wrong."""
    document = document or load_toml("kessai.config", "bank.toml")
    terms = document.convert((), FileTerms)
    if terms.connection.way == "folder" and not terms.connection.folder:
        raise document.error(("connection", "folder"), "is needed for the way `folder`")
    return terms
