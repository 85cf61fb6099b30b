"""The merchant master (加盟店マスタ): the ids by which each payment method knows a shop, and the one that it means.

An id of a payment method means one merchant at most at any instant. It is mapped for an interval, `valid_from` to
`valid_until` (not included); what has begun is only ever ended, never before now.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from kessai.foundation.contract import Instant, Label, Message, PageLimit
from kessai.services.merchant.api.terms import QUESTIONS_MAX
from kessai.services.merchant.api.words import ApprovalId, Cause, Cursor, ImportId, MerchantId

LINES_MAX = 20_000
ERRORS_SHOWN_MAX = 1_000

MethodsId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
"""As the payment method writes it: visible ASCII."""


class MapId(Message):
    """From when on, and until when, a payment method's id means a merchant."""

    payment_method: Label
    methods_id: MethodsId
    merchant_id: MerchantId
    valid_from: Instant | None = None
    """Never in the past; None: from now on."""
    valid_until: Instant | None = None
    """Not included; None: until it is ended."""
    reason: Cause
    approval_id: ApprovalId | None = None
    """An approval of `merchant.master` of this content, less `approval_id`, about `merchant-master`."""


class EndId(Message):
    """A payment method's id stops to mean the merchant that it means."""

    payment_method: Label
    methods_id: MethodsId
    valid_until: Instant | None = None
    """Never in the past; None: now. A mapping that begins at or after it never comes to be."""
    reason: Cause
    approval_id: ApprovalId | None = None
    """An approval of `merchant.master` of this content, less `approval_id`, about `merchant-master`."""


class MappedId(Message):
    """An id of a payment method, and what it means."""

    payment_method: str
    methods_id: str
    merchant_id: str
    valid_from: datetime
    valid_until: datetime | None
    import_id: str | None
    """The import that brought it."""
    recorded_at: datetime


class MappedIds(Message):
    """What an id means from now on, earliest first."""

    ids: list[MappedId]


class ListMappedIds(Message):
    """A page of mappings by payment method, id and time; `cursor` comes from the page before."""

    merchant_id: MerchantId | None = None
    payment_method: Label | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class MappedIdPage(Message):
    """A page; `next_cursor` is None on the last one."""

    ids: list[MappedId]
    next_cursor: str | None


class IdQuestion(Message):
    """Which merchant a payment method's id means at an instant."""

    payment_method: Label
    methods_id: MethodsId
    at: Instant


class ResolveIds(Message):
    """Up to 1,000 questions at once."""

    questions: Annotated[list[IdQuestion], msgspec.Meta(max_length=QUESTIONS_MAX)]


class IdAnswer(Message):
    """The master id; None: the id means nobody then."""

    payment_method: str
    methods_id: str
    merchant_id: str | None


class IdAnswers(Message):
    """One answer a question, in their order."""

    answers: list[IdAnswer]


class GetIdHistory(Message):
    """Everything that was done to a payment method's id."""

    payment_method: Label
    methods_id: MethodsId


class IdStepKind(StrEnum):
    """What was done to a mapping."""

    MAPPED = "mapped"
    ENDED = "ended"


class IdStep(Message):
    """One entry of an id's history."""

    sequence: int
    kind: IdStepKind
    merchant_id: str
    valid_from: datetime
    valid_until: datetime | None
    reason: str
    changed_by: str
    approval_id: str | None
    approved_by: str | None
    import_id: str | None
    recorded_at: datetime


class IdHistory(Message):
    """Oldest first; nothing is ever removed."""

    steps: list[IdStep]


# -- imports ------------------------------------------------------------------------------------------------------


class ImportMode(StrEnum):
    """What is done when some lines are wrong."""

    ALL_OR_NOTHING = "all_or_nothing"
    TAKE_WHAT_IS_GOOD = "take_what_is_good"


class ImportIds(Message):
    """Mappings as CSV, with the header payment_method,methods_id,merchant_id,valid_from,valid_until."""

    csv: Annotated[str, msgspec.Meta(min_length=1, max_length=7 * 1024 * 1024)]
    """UTF-8. Times are ISO 8601 with an offset, or a day, which begins in Tokyo; empty: from now on, without an end.
    Up to 20,000 lines."""
    mode: ImportMode
    reason: Cause
    dry_run: bool = False
    """Only say what would be done; needs no approval and writes nothing."""
    approval_id: ApprovalId | None = None
    """An approval of `merchant.master` of this content, less `approval_id`, about `merchant-master`."""


class LineError(Message):
    """A line that was not taken."""

    line: int
    """As an editor counts them; the header is line 1."""
    field: str | None
    code: str
    detail: str


class ImportOutcome(Message):
    """What became of an import."""

    import_id: str | None
    """None of a dry run."""
    mode: ImportMode
    lines: int
    """Without the header and empty lines."""
    taken: int
    """Mappings that are new."""
    unchanged: int
    """Lines that say what is known already."""
    wrong: int
    errors: list[LineError]
    """The first 1,000 of those that are wrong, by line."""
    recorded_at: datetime
    reason: str
    imported_by: str


class GetImport(Message):
    """Which import."""

    import_id: ImportId


class ListImports(Message):
    """A page of imports, newest first; their errors are told one by one (`GET …/imports/{import_id}`)."""

    limit: PageLimit = 100
    cursor: Cursor | None = None


class ImportPage(Message):
    """A page; `next_cursor` is None on the last one."""

    imports: list[ImportOutcome]
    next_cursor: str | None


# -- conflicts ----------------------------------------------------------------------------------------------------


class MasterConflict(Message):
    """An import wanted an id to mean one merchant while it means another."""

    payment_method: str
    methods_id: str
    merchant_id: str
    """Whom it means."""
    valid_from: datetime
    valid_until: datetime | None
    wanted_merchant_id: str
    """Whom the import wanted it to mean."""
    wanted_from: datetime
    wanted_until: datetime | None
    import_id: str
    line: int
    found_at: datetime


class ListConflicts(Message):
    """A page of the conflicts that still stand, by payment method, id and time."""

    payment_method: Label | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class ConflictPage(Message):
    """A page; `next_cursor` is None on the last one."""

    conflicts: list[MasterConflict]
    next_cursor: str | None


class DismissConflict(Message):
    """The id means the right merchant: what the import wanted is not so."""

    payment_method: Label
    methods_id: MethodsId
    wanted_merchant_id: MerchantId
    reason: Cause


class Dismissed(Message):
    """How many conflicts that was."""

    dismissed: int
