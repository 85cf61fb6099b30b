"""gRPC against the running platform: whatever arrives, the answer is a verb's or a refusal with its code."""

# grpcio and protobuf ship no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kessai.apps.wiring import DOORS
from kessai.foundation.contract import BoundVerb, Message, verbs_of
from kessai.foundation.door.problem import error_of
from kessai.foundation.door.proto import Codec, method_of, package_of, pool_of, service_of
from kessai.foundation.door.rpc import ERROR_KEY
from kessai.foundation.door.shape import Field, Kind, Many, fields_of
from tests.contracts.live import Live, live_platform, make_things

EXAMPLES = 60
"""Of each verb; 300 now and then, by hand."""
_UNCHECKED: Any = list(HealthCheck)
_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["JPY", "funds", "cus:known", "acc_" + "0" * 32, "x\n", "a\0b", "2026-04-01T00:00:00Z", "1.5"]),
)
_INTEGERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 100))


@pytest.fixture
def live(database_url: str) -> Generator[Live]:
    with live_platform(database_url) as platform:
        yield platform


def _values(field: Field, known: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    match field.kind:
        case Kind.INTEGER:
            found: st.SearchStrategy[Any] = _INTEGERS
        case Kind.BOOLEAN:
            found = st.booleans()
        case Kind.BYTES:
            found = st.binary(max_size=20)
        case Kind.MESSAGE:
            assert field.message is not None
            found = _wires(field.message, known, depth + 1)
        case _:
            likely = [*field.values, *(str(known[field.name]) for _ in range(field.name in known))]
            found = st.one_of(_TEXTS, st.sampled_from(likely)) if likely else _TEXTS
    match field.many:
        case Many.ONE:
            return found
        case Many.LIST:
            return st.lists(found, max_size=3)
        case Many.MAP:
            return st.dictionaries(_TEXTS, found, max_size=3)


def _wires(message: type[Message], known: dict[str, Any], depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Plain contents of a protobuf message: any values of the right wire types."""
    fields = [field for field in fields_of(message) if depth < 3 or field.kind is not Kind.MESSAGE]
    return st.fixed_dictionaries({}, optional={field.name: _values(field, known, depth) for field in fields})


def _fill(wire: Any, message: type[Message], plain: dict[str, Any]) -> None:
    for field in fields_of(message):
        if field.name not in plain:
            continue
        value = plain[field.name]
        holder, name = (getattr(wire, field.name), "values") if field.boxed else (wire, field.name)
        if field.kind is not Kind.MESSAGE:
            if field.many is Many.ONE:
                setattr(holder, name, value)
            elif field.many is Many.LIST:
                getattr(holder, name).extend(value)
            else:
                getattr(holder, name).update(value)
        else:
            assert field.message is not None
            for item in value if field.many is Many.LIST else [value]:
                _fill(
                    getattr(holder, name).add() if field.many is Many.LIST else getattr(holder, name),
                    field.message,
                    item,
                )


def test_whatever_arrives_is_answered_or_refused_with_a_code(live: Live) -> None:
    known = make_things(live)
    outcomes: Counter[str] = Counter()
    with grpc.insecure_channel(live.grpc_target) as channel:
        for door in DOORS:
            pool = pool_of([door])
            for bound in verbs_of(door):
                _explore(channel, live, door, pool, bound, known, outcomes)
    assert outcomes["OK"] > 20
    assert outcomes["invalid_request"] > 20


def _explore(
    channel: Any, live: Live, door: type, pool: Any, bound: BoundVerb, known: dict[str, Any], outcomes: Counter[str]
) -> None:
    path = f"/{service_of(door)}/{method_of(bound)}"
    call = channel.unary_stream(path) if bound.spec.stream else channel.unary_unary(path)
    answers = Codec(pool, package_of(door), bound.response)

    def ask(raw: bytes, key: str) -> None:
        metadata = (("authorization", f"Bearer {live.secret}"), ("idempotency-key", key))
        try:
            found = call(raw, metadata=metadata, timeout=30)
            for answer in found if bound.spec.stream else [found]:
                answers.read_answer(answer)
            outcomes["OK"] += 1
        except grpc.RpcError as refusal:
            outcomes[_code_of(refusal, bound)] += 1

    @seed(20260401)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=_UNCHECKED)
    @given(plain=_wires(bound.request, known), noise=st.binary(max_size=40), key=st.text("abc", min_size=1, max_size=9))
    def explore(plain: dict[str, Any], noise: bytes, key: str) -> None:
        wire = Codec(pool, package_of(door), bound.request).new_wire()
        _fill(wire, bound.request, plain)
        ask(wire.SerializeToString(), key)
        ask(wire.SerializeToString() + noise, key)

    explore()


def _code_of(refusal: Any, bound: BoundVerb) -> str:
    trailers = dict(refusal.trailing_metadata() or ())
    assert ERROR_KEY in trailers, (bound.spec.name, refusal)
    error = error_of(trailers[ERROR_KEY])
    assert error is not None
    assert error.http_status < 500, (bound.spec.name, error)
    assert refusal.code().name == error.grpc_status
    return error.code
