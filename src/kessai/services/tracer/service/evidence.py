"""Evidence of a closed processing: put together from its rows, with the way to its links of the chain, and signed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, NotFound
from kessai.foundation.signing import Signature, Signer
from kessai.services.tracer.api import Finding, ReportRecord, Undeclared, Verdict
from kessai.services.tracer.api.evidence import (
    EVIDENCE_FORMAT,
    Evidence,
    EvidenceContent,
    EvidenceKey,
    EvidenceKeys,
    NamedReport,
    PathStep,
    SealedVerdict,
)
from kessai.services.tracer.domain.findings import finding_hex
from kessai.services.tracer.domain.sealing import NOTHING, path_of, split
from kessai.services.tracer.service.casework import Casework
from kessai.services.tracer.store import chain, lists, reports
from kessai.services.tracer.store.reports import StoredSeal, StoredVerdict

ALGORITHM = "Ed25519"

_canonical = msgspec.json.Encoder(order="sorted").encode


class EvidenceDesk:
    """Hands evidence out."""

    def __init__(self, database: Database, clock: Clock, signer: Signer, casework: Casework) -> None:
        self._database = database
        self._clock = clock
        self._signer = signer
        self._casework = casework

    def keys(self) -> EvidenceKeys:
        """The public halves of the keys, newest first."""
        shown = [
            EvidenceKey(key_id=each.key_id, algorithm=ALGORITHM, public_key=_text(each.public_key))
            for each in self._signer.keys
        ]
        return EvidenceKeys(keys=shown)

    async def export(self, processing_id: str) -> Evidence:
        """A closed processing's evidence; raises NotFound, Conflict, or Unavailable without a key."""
        found = await lists.load_processing(self._database, processing_id)
        if found is None:
            raise NotFound("processing_not_found", "There is no such processing.")
        summary, has_finding = found
        if summary.verdict is Verdict.PENDING:
            raise Conflict("processing_pending", "The processing has no verdict at its present revision yet.")
        given = await reports.verdicts_of(self._database, processing_id)
        told = await reports.reports_of(self._database, processing_id)
        if given[-1].retired:
            raise NotFound("evidence_retired", "The processing's reports were kept as long as their class says.")
        content = EvidenceContent(
            format=EVIDENCE_FORMAT,
            processing_id=processing_id,
            revision=summary.revision,
            verdict=summary.verdict,
            entry=summary.entry,
            participants=summary.participants,
            opened_at=summary.opened_at,
            touched_at=summary.touched_at,
            reports=[
                ReportRecord(
                    participant=each.participant,
                    report=each.report,
                    report_digest=each.digest.hex(),
                    reported_at=each.reported_at,
                )
                for each in told
            ],
            verdicts=await self._sealed([each for each in given if not each.retired]),
            finding=await self._finding(processing_id) if has_finding else None,
            exported_at=self._clock.now(),
        )
        return _signed(content, self._signer.sign(_canonical(content)))

    async def _finding(self, processing_id: str) -> Finding:
        return await self._casework.get(f"fnd_{finding_hex(processing_id)}")

    async def _sealed(self, given: Sequence[StoredVerdict]) -> list[SealedVerdict]:
        wanted = {batch for each in given for batch in (each.batch - 1, each.batch) if batch}
        seals = await chain.seals_named(self._database, wanted)
        return [_sealed(each, seals) for each in given]


def _sealed(given: StoredVerdict, seals: Mapping[int, StoredSeal]) -> SealedVerdict:
    link = seals[given.batch]
    leaves = split(link.leaves)
    before = seals[given.batch - 1].seal if given.batch > 1 else NOTHING
    return SealedVerdict(
        revision=given.revision,
        verdict=given.verdict,
        late=given.late,
        undeclared=[Undeclared(caller=caller, callee=callee) for caller, callee in given.undeclared],
        reports=[NamedReport(participant=name, report_digest=digest.hex()) for name, digest in given.reports],
        decided_at=given.decided_at,
        leaf=leaves[given.leaf].hex(),
        path=[PathStep(side=side, node=node.hex()) for side, node in path_of(leaves, given.leaf)],
        leaf_count=len(leaves),
        root=link.root.hex(),
        batch=given.batch,
        previous_seal=before.hex(),
        seal=link.seal.hex(),
    )


def _signed(content: EvidenceContent, signature: Signature) -> Evidence:
    return Evidence(
        content=content,
        algorithm=ALGORITHM,
        key_id=signature.key_id,
        public_key=_text(signature.public_key),
        signature=_text(signature.signature),
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
