"""The desk of statements: a payee's cycle, or a claim, as a file."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import datetime

import msgspec
from msgspec.structs import replace

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection
from kessai.foundation.errors import NotFound
from kessai.foundation.ids import bare
from kessai.services.settlement import store
from kessai.services.settlement.api.statements import (
    ClaimInvoice,
    GetClaimInvoice,
    GetStatement,
    ListStatementVersions,
    Statement,
    StatementFile,
    StatementForm,
    StatementVersion,
    StatementVersions,
)
from kessai.services.settlement.domain.cycle_rules import CycleRules, cycle_rules
from kessai.services.settlement.service.claims import claim_of
from kessai.services.settlement.service.statements.page import pdf_bytes
from kessai.services.settlement.service.statements.separated import csv_text
from kessai.services.settlement.store import cycles, payouts, statements
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.contents import invoice_of
from kessai.services.settlement.workflows.stating import current_of, issued_of

_MEDIA_TYPES = {
    StatementForm.PDF: "application/pdf",
    StatementForm.CSV: "text/csv; charset=utf-8",
    StatementForm.JSON: "application/json",
}


class StatementDesk:
    """明細."""

    _deps: Deps
    rules: CycleRules = cycle_rules()
    """Who issues, and at what tax rate; an operator's own take its place."""

    async def get_statement(self, request: GetStatement, /) -> StatementFile:
        """A payee's statement of a cycle: one that was issued, or what one would say now."""
        now = self._deps.clock.now()
        found = await self._deps.database.transaction(
            store.ROLE, lambda connection: self._statement(connection, request, now), isolation="repeatable_read"
        )
        turn = f"_v{found.version}" if found.version > 1 else ""
        file = _file(found, request.format, f"statement_{found.payee_id}_{found.last_day}{turn}")
        return replace(file, version=found.version)

    async def list_statement_versions(self, request: ListStatementVersions, /) -> StatementVersions:
        """What was issued of a payee's cycle."""
        rows = await self._deps.database.transaction(
            store.ROLE,
            lambda connection: statements.issued(connection, request.payee_id, bare(request.cycle_id)),
        )
        return StatementVersions(
            versions=[
                StatementVersion(
                    version=row["version"],
                    issued_on=business_date(row["issued_at"]),
                    issued_at=row["issued_at"],
                    sha256=row["sha256"],
                )
                for row in rows
            ]
        )

    async def _statement(self, connection: Connection, request: GetStatement, now: datetime) -> Statement:
        """The one that is asked for, or the last one; until one is issued, as things are now."""
        cycle_id = bare(request.cycle_id)
        summary = await cycles.summary_of(connection, request.payee_id, cycle_id)
        paid = await payouts.of_cycle(connection, request.payee_id, cycle_id)
        if summary is None or not paid:
            raise NotFound("sales_summary_not_found", "There is no such cycle.", cycle_id=request.cycle_id)
        issued = await issued_of(connection, *summary.key)
        if request.version is not None:
            if request.version > len(issued):
                raise NotFound("statement_not_found", f"Version {request.version} was not issued.")
            return issued[request.version - 1]
        return issued[-1] if issued else await current_of(connection, summary, paid, self.rules, now)

    async def get_claim_invoice(self, request: GetClaimInvoice, /) -> StatementFile:
        """The invoice of what a payee owes."""

        async def read(connection: Connection) -> ClaimInvoice:
            claim = await claim_of(connection, request.claim_id)
            summary = await cycles.summary_of(connection, claim.payee_id, claim.cycle_id)
            assert summary is not None, "a claim is of a cycle"
            return invoice_of(claim, summary, self.rules)

        found = await self._deps.database.transaction(store.ROLE, read, isolation="repeatable_read")
        return _file(found, request.format, f"invoice_{found.payee_id}_{found.last_day}")


def _file(of: Statement | ClaimInvoice, form: StatementForm, name: str) -> StatementFile:
    content = _content(of, form)
    binary = form is StatementForm.PDF
    return StatementFile(
        file_name=f"{name.replace(':', '_').replace('/', '_')}.{form.value}",
        media_type=_MEDIA_TYPES[form],
        base64=binary,
        content=b64encode(content).decode() if binary else content.decode(),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _content(of: Statement | ClaimInvoice, form: StatementForm) -> bytes:
    match form:
        case StatementForm.PDF:
            return pdf_bytes(of)
        case StatementForm.CSV:
            return csv_text(of).encode()
        case StatementForm.JSON:
            return msgspec.json.format(msgspec.json.encode(of), indent=2)
