"""What an operator asks a process: does it live (/healthz), can it serve (/readyz), how is it doing (/metrics)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from kessai import __version__
from kessai.foundation.errors import PaymentError
from kessai.foundation.telemetry import METRICS_CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from kessai.apps.wiring import Platform

READY_TIMEOUT_S = 2.0


def routes(platform: Platform) -> Sequence[BaseRoute]:
    """Routes beside the verbs; they need no API key and show no customer's data."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def readyz(_: Request) -> Response:
        reason = await _why_not_ready(platform)
        if reason is not None:
            return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ready", "sandbox": platform.sandbox})

    async def metrics(_: Request) -> Response:
        return Response(exposition(platform.registry, platform.figures), media_type=METRICS_CONTENT_TYPE)

    async def root(_: Request) -> Response:
        return RedirectResponse("/docs", status_code=307)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics), Route("/", root)]


async def _why_not_ready(platform: Platform) -> str | None:
    if not platform.ready:
        return "starting or stopping"
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            rows = await platform.database.fetch(None, "SELECT current_setting('transaction_read_only') AS read_only")
    except (PaymentError, TimeoutError):
        return "the database does not answer"
    return "the database takes no writes" if rows[0]["read_only"] == "on" else None
