"""`kessai trace export ID`: a processing's evidence as a signed document, beside a running platform or without one."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kessai.apps.place import settled, shared_place
from kessai.apps.wiring import document_of
from kessai.foundation.config import Settings, load_settings
from kessai.foundation.db import Database, require_dsn
from kessai.foundation.errors import NotFound
from kessai.foundation.signing import Signer, read_signing_keys
from kessai.services.tracer.api import Evidence, ExportEvidence, GetProcessingOfPayment
from kessai.services.tracer.domain.rules import read_rules
from kessai.services.tracer.service import TracerService


def main(argv: Sequence[str] | None = None) -> int:
    """Write the document to standard output, or to a file; raises OperatorError or PaymentError."""
    asked = _parser().parse_args(argv)
    settings = load_settings({"data": asked.data, "database_url": asked.database_url}, file=asked.config)
    document = asyncio.run(export(settings, asked.id))
    text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    if asked.out is None:
        sys.stdout.buffer.write(text)
    else:
        asked.out.write_bytes(text)
    return 0


async def export(settings: Settings, named: str) -> Evidence:
    """The evidence of a processing, named by its own id or its payment's."""
    async with shared_place(settings) as place:
        settings = settled(settings, place)
        database = Database(require_dsn(place.dsn))
        rules = read_rules(document_of(settings.tracer, "tracer.toml"))
        tracer = TracerService(database, rules, signer=Signer(read_signing_keys(settings.evidence_keys)))
        try:
            if not named.startswith("prc_"):
                with contextlib.suppress(NotFound):  # then it is a processing's id that somebody else made
                    named = (
                        await tracer.get_processing_of_payment(GetProcessingOfPayment(payment_id=named))
                    ).processing_id
            return await tracer.export_evidence(ExportEvidence(processing_id=named))
        finally:
            await tracer.close()
            await database.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kessai trace export", description=__doc__)
    parser.add_argument("id", help="a processing's or a payment's id")
    parser.add_argument("--out", type=Path, help="a file; otherwise standard output")
    parser.add_argument("--data", help="folder of the embedded PostgreSQL (.kessai)")
    parser.add_argument("--database-url", help="a PostgreSQL of yours instead of the embedded one")
    parser.add_argument("--config", type=Path, help="settings as TOML")
    return parser
