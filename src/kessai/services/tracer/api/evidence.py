"""Evidence: everything a verdict rests on, in one signed document that a stranger can check.

`docs/examples/check_evidence.py` checks one with nothing but Python and `cryptography`.
"""

from __future__ import annotations

from datetime import datetime

from kessai.foundation.contract import Message
from kessai.sdk.processing.api import ProcessingId
from kessai.services.tracer.api.findings import Finding
from kessai.services.tracer.api.processings import ReportRecord, Undeclared, Verdict

EVIDENCE_FORMAT = "kessai.evidence/1"


class ExportEvidence(Message):
    """Which processing's."""

    processing_id: ProcessingId


class NamedReport(Message):
    """A report that a verdict rests on."""

    participant: str
    report_digest: str


class PathStep(Message):
    """What to hash with what one has, on the way from a leaf to the root."""

    side: str
    """`left` or `right`: where the other node stands."""
    node: str


class SealedVerdict(Message):
    """A verdict with the way from it to its batch's link of the chain. Hashes in hexadecimal."""

    revision: int
    verdict: Verdict
    late: list[str]
    undeclared: list[Undeclared]
    reports: list[NamedReport]
    """The last of each participant, in order of name."""
    decided_at: datetime
    leaf: str
    path: list[PathStep]
    leaf_count: int
    root: str
    batch: int
    previous_seal: str
    seal: str
    """SHA-256 of the previous seal, the batch's number and size (8 bytes each, big-endian), and the root."""


class EvidenceContent(Message):
    """What is signed: a processing with its reports, verdicts and finding."""

    format: str
    processing_id: str
    revision: int
    verdict: Verdict
    entry: str | None
    participants: list[str]
    opened_at: datetime
    touched_at: datetime
    reports: list[ReportRecord]
    """Whole, in order of revision and participant."""
    verdicts: list[SealedVerdict]
    """In the order in which they were given; the last is the present one."""
    finding: Finding | None
    exported_at: datetime


class Evidence(Message):
    """The document. The signature is over `content` as JSON in UTF-8 with sorted keys and without blanks."""

    content: EvidenceContent
    algorithm: str
    """`Ed25519`."""
    key_id: str
    public_key: str
    """Base64 of 32 bytes; compare it with one that you have from elsewhere."""
    signature: str
    """Base64 of 64 bytes."""


class ListEvidenceKeys(Message):
    """All keys."""


class EvidenceKey(Message):
    """The public half of a key."""

    key_id: str
    algorithm: str
    public_key: str
    """Base64 of 32 bytes."""


class EvidenceKeys(Message):
    """Newest first: the first one signs."""

    keys: list[EvidenceKey]
