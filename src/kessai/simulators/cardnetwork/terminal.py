"""What happens at terminals: taps, advices, reversals, repeats, from the books onto the wire and back."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message, Mti, Network, Original, Pan
from kessai.simulators.cardnetwork.books import LATER, Books
from kessai.simulators.cardnetwork.records import TOKYO, Authorization, Declined, Reversal, Tap
from kessai.simulators.cardnetwork.wire import Wire
from kessai.simulators.cardnetwork.wire_faults import WireFaults

ANSWER_WITHIN_S: Final = 2.0
SIGN_ON_S: Final = 10.0
REPEAT_MIN_S: Final = 0.1
REPEAT_MAX_S: Final = 2.0
ANSWERS_KEPT: Final = 100_000
_PROCESSING: Final = {"purchase": "000000", "refund": "200000", "balance": "310000"}
_ENTRY: Final = {"contactless": ("071", "00"), "in_app": ("810", "59")}

Repeated = Literal["0100", "0120", "0400", "0420"]
Course = Callable[[Authorization], Coroutine[Any, Any, None]]


class Terminals:
    """Every terminal of the network."""

    def __init__(self, books: Books, wire_faults: WireFaults, *, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self.wire = Wire(wire_faults, network_message=self._network_message, late=books.hear_late)
        self.answer_within_s = answer_within_s
        self._books = books
        self._faults = wire_faults
        self._under_way: set[asyncio.Task[Any]] = set()
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self._taken_up = False

    def _network_message(self, network: Network) -> Message:
        at = iso8583.transmitted_at(self._books.now())
        return Message(mti=Mti.NETWORK, transmitted=at, stan=self._books.next_stan(), network=network)

    async def connect(
        self,
        host: str,
        port: int,
        *,
        connections: int = 2,
        tls: ssl.SSLContext | None = None,
        within_s: float = SIGN_ON_S,
    ) -> None:
        """Sign on with so many connections, and go on with what an earlier life left; TimeoutError when none is let in.

        They are kept up from now on, also after such an error.
        """
        await self.wire.connect(host, port, connections=connections, tls=tls)
        self.take_up()
        async with asyncio.timeout(within_s):
            await self.wire.until_signed_on(connections)

    # -- requests -----------------------------------------------------------------------------------------------

    async def tap(self, tap: Tap) -> Authorization:
        """A 0100 and its outcome (at once, without `wait`); Declined when there is no such card."""
        return await self._started(self._books.open(tap), tap.wait, self._authorize)

    async def advise(self, tap: Tap) -> Authorization:
        """A 0120, repeated until it is answered."""
        return await self._started(self._books.open(tap, advice=True), tap.wait, self._advise)

    async def _started(self, authorization: Authorization, wait: bool, course: Course) -> Authorization:
        task = self._start(course(authorization))
        if wait:
            await asyncio.shield(task)
        return authorization

    def _start(self, course: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(course)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def settled(self) -> None:
        """Wait until nothing is under way, repeated reversals included."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def stop(self) -> None:
        """Let go of what is under way; it is taken up from the books the next time."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _authorize(self, authorization: Authorization) -> None:
        message = request_of(authorization, self._books.pan_of(authorization))
        fault = self._faults.take("request", message.mti, authorization.card)
        if fault is not None and fault.do == "reversal_first":
            await self._reverse_until_answered(authorization, self._books.reverse(authorization, None, advice=True))
            fault = None
        answered = await self.wire.exchange(
            message, about=authorization.id, answer_within_s=self.answer_within_s, fault=fault
        )
        if answered is None:
            self._books.give_up(authorization)
            reversal = self._books.reverse(authorization, None, advice=True)
            self._start(self._reverse_until_answered(authorization, reversal))
            return
        answer, data = answered
        self._keep(authorization.id + "0100", data)
        self._books.answer(authorization, answer.response or "", answer.approval_code)

    async def _advise(self, authorization: Authorization) -> None:
        message = request_of(authorization, self._books.pan_of(authorization))
        answer, data = await self._until_answered(message, message, authorization)
        self._keep(authorization.id + "0120", data)
        self._books.answer(authorization, answer.response or "", None)

    async def reverse(self, authorization_id: str, amount: int | None, *, advice: bool) -> Reversal:
        """Take an authorization back, wholly or in part."""
        authorization = self._books.find(authorization_id)
        reversal = self._books.reverse(authorization, amount, advice=advice)
        await asyncio.shield(self._start(self._reverse_until_answered(authorization, reversal)))
        return reversal

    async def _reverse_until_answered(self, authorization: Authorization, reversal: Reversal) -> None:
        pan = self._books.pan_of(authorization)
        first, again = (reversal_of(authorization, reversal, pan, repeat=each) for each in (False, True))
        if reversal.response is not None:
            first = again
        answer, data = await self._until_answered(first, again, authorization)
        self._keep(f"{authorization.id}{'0420' if reversal.advice else '0400'}", data)
        self._books.answer_reversal(authorization, reversal, answer.response or "")

    async def _until_answered(
        self, message: Message, again: Message, authorization: Authorization
    ) -> tuple[Message, bytes]:
        """Sent at growing intervals until there is an answer that is one."""
        pause_s = REPEAT_MIN_S
        while True:
            answered = await self._exchange(message, authorization)
            if answered is not None and answered[0].response not in LATER:
                return answered
            await asyncio.sleep(pause_s)
            message, pause_s = again, min(pause_s * 2, REPEAT_MAX_S)

    async def _exchange(self, message: Message, authorization: Authorization) -> tuple[Message, bytes] | None:
        fault = self._faults.take("request", message.mti, authorization.card)
        return await self.wire.exchange(message, about="", answer_within_s=self.answer_within_s, fault=fault)

    def take_up(self) -> None:
        """Go on with what an earlier life left: requests without an end are given up, reversals sent again. Once."""
        if self._taken_up:
            return
        self._taken_up = True
        for each in filter(self._books.knows_number, list(self._books.authorizations.values())):
            if each.state == "sent" and each.kind == "advice":
                self._start(self._advise(each))
            elif each.state == "sent":
                self._books.give_up(each)
                self._books.reverse(each, None, advice=True)
        for authorization, reversal in list(self._books.unanswered_reversals()):
            if not self._books.knows_number(authorization):
                continue
            self._start(self._reverse_until_answered(authorization, reversal))

    # -- once more ----------------------------------------------------------------------------------------------

    async def repeat(self, authorization_id: str, mti: Repeated) -> dict[str, Any]:
        """The same message once more, and whether its answer is the same bytes (null: the first is forgotten)."""
        authorization = self._books.find(authorization_id)
        answered = await self._exchange(self._again(authorization, mti), authorization)
        if answered is None:
            return {"response": None, "same": None}
        first = self._answers.get(authorization.id + mti)
        return {"response": answered[0].response, "same": None if first is None else first == answered[1]}

    def _again(self, authorization: Authorization, mti: Repeated) -> Message:
        pan = self._books.pan_of(authorization)
        if mti in ("0100", "0120"):
            if (mti == "0120") != (authorization.kind == "advice"):
                raise Declined("message_not_found", 404)
            return request_of(authorization, pan)
        found = [each for each in authorization.reversals if each.advice == (mti == "0420")]
        if not found:
            raise Declined("message_not_found", 404)
        return reversal_of(authorization, found[-1], pan, repeat=True)

    def _keep(self, name: str, data: bytes) -> None:
        self._answers[name] = data
        if len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)

    async def echo(self) -> str | None:
        """An echo on a signed-on connection; its response."""
        await self.wire.until_signed_on()
        answer = await self.wire.signed_on[0].ask(Network.ECHO)
        return None if answer is None else answer.response

    async def raw(self, data: bytes) -> None:
        """Bytes onto a signed-on connection."""
        await self.wire.until_signed_on()
        self.wire.signed_on[0].write(data)


def request_of(authorization: Authorization, pan: str) -> Message:
    """The 0100 or 0120 of an authorization; the same each time."""
    local = authorization.at.astimezone(TOKYO)
    entry_mode, condition = _ENTRY[authorization.entry]
    advice = authorization.kind == "advice"
    return Message(
        mti=Mti.ADVICE if advice else Mti.AUTHORIZATION,
        pan=Pan(pan),
        processing_code=_PROCESSING[authorization.processing],
        amount=authorization.amount,
        transmitted=authorization.transmitted,
        stan=authorization.stan,
        local_time=f"{local:%H%M%S}",
        local_date=f"{local:%m%d}",
        expiry=authorization.expiry,
        mcc=authorization.mcc,
        entry_mode=entry_mode,
        condition=condition,
        acquirer=authorization.acquirer,
        rrn=authorization.rrn,
        approval_code=f"N{authorization.stan[1:]}" if advice else None,
        response="00" if advice else None,
        terminal=authorization.terminal,
        merchant=authorization.merchant,
        place=iso8583.name_and_location(authorization.name, authorization.city, authorization.country),
        currency=authorization.currency,
    )


def reversal_of(authorization: Authorization, reversal: Reversal, pan: str, *, repeat: bool) -> Message:
    """The message of a reversal, or its repeat."""
    types = {
        (False, False): Mti.REVERSAL,
        (False, True): Mti.REVERSAL_REPEAT,
        (True, False): Mti.REVERSAL_ADVICE,
        (True, True): Mti.REVERSAL_ADVICE_REPEAT,
    }
    return Message(
        mti=types[reversal.advice, repeat],
        pan=Pan(pan),
        processing_code=_PROCESSING[authorization.processing],
        amount=authorization.amount,
        transmitted=reversal.transmitted,
        stan=reversal.stan,
        mcc=authorization.mcc,
        acquirer=authorization.acquirer,
        rrn=authorization.rrn,
        approval_code=authorization.approval_code,
        terminal=authorization.terminal,
        merchant=authorization.merchant,
        currency=authorization.currency,
        original=Original(
            mti=Mti.ADVICE if authorization.kind == "advice" else Mti.AUTHORIZATION,
            stan=authorization.stan,
            transmitted=authorization.transmitted,
            acquirer=f"{authorization.acquirer:0>11}",
        ),
        replacement_amount=reversal.stands or None,
    )
