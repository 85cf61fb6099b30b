"""What the simulated bank's clients ask of files over HTTP, and what it is told about them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from starlette.requests import Request

from kessai.simulators.bank.books import Books
from kessai.simulators.bank.lines import Account, Declined, FileFate, LineFate

FILE_ID = r"^[A-Za-z0-9_-]{1,64}$"
PAGE_MAX = 500


class RecallBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which line is called back, told twice."""

    customer_code_1: str
    customer_code_2: str
    amount: int


class LineBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which line's result is to be sent again."""

    file_id: str
    line: int


FileName = Annotated[str, msgspec.Meta(pattern=FILE_ID)]


class FileVerbs:
    """Each verb takes the request, its body, and the code with which a fault refuses it."""

    def __init__(self, books: Books) -> None:
        self._books = books

    # -- clients ------------------------------------------------------------------------------------------------

    def put(self, request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
        """Hand a file in."""
        self._pass_time(request)
        name = msgspec.convert(request.path_params["id"], FileName)
        return self._books.files.take(name, body, refuse).told()

    def post(self, request: Request, body: bytes, refuse: str | None) -> dict[str, Any]:
        """Hand a file in, with its id in the query."""
        self._pass_time(request)
        name = msgspec.convert(request.query_params["id"], FileName)
        return self._books.files.take(name, body, refuse).told()

    def standing(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        """How a file stands."""
        self._pass_time(request)
        return self._books.files.find(request.path_params["id"]).told()

    def lines(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        """How its lines stand, beyond a line."""
        self._pass_time(request)
        filed, (after, limit) = self._books.files.find(request.path_params["id"]), page_of(request)
        told = [each.told() for each in filed.lines[after : after + limit]]
        return {"id": filed.id, "after": after, "lines": told}

    def recall(self, request: Request, body: bytes, _: str | None) -> dict[str, Any]:
        """Call a line back."""
        self._pass_time(request)
        self.call_back(request.path_params["id"], body)
        return {"id": request.path_params["id"], "state": "asked"}

    def call_back(self, name: str, body: bytes) -> None:
        """Call a line back, if it is the one that is meant; raises Declined."""
        said, wanted = self._books.files.line(name)[1].said, msgspec.json.decode(body, type=RecallBody)
        told = (wanted.customer_code_1, wanted.customer_code_2, wanted.amount)
        if told != (said.customer_code_1, said.customer_code_2, said.amount):
            raise Declined("line_not_found", 404)
        self._books.files.recall(name)

    def results(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        """What became of lines, beyond a position."""
        self._pass_time(request)
        after, limit = page_of(request)
        return {"after": after, "entries": self._books.files.feed[after : after + limit]}

    def result_file(self, request: Request, _: bytes, __: str | None) -> bytes:
        """A debit file with its results."""
        self._pass_time(request)
        return self._books.files.result_file(request.path_params["id"])

    def statement_day(self, request: Request, _: bytes, __: str | None) -> dict[str, Any]:
        """One day of the client's account, once it is over."""
        self._pass_time(request)
        day = date.fromisoformat(request.path_params["id"]).isoformat()
        if not self._books.is_over(day):
            raise Declined("statement_not_ready", 404)
        return day_of(self._books, day)

    def _pass_time(self, request: Request) -> None:
        if "at" in request.query_params:
            self._books.move_to(datetime.fromisoformat(request.query_params["at"]))
        self._books.settle_due()

    # -- controls -----------------------------------------------------------------------------------------------

    def foresee_line(self, body: bytes) -> dict[str, Any]:
        """What is to become of lines."""
        self._books.files.foresee_line(msgspec.json.decode(body, type=LineFate))
        return {}

    def foresee_file(self, body: bytes) -> dict[str, Any]:
        """What is to become of files."""
        self._books.files.foresee_file(msgspec.json.decode(body, type=FileFate))
        return {}

    def say_again(self, body: bytes) -> dict[str, Any]:
        """Tell a line's last result once more."""
        told = msgspec.json.decode(body, type=LineBody)
        self._books.files.say_again(told.file_id, told.line)
        return {}

    def close_account(self, body: bytes) -> dict[str, Any]:
        """Nothing reaches an account any more."""
        self._books.close_account(msgspec.json.decode(body, type=Account))
        return {}


def page_of(request: Request) -> tuple[int, int]:
    """Beyond what, and how many at most."""
    words = request.query_params
    return int(words.get("after", 0)), min(PAGE_MAX, int(words.get("limit") or PAGE_MAX))


def day_of(books: Books, day: str) -> dict[str, Any]:
    """A day of the client's account."""
    opening, moved = books.opening(day), books.moved(day)
    return {"date": day, "opening": opening, "closing": opening + moved, "lines": books.statement(day)}


def record_of(books: Books, name: str) -> dict[str, Any] | None:
    """A line as the records have single orders; None when there is none under this id."""
    try:
        filed, line = books.files.line(name)
    except Declined:
        return None
    state = {"accepted": "processing", "refused": "failed", "recalled": "returned"}.get(line.state, line.state)
    return {
        "id": name,
        "kind": filed.kind,
        "state": state,
        "number": line.order_number,
        "code": line.code,
        "amount": line.said.amount,
        "booked": books.booked(name),
    }
