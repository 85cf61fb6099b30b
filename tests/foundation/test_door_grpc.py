"""gRPC's own: standard protobuf for anyone, reflection, health, metadata, limits."""

# grpcio and protobuf ship no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.door import carried_to_completion, close_client, grpc_client, grpc_server, sending
from kessai.foundation.door.problem import error_of
from kessai.foundation.door.rpc import ERROR_KEY
from kessai.foundation.errors import Forbidden, Invalid, OperatorError, PaymentError, Refused, Unavailable, Unknown
from tests.foundation.demo_door import (
    CreateThing,
    CreateThings,
    Demo,
    DemoService,
    ExportThings,
    ListThings,
    Secret,
    authenticate,
)
from tests.foundation.door_ways import grpc_served

CREATE = "/kessai.demo.v1.Demo/CreateThing"
METADATA = (("authorization", "Bearer writer"), ("idempotency-key", "k"))


async def _take(items: AsyncIterator[object], into: list[object]) -> None:
    async for item in items:
        into.append(item)  # noqa: PERF401 - what came before an error is wanted, too


@pytest.fixture
def service() -> DemoService:
    return DemoService()


@pytest.fixture
async def channel(service: DemoService) -> AsyncIterator[Any]:
    async with grpc_served(service) as target, grpc.aio.insecure_channel(target) as opened:
        yield opened


async def _refusal(call: Any) -> tuple[Any, PaymentError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers: dict[str, Any] = dict(caught.value.trailing_metadata() or ())
    error = error_of(trailers[ERROR_KEY])
    assert error is not None
    assert trailers["x-request-id"]
    return caught.value.code(), error


async def _reflected(channel: Any, service_name: str) -> Any:
    """A descriptor pool as reflection tells it."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service_name)
    pool = descriptor_pool.DescriptorPool()
    async for answer in stub.ServerReflectionInfo(iter([request])):
        for serialized in answer.file_descriptor_response.file_descriptor_proto:
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(serialized))
    return pool


async def test_a_stranger_can_call_with_what_reflection_says(channel: Any) -> None:
    pool = await _reflected(channel, "kessai.demo.v1.Demo")
    method = pool.FindServiceByName("kessai.demo.v1.Demo").FindMethodByName("CreateThing")
    request_class = message_factory.GetMessageClass(method.input_type)
    answer_class = message_factory.GetMessageClass(method.output_type)
    request = request_class(name="it", amount_minor=5, labels={"a": "b"}, due_at="2026-04-01T09:00:00+09:00")
    request.parts.add(name="p", amount_minor=1)
    request.aliases.values.append("other")
    call = channel.unary_unary(
        CREATE, request_serializer=request_class.SerializeToString, response_deserializer=answer_class.FromString
    )
    answer = await call(request, metadata=METADATA)
    assert (answer.name, answer.amount_minor, dict(answer.labels)) == ("it", 5, {"a": "b"})
    assert answer.due_at == "2026-04-01T00:00:00Z"
    assert answer.capture  # left out, so its default
    assert answer.parts[0].name == "p"
    assert list(answer.aliases.values) == ["other"]
    assert not answer.HasField("note")
    assert not answer.HasField("best")


async def test_reflection_and_health_need_no_key(channel: Any) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    names: set[str] = set()
    async for answer in stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")])):
        names |= {service.name for service in answer.list_services_response.service}
    assert "kessai.demo.v1.Demo" in names
    assert "grpc.health.v1.Health" in names
    await _reflected(channel, "grpc.health.v1.Health")
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "kessai.demo.v1.Demo"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\xff", "malformed_protobuf"),
        (b"\x0a\x02it\x10\x01\xf8\x07\x01", "unknown_field"),  # field 127
        (b"\x0a\x02it\x10\x01\x1a\x08\x0a\x01p\x10\x01\xf8\x07\x01", "unknown_field"),  # the same within a part
        (b"\x0a\x02\xff\xfe\x10\x01", "malformed_protobuf"),  # a text that is not UTF-8
        (b"", "invalid_request"),
        (b"\x0a\x02it\x10\x00", "invalid_request"),
    ],
)
async def test_bytes_of_the_wrong_form_are_refused(channel: Any, service: DemoService, raw: bytes, code: str) -> None:
    status, error = await _refusal(channel.unary_unary(CREATE)(raw, metadata=METADATA))
    assert (status, type(error), error.code) == (grpc.StatusCode.INVALID_ARGUMENT, Invalid, code)
    assert service.calls == []


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 8 * 1024 * 1024])
async def test_a_request_above_the_limit_is_refused(channel: Any, size: int) -> None:
    status, error = await _refusal(channel.unary_unary(CREATE)(b" " * size, metadata=METADATA))
    assert (status, error.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "body_too_large")


@pytest.mark.parametrize(
    ("metadata", "status", "code"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED, "missing_api_key"),
        ((("authorization", "Bearer nobody"),), grpc.StatusCode.UNAUTHENTICATED, "invalid_api_key"),
        ((("authorization", "Bearer reader"),), grpc.StatusCode.PERMISSION_DENIED, "missing_scope"),
        ((("authorization", "Bearer writer"),), grpc.StatusCode.INVALID_ARGUMENT, "idempotency_key_missing"),
        (
            (("authorization", "Bearer writer"), ("idempotency-key", "a b")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "idempotency_key_malformed",
        ),
    ],
)
async def test_the_door_asks_the_same_as_over_rest(channel: Any, metadata: Any, status: Any, code: str) -> None:
    found, error = await _refusal(channel.unary_unary(CREATE)(b"\xff", metadata=metadata))
    assert (found, error.code) == (status, code)


async def test_the_request_id_returns(service: DemoService) -> None:
    async with grpc_served(service) as target:
        client = grpc_client(Demo, target, "writer")
        with sending(request_id="mine:1") as sent:
            await client.list_things(ListThings(owner="a"))
            assert sent.request_id == "mine:1"
            sent.request_id = None
            await client.list_things(ListThings(owner="a"))
            assert sent.request_id not in (None, "mine:1")
        await close_client(client)


async def test_an_error_too_large_for_metadata_crosses_without_its_details(
    service: DemoService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verbose(request: CreateThing) -> None:
        del request
        raise Refused("insufficient_funds", "There is not enough.", story="x" * 20_000)

    monkeypatch.setattr(service, "create_thing", verbose)
    async with grpc_served(service) as target:
        client = grpc_client(Demo, target, "writer")
        with pytest.raises(Refused) as caught:
            await client.create_thing(CreateThing(name="it", amount_minor=1))
        assert (caught.value.code, caught.value.details) == ("insufficient_funds", {})
        await close_client(client)


async def test_verbs_between_services_carry_the_processing(service: DemoService) -> None:
    async with grpc_served(service) as target:
        client = grpc_client(Demo, target, "service")
        token = enter_call(Call(processing_id="prc_" + "1" * 32))
        assert (await client.tell_secret(Secret(word="a"))).word == "a prc_" + "1" * 32
        leave_call(token)
        await close_client(client)
        client = grpc_client(Demo, target, "writer")
        with pytest.raises(Forbidden):
            await client.tell_secret(Secret(word="a"))
        await close_client(client)


async def test_a_caller_who_leaves_does_not_stop_the_work(service: DemoService) -> None:
    async with grpc_served(service) as target:
        client = grpc_client(Demo, target, "writer")
        task = asyncio.create_task(client.create_thing(CreateThing(name="slow", amount_minor=1)))
        await service.begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await carried_to_completion(0.01)
        service.release.set()
        assert await carried_to_completion(5)
        await close_client(client)
    assert service.finished == 1


async def test_the_deadline_of_the_call_being_served_is_passed_on(service: DemoService) -> None:
    async with grpc_served(service) as target:
        client = grpc_client(Demo, target, "writer")
        token = enter_call(Call(deadline=asyncio.get_running_loop().time() + 5))
        await client.create_thing(CreateThing(name="it", amount_minor=1))
        leave_call(token)
        deadline = service.calls[-1].deadline
        assert deadline is not None
        assert deadline < asyncio.get_running_loop().time() + 6
        await close_client(client)


async def test_a_stream_that_breaks_is_an_error_and_not_an_end(service: DemoService) -> None:
    async with grpc_served(service) as target:
        client = grpc_client(Demo, target, "writer")
        found: list[object] = []
        with pytest.raises(Unknown):
            await _take(client.export_things(ExportThings(count=10, fail_after=5)), found)
        assert len(found) == 5
        await close_client(client)


async def test_nobody_listening_is_unavailable_for_a_question_and_unknown_for_a_change() -> None:
    client = grpc_client(Demo, "127.0.0.1:9", "writer")
    with pytest.raises(Unavailable):
        await client.list_things(ListThings(owner="a"))
    with pytest.raises(Unknown):
        await client.create_things(CreateThings(things=[]))
    await close_client(client)


async def test_a_taken_port_is_said_in_one_sentence(service: DemoService) -> None:
    async with grpc_served(service) as target:
        port = int(target.rpartition(":")[2])
        with pytest.raises(OperatorError, match="cannot listen"):
            grpc_server([(Demo, service)], authenticate=authenticate, host="127.0.0.1", port=port)
