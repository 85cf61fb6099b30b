"""What is told of a door: its OpenAPI document, its page, its `.proto`; and the types that may cross it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from kessai.foundation.contract import Message
from kessai.foundation.door import DoorMetrics
from kessai.foundation.door.openapi import openapi_bytes
from kessai.foundation.door.page import docs_page
from kessai.foundation.door.proto import proto_text
from kessai.foundation.door.routing import Routes
from kessai.foundation.door.shape import fields_of
from tests.foundation.demo_door import Demo


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return msgspec.json.decode(openapi_bytes([Demo]))


def _operation(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (
        operation
        for operations in document["paths"].values()
        for operation in operations.values()
        if operation["operationId"] == name
    )
    return found


def test_every_public_verb_is_told_and_no_other(document: dict[str, Any]) -> None:
    told = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert told == {
        "create_thing", "get_thing", "list_things", "update_thing", "settle_thing", "create_things", "export_things",
    }  # fmt: skip
    assert "Secret" not in document["components"]["schemas"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref":\s*"([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in target, reference
            target = target[part]


def test_answers_and_codes_are_told_as_applicable(document: dict[str, Any]) -> None:
    create = _operation(document, "create_thing")
    assert set(create["responses"]) == {
        "201", "400", "401", "403", "409", "413", "415", "422", "500", "503", "504",
    }  # fmt: skip
    assert set(_operation(document, "list_things")["responses"]) == {"200", "400", "401", "403", "500", "503", "504"}
    assert "404" in _operation(document, "get_thing")["responses"]
    refused = create["responses"]["422"]["content"]["application/problem+json"]["schema"]
    assert refused["allOf"][1]["properties"]["code"]["examples"] == ["idempotency_key_reused", "insufficient_funds"]
    assert create["x-error-codes"] == ["insufficient_funds"]
    assert create["security"] == [{"apiKey": ["demo:write"]}]
    stream = _operation(document, "export_things")["responses"]["200"]["content"]
    assert list(stream) == ["application/x-ndjson"]


def test_the_idempotency_key_is_required_where_value_moves(document: dict[str, Any]) -> None:
    required = {"$ref": "#/components/parameters/RequiredIdempotencyKey"}
    assert required in _operation(document, "create_thing")["parameters"]
    assert required not in _operation(document, "update_thing")["parameters"]
    assert document["components"]["parameters"]["RequiredIdempotencyKey"]["required"]


def test_schemas_carry_constraints_formats_and_sentences(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["CreateThing"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name", "amount_minor"]
    amount = schema["properties"]["amount_minor"]
    assert (amount["minimum"], amount["maximum"], amount["format"]) == (1, 10**16, "int64")
    assert schema["properties"]["name"]["description"].startswith("What it is called")
    assert schema["properties"]["due_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}


def test_a_body_is_told_without_what_the_path_says(document: dict[str, Any]) -> None:
    assert set(document["components"]["schemas"]["UpdateThingBody"]["properties"]) == {"labels", "note"}
    assert _operation(document, "update_thing")["parameters"][0]["name"] == "thing_id"


def test_the_page_stands_alone(document: dict[str, Any]) -> None:
    page = docs_page(msgspec.json.encode(document)).decode()
    assert "/v1/demo/things/{thing_id}/settle" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_proto_text_says_what_the_wire_does() -> None:
    text = proto_text(Demo)
    for line in (
        'syntax = "proto3";',
        "package kessai.demo.v1;",
        "  rpc ExportThings(.kessai.demo.v1.ExportThings) returns (stream .kessai.demo.v1.Counted);",
        "  string name = 1;",
        "  // One of RED, BLUE.",
        "  optional string colour = 5;",
        "  repeated Part parts = 3;",
        "  map<string, string> labels = 4;",
        "  optional bool capture = 9;",
        "  Part best = 11;",
        "  AliasesBox aliases = 12;",
        "    repeated string values = 1;",
        "    map<string, string> values = 1;",
    ):
        assert line in text.splitlines(), line


class WithFloat(Message):
    amount: float


class WithUnion(Message):
    value: int | str


class WithAnything(Message):
    value: object


class WithDefaultedNone(Message):
    value: int | None = 5


@pytest.mark.parametrize("message", [WithFloat, WithUnion, WithAnything, WithDefaultedNone])
def test_what_cannot_cross_every_transport_is_refused_when_the_door_is_made(message: type[Message]) -> None:
    with pytest.raises(TypeError, match=message.__name__):
        fields_of(message)


def test_two_verbs_at_one_route_are_refused() -> None:
    routes: Routes[int] = Routes()
    routes.add("GET", "/a/{b}", 1)
    with pytest.raises(ValueError, match="two verbs"):
        routes.add("GET", "/a/{c}", 2)


def test_metrics_count_by_verb_and_status() -> None:
    registry = CollectorRegistry()
    metrics = DoorMetrics(registry)
    for transport in ("rest", "grpc"):
        observe = metrics.observer(transport)
        observe("create_thing", 201, 0.003)
        observe("create_thing", 201, 0.004)
    text = generate_latest(registry).decode()
    assert 'kessai_door_answers_total{status="201",transport="rest",verb="create_thing"} 2.0' in text
    assert 'kessai_door_seconds_count{transport="grpc",verb="create_thing"} 2.0' in text
