"""The simulated card network's HTTP: what the issuer's client calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kessai.simulators.cardnetwork.books import Books
from kessai.simulators.cardnetwork.controls import Controls
from kessai.simulators.cardnetwork.records import Device, DeviceBody
from kessai.simulators.cardnetwork.replies import PAGE_MAX, answered, as_json, as_record, page_of
from kessai.simulators.faults import Faults
from kessai.simulators.listening import Cut, body_of, pause, spoiled

REQUESTS_KEPT = 10_000


class MethodBody(msgspec.Struct, frozen=True, kw_only=True):
    """How the customer was authenticated."""

    method: str


class RecordsBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which authorizations, by their keys."""

    ids: Annotated[list[str], msgspec.Meta(max_length=PAGE_MAX)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came in."""

    verb: str
    id: str


Act = Callable[[Request, bytes], Any]


class Counter:
    """The processor's counter: what it hears goes through the faults to the books and back."""

    def __init__(self, books: Books, faults: Faults, controls: Controls, *, key: str) -> None:
        self.requests: deque[Asked] = deque(maxlen=REQUESTS_KEPT)
        """What clients asked, oldest first."""
        self._books = books
        self._faults = faults
        self._controls = controls
        self._key = key

    def app(self) -> Starlette:
        """Everything that it serves."""
        devices = self._books.devices
        return Starlette(
            routes=[
                Route("/v1/issue-requests/{id}", self._client("issue", self._issue), methods=["PUT"]),
                Route("/v1/issue-requests/{id}", self._client("inquire_issue", self._issue_standing), methods=["GET"]),
                Route("/v1/issued-files/{id}", self._client("issued_file", self._issued_file), methods=["GET"]),
                Route("/v1/devices/{id}", self._client("provision", self._provision), methods=["PUT"]),
                Route("/v1/devices/{id}", self._client("inquire_device", self._device), methods=["GET"]),
                Route("/v1/devices/{id}/authenticate", self._client("authenticate", self._vouch), methods=["POST"]),
                self._moving("suspend", devices.suspend),
                self._moving("resume", devices.resume),
                self._moving("delete", devices.delete),
                Route("/v1/device-events", self._client("device_events", self._device_events), methods=["GET"]),
                Route("/v1/clearing-files", self._client("clearing_files", self._clearing_files), methods=["GET"]),
                Route("/v1/clearing-files/{id}", self._client("clearing_file", self._clearing_file), methods=["GET"]),
                Route("/v1/totals/{id}", self._client("totals", self._totals), methods=["GET"]),
                Route("/v1/records", self._client("records", self._records, named=True), methods=["POST"]),
                Route("/v1/records", self._client("records", self._all_records, named=True), methods=["GET"]),
                *self._controls.routes(self.requests),
            ]
        )

    def _client(self, verb: str, act: Act, *, named: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """A client's verb, with whatever fault it meets (`named`: only one that names the verb)."""

        async def served(request: Request) -> Response:
            if self._faults.down:
                return Cut()
            if request.headers.get("authorization") != f"Bearer {self._key}":
                return as_json({"code": "unauthorized"}, 401)
            about = request.path_params.get("id", "")
            body = await body_of(request)
            self.requests.append(Asked(verb=verb, id=about))
            fault = self._faults.take(verb, about, named=named)
            await pause(fault.delay_ms if fault else 0)
            reply = as_json({})
            if fault is not None and fault.refuse is not None:
                reply = as_json({"id": about, "code": fault.refuse}, 422)
            elif fault is None or fault.effect:
                reply = answered(about, lambda: self._done(request, body, act))
            await pause(fault.reply_delay_ms if fault else 0)
            return spoiled(reply, fault)

        return served

    def _done(self, request: Request, body: bytes, act: Act) -> Any:
        if at := request.query_params.get("at"):
            self._books.move_to(datetime.fromisoformat(at))
        return act(request, body)

    # -- cards --------------------------------------------------------------------------------------------------

    def _issue(self, request: Request, body: bytes) -> dict[str, Any]:
        file_id, now = request.path_params["id"], self._books.now()
        self._books.issuing.take(file_id, body, now)
        return self._books.issuing.standing(file_id, now)

    def _issue_standing(self, request: Request, _: bytes) -> dict[str, Any]:
        return self._books.issuing.standing(request.path_params["id"], self._books.now())

    def _issued_file(self, request: Request, _: bytes) -> bytes:
        return self._books.issuing.issued_file(request.path_params["id"], self._books.now())

    # -- devices ------------------------------------------------------------------------------------------------

    def _provision(self, request: Request, body: bytes) -> dict[str, Any]:
        wanted = msgspec.json.decode(body, type=DeviceBody)
        devices = self._books.devices
        return devices.shown(devices.provision(request.path_params["id"], wanted, self._books.now()))

    def _device(self, request: Request, _: bytes) -> dict[str, Any]:
        devices = self._books.devices
        return devices.shown(devices.find(request.path_params["id"]))

    def _vouch(self, request: Request, body: bytes) -> dict[str, Any]:
        method = msgspec.json.decode(body, type=MethodBody).method
        devices = self._books.devices
        return devices.shown(devices.authenticate(request.path_params["id"], method, self._books.now()))

    def _moving(self, verb: str, move: Callable[[str, datetime], Device]) -> Route:
        def act(request: Request, _: bytes) -> dict[str, Any]:
            return self._books.devices.shown(move(request.path_params["id"], self._books.now()))

        return Route(f"/v1/devices/{{id}}/{verb}", self._client(verb, act), methods=["POST"])

    def _device_events(self, request: Request, _: bytes) -> dict[str, Any]:
        after, limit = page_of(request)
        return {"after": after, "events": self._books.devices.events[after : after + limit]}

    # -- clearing -----------------------------------------------------------------------------------------------

    def _clearing_files(self, request: Request, _: bytes) -> dict[str, Any]:
        return {"files": self._books.clearing.listed(int(request.query_params.get("after", 0)))}

    def _clearing_file(self, request: Request, _: bytes) -> bytes:
        return self._books.clearing.file(request.path_params["id"])

    def _totals(self, request: Request, _: bytes) -> dict[str, Any]:
        return self._books.clearing.totals(date.fromisoformat(request.path_params["id"]))

    def _records(self, _: Request, body: bytes) -> dict[str, Any]:
        ids = msgspec.json.decode(body, type=RecordsBody).ids
        found = (self._books.by_key.get(each) for each in ids)
        return {"ids": ids, "records": [as_record(each) for each in found if each is not None]}

    def _all_records(self, request: Request, _: bytes) -> dict[str, Any]:
        after, limit = page_of(request)
        found = list(self._books.authorizations.values())[after : after + limit]
        return {"after": after, "records": [as_record(each) for each in found]}
