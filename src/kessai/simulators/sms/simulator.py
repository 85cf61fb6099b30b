"""The SMS sender as a server in the running event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kessai.simulators.faults import PRESETS, Fault, Faults
from kessai.simulators.listening import Cut, Listener, body_of, pause, spoiled
from kessai.simulators.sms.inbox import Declined, Inbox, Sms, SmsBody

KEY = "simulated-sms"
"""The client's credential; a simulator keeps no secrets."""


class DownBody(msgspec.Struct, frozen=True, kw_only=True):
    """Whether every line is cut."""

    down: bool


class SmsSimulator:
    """An inbox, faults, and a listener."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.inbox = Inbox(now)
        self.faults = Faults()
        self._listener = Listener(self._app(), host=host, port=port)

    @property
    def url(self) -> str:
        """Where it listens, once it was started."""
        return self._listener.url

    async def start(self) -> None:
        """Be there, or be there again."""
        await self._listener.start()

    async def go_away(self) -> None:
        """Cut every line, until `start`."""
        await self._listener.stop()

    async def stop(self) -> None:
        """Go away for good."""
        await self.go_away()

    # -- HTTP ---------------------------------------------------------------------------------------------------

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/messages/{id}", self._client("send", self._send), methods=["PUT"]),
                Route("/v1/messages/{id}", self._client("inquire", self._inquire), methods=["GET"]),
                Route("/control/messages", self._messages, methods=["GET"]),
                Route("/control/messages", self._control(self._empty), methods=["DELETE"]),
                Route("/control/faults", self._control(self._program), methods=["POST"]),
                Route("/control/faults", self._control(self._behave), methods=["DELETE"]),
                Route("/control/down", self._control(self._down), methods=["POST"]),
            ]
        )

    def _client(self, verb: str, act: Callable[[str, bytes], Sms]) -> Callable[[Request], Awaitable[Response]]:
        async def served(request: Request) -> Response:
            if self.faults.down:
                return Cut()
            if request.headers.get("authorization") != f"Bearer {KEY}":
                return _json({"code": "unauthorized"}, 401)
            about, body = request.path_params["id"], await body_of(request)
            fault = self.faults.take(verb, about)
            await pause(fault.delay_ms if fault else 0)
            reply = _json({})
            if fault is not None and fault.refuse is not None:
                reply = _json({"id": about, "code": fault.refuse}, 422)
            elif fault is None or fault.effect:
                reply = _answered(about, lambda: _standing(act(about, body)))
            await pause(fault.reply_delay_ms if fault else 0)
            return spoiled(reply, fault)

        return served

    def _send(self, about: str, body: bytes) -> Sms:
        return self.inbox.send(about, msgspec.json.decode(body, type=SmsBody))

    def _inquire(self, about: str, _: bytes) -> Sms:
        return self.inbox.find(about)

    async def _messages(self, request: Request) -> Response:
        return _json({"messages": self.inbox.to(request.query_params.get("to"))})

    def _control(self, act: Callable[[bytes], None]) -> Callable[[Request], Awaitable[Response]]:
        async def served(request: Request) -> Response:
            body = await body_of(request)

            def done() -> dict[str, Any]:
                act(body)
                return {}

            return _answered("", done)

        return served

    def _empty(self, _: bytes) -> None:
        self.inbox.clear()

    def _program(self, body: bytes) -> None:
        told: dict[str, Any] = msgspec.json.decode(body)
        preset = PRESETS[told.pop("preset")] if "preset" in told else Fault()
        self.faults.program(msgspec.convert({**msgspec.to_builtins(preset), **told}, Fault))

    def _behave(self, _: bytes) -> None:
        self.faults.clear()

    def _down(self, body: bytes) -> None:
        self.faults.down = msgspec.json.decode(body, type=DownBody).down


def _standing(sms: Sms) -> dict[str, Any]:
    return {"id": sms.id, "state": "accepted"}


def _answered(about: str, act: Callable[[], dict[str, Any]]) -> Response:
    try:
        return _json(act())
    except Declined as no:
        return _json({"id": about, "code": no.code}, no.status)
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        return _json({"id": about, "code": "bad_request", "message": str(error)}, 400)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
