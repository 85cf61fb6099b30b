"""The way to the bank: the `BankConnection` protocol, and `HttpBank`, which speaks to a bank's HTTP API.

Every effect is asked for under our own id with PUT, so that the bank takes it once. Each method raises NotSent (an
Unavailable: nothing was done) or Unanswered (an Unknown: inquire); a refusal is an answer. Each answer names what it is
about: one that was sent twice must not be taken for the answer to the next question on the same line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, TypeVar
from urllib.parse import urlencode

import msgspec
import structlog

from kessai.foundation.errors import KeyReused
from kessai.foundation.outbound import Answer, Destination, NotSent, Outbound, Unanswered
from kessai.services.bank.api import DepositType, InstructionKind, InstructionState
from kessai.services.bank.domain import BankRecord, Entry, Report, Result, failure_of

T = TypeVar("T")

log = structlog.get_logger(__name__)

NAME = "bank"
"""The destination, in errors, logs and metrics."""
NOT_FOUND, CONFLICT, DECLINED = 404, 409, 422
TIMEOUT_S = 5.0
"""One call; whoever instructs does not wait for it."""
CALLS_MAX = 32
"""Calls under way at a time: slots that the bank shares with nobody."""
READ_ATTEMPTS_MAX = 3
RESULTS_AT_ONCE = 200
STATEMENT_AT_ONCE = 500
RECORDS_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A bank account as the bank must be told of it. It does not show what it holds."""

    bank_code: str
    branch_code: str
    deposit_type: DepositType
    number: str = field(repr=False)
    holder: str = field(repr=False)


class Finding(StrEnum):
    """What the bank says about an account."""

    CONFIRMED = "confirmed"
    NO_ACCOUNT = "no_account"
    NAME_MISMATCH = "name_mismatch"
    CANNOT_BE_DEBITED = "cannot_be_debited"


@dataclass(frozen=True, slots=True)
class Results:
    """Entries of the feed, and the position after them."""

    results: list[Result]
    position: int
    unread: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Instructions (with the entry's position) of which was told in words that we do not know."""


def destination_of(url: str | None, key: str) -> Destination | None:
    """The bank at an address, with our credential; None when there is none."""
    if url is None:
        return None
    headers = {"authorization": f"Bearer {key}"}
    return Destination(name=NAME, base_url=url, headers=headers, timeout_s=TIMEOUT_S, concurrency_max=CALLS_MAX)


class BankConnection(Protocol):
    """What the service needs of a bank."""

    @property
    def configured(self) -> bool:
        """Whether there is one at all."""
        ...

    async def check(self, account_id: str, holding: Holding) -> Finding:
        """Whether the account exists and bears the name (口座確認); without effect."""
        ...

    async def agree(self, account_id: str, holding: Holding) -> Finding:
        """Ask for a mandate to debit the account (口座振替契約), under the account's id."""
        ...

    async def has_agreed(self, account_id: str) -> bool:
        """Whether the bank has a mandate under this id; without effect."""
        ...

    async def instruct(
        self, kind: InstructionKind, instruction_id: str, holding: Holding, mandate_id: str, amount_minor: int
    ) -> Report:
        """Send an instruction; the bank has it (SENT or later), or refused it (FAILED)."""
        ...

    async def inquire(self, kind: InstructionKind, instruction_id: str) -> Report | None:
        """What the bank knows of an instruction, None when it never saw it; without effect."""
        ...

    async def results(self, after: int, at: datetime) -> Results:
        """What has become of instructions since a position of the feed, as of business time `at`."""
        ...

    async def statement(self, day: date | None = None) -> list[Entry]:
        """What instructions did to the platform's account, on a business day or on all of them."""
        ...

    async def records(self, instruction_ids: Sequence[str]) -> list[BankRecord]:
        """The bank's own records of those instructions that it has; without effect."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


# -- the bank's own words ---------------------------------------------------------------------------------------


class _Problem(msgspec.Struct, frozen=True):
    code: str
    id: str


class _Confirmed(msgspec.Struct, frozen=True):
    id: str
    confirmed: bool


class _Account(msgspec.Struct, frozen=True):
    bank_code: str
    branch_code: str
    deposit_type: str
    number: str
    holder: str


class _Order(msgspec.Struct, frozen=True):
    account: _Account
    amount: int
    mandate_id: str | None = None


class _Standing(msgspec.Struct, frozen=True):
    id: str
    state: str
    number: str
    code: str | None = None


class _Recorded(_Standing, frozen=True, kw_only=True):
    kind: str
    amount: int
    booked: int


class _Records(msgspec.Struct, frozen=True):
    ids: list[str]
    records: list[_Recorded]


class _Place(msgspec.Struct, frozen=True):
    position: int
    id: str = ""


class _Feed(msgspec.Struct, frozen=True):
    after: int
    entries: list[msgspec.Raw]


class _Line(msgspec.Struct, frozen=True):
    position: int
    id: str
    amount: int


class _Statement(msgspec.Struct, frozen=True):
    after: int
    lines: list[_Line]


_STATES = {
    "processing": InstructionState.SENT,
    "done": InstructionState.DONE,
    "failed": InstructionState.FAILED,
    "returned": InstructionState.RETURNED,
}
_OURS = re.compile(r"(btr|bdb)_[0-9a-f]{32}")
_FOLDERS = {InstructionKind.TRANSFER: "transfers", InstructionKind.DEBIT: "debits"}
_FINDINGS = {
    "no_account": Finding.NO_ACCOUNT,
    "account_closed": Finding.NO_ACCOUNT,
    "name_mismatch": Finding.NAME_MISMATCH,
}


class HttpBank:
    """A bank that speaks JSON over HTTP; the simulator is one."""

    def __init__(self, destination: Destination | None) -> None:
        self._open_way = None if destination is None else Outbound(destination)

    @property
    def configured(self) -> bool:
        """Whether there is one at all."""
        return self._open_way is not None

    async def check(self, account_id: str, holding: Holding) -> Finding:
        """Whether the account exists and bears the name; without effect."""
        body = _account(holding)
        return await self._read("PUT", f"/v1/account-checks/{account_id}", lambda a: _finding(a, account_id), body)

    async def agree(self, account_id: str, holding: Holding) -> Finding:
        """Ask for a mandate to debit the account, under the account's id."""
        answer = await self._way.call("PUT", f"/v1/mandates/{account_id}", _account(holding))
        if answer.status == CONFLICT and _problem(answer, account_id):
            raise KeyReused
        return _finding(answer, account_id)

    async def has_agreed(self, account_id: str) -> bool:
        """Whether the bank has a mandate under this id; without effect."""

        def read(answer: Answer) -> bool:
            if answer.status == NOT_FOUND and _problem(answer, account_id) == "mandate_not_found":
                return False
            return _finding(_understood(answer), account_id) is Finding.CONFIRMED

        return await self._read("GET", f"/v1/mandates/{account_id}", read)

    async def instruct(
        self, kind: InstructionKind, instruction_id: str, holding: Holding, mandate_id: str, amount_minor: int
    ) -> Report:
        """Send an instruction; the bank has it (SENT or later), or refused it (FAILED)."""
        mandate = mandate_id if kind is InstructionKind.DEBIT else None
        order = _Order(_account(holding), amount_minor, mandate)
        answer = await self._way.call("PUT", f"/v1/{_FOLDERS[kind]}/{instruction_id}", order)
        if answer.refused:
            return Report(state=InstructionState.FAILED, failure_code=failure_of(_refusal(answer, instruction_id)))
        return _report(answer, instruction_id)

    async def inquire(self, kind: InstructionKind, instruction_id: str) -> Report | None:
        """What the bank knows of an instruction, None when it never saw it; without effect."""

        def read(answer: Answer) -> Report | None:
            if answer.status == NOT_FOUND and _problem(answer, instruction_id) == "instruction_not_found":
                return None
            return _report(_understood(answer), instruction_id)

        return await self._read("GET", f"/v1/{_FOLDERS[kind]}/{instruction_id}", read)

    async def results(self, after: int, at: datetime) -> Results:
        """What has become of instructions since a position of the feed, as of business time `at`."""

        def read(answer: Answer) -> Results:
            feed = _understood(answer).decode(_Feed)
            if feed.after != after:
                raise _unreadable(answer)
            return _results(feed, answer)

        query = urlencode({"after": after, "limit": RESULTS_AT_ONCE, "at": at.isoformat()})
        return await self._read("GET", f"/v1/results?{query}", read)

    async def statement(self, day: date | None = None) -> list[Entry]:
        """What instructions did to the platform's account, on a business day or on all of them."""
        entries: list[Entry] = []
        after = 0
        while True:
            lines = await self._statement_page(day, after)
            entries += [Entry(line.id, line.amount) for line in lines]
            if len(lines) < STATEMENT_AT_ONCE:
                return entries
            after = lines[-1].position

    async def _statement_page(self, day: date | None, after: int) -> list[_Line]:
        def read(answer: Answer) -> list[_Line]:
            page = _understood(answer).decode(_Statement)
            if page.after != after:
                raise _unreadable(answer)
            return page.lines

        words = {"after": after, "limit": STATEMENT_AT_ONCE} | ({} if day is None else {"date": day.isoformat()})
        return await self._read("GET", f"/v1/statement?{urlencode(words)}", read)

    async def records(self, instruction_ids: Sequence[str]) -> list[BankRecord]:
        """The bank's own records of those instructions that it has; without effect."""
        ids = list(instruction_ids)
        pages = [ids[at : at + RECORDS_AT_ONCE] for at in range(0, len(ids), RECORDS_AT_ONCE)]
        found = await asyncio.gather(*(self._records(page) for page in pages))
        return [each for page in found for each in page]

    async def _records(self, ids: list[str]) -> list[BankRecord]:
        def read(answer: Answer) -> list[BankRecord]:
            told = _understood(answer).decode(_Records)
            if told.ids != ids or not {each.id for each in told.records} <= set(ids):
                raise _unreadable(answer)
            return [_record(each, answer) for each in told.records]

        return await self._read("POST", "/v1/records", read, {"ids": ids})

    async def _read(self, method: str, path: str, read: Callable[[Answer], T], body: object = None) -> T:
        """Ask for something without effect; once more when the answer makes no sense."""
        for _ in range(READ_ATTEMPTS_MAX - 1):
            answer = await self._way.call(method, path, body, safe=True)
            try:
                return read(answer)
            except Unanswered as error:
                log.warning("bank_answer_unreadable", code=error.code, status=answer.status)
        return read(await self._way.call(method, path, body, safe=True))

    async def close(self) -> None:
        """Let the connections go."""
        if self._open_way is not None:
            await self._open_way.close()

    @property
    def _way(self) -> Outbound:
        if self._open_way is None:
            raise NotSent("destination_unreachable", "No bank is configured.", destination=NAME)
        return self._open_way


def _account(holding: Holding) -> _Account:
    kind = holding.deposit_type.value
    return _Account(holding.bank_code, holding.branch_code, kind, holding.number, holding.holder)


def _finding(answer: Answer, account_id: str) -> Finding:
    if answer.refused:
        return _FINDINGS.get(_refusal(answer, account_id), Finding.CANNOT_BE_DEBITED)
    if answer.decode(_Confirmed).id != account_id:
        raise _unreadable(answer)
    return Finding.CONFIRMED


def _refusal(answer: Answer, about: str) -> str:
    """The code with which the bank declined. Any other 4xx may be somebody's between us: it says nothing of what the
    bank did."""
    if answer.status == DECLINED:
        return _problem(answer, about)
    if answer.status == CONFLICT and _problem(answer, about):
        raise AssertionError("the bank has another instruction under our id")
    raise _misunderstood(answer)


def _problem(answer: Answer, about: str) -> str:
    """The code of a refusal, which has to name what it is about: an answer may be that to another question."""
    problem = answer.decode(_Problem)
    if problem.id != about:
        raise _unreadable(answer)
    return problem.code


def _understood(answer: Answer) -> Answer:
    if answer.refused:
        raise _misunderstood(answer)
    return answer


def _misunderstood(answer: Answer) -> Unanswered:
    return Unanswered("bank_misunderstands", "The bank does not take our requests.", status=answer.status)


def _report(answer: Answer, instruction_id: str) -> Report:
    standing = answer.decode(_Standing)
    if standing.id != instruction_id:
        raise _unreadable(answer)
    return _reported(standing, answer)


def _record(told: _Recorded, answer: Answer) -> BankRecord:
    kind = InstructionKind.TRANSFER if told.kind == "transfer" else InstructionKind.DEBIT
    return BankRecord(
        instruction_id=told.id,
        kind=kind,
        state=_reported(told, answer).state,
        amount_minor=told.amount,
        bank_reference=told.number,
        booked_minor=told.booked,
    )


def _results(feed: _Feed, answer: Answer) -> Results:
    """What a page tells; an entry that says nothing to us holds up no other."""
    results: list[Result] = []
    places: list[_Place] = []
    unread: list[tuple[str, int]] = []
    for raw in feed.entries:
        place = _decoded(raw, _Place, answer)
        places.append(place)
        if not _OURS.fullmatch(place.id):
            continue
        try:
            results.append(Result(place.id, _reported(_decoded(raw, _Standing, answer), answer)))
        except Unanswered:
            log.error("bank_result_unread", instruction_id=place.id, position=place.position)
            unread.append((place.id, place.position))
    return Results(results, max([feed.after, *(each.position for each in places)]), unread)


def _decoded(raw: msgspec.Raw, kind: type[T], answer: Answer) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(answer) from error


def _reported(standing: _Standing, answer: Answer) -> Report:
    state = _STATES.get(standing.state)
    if state is None:
        raise _unreadable(answer)
    failed = state in (InstructionState.FAILED, InstructionState.RETURNED)
    code = failure_of(standing.code) if failed else None
    return Report(state=state, failure_code=code, bank_reference=standing.number)


def _unreadable(answer: Answer) -> Unanswered:
    return Unanswered("answer_unreadable", "The bank gave an answer that cannot be read.", status=answer.status)
