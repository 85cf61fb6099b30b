"""The desk of statements: a payee's cycle, or a claim, as a file."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import msgspec

from kessai.foundation.db import Connection
from kessai.foundation.errors import NotFound
from kessai.foundation.ids import bare
from kessai.services.settlement import store
from kessai.services.settlement.api.statements import (
    ClaimInvoice,
    GetClaimInvoice,
    GetStatement,
    Statement,
    StatementFile,
    StatementForm,
)
from kessai.services.settlement.domain.cycle_rules import CycleRules, cycle_rules
from kessai.services.settlement.service.claims import claim_of
from kessai.services.settlement.service.statements.contents import invoice_of, statement_of
from kessai.services.settlement.service.statements.page import pdf_bytes
from kessai.services.settlement.service.statements.separated import csv_text
from kessai.services.settlement.store import cycles, payouts
from kessai.services.settlement.workflows import Deps

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
        """A payee's statement of a cycle."""
        cycle_id = bare(request.cycle_id)

        async def read(connection: Connection) -> Statement:
            summary = await cycles.summary_of(connection, request.payee_id, cycle_id)
            payout = await payouts.of_cycle(connection, request.payee_id, cycle_id)
            if summary is None or payout is None:
                raise NotFound("sales_summary_not_found", "There is no such cycle.", cycle_id=request.cycle_id)
            return await statement_of(connection, summary, payout, self.rules)

        found = await self._deps.database.transaction(store.ROLE, read, isolation="repeatable_read")
        return _file(found, request.format, f"statement_{found.payee_id}_{found.last_day}")

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
