"""The card gateway outside: a Protocol, and the one that speaks HTTP to it.

Each instruction carries our id, in the address it is put to; the answer has to name it, or it is no answer. What is
raised: Unavailable (surely nothing was done) or Unknown; everything else is an Outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from kessai.foundation.outbound import Answer, Destination, NotSent, Outbound, OutboundCounts, Unanswered
from kessai.services.cardgateway.api import OperationKind as K
from kessai.services.cardgateway.domain import GatewayRecord, Instruction, Outcome, Plastic, unavailable, word_for

REFUSED = (402, 409, 422)
"""The gateway understood, and says no; any other 4xx says nothing of what was done."""

RECORDS_AT_ONCE = 100
"""Authorizations of one question about records."""
TIMEOUT_S = 3.0
"""One call: well below the time that a caller is kept waiting, so that there is time to inquire."""


def destination_of(url: str | None, key: str) -> Destination | None:
    """The gateway at an address, with our credential; None when there is none."""
    if url is None:
        return None
    return Destination(
        name="cardgateway", base_url=url, headers={"authorization": f"Bearer {key}"}, timeout_s=TIMEOUT_S
    )


class Gateway(Protocol):
    """What this service needs of a card gateway."""

    def require_open(self) -> None:
        """Raise Unavailable when it would not even be tried."""
        ...

    async def register(self, card_id: str, form_token: str) -> Plastic:
        """Keep a card under our id; the same id again gives the same card."""
        ...

    async def find_card(self, card_id: str) -> Plastic | None:
        """What became of a registration; None when it never arrived."""
        ...

    async def forget(self, card_id: str) -> None:
        """Forget a card; nothing happens the second time."""
        ...

    async def instruct(self, instruction: Instruction) -> Outcome:
        """Do it, once for its id. A void is remembered even where there is nothing to void."""
        ...

    async def inquire(self, instruction: Instruction) -> Outcome | None:
        """What became of an instruction; None when it has not arrived (so far)."""
        ...

    async def records(self, authorization_ids: Sequence[str]) -> list[GatewayRecord]:
        """The gateway's own records of those authorizations that it knows; without effect."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


class _Operation(msgspec.Struct, frozen=True):
    id: str
    code: str | None = None


class _Authorization(msgspec.Struct, frozen=True):
    id: str
    state: str
    code: str | None = None
    action_url: str | None = None
    challenge: str | None = None
    operations: list[_Operation] = []


class _Record(msgspec.Struct, frozen=True):
    id: str
    state: str
    card_token: str
    amount: int
    currency: str
    captured: int
    refunded: int


class _Records(msgspec.Struct, frozen=True):
    ids: list[str]
    records: list[_Record]


class _Card(msgspec.Struct, frozen=True):
    id: str
    card_token: str
    brand: str
    last_four: str
    expiry_month: int
    expiry_year: int


class _Problem(msgspec.Struct, frozen=True):
    code: str
    id: str = ""
    operation_id: str = ""


class HttpGateway:
    """A gateway over HTTP and JSON, as the simulator is one."""

    def __init__(self, destination: Destination | None) -> None:
        self._outbound = None if destination is None else Outbound(destination)

    @property
    def counts(self) -> OutboundCounts:
        """What has become of calls."""
        return OutboundCounts() if self._outbound is None else self._outbound.counts

    def require_open(self) -> None:
        """Raise Unavailable when it would not even be tried."""
        try:
            self._out.require_open()
        except NotSent as error:
            raise unavailable() from error

    async def register(self, card_id: str, form_token: str) -> Plastic:
        """Keep a card under our id; the same id again gives the same card."""
        answer = await self._out.call("PUT", f"/v1/cards/{card_id}", {"form_token": form_token})
        return _plastic(answer, card_id)

    async def find_card(self, card_id: str) -> Plastic | None:
        """What became of a registration; None when it never arrived."""
        answer = await self._out.call("GET", f"/v1/cards/{card_id}", safe=True)
        return None if _is_missing(answer, "card_not_found") else _plastic(answer, card_id)

    async def forget(self, card_id: str) -> None:
        """Forget a card; nothing happens the second time."""
        answer = await self._out.call("DELETE", f"/v1/cards/{card_id}", safe=True)
        if answer.refused:
            raise _estranged(answer)

    async def instruct(self, instruction: Instruction) -> Outcome:
        """Do it, once for its id."""
        path = f"/v1/authorizations/{instruction.authorization_id}"
        if instruction.kind is not K.AUTHORIZE:
            path += f"/{instruction.operation_id}/{instruction.kind.value}"
        answer = await self._out.call("PUT", path, _body(instruction))
        if answer.refused:
            return _refused(answer, instruction)
        authorization = _authorization(answer, instruction)
        outcome = _outcome(authorization, instruction)
        if outcome is None:
            raise _unfit(answer)
        return outcome

    async def inquire(self, instruction: Instruction) -> Outcome | None:
        """What became of an instruction; None when it has not arrived (so far)."""
        answer = await self._out.call("GET", f"/v1/authorizations/{instruction.authorization_id}", safe=True)
        if _is_missing(answer, "authorization_not_found"):
            return None
        if answer.refused:
            raise _estranged(answer)
        return _outcome(_authorization(answer, instruction), instruction)

    async def records(self, authorization_ids: Sequence[str]) -> list[GatewayRecord]:
        """The gateway's own records of those authorizations that it knows; without effect."""
        ids = list(authorization_ids)
        pages = [ids[at : at + RECORDS_AT_ONCE] for at in range(0, len(ids), RECORDS_AT_ONCE)]
        found = await asyncio.gather(*(self._records(page) for page in pages))
        return [each for page in found for each in page]

    async def _records(self, ids: list[str]) -> list[GatewayRecord]:
        answer = await self._out.call("POST", "/v1/records", {"ids": ids}, safe=True)
        if answer.refused:
            raise _estranged(answer)
        told = answer.decode(_Records)
        if told.ids != ids or not {each.id for each in told.records} <= set(ids):
            raise _unfit(answer)
        return [_record(each) for each in told.records]

    async def close(self) -> None:
        """Let the connections go."""
        if self._outbound is not None:
            await self._outbound.close()

    @property
    def _out(self) -> Outbound:
        if self._outbound is None:
            raise unavailable()
        return self._outbound


def _body(instruction: Instruction) -> dict[str, Any]:
    match instruction.kind:
        case K.AUTHORIZE:
            return {
                "card_token": instruction.card_token,
                "amount": instruction.amount_minor,
                "currency": instruction.asset,
                "return_url": instruction.return_url,
            }
        case K.CAPTURE:
            return {"amount": instruction.amount_minor, "final": instruction.final}
        case K.REFUND:
            return {"amount": instruction.amount_minor}
        case K.COMPLETE | K.VOID:
            return {}


# -- what answers mean --------------------------------------------------------------------------------------------


def _authorization(answer: Answer, instruction: Instruction) -> _Authorization:
    authorization = answer.decode(_Authorization)
    if authorization.id != instruction.authorization_id:
        raise _unfit(answer)
    return authorization


def _outcome(authorization: _Authorization, instruction: Instruction) -> Outcome | None:
    """What the gateway's view of an authorization says of an instruction; None: nothing."""
    if instruction.kind is K.AUTHORIZE:
        return _outcome_of_authorization(authorization)
    for operation in authorization.operations:
        if operation.id == instruction.operation_id:
            return Outcome() if operation.code is None else _no(operation.code)
    return None


def _outcome_of_authorization(authorization: _Authorization) -> Outcome | None:
    match authorization.state:
        case "authorized" | "captured":
            return Outcome()
        case "requires_action":
            return Outcome(action_url=authorization.action_url or "")
        case "refused":
            return _no(authorization.code or "card_declined")
        case "voided":
            return Outcome(aborted=True, refusal_code="authorization_voided")
        case _:
            return None


def _refused(answer: Answer, instruction: Instruction) -> Outcome:
    if answer.status not in REFUSED:
        raise _estranged(answer)
    problem = answer.decode(_Problem)
    named = problem.operation_id or problem.id
    if named != instruction.operation_id or problem.id != instruction.authorization_id:
        raise _unfit(answer)
    if problem.code == "authorization_voided":
        return Outcome(aborted=True, refusal_code=problem.code)
    return _no(problem.code)


def _no(gateway_code: str) -> Outcome:
    ours, theirs = word_for(gateway_code)
    return Outcome(refusal_code=ours, gateway_code=theirs)


def _plastic(answer: Answer, card_id: str) -> Plastic:
    if answer.refused:
        if answer.status not in REFUSED:
            raise _estranged(answer)
        problem = answer.decode(_Problem)
        if problem.id != card_id:
            raise _unfit(answer)
        ours, theirs = word_for(problem.code)
        return Plastic(refusal_code=ours, gateway_code=theirs)
    card = answer.decode(_Card)
    if card.id != card_id:
        raise _unfit(answer)
    return Plastic(
        card_token=card.card_token,
        brand=card.brand,
        last_four=card.last_four,
        expiry_month=card.expiry_month,
        expiry_year=card.expiry_year,
    )


def _record(told: _Record) -> GatewayRecord:
    return GatewayRecord(
        authorization_id=told.id,
        card_token=told.card_token,
        state=told.state,
        amount_minor=told.amount,
        asset=told.currency,
        captured_minor=told.captured,
        refunded_minor=told.refunded,
    )


def _is_missing(answer: Answer, code: str) -> bool:
    return answer.status == 404 and answer.decode(_Problem).code == code


def _unfit(answer: Answer) -> Unanswered:
    """An answer to something else: two on one line, or a gateway out of step."""
    return Unanswered("answer_unfit", "The gateway answered something else.", status=answer.status)


def _estranged(answer: Answer) -> Unanswered:
    """No refusal that the gateway documents: it may be somebody's between us, and says nothing of what was done."""
    return Unanswered("card_gateway_estranged", "The card gateway does not accept our calls.", status=answer.status)
