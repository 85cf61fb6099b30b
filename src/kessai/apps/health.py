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
            told = {"status": "not ready", "reason": reason, "card_network": _card_network(platform)}
            return JSONResponse(told, status_code=503)
        told = {"status": "ready", "sandbox": platform.sandbox, "card_network": _card_network(platform)}
        return JSONResponse(told)

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
    if rows[0]["read_only"] == "on":
        return "the database takes no writes"
    server = platform.nfc_server
    if server is not None and server.wire.ready_when_signed_on and not server.signed_on:
        return "the card network has not signed on"
    return None


def _card_network(platform: Platform) -> dict[str, object]:
    """This process's line to the card network: whether it listens, and which peers have signed on."""
    server = platform.nfc_server
    if server is None:
        return {"listening": False, "connections": 0, "signed_on": []}
    return {"listening": server.listening, "connections": len(server.lines), "signed_on": server.signed_on}
