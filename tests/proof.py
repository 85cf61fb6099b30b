"""The proof that tests end with where the services that go outside are the real ones."""

from __future__ import annotations

from kessai.apps.verify import Finding, verify
from kessai.apps.verify.finding import Report
from kessai.apps.verify.outside import verify_outside
from kessai.foundation.db import AUDITOR_ROLE, Database
from kessai.services.payment.domain.kinds import PaymentKinds, load_kinds


async def prove(database: Database, kinds: PaymentKinds | None = None) -> list[Finding]:
    """Whatever is broken, and every payment that differs from what was done outside for it."""
    report = Report()
    report.findings += await verify(database.dsn)
    connection = await database.connect(AUDITOR_ROLE)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await verify_outside(connection, kinds or load_kinds(), report)
    finally:
        await connection.close()
    return report.findings
