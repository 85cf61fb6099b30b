"""The tracer's verbs for people, beside those for participants, and the errors of each in order of precedence."""

from __future__ import annotations

from typing import Protocol

from kessai.foundation.contract import verb
from kessai.sdk.processing.api import TracerForParticipants
from kessai.services.tracer.api.evidence import Evidence, EvidenceKeys, ExportEvidence, ListEvidenceKeys
from kessai.services.tracer.api.findings import (
    AssignFinding,
    CloseFinding,
    ExplainFinding,
    Finding,
    FindingPage,
    GetFinding,
    LinkRepair,
    ListFindings,
)
from kessai.services.tracer.api.processings import (
    GetProcessing,
    GetProcessingOfPayment,
    GetTotals,
    ListParticipants,
    ListProcessings,
    ListVerdicts,
    ParticipantStandings,
    Processing,
    ProcessingPage,
    ProveAgain,
    Totals,
    Verdicts,
)


class Tracer(TracerForParticipants, Protocol):
    """Processing Tracer: whether a payment is right everywhere, and who says so."""

    @verb("GET /v1/tracer/processings/{processing_id}", scope="tracer:read", errors=("processing_not_found",))
    async def get_processing(self, request: GetProcessing, /) -> Processing:
        """A processing with its participants, reports, verdicts by revision, and graph."""
        ...

    @verb("GET /v1/tracer/payments/{payment_id}", scope="tracer:read", errors=("processing_not_found",))
    async def get_processing_of_payment(self, request: GetProcessingOfPayment, /) -> Processing:
        """The processing of a payment; there is none until the payment's service has reported on it."""
        ...

    @verb("GET /v1/tracer/processings", scope="tracer:read", errors=("bad_cursor",))
    async def list_processings(self, request: ListProcessings, /) -> ProcessingPage:
        """Processings with a verdict, those touched longest ago first."""
        ...

    @verb("POST /v1/tracer/verdicts", scope="tracer:read", batch=True)
    async def list_verdicts(self, request: ListVerdicts, /) -> Verdicts:
        """The present verdicts of many processings at once."""
        ...

    @verb("POST /v1/tracer/processings/{processing_id}/prove", scope="tracer:write", status=202,
          errors=("processing_not_found",))  # fmt: skip
    async def prove_again(self, request: ProveAgain, /) -> Processing:
        """Have a processing proved anew, at its next revision; it is answered as it is before that."""
        ...

    @verb("GET /v1/tracer/totals", scope="tracer:read")
    async def get_totals(self, request: GetTotals, /) -> Totals:
        """How many processings were opened and decided, day by day."""
        ...

    @verb("GET /v1/tracer/participants", scope="tracer:read")
    async def list_participants(self, request: ListParticipants, /) -> ParticipantStandings:
        """Who takes part, and how far each has come with its notices."""
        ...

    @verb("GET /v1/tracer/findings/{finding_id}", scope="tracer:read", errors=("finding_not_found",))
    async def get_finding(self, request: GetFinding, /) -> Finding:
        """A finding with its audit trail."""
        ...

    @verb("GET /v1/tracer/findings", scope="tracer:read", errors=("bad_cursor",))
    async def list_findings(self, request: ListFindings, /) -> FindingPage:
        """Findings in a state, oldest first."""
        ...

    @verb("POST /v1/tracer/findings/{finding_id}/assign", scope="tracer:write",
          errors=("finding_not_found", "finding_closed"))  # fmt: skip
    async def assign_finding(self, request: AssignFinding, /) -> Finding:
        """Give a finding to somebody."""
        ...

    @verb("POST /v1/tracer/findings/{finding_id}/explain", scope="tracer:write",
          errors=("finding_not_found", "finding_closed"))  # fmt: skip
    async def explain_finding(self, request: ExplainFinding, /) -> Finding:
        """Say what happened."""
        ...

    @verb("POST /v1/tracer/findings/{finding_id}/repair", scope="tracer:write",
          errors=("finding_not_found", "finding_closed"))  # fmt: skip
    async def link_repair(self, request: LinkRepair, /) -> Finding:
        """Name the payment or workflow that repairs it; it closes by itself once the processing is consistent."""
        ...

    @verb("POST /v1/tracer/findings/{finding_id}/close", scope="tracer:write",
          errors=("finding_not_found", "finding_closed"))  # fmt: skip
    async def close_finding(self, request: CloseFinding, /) -> Finding:
        """Be done with a finding, with a reason."""
        ...

    @verb("GET /v1/tracer/processings/{processing_id}/evidence", scope="tracer:read",
          errors=("processing_not_found", "processing_pending", "evidence_retired",
                  "evidence_key_not_configured"))  # fmt: skip
    async def export_evidence(self, request: ExportEvidence, /) -> Evidence:
        """Everything that a processing's verdicts rest on, signed, for a stranger to check."""
        ...

    @verb("GET /v1/tracer/evidence-keys", scope="tracer:read")
    async def list_evidence_keys(self, request: ListEvidenceKeys, /) -> EvidenceKeys:
        """The public halves of the keys that sign evidence, newest first."""
        ...
