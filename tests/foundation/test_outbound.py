"""The way out: what happened is told apart, and a destination that hangs or fails harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.outbound import (
    Answer,
    Breaker,
    BreakerState,
    Bulkhead,
    Destination,
    NotSent,
    Outbound,
    Unanswered,
)
from kessai.foundation.outbound.bulkhead import BulkheadFull

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a": 1}'


def reply(status: str, body: bytes = b"{}") -> bytes:
    """A whole response."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class Party:
    """A party outside that answers each request with the next of its scripts; the last one for ever."""

    def __init__(self, *scripts: Any) -> None:
        self.scripts = list(scripts)
        self.requests = 0
        self.url = ""
        self.hung = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(length[0] if length else 0)
                self.requests += 1
                script: bytes | str = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                if script == "hang":
                    self.hung.set()
                    await asyncio.sleep(3600)
                if not isinstance(script, bytes):
                    break
                writer.write(script)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def party(*scripts: Any) -> AsyncGenerator[Party]:
    """One that listens on loopback."""
    made = Party(*scripts)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(made.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def way_to(url: str, **settings: Any) -> AsyncGenerator[Outbound]:
    """The way to a party."""
    known: dict[str, Any] = {"timeout_s": 0.4, **settings}
    outbound = Outbound(Destination(name="party", base_url=url, **known))
    try:
        yield outbound
    finally:
        await outbound.close()


def unused_url() -> str:
    """Where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


class Body(msgspec.Struct):
    """What the party answers."""

    a: int


# -- what happened ----------------------------------------------------------------------------------------------


async def test_an_answer_is_decoded() -> None:
    async with party(OK) as there, way_to(there.url) as out:
        answer = await out.call("PUT", "/x", {"b": 2})
        assert (answer.status, answer.refused, answer.decode(Body)) == (200, False, Body(1))
        assert (out.counts.answered, out.in_flight) == (1, 0)


async def test_a_refusal_is_an_answer_and_harms_nothing() -> None:
    async with party(reply("422 No", b'{"code": "no"}')) as there, way_to(there.url, breaker_failures=1) as out:
        for _ in range(3):
            assert (await out.call("PUT", "/x")).refused
        assert (out.state, out.counts.refused) == (BreakerState.CLOSED, 3)


async def test_what_cannot_be_reached_was_surely_not_sent() -> None:
    async with way_to(unused_url()) as out:
        with pytest.raises(NotSent) as caught:
            await out.call("PUT", "/x")
        assert caught.value.code == "destination_unreachable"
        assert isinstance(caught.value, Unavailable)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("hang", "no_answer"),
        ("cut", "no_answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "no_answer"),
        (b"\x00\xff no protocol at all\r\n\r\n", "no_answer"),
        (reply("500 Oh"), "destination_failed"),
        (reply("302 Elsewhere"), "destination_failed"),
        (reply("200 OK", b"x" * 2048), "answer_unreadable"),
    ],
)
async def test_what_was_sent_and_not_answered_is_unknown_and_not_sent_again(script: Any, code: str) -> None:
    async with party(script) as there, way_to(there.url, answer_bytes_max=1024) as out:
        with pytest.raises(Unanswered) as caught:
            await out.call("PUT", "/x", {})
        assert caught.value.code == code
        assert isinstance(caught.value, Unknown)
        assert (there.requests, out.in_flight) == (1, 0)


async def test_garbage_is_no_answer() -> None:
    with pytest.raises(Unanswered) as caught:
        Answer("party", 200, b"\x00{").decode(Body)
    assert caught.value.code == "answer_unreadable"


async def test_being_throttled_says_nothing_of_what_was_done() -> None:
    async with party(reply("429 Slow")) as there, way_to(there.url) as out:
        with pytest.raises(Unanswered) as caught:
            await out.call("PUT", "/x")
        assert caught.value.code == "destination_throttles"


async def test_the_callers_deadline_ends_a_call() -> None:
    async with party("hang") as there, way_to(there.url, timeout_s=60) as out:
        token = enter_call(Call(deadline=asyncio.get_running_loop().time() + 0.1))
        try:
            with pytest.raises(Unanswered):
                await out.call("PUT", "/x")
        finally:
            leave_call(token)


async def test_a_caller_who_goes_away_frees_the_slot() -> None:
    async with party("hang") as there, way_to(there.url, timeout_s=60) as out:
        asked = asyncio.create_task(out.call("PUT", "/x"))
        await there.hung.wait()
        assert out.in_flight == 1
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert out.in_flight == 0


# -- repetition -------------------------------------------------------------------------------------------------


async def test_a_call_without_effect_is_repeated_until_it_is_answered() -> None:
    async with party("cut", reply("503 Oh"), "cut", OK) as there, way_to(there.url, timeout_s=5) as out:
        assert (await out.call("GET", "/x", safe=True)).decode(Body) == Body(1)
        assert (there.requests, out.counts.retried) == (4, 3)


async def test_repetitions_are_taken_from_a_budget() -> None:
    settings: dict[str, Any] = {
        "timeout_s": 5,
        "retry_burst": 3,
        "retry_ratio": 0.1,
        "retry_delay_s": 0.001,
        "breaker_failures": 999,
    }
    async with party("cut") as there, way_to(there.url, **settings) as out:
        for _ in range(10):
            with pytest.raises(Unanswered):
                await out.call("GET", "/x", safe=True)
        assert out.counts.retried == 3
        assert there.requests == 13


# -- slots ------------------------------------------------------------------------------------------------------


async def test_hung_calls_hold_no_slot_that_another_destination_could_want() -> None:
    async with (
        party("hang") as hanging,
        party(OK) as well,
        way_to(hanging.url, timeout_s=60, concurrency_max=4, waiting_max=4, waiting_s=60) as stuck,
        way_to(well.url, concurrency_max=4) as out,
    ):
        hung = [asyncio.create_task(stuck.call("PUT", "/x")) for _ in range(8)]
        await hanging.hung.wait()
        answers = await asyncio.gather(*(out.call("PUT", "/x") for _ in range(4)))
        assert [each.status for each in answers] == [200] * 4
        assert (stuck.in_flight, out.in_flight) == (4, 0)
        with pytest.raises(NotSent) as caught:
            await stuck.call("PUT", "/x")
        assert caught.value.code == "destination_busy"
        for each in hung:
            each.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        assert stuck.in_flight == 0


async def test_a_slot_goes_to_who_waits_longest_and_is_not_lost_with_who_leaves() -> None:
    bulkhead = Bulkhead(slots=1, waiting_max=2, waiting_s=60)
    order: list[int] = []
    gate = asyncio.Event()

    async def hold(number: int) -> None:
        async with bulkhead:
            order.append(number)
            await gate.wait()

    tasks = [asyncio.create_task(hold(number)) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(BulkheadFull):
        await hold(3)
    tasks[1].cancel()
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (order, bulkhead.taken) == ([0, 2], 0)


async def test_who_waits_too_long_for_a_slot_is_told_so() -> None:
    bulkhead = Bulkhead(slots=1, waiting_max=2, waiting_s=0.01)
    async with bulkhead:
        with pytest.raises(BulkheadFull):
            async with bulkhead:
                raise AssertionError("there is no slot")
    assert bulkhead.taken == 0


# -- the circuit ------------------------------------------------------------------------------------------------


class Time:
    """Monotonic time by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def breaker(time: Time) -> Breaker:
    """One that opens at the third failure of the last five, for about a second."""
    return Breaker(window=5, failures=3, open_s=1.0, open_s_max=4.0, now=time)


def failing(circuit: Breaker, times: int) -> None:
    """So many calls fail."""
    for _ in range(times):
        assert circuit.enter()
        circuit.failed()


def test_the_circuit_opens_only_when_enough_of_the_last_calls_failed() -> None:
    circuit = breaker(Time())
    for _ in range(20):
        failing(circuit, 1)
        for _ in range(3):
            assert circuit.enter()
            circuit.succeeded()
    assert circuit.state is BreakerState.CLOSED
    failing(circuit, 3)
    assert (circuit.state, circuit.enter()) == (BreakerState.OPEN, False)


def test_one_call_tries_an_open_circuit_and_closes_it() -> None:
    time = Time()
    circuit = breaker(time)
    failing(circuit, 3)
    time.now_s = 1.3
    assert [circuit.enter(), circuit.enter()] == [True, False]
    circuit.succeeded()
    assert circuit.state is BreakerState.CLOSED
    failing(circuit, 2)
    assert circuit.state is BreakerState.CLOSED


def test_each_trial_that_fails_keeps_it_open_for_longer_up_to_a_limit() -> None:
    time = Time()
    circuit = breaker(time)
    failing(circuit, 3)
    for pause_s in (2.0, 4.0, 4.0, 4.0):
        time.now_s += 5.1
        failing(circuit, 1)
        time.now_s += pause_s * 0.74
        assert not circuit.enter()
        time.now_s += pause_s * 0.52
        assert circuit.admits


def test_a_trial_whose_caller_left_may_be_tried_again() -> None:
    time = Time()
    circuit = breaker(time)
    failing(circuit, 3)
    time.now_s = 1.3
    assert circuit.enter()
    circuit.gave_up()
    assert circuit.enter()


async def test_a_destination_that_fails_is_left_alone_and_found_again_when_it_recovers() -> None:
    settings: dict[str, Any] = {"breaker_window": 4, "breaker_failures": 4, "breaker_open_s": 0.05}
    async with party(*["cut"] * 4, OK) as there, way_to(there.url, **settings) as out:
        for _ in range(4):
            with pytest.raises(Unanswered):
                await out.call("PUT", "/x")
        with pytest.raises(NotSent) as caught:
            await out.call("PUT", "/x")
        assert (caught.value.code, there.requests, out.counts.opened) == ("circuit_open", 4, 1)
        with pytest.raises(NotSent):
            out.require_open()
        while True:
            with contextlib.suppress(NotSent):
                assert (await out.call("PUT", "/x")).status == 200
                break
            await asyncio.sleep(0.01)
        assert out.state is BreakerState.CLOSED
        assert there.requests == 5
