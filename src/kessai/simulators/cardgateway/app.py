"""The simulated gateway's HTTP: what a merchant's system calls, what a customer's browser calls, and the controls."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kessai.simulators.cardgateway.books import Authorization, Books, Declined, Plastic
from kessai.simulators.faults import HANG_MS, PRESETS, Fault, Faults
from kessai.simulators.listening import Cut, body_of, pause, spoiled

REQUESTS_KEPT = 10_000
STATEMENT_PAGE = 500

MAGIC_AMOUNTS: dict[int, Fault] = {
    777_001: Fault(verb="authorize", refuse="insufficient_funds"),
    777_002: Fault(verb="authorize", refuse="limit_exceeded"),
    777_010: PRESETS["delay"],
    777_011: PRESETS["drop_before"],
    777_012: PRESETS["drop_after"],
    777_013: PRESETS["twice"],
    777_014: PRESETS["garbage_after"],
    777_015: PRESETS["fail_before"],
    777_016: PRESETS["fail_after"],
    777_017: Fault(reply_delay_ms=HANG_MS),
}
"""Amounts that bring their own fault, once for each verb and id."""
MAGIC_CHALLENGE = 777_020
"""An amount for which the issuer asks for 3-D Secure, whatever the card."""


class AuthorizeBody(msgspec.Struct, frozen=True, kw_only=True):
    """Hold an amount on a card."""

    card_token: str
    amount: int
    currency: str
    return_url: str | None = None


class OperateBody(msgspec.Struct, frozen=True, kw_only=True):
    """Do something to an authorization."""

    amount: int = 0
    final: bool = True


class RegisterBody(msgspec.Struct, frozen=True, kw_only=True):
    """Keep the card of a form."""

    form_token: str


class RecordsBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which authorizations."""

    ids: Annotated[list[str], msgspec.Meta(max_length=STATEMENT_PAGE)]


class FormBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer types in."""

    number: str
    expiry_month: int = 12
    expiry_year: int = 2039


class ChallengeBody(msgspec.Struct, frozen=True, kw_only=True):
    """How a customer's 3-D Secure ended."""

    passed: bool = True


class DownBody(msgspec.Struct, frozen=True, kw_only=True):
    """Whether every line is cut."""

    down: bool


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came in."""

    verb: str
    id: str
    operation_id: str = ""


Served = Callable[[Request], Awaitable[Response]]


class Counter:
    """The gateway's counter: what it hears goes through the faults to the books and back."""

    def __init__(self, books: Books, faults: Faults, *, key: str, url: Callable[[], str]) -> None:
        self.books = books
        self.faults = faults
        self.requests: deque[Asked] = deque(maxlen=REQUESTS_KEPT)
        """What merchants asked, oldest first."""
        self._key = key
        self._url = url
        self._met: set[tuple[str, str, str]] = set()

    def app(self) -> Starlette:
        """Everything that it serves."""
        one, operation = "/v1/authorizations/{id}", "/v1/authorizations/{id}/{operation_id}"
        return Starlette(
            routes=[
                Route("/v1/cards/{id}", self._merchant("register", self._register), methods=["PUT"]),
                Route("/v1/cards/{id}", self._merchant("find", self._find), methods=["GET"]),
                Route("/v1/cards/{id}", self._merchant("forget", self._forget), methods=["DELETE"]),
                Route(one, self._merchant("authorize", self._authorize), methods=["PUT"]),
                Route(one, self._merchant("inquire", self._inquire), methods=["GET"]),
                *(
                    Route(f"{operation}/{verb}", self._merchant(verb, self._operate(verb)), methods=["PUT"])
                    for verb in ("complete", "capture", "void", "refund")
                ),
                Route("/v1/records", self._records, methods=["POST"]),
                Route("/v1/statement", self._statement, methods=["GET"]),
                Route("/forms", self._form, methods=["POST"]),
                Route("/challenges/{id}", self._challenge, methods=["POST"]),
                Route("/control/faults", self._program, methods=["POST"]),
                Route("/control/faults", self._clear, methods=["DELETE"]),
                Route("/control/down", self._down, methods=["POST"]),
                Route("/control/requests", self._asked, methods=["GET"]),
            ]
        )

    # -- merchants ----------------------------------------------------------------------------------------------

    def _merchant(self, verb: str, act: Callable[[Request, bytes, str | None], Any]) -> Served:
        """A merchant's verb, with whatever fault it meets."""

        async def served(request: Request) -> Response:
            if self.faults.down:
                return Cut()
            if request.headers.get("authorization") != f"Bearer {self._key}":
                return _json({"code": "unauthorized"}, 401)
            about, body = request.path_params["id"], await body_of(request)
            asked = Asked(verb=verb, id=about, operation_id=request.path_params.get("operation_id", ""))
            self.requests.append(asked)
            fault = self.faults.take(verb, about) or self._magic(asked, body)
            await pause(fault.delay_ms if fault else 0)
            reply = _json({})
            if fault is None or fault.effect:
                reply = _answered(asked, lambda: act(request, body, fault and fault.refuse))
                if fault is not None and fault.undone:
                    self.books.relapse(about)
            await pause(fault.reply_delay_ms if fault else 0)
            return spoiled(reply, fault)

        return served

    def _magic(self, asked: Asked, body: bytes) -> Fault | None:
        """The fault that an amount brings with it, at its first sight."""
        if not body or asked.verb in ("register", "inquire"):
            return None
        try:
            amount = msgspec.json.decode(body, type=OperateBody).amount
        except msgspec.DecodeError:
            return None
        fault = MAGIC_AMOUNTS.get(amount)
        met = (asked.verb, asked.id, asked.operation_id)
        if fault is None or fault.verb not in ("*", asked.verb) or met in self._met:
            return None
        self._met.add(met)
        return fault

    def _register(self, request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
        wanted = msgspec.json.decode(body, type=RegisterBody)
        registration_id = request.path_params["id"]
        return _card(registration_id, self.books.register(registration_id, wanted.form_token, refuse))

    def _find(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        registration_id = request.path_params["id"]
        plastic = self.books.registered(registration_id)
        if plastic is None:
            raise Declined("card_not_found", 404)
        return _card(registration_id, plastic)

    def _forget(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        self.books.forget(request.path_params["id"])
        return {"id": request.path_params["id"]}

    def _authorize(self, request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
        wanted = msgspec.json.decode(body, type=AuthorizeBody)
        authorization = self.books.authorize(
            request.path_params["id"],
            wanted.card_token,
            wanted.amount,
            wanted.currency,
            challengeable=wanted.return_url is not None,
            challenges=wanted.amount == MAGIC_CHALLENGE,
            refuse=refuse,
        )
        return self._shown(authorization)

    def _operate(self, verb: str) -> Callable[[Request, bytes, str | None], dict[str, Any]]:
        def act(request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
            wanted = msgspec.json.decode(body, type=OperateBody) if body else OperateBody()
            one, other = request.path_params["id"], request.path_params["operation_id"]
            match verb:
                case "complete":
                    after = self.books.complete(one, other, refuse)
                case "capture":
                    after = self.books.capture(one, other, wanted.amount, final=wanted.final, refuse=refuse)
                case "void":
                    after = self.books.void(one, other, refuse)
                case _:
                    after = self.books.refund(one, other, wanted.amount, refuse)
            return self._shown(after)

        return act

    def _inquire(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        authorization = self.books.authorizations.get(request.path_params["id"])
        if authorization is None:
            raise Declined("authorization_not_found", 404)
        return self._shown(authorization)

    async def _records(self, request: Request) -> Response:
        """Those of the authorizations that there are; meets only faults that name `records`."""
        if self.faults.down:
            return Cut()
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return _json({"code": "unauthorized"}, 401)
        asked = Asked(verb="records", id="")
        self.requests.append(asked)
        body, fault = await body_of(request), self.faults.take("records", "", named=True)
        await pause(fault.delay_ms if fault else 0)
        reply = _answered(asked, lambda: self._recorded(msgspec.json.decode(body, type=RecordsBody).ids))
        return spoiled(reply, fault)

    def _recorded(self, ids: list[str]) -> dict[str, Any]:
        found = (self.books.authorizations.get(each) for each in ids)
        return {"ids": ids, "records": [self._shown(each) for each in found if each is not None]}

    async def _statement(self, request: Request) -> Response:
        """Every authorization with its operations, in the order of their coming, a page at a time."""
        first = int(request.query_params.get("from", "0"))
        page = list(self.books.authorizations.values())[first : first + STATEMENT_PAGE]
        more = first + len(page) < len(self.books.authorizations)
        return _json({"authorizations": page, "next": first + len(page) if more else None})

    def _shown(self, authorization: Authorization) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(authorization)
        waits = authorization.state == "requires_action"
        return {**shown, "action_url": f"{self._url()}/challenges/{authorization.id}" if waits else None}

    # -- customers ----------------------------------------------------------------------------------------------

    async def _form(self, request: Request) -> Response:
        form = msgspec.json.decode(await body_of(request), type=FormBody)

        def fill() -> dict[str, Any]:
            return {"form_token": self.books.fill_form(form.number, form.expiry_month, form.expiry_year)}

        return _answered(Asked(verb="form", id=""), fill)

    async def _challenge(self, request: Request) -> Response:
        ended = msgspec.json.decode(await body_of(request) or b"{}", type=ChallengeBody)
        authorization_id = request.path_params["id"]

        def end() -> dict[str, Any]:
            self.books.challenge(authorization_id, passed=ended.passed)
            return {"id": authorization_id}

        return _answered(Asked(verb="challenge", id=authorization_id), end)

    # -- controls -----------------------------------------------------------------------------------------------

    async def _program(self, request: Request) -> Response:
        """A fault, or `{"preset": "drop_after", "about": …}`."""
        told = msgspec.json.decode(await body_of(request))
        preset = PRESETS[told.pop("preset")] if "preset" in told else Fault()
        try:
            fault = msgspec.convert({**msgspec.to_builtins(preset), **told}, Fault)
            self.faults.program(fault)
        except ValueError as error:
            return _json({"code": "bad_fault", "message": str(error)}, 400)
        return _json({}, 201)

    async def _clear(self, _: Request) -> Response:
        self.faults.clear()
        return _json({})

    async def _down(self, request: Request) -> Response:
        self.faults.down = msgspec.json.decode(await body_of(request), type=DownBody).down
        return _json({"down": self.faults.down})

    async def _asked(self, _: Request) -> Response:
        return _json({"requests": list(self.requests)})


def _answered(asked: Asked, act: Callable[[], Any]) -> Response:
    """What the books say, as a reply."""
    try:
        return _json(act())
    except Declined as no:
        return _json({"id": asked.id, "operation_id": asked.operation_id, "code": no.code}, no.status)
    except msgspec.DecodeError as error:
        return _json({"id": asked.id, "code": "bad_request", "message": str(error)}, 400)


def _card(registration_id: str, plastic: Plastic) -> dict[str, Any]:
    return {
        "id": registration_id,
        "card_token": plastic.card_token,
        "brand": plastic.brand,
        "last_four": plastic.last_four,
        "expiry_month": plastic.expiry_month,
        "expiry_year": plastic.expiry_year,
    }


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
