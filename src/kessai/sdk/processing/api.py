"""What participants and the tracer say to each other: effects, claims, differences, notices and reports. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Instant, Message, verb

ProcessingId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
"""`prc_` and 32 digits when the platform made it."""
ServiceName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""A participant: `payment`, `ledger`, another team's service."""
PROCESSINGS_MAX = 1_000
"""Processings of one question, notice page or report."""
TOPIC_TOUCHED = "processing.touched"

# -- effects ----------------------------------------------------------------------------------------------------


class EffectRecord(Message):
    """One leg of one effect, in the words that both sides of a call use for it.

    `(effect_id, part)` names it on either side. Both sides must agree on every field but `at`, and on `account` where
    both know it.
    """

    effect_id: str
    """The callee's own id: an exchange, an authorization, a bank instruction."""
    part: str = ""
    """Which leg: the account that gives or gets. Empty for an effect with one leg."""
    kind: str
    """What it is, such as `charge` or `card_authorization`."""
    party: str
    """Whose value moves."""
    account: str | None = None
    """Which of the party's: an account type, a card's token, a bank account's id. None: not known on this side."""
    asset: str
    amount_minor: int
    """Positive when the party gets, negative when it gives. Minor units."""
    captured_minor: int = 0
    """How much of it was taken for good; not negative."""
    returned_minor: int = 0
    """How much of that went back; not negative."""
    state: str
    """The callee's word for where it stands."""
    at: Instant | None = None
    """When it took effect. Evidence; clocks of two services are not compared."""


class ListEffects(Message):
    """A service's effects in some processings, by caller."""

    processing_ids: Annotated[list[ProcessingId], msgspec.Meta(min_length=1, max_length=PROCESSINGS_MAX)]
    caller: ServiceName | None = None
    """Only those made for this caller; None: all."""


class ProcessingEffects(Message):
    """A service's effects in one processing."""

    processing_id: str
    effects: list[EffectRecord]
    in_flight: bool = False
    """Something of it is still under way: comparing now would raise false alarms."""
    callers: list[str] = []
    """On whose behalf, in order of name: services, or `key_…` for a request from outside."""


class EffectsPage(Message):
    """Those of the processings asked for in which the service has effects, in any order."""

    processings: list[ProcessingEffects]


class EffectSource(Protocol):
    """What a dependency offers its callers; each service's own door has this verb under its own route."""

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The service's own record of what it did in these processings."""
        ...


class Processing(Protocol):
    """What another team's service offers over gRPC, so that those who call it can compare their records with it."""

    @verb("POST /v1/processing/effects", scope="internal", public=False)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The service's own record of what it did in these processings."""
        ...


# -- what is found ----------------------------------------------------------------------------------------------


class DifferenceKind(StrEnum):
    """How two records of one effect differ."""

    MISSING_AT_CALLEE = "missing_at_callee"
    """The caller says that it was done; the callee has no record of it."""
    MISSING_AT_CALLER = "missing_at_caller"
    """The callee did it; the caller does not know of it."""
    DIFFERS = "differs"
    """Both have it, with different content."""
    WITHIN = "within"
    """The participant's own records contradict each other."""


class Difference(Message):
    """One effect on which two records do not agree, with both."""

    dependency: str
    """Who was asked; the participant itself when its own records contradict each other."""
    kind: DifferenceKind
    effect_id: str
    part: str = ""
    fields: list[str] = []
    """Which fields differ."""
    mine: EffectRecord | None = None
    theirs: EffectRecord | None = None
    text: str = ""
    """What is wrong, for a difference within."""


class Outcome(StrEnum):
    """What a participant found."""

    MATCHED = "MATCHED"
    DIFFERENT = "DIFFERENT"
    IN_FLIGHT = "IN_FLIGHT"
    """Something is under way on either side; another report follows once it has ended."""


class ConsistencyReport(Message):
    """One participant's account of one processing at one revision."""

    processing_id: ProcessingId
    revision: Annotated[int, msgspec.Meta(ge=1)]
    outcome: Outcome
    effects: list[EffectRecord] = []
    """The participant's own, as evidence."""
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the canonical form of `effects` (`reconcile.digest_of`)."""
    dependencies: list[ServiceName] = []
    """Whom it called in this processing, in order of name."""
    callers: list[str] = []
    """Who called it, in order of name."""
    differences: list[Difference] = []


# -- repairs ----------------------------------------------------------------------------------------------------


class RepairAction(StrEnum):
    """What a service may be told to do about an effect of its own."""

    VOID = "void"
    """Let go of what is held: nothing of it was taken."""


class Repair(Message):
    """An instruction by a rule, because of a finding; it comes again until it is answered."""

    repair_id: str
    """32 digits: the idempotency key."""
    processing_id: str
    effect_id: str
    action: RepairAction
    rule: str


class Repaired(Message):
    """What was done."""

    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    """The service's own id of its doing."""


class Repairable(Protocol):
    """A service that may be told to repair an effect of its own."""

    async def repair(self, request: Repair, /) -> Repaired:
        """Do it, once for its id. Raises Refused, Conflict or NotFound for good; anything else is tried again."""
        ...


# -- the tracer's door for participants -------------------------------------------------------------------------


class Notice(Message):
    """A processing to reconcile."""

    processing_id: str
    revision: int


class PullNotices(Message):
    """A participant's notices after the last position it has reported on."""

    participant: ServiceName
    after: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """None: after what was last acknowledged by a report."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=PROCESSINGS_MAX)] = PROCESSINGS_MAX
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=20_000)] = 0
    """How long to wait when there is none yet."""


class Notices(Message):
    """In the order in which they were made. A processing may be named again, with a higher revision."""

    notices: list[Notice]
    position: int
    """To acknowledge with the report on them."""


class Announce(Message):
    """Effects of a participant that has no outbox which the tracer reads."""

    participant: ServiceName
    processing_ids: Annotated[list[ProcessingId], msgspec.Meta(min_length=1, max_length=PROCESSINGS_MAX)]
    entry: bool = False
    """Whether these processings begin here."""


class Announced(Message):
    """How many processings were touched."""

    processings: int


class SendReports(Message):
    """Reports of one participant, and up to where its notices are dealt with."""

    participant: ServiceName
    position: Annotated[int, msgspec.Meta(ge=0)] | None = None
    reports: Annotated[list[ConsistencyReport], msgspec.Meta(max_length=PROCESSINGS_MAX)]


class ReportsTaken(Message):
    """What became of the reports."""

    taken: int
    stale: int
    """About a revision that has passed, or told before: nothing was changed."""


class ProcessingTouched(
    msgspec.Struct, frozen=True, kw_only=True, tag="processing.touched", tag_field="type"
):  # fmt: skip
    """Published once a flush: the processings in which the publishing service has new effects."""

    processing_ids: list[str]
    entry: bool = False
    """Whether the service is where these processings began (RegisterProcessing)."""


class TracerForParticipants(Protocol):
    """Processing Tracer, as participants see it."""

    @verb("POST /v1/tracer/announcements", scope="tracer:participate", batch=True, errors=("not_this_participant",))
    async def announce(self, request: Announce, /) -> Announced:
        """Tell that a participant has new effects in some processings."""
        ...

    @verb("POST /v1/tracer/notices", scope="tracer:participate", errors=("not_this_participant",))
    async def pull_notices(self, request: PullNotices, /) -> Notices:
        """What a participant is asked to reconcile next; waits when there is nothing yet."""
        ...

    @verb("POST /v1/tracer/reports", scope="tracer:participate", batch=True,
          errors=("not_this_participant", "digest_mismatch", "report_contradicts"))  # fmt: skip
    async def send_reports(self, request: SendReports, /) -> ReportsTaken:
        """Report what was found, whom it depends on and who called; the same report twice changes nothing."""
        ...
