"""The simulated card network's controls: terminals, phones, clearing, faults, the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kessai.simulators.cardnetwork.books import Books
from kessai.simulators.cardnetwork.clearing import shown
from kessai.simulators.cardnetwork.records import (
    ClearingFate,
    ClearingLine,
    ClearingSpoil,
    Device,
    IssueFate,
    Tap,
    day_of,
)
from kessai.simulators.cardnetwork.replies import REFUSALS, as_json, as_record, as_reply, page_of, refused
from kessai.simulators.cardnetwork.terminal import Repeated, Terminals
from kessai.simulators.cardnetwork.wire_faults import Fault as WireFault
from kessai.simulators.cardnetwork.wire_faults import WireFaults
from kessai.simulators.faults import PRESETS, Fault, Faults
from kessai.simulators.listening import body_of

CARDS_AT_ONCE_MAX = 10_000


class ConnectBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the authorization server listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    connections: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 2


class DisconnectBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to leave."""

    sign_off: bool = True


class ReversalBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is taken back."""

    authorization: str
    amount: int | None = None
    advice: bool = False


class RepeatBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent again."""

    authorization: str
    message: Repeated = "0100"


class RawBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes."""

    hex: str


class CardsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many cards."""

    count: Annotated[int, msgspec.Meta(ge=1, le=CARDS_AT_ONCE_MAX)] = 1


class ClearingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which day is closed, and how."""

    day: date | None = None
    lines: list[ClearingLine] = []
    spoil: ClearingSpoil | None = None


class DownBody(msgspec.Struct, frozen=True, kw_only=True):
    """Whether every line is cut."""

    down: bool


class ClockBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which business time it is."""

    at: datetime


Act = Callable[[Request, bytes], Awaitable[Any]]


class Controls:
    """What a test, a demo or `kessai tap` tells the network to do."""

    def __init__(self, books: Books, terminals: Terminals, faults: Faults, wire_faults: WireFaults) -> None:
        self._books = books
        self._terminals = terminals
        self._faults = faults
        self._wire_faults = wire_faults

    def routes(self, requests: deque[Any]) -> list[Route]:
        """All of them; `requests` is what clients asked."""

        async def asked(_: Request, __: bytes) -> dict[str, Any]:
            return {"requests": list(requests)}

        devices = self._books.devices
        return [
            _route("POST", "connect", self._connect),
            _route("POST", "disconnect", self._disconnect),
            _route("POST", "tap", self._tap),
            _route("POST", "advices", self._advise),
            _route("POST", "refunds", self._refund),
            _route("POST", "reversals", self._reverse),
            _route("POST", "repeats", self._repeat),
            _route("POST", "raw", self._raw),
            _route("POST", "echo", self._echo),
            _route("GET", "authorizations", self._authorizations),
            _route("GET", "authorizations/{id}", self._authorization),
            _route("GET", "wire", self._wire),
            _route("POST", "wire-faults", self._program_wire),
            _route("DELETE", "wire-faults", self._clear_wire),
            _route("POST", "cards", self._issue),
            _route("POST", "issue-fates", self._foresee_issue),
            _route("POST", "devices/{id}/activate", self._moving(devices.activate)),
            _route("POST", "devices/{id}/suspend", self._moving(devices.suspend)),
            _route("POST", "devices/{id}/resume", self._moving(devices.resume)),
            _route("POST", "devices/{id}/delete", self._moving(devices.delete)),
            _route("POST", "clearing", self._clear_day),
            _route("POST", "clearing-fates", self._foresee_clearing),
            _route("POST", "faults", self._program),
            _route("DELETE", "faults", self._behave),
            _route("POST", "down", self._down),
            _route("POST", "clock", self._move),
            _route("GET", "requests", asked),
        ]

    # -- terminals ----------------------------------------------------------------------------------------------

    async def _connect(self, _: Request, body: bytes) -> dict[str, Any]:
        to = msgspec.json.decode(body, type=ConnectBody)
        await self._terminals.connect(to.host, to.port, connections=to.connections)
        return {"signed_on": len(self._terminals.wire.signed_on)}

    async def _disconnect(self, _: Request, body: bytes) -> dict[str, Any]:
        how = msgspec.json.decode(body or b"{}", type=DisconnectBody)
        await self._terminals.wire.disconnect(sign_off=how.sign_off)
        return {}

    async def _tap(self, _: Request, body: bytes) -> dict[str, Any]:
        return as_record(await self._terminals.tap(msgspec.json.decode(body, type=Tap)))

    async def _refund(self, _: Request, body: bytes) -> dict[str, Any]:
        tap = msgspec.structs.replace(msgspec.json.decode(body, type=Tap), processing="refund")
        return as_record(await self._terminals.tap(tap))

    async def _advise(self, _: Request, body: bytes) -> dict[str, Any]:
        return as_record(await self._terminals.advise(msgspec.json.decode(body, type=Tap)))

    async def _reverse(self, _: Request, body: bytes) -> dict[str, Any]:
        wanted = msgspec.json.decode(body, type=ReversalBody)
        await self._terminals.reverse(wanted.authorization, wanted.amount, advice=wanted.advice)
        return as_record(self._books.find(wanted.authorization))

    async def _repeat(self, _: Request, body: bytes) -> dict[str, Any]:
        wanted = msgspec.json.decode(body, type=RepeatBody)
        return await self._terminals.repeat(wanted.authorization, wanted.message)

    async def _raw(self, _: Request, body: bytes) -> dict[str, Any]:
        await self._terminals.raw(bytes.fromhex(msgspec.json.decode(body, type=RawBody).hex))
        return {}

    async def _echo(self, _: Request, __: bytes) -> dict[str, Any]:
        return {"response": await self._terminals.echo()}

    async def _authorizations(self, request: Request, _: bytes) -> dict[str, Any]:
        after, limit = page_of(request)
        found = list(self._books.authorizations.values())[after : after + limit]
        return {"after": after, "authorizations": [as_record(each) for each in found]}

    async def _authorization(self, request: Request, _: bytes) -> dict[str, Any]:
        return as_record(self._books.find(request.path_params["id"]))

    async def _wire(self, _: Request, __: bytes) -> dict[str, Any]:
        wire = self._terminals.wire
        return {**wire.counts, "connections": len(wire.connections), "signed_on": len(wire.signed_on)}

    async def _program_wire(self, _: Request, body: bytes) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.json.decode(body)
        if "seed" in told:
            self._wire_faults.draw_from(int(told.pop("seed")))
        if told:
            self._wire_faults.program(msgspec.convert(told, WireFault))
        return {}

    async def _clear_wire(self, _: Request, __: bytes) -> dict[str, Any]:
        self._wire_faults.clear()
        return {}

    # -- cards and clearing -------------------------------------------------------------------------------------

    async def _issue(self, _: Request, body: bytes) -> dict[str, Any]:
        issuing = self._books.issuing
        made = issuing.issue(msgspec.json.decode(body or b"{}", type=CardsBody).count, self._books.now())
        cards = [{"card": each.reference, "pan": issuing.pan_of(each), "expiry": each.expiry} for each in made]
        return {"cards": cards}

    async def _foresee_issue(self, _: Request, body: bytes) -> dict[str, Any]:
        self._books.issuing.foresee(msgspec.json.decode(body, type=IssueFate))
        return {}

    def _moving(self, move: Callable[[str, datetime], Device]) -> Act:
        async def act(request: Request, _: bytes) -> dict[str, Any]:
            return self._books.devices.shown(move(request.path_params["id"], self._books.now()))

        return act

    async def _clear_day(self, _: Request, body: bytes) -> dict[str, Any]:
        how = msgspec.json.decode(body or b"{}", type=ClearingBody)
        day = how.day or day_of(self._books.now())
        return shown(self._books.clearing.close(day, how.lines, how.spoil))

    async def _foresee_clearing(self, _: Request, body: bytes) -> dict[str, Any]:
        self._books.clearing.foresee(msgspec.json.decode(body, type=ClearingFate))
        return {}

    # -- the HTTP side ------------------------------------------------------------------------------------------

    async def _program(self, _: Request, body: bytes) -> dict[str, Any]:
        """A fault, or `{"preset": "drop_after", "about": …}`."""
        told: dict[str, Any] = msgspec.json.decode(body)
        preset = PRESETS[told.pop("preset")] if "preset" in told else Fault()
        self._faults.program(msgspec.convert({**msgspec.to_builtins(preset), **told}, Fault))
        return {}

    async def _behave(self, _: Request, __: bytes) -> dict[str, Any]:
        self._faults.clear()
        return {}

    async def _down(self, _: Request, body: bytes) -> dict[str, Any]:
        self._faults.down = msgspec.json.decode(body, type=DownBody).down
        return {"down": self._faults.down}

    async def _move(self, _: Request, body: bytes) -> dict[str, Any]:
        self._books.move_to(msgspec.json.decode(body, type=ClockBody).at)
        return {"at": self._books.now()}


def _route(method: str, path: str, act: Act) -> Route:
    async def served(request: Request) -> Response:
        about = request.path_params.get("id", "")
        body = await body_of(request)
        try:
            return as_reply(await act(request, body))
        except REFUSALS as error:
            return refused(about, error)
        except TimeoutError:
            return as_json({"id": about, "code": "not_signed_on"}, 503)

    return Route(f"/control/{path}", served, methods=[method])
