"""The simulated bank's HTTP: what a client calls, and the controls."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kessai.simulators.bank.books import Books
from kessai.simulators.bank.file_verbs import FileVerbs, record_of
from kessai.simulators.bank.lines import Account, Declined, Fate, Order, OrderKind
from kessai.simulators.faults import PRESETS, Fault, Faults
from kessai.simulators.listening import Cut, body_of, pause, spoiled

REQUESTS_KEPT = 10_000
PAGE_MAX = 500


class OrderBody(msgspec.Struct, frozen=True, kw_only=True):
    """Move money to or from an account."""

    account: Account
    amount: int
    mandate_id: str | None = None


class RecordsBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which orders."""

    ids: Annotated[list[str], msgspec.Meta(max_length=PAGE_MAX)]


class DownBody(msgspec.Struct, frozen=True, kw_only=True):
    """Whether every line is cut."""

    down: bool


class ClockBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which business time it is."""

    at: datetime


class AgainBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which order's result is to be sent again."""

    id: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came in."""

    verb: str
    id: str


Act = Callable[[Request, bytes, str | None], Any]


class Counter:
    """The bank's counter: what it hears goes through the faults to the books and back."""

    def __init__(self, books: Books, faults: Faults, *, key: str) -> None:
        self.books = books
        self.faults = faults
        self.requests: deque[Asked] = deque(maxlen=REQUESTS_KEPT)
        """What clients asked, oldest first."""
        self._key = key
        self._files = FileVerbs(books)

    def app(self) -> Starlette:
        """Everything that it serves."""
        return Starlette(
            routes=[
                Route("/v1/account-checks/{id}", self._client("check", self._check), methods=["PUT"]),
                Route("/v1/mandates/{id}", self._client("agree", self._agree), methods=["PUT"]),
                Route("/v1/mandates/{id}", self._client("inquire_mandate", self._agreed), methods=["GET"]),
                Route("/v1/transfers/{id}", self._client("transfer", self._take("transfer")), methods=["PUT"]),
                Route("/v1/transfers/{id}", self._client("inquire", self._find("transfer")), methods=["GET"]),
                Route("/v1/debits/{id}", self._client("debit", self._take("debit")), methods=["PUT"]),
                Route("/v1/debits/{id}", self._client("inquire", self._find("debit")), methods=["GET"]),
                Route("/v1/results", self._client("results", self._results), methods=["GET"]),
                Route("/v1/records", self._records, methods=["POST"]),
                Route("/v1/statement", self._client("statement", self._statement), methods=["GET"]),
                *self._file_routes(),
                Route("/control/faults", self._control(self._program), methods=["POST"]),
                Route("/control/faults", self._control(self._clear), methods=["DELETE"]),
                Route("/control/fates", self._control(self._foresee), methods=["POST"]),
                Route("/control/down", self._control(self._down), methods=["POST"]),
                Route("/control/clock", self._control(self._move), methods=["POST"]),
                Route("/control/results-again", self._control(self._again), methods=["POST"]),
                Route("/control/accounts", self._control(self._open), methods=["POST"]),
                Route("/control/requests", self._control(self._asked), methods=["GET"]),
            ]
        )

    def _file_routes(self) -> list[Route]:
        files = self._files
        return [
            Route("/v1/files", self._client("file", files.post), methods=["POST"]),
            Route("/v1/files/{id}", self._client("file", files.put), methods=["PUT"]),
            Route("/v1/files/{id}", self._client("inquire_file", files.standing), methods=["GET"]),
            Route("/v1/files/{id}/lines", self._client("inquire_file", files.lines), methods=["GET"]),
            Route("/v1/files/{id}/results", self._client("file_results", files.result_file), methods=["GET"]),
            Route("/v1/file-entries", self._client("file_entries", files.results), methods=["GET"]),
            Route("/v1/recalls/{id}", self._client("recall", files.recall), methods=["PUT"]),
            Route("/v1/statements/{id}", self._client("statement_day", files.statement_day), methods=["GET"]),
            Route("/control/line-fates", self._control(files.foresee_line), methods=["POST"]),
            Route("/control/file-fates", self._control(files.foresee_file), methods=["POST"]),
            Route("/control/line-results-again", self._control(files.say_again), methods=["POST"]),
            Route("/control/close-account", self._control(files.close_account), methods=["POST"]),
        ]

    # -- clients ------------------------------------------------------------------------------------------------

    def _client(self, verb: str, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """A client's verb, with whatever fault it meets."""

        async def served(request: Request) -> Response:
            if self.faults.down:
                return Cut()
            if request.headers.get("authorization") != f"Bearer {self._key}":
                return _json({"code": "unauthorized"}, 401)
            about = request.path_params.get("id") or request.query_params.get("id", "")
            body = await body_of(request)
            self.requests.append(Asked(verb=verb, id=about))
            fault = self.faults.take(verb, about)
            await pause(fault.delay_ms if fault else 0)
            reply = _json({})
            if fault is None or fault.effect:
                reply = _answered(about, lambda: act(request, body, fault and fault.refuse))
            await pause(fault.reply_delay_ms if fault else 0)
            return spoiled(reply, fault)

        return served

    def _check(self, request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
        self.books.check(msgspec.json.decode(body, type=Account), refuse)
        return {"id": request.path_params["id"], "confirmed": True}

    def _agree(self, request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
        mandate_id = request.path_params["id"]
        self.books.agree(mandate_id, msgspec.json.decode(body, type=Account), refuse)
        return {"id": mandate_id, "confirmed": True}

    def _agreed(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        self.books.require_mandate(request.path_params["id"])
        return {"id": request.path_params["id"], "confirmed": True}

    def _take(self, kind: OrderKind) -> Act:
        def act(request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
            self.books.settle_due()
            wanted = msgspec.json.decode(body, type=OrderBody)
            order_id = request.path_params["id"]
            return _shown(self.books.take(kind, order_id, wanted.account, wanted.amount, wanted.mandate_id, refuse))

        return act

    def _find(self, kind: OrderKind) -> Act:
        def act(request: Request, _: bytes, __: str | None) -> dict[str, Any]:
            self.books.settle_due()
            return _shown(self.books.find(kind, request.path_params["id"]))

        return act

    def _results(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        """Entries beyond `after`; `at` tells the client's business time, which is ours too."""
        words = request.query_params
        if "at" in words:
            self.books.move_to(datetime.fromisoformat(words["at"]))
        self.books.settle_due()
        after = int(words.get("after", 0))
        return {"after": after, "entries": self.books.entries(after, _limit(words.get("limit")))}

    def _statement(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        words = request.query_params
        after = int(words.get("after", 0))
        lines = self.books.statement(words.get("date"), after, _limit(words.get("limit")))
        return {"after": after, "lines": lines, "balance": self.books.client_balance}

    async def _records(self, request: Request) -> Response:
        """Those of the orders that there are, with what they did to the client's account.

        Meets only faults that name `records`.
        """
        if self.faults.down:
            return Cut()
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return _json({"code": "unauthorized"}, 401)
        self.requests.append(Asked(verb="records", id=""))
        body, fault = await body_of(request), self.faults.take("records", "", named=True)
        await pause(fault.delay_ms if fault else 0)
        reply = _answered("", lambda: self._recorded(msgspec.json.decode(body, type=RecordsBody).ids))
        return spoiled(reply, fault)

    def _recorded(self, ids: list[str]) -> dict[str, Any]:
        self.books.settle_due()
        found = (self._record(each) for each in ids)
        return {"ids": ids, "records": [each for each in found if each is not None]}

    def _record(self, name: str) -> dict[str, Any] | None:
        order = self.books.orders.get(name)
        if order is None:
            return record_of(self.books, name)
        return {**_shown(order), "kind": order.kind, "amount": order.amount, "booked": self.books.booked(order.id)}

    # -- controls -----------------------------------------------------------------------------------------------

    def _control(self, act: Callable[[bytes], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def served(request: Request) -> Response:
            body = await body_of(request)
            return _answered("", lambda: act(body))

        return served

    def _program(self, body: bytes) -> dict[str, Any]:
        """A fault, or `{"preset": "drop_after", "about": …}`."""
        told: dict[str, Any] = msgspec.json.decode(body)
        preset = PRESETS[told.pop("preset")] if "preset" in told else Fault()
        self.faults.program(msgspec.convert({**msgspec.to_builtins(preset), **told}, Fault))
        return {}

    def _clear(self, _: bytes) -> dict[str, Any]:
        self.faults.clear()
        return {}

    def _foresee(self, body: bytes) -> dict[str, Any]:
        self.books.foresee(msgspec.json.decode(body, type=Fate))
        return {}

    def _down(self, body: bytes) -> dict[str, Any]:
        self.faults.down = msgspec.json.decode(body, type=DownBody).down
        return {"down": self.faults.down}

    def _move(self, body: bytes) -> dict[str, Any]:
        self.books.move_to(msgspec.json.decode(body, type=ClockBody).at)
        return {"at": self.books.now()}

    def _again(self, body: bytes) -> dict[str, Any]:
        order_id = msgspec.json.decode(body, type=AgainBody).id
        if order_id not in self.books.orders:
            raise Declined("instruction_not_found", 404)
        self.books.say_again(order_id)
        return {}

    def _open(self, body: bytes) -> dict[str, Any]:
        self.books.open_account(msgspec.json.decode(body, type=Account))
        return {}

    def _asked(self, _: bytes) -> dict[str, Any]:
        return {"requests": list(self.requests)}


def _answered(about: str, act: Callable[[], Any]) -> Response:
    """What the books say, as a reply."""
    try:
        said = act()
    except Declined as no:
        return _json({"id": about, "code": no.code}, no.status)
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        return _json({"id": about, "code": "bad_request", "message": str(error)}, 400)
    if isinstance(said, bytes):
        return Response(said, media_type="application/octet-stream")
    return _json(said)


def _shown(order: Order) -> dict[str, Any]:
    return {"id": order.id, "state": order.state, "number": order.number, "code": order.code}


def _limit(text: str | None) -> int:
    return min(PAGE_MAX, int(text or PAGE_MAX))


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
