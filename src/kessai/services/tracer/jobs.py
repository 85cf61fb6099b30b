"""Batches of the tracer; each calls what the verbs call."""

from __future__ import annotations

from kessai.services.tracer.service import TracerService


async def expire_processings(tracer: TracerService) -> int:
    """Processings that not everybody reported on in time become INCOMPLETE; gives how many were decided."""
    return await tracer.expire_overdue()


async def forget_notices(tracer: TracerService) -> int:
    """Remove notices that were dealt with long enough ago; gives how many rows."""
    return await tracer.forget_notices()


async def forget_evidence(tracer: TracerService) -> int:
    """Delete reports that were kept as long as their class says; gives how many processings."""
    return await tracer.forget_evidence()
