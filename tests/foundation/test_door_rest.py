"""REST's own: routes, headers, bodies, problem details."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from kessai.foundation.door import carried_to_completion, rest_app, rest_client
from kessai.foundation.door.rest_client import close_client
from kessai.foundation.errors import Unavailable, Unknown
from tests.foundation.demo_door import (
    THING_ID,
    CreateThing,
    Demo,
    DemoService,
    ExportThings,
    ListThings,
    SettleThing,
    authenticate,
)
from tests.foundation.door_ways import rest_served, served

JSON = {"content-type": "application/json", "idempotency-key": "k", "authorization": "Bearer writer"}
THINGS = "/v1/demo/things"


async def _hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def _bang(_: Request) -> PlainTextResponse:
    raise RuntimeError("the secret reason")


async def _take(items: AsyncIterator[object], into: list[object]) -> None:
    async for item in items:
        into.append(item)  # noqa: PERF401 - what came before an error is wanted, too


@pytest.fixture
def service() -> DemoService:
    return DemoService()


@pytest.fixture
def seen() -> list[tuple[str, int]]:
    return []


@pytest.fixture
async def http(service: DemoService, seen: list[tuple[str, int]]) -> AsyncIterator[httpx.AsyncClient]:
    app = rest_app(
        [(Demo, service)],
        authenticate=authenticate,
        observe=lambda verb, status, _: seen.append((verb, status)),
        extra_routes=[Route("/hello", _hello), Route("/bang", _bang)],
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=JSON) as client:
        yield client


def _refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"] == f"urn:kessai:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["retryable"] is (status in (503, 504) or code in ("request_in_progress", "internal_error"))
    if field is not None:
        assert problem["field"] == field
    return problem


def _with_header(request: httpx.Request, name: bytes, value: str | None) -> httpx.Request:
    raw = [pair for pair in request.headers.raw if pair[0].lower() != name]
    return httpx.Request(
        request.method,
        request.url,
        headers=raw if value is None else [*raw, (name, value.encode())],
        content=request.content,
    )


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "malformed_json", "$"),
        (b"{", "malformed_json", "$"),
        (b"[]", "invalid_request", "$"),
        (b"null", "invalid_request", "$"),
        (b'{"name":"it","amount_minor":1} {}', "malformed_json", "$"),
        (b'\xef\xbb\xbf{"name":"it","amount_minor":1}', "malformed_json", "$"),
        (b'{"name":"it","amount_minor":NaN}', "malformed_json", "$"),
        (b'{"name":"it","amount_minor":Infinity}', "malformed_json", "$"),
        (b'{"name":"\xff","amount_minor":1}', "malformed_json", "$"),
        (b'{"name":"it","amount_minor":1,"note":"\\ud800"}', "malformed_json", "$"),
        (b'{"name":"it"}', "missing_field", "$.amount_minor"),
        (b'{"name":"it","amount_minor":1.0}', "invalid_request", "$.amount_minor"),
        (b'{"name":"it","amount_minor":1e2}', "invalid_request", "$.amount_minor"),
        (b'{"name":"it","amount_minor":"1"}', "invalid_request", "$.amount_minor"),
        (b'{"name":"it","amount_minor":true}', "invalid_request", "$.amount_minor"),
        (b'{"name":"it","amount_minor":0}', "invalid_request", "$.amount_minor"),
        (b'{"name":"it","amount_minor":-5}', "invalid_request", "$.amount_minor"),
        (b'{"name":"it","amount_minor":9223372036854775808}', "invalid_request", "$.amount_minor"),
        (b'{"name":"it","amount_minor":1,"floor_minor":9223372036854775808}', "invalid_request", "$.floor_minor"),
        (b'{"name":"it","amount_minor":1,"floor_minor":-9223372036854775809}', "invalid_request", "$.floor_minor"),
        (b'{"name":"it","amount_minor":1,"nmae":"it"}', "unknown_field", "$.nmae"),
        (b'{"name":"it","amount_minor":1,"parts":[{"name":"a","amount_minor":1,"x":1}]}', "unknown_field",
         "$.parts[0].x"),
        (b'{"name":"it","amount_minor":1,"amount_minor":2}', "duplicate_key", "$.amount_minor"),
        (b'{"name":"it","amount_minor":1, "\\u006eame":"other"}', "duplicate_key", "$.name"),
        (b'{"name":"it","amount_minor":1,"labels":{"a":"1","a":"1"}}', "duplicate_key", "$.labels.a"),
        (b'{"name":"it","amount_minor":1,"parts":[{"name":"a","amount_minor":1},{"name":"a","name":"b"}]}',
         "duplicate_key", "$.parts[1].name"),
        (b'{"name":"it","amount_minor":1,"due_at":"2026-04-01T00:00:00"}', "invalid_request", "$.due_at"),
        (b'{"name":"it","amount_minor":1,"due_at":"\\u00326-04-01T00:00:00"}', "invalid_request", "$.due_at"),
        (b'{"name":"it","amount_minor":1,"due_at":1711929600}', "invalid_request", "$.due_at"),
        (b'{"name":"it","amount_minor":1,"due_at":"0001-01-01T00:00:00+23:59"}', "invalid_request", "$.due_at"),
        (b'{"name":"it","amount_minor":1,"note":"a\\u0000"}', "invalid_request", "$.note"),
        (b'{"name":"it\\n","amount_minor":1}', "invalid_request", "$.name"),
        (b'{"name":"it","amount_minor":1,"labels":{"a":1}}', "invalid_request", "$.labels[...]"),
        (b'{"name":"it","amount_minor":1,"colour":"GREEN"}', "invalid_request", "$.colour"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "too_deep", "$"),
        (b"[" * 200_000, "too_deep", "$"),
        (b"[" * 200_000 + b"]" * 200_000, "too_deep", "$"),
        (b'{"name":"it","amount_minor":' + b"9" * 5000 + b"}", "malformed_json", "$"),
    ],
)  # fmt: skip
async def test_a_body_of_the_wrong_form_is_refused_and_named(
    http: httpx.AsyncClient, service: DemoService, body: bytes, code: str, field: str
) -> None:
    _refused(await http.post(THINGS, content=body), 400, code, field)
    assert service.calls == []


async def test_whitespace_and_escapes_are_only_another_spelling(http: httpx.AsyncClient) -> None:
    body = b' { "name" : "\\u0069t" ,\n "amount_minor" : 1 , "note" : "\\u5c71\\n-" } '
    answer = await http.post(THINGS, content=body)
    assert answer.status_code == 201
    assert answer.json()["note"] == "山\n-"


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=shift_jis"]
)
async def test_a_body_that_is_not_declared_as_json_is_refused(
    http: httpx.AsyncClient, content_type: str | None
) -> None:
    request = http.build_request("POST", THINGS, content=b'{"name":"it","amount_minor":1}')
    del request.headers["content-type"]
    if content_type is not None:
        request.headers["content-type"] = content_type
    _refused(await http.send(request), 415, "unsupported_media_type")


async def test_json_may_name_its_charset(http: httpx.AsyncClient) -> None:
    headers = {"content-type": 'Application/JSON; charset="UTF-8"'}
    answer = await http.post(THINGS, content=b'{"name":"it","amount_minor":1}', headers=headers)
    assert answer.status_code == 201


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536 + 1):
        yield b" " * 65536


@pytest.mark.parametrize(("path", "limit"), [(THINGS, 1024 * 1024), (f"{THINGS}/batch", 8 * 1024 * 1024)])
async def test_a_body_above_the_limit_is_refused_declared_or_chunked(
    http: httpx.AsyncClient, path: str, limit: int
) -> None:
    problem = _refused(await http.post(path, content=b" " * (limit + 1)), 413, "body_too_large")
    assert problem["limit_bytes"] == limit
    _refused(await http.post(path, content=_chunks(limit)), 413, "body_too_large")
    _refused(await http.post(path, content=b" " * limit), 400, "malformed_json")


async def test_a_body_above_the_limit_is_refused_on_a_real_server(service: DemoService) -> None:
    async with rest_served(service) as url, httpx.AsyncClient(base_url=url, headers=JSON) as client:
        _refused(await client.post(THINGS, content=b" " * (1024 * 1024 + 1)), 413, "body_too_large")
        _refused(await client.post(THINGS, content=_chunks(2 * 1024 * 1024)), 413, "body_too_large")
        assert (await client.post(THINGS, json={"name": "it", "amount_minor": 1})).status_code == 201


async def test_a_body_may_not_repeat_what_the_path_says(http: httpx.AsyncClient) -> None:
    body = {"thing_id": THING_ID, "note": "x"}
    _refused(await http.patch(f"{THINGS}/{THING_ID}", json=body), 400, "unknown_field", "$.thing_id")


async def test_a_body_that_may_be_all_defaults_may_be_left_out(http: httpx.AsyncClient) -> None:
    request = http.build_request("POST", f"{THINGS}/{THING_ID}/settle")
    del request.headers["content-type"]
    assert (await http.send(request)).json() == {"count": -1}


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("owner=a&ownr=b", "unknown_field", "$.ownr"),
        ("owner=a&owner=b", "duplicate_key", "$.owner"),
        ("", "missing_field", "$.owner"),
        ("owner=a&limit=ten", "invalid_request", "$.limit"),
        ("owner=a&limit=1.0", "invalid_request", "$.limit"),
        ("owner=a&limit=0", "invalid_request", "$.limit"),
        ("owner=a&limit=99999999999999999999", "invalid_request", "$.limit"),
        ("owner=a&limit=", "invalid_request", "$.limit"),
        ("owner=a&open=yes", "invalid_request", "$.open"),
        ("owner=a&since=yesterday", "invalid_request", "$.since"),
        ("owner=a&since=2026-04-01T00:00:00", "invalid_request", "$.since"),
        ("owner=%00", "invalid_request", "$.owner"),
        ("owner=%ff", "invalid_request", "$"),
        ("owner=a&colour=GREEN", "invalid_request", "$.colour"),
        ("&".join(f"p{n}=1" for n in range(100)), "invalid_request", "$"),
    ],
)
async def test_a_query_of_the_wrong_form_is_refused_and_named(
    http: httpx.AsyncClient, query: str, code: str, field: str
) -> None:
    _refused(await http.get(f"{THINGS}?{query}"), 400, code, field)


async def test_a_query_beside_a_body_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post(f"{THINGS}?dry_run=true", json={"name": "it", "amount_minor": 1})
    _refused(answer, 400, "unknown_field", "$.dry_run")


@pytest.mark.parametrize("segment", ["%ff", "thing", "%00", THING_ID + "%0A", THING_ID.upper(), "a%2Fb"])
async def test_a_path_parameter_of_the_wrong_form_is_refused(http: httpx.AsyncClient, segment: str) -> None:
    _refused(await http.get(f"{THINGS}/{segment}"), 400, "invalid_request")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/demo/thing", f"{THINGS}/{THING_ID}/x", f"{THINGS}/", "/v1/demo/secret"]
)
async def test_an_unknown_route_is_a_problem(http: httpx.AsyncClient, path: str) -> None:
    _refused(await http.get(path), 404, "route_not_found")


async def test_a_wrong_method_names_the_right_ones(http: httpx.AsyncClient) -> None:
    answer = await http.delete(f"{THINGS}/{THING_ID}")
    _refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, PATCH"
    answer = await http.post("/hello")
    _refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_written_segment_wins_over_a_parameter(http: httpx.AsyncClient) -> None:
    assert (await http.post(f"{THINGS}/batch", json={"things": []})).json() == {"count": 0}
    _refused(await http.get(f"{THINGS}/batch"), 405, "method_not_allowed")


async def test_other_routes_are_served_beside_the_verbs(http: httpx.AsyncClient) -> None:
    assert (await http.get("/hello")).text == "hello"
    assert "secret reason" not in (await http.get("/bang")).text
    _refused(await http.get("/bang"), 500, "internal_error")


async def test_without_a_key_the_challenge_is_bearer(http: httpx.AsyncClient, service: DemoService) -> None:
    for authorization, code in (
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("Basic d3JpdGVy", "invalid_api_key"),
        ("Bearer", "invalid_api_key"),
        ("Bearer nobody", "invalid_api_key"),
        ("Bearer w\xff", "invalid_api_key"),
    ):
        request = http.build_request("POST", THINGS, content=b"{")
        answer = await http.send(_with_header(request, b"authorization", authorization))
        _refused(answer, 401, code)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert service.calls == []


async def test_a_missing_scope_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.post(THINGS, content=b"{", headers={"authorization": "bearer reader"})
    assert _refused(answer, 403, "missing_scope")["scope"] == "demo:write"


@pytest.mark.parametrize("key", ["", " ", "a b", "日本", "x" * 256, '"', '""', '"a b"'])
async def test_a_malformed_idempotency_key_is_refused(http: httpx.AsyncClient, key: str) -> None:
    request = http.build_request("POST", THINGS, json={"name": "it", "amount_minor": 1})
    answer = await http.send(_with_header(request, b"idempotency-key", key))
    _refused(answer, 400, "idempotency_key_malformed", "Idempotency-Key")


async def test_value_moves_only_with_an_idempotency_key(http: httpx.AsyncClient, service: DemoService) -> None:
    request = http.build_request("POST", THINGS, json={"name": "it", "amount_minor": 1})
    del request.headers["idempotency-key"]
    _refused(await http.send(request), 400, "idempotency_key_missing", "Idempotency-Key")
    assert service.calls == []


async def test_a_quoted_key_is_the_same_key(http: httpx.AsyncClient) -> None:
    body = {"name": "it", "amount_minor": 1}
    first = await http.post(THINGS, json=body, headers={"idempotency-key": "order-1"})
    assert "idempotent-replayed" not in first.headers
    again = await http.post(THINGS, json=body, headers={"idempotency-key": '"order-1"'})
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)


async def test_a_replayed_refusal_says_so(http: httpx.AsyncClient) -> None:
    body = {"name": "refused", "amount_minor": 1}
    first = _refused(await http.post(THINGS, json=body), 422, "insufficient_funds")
    answer = await http.post(THINGS, json=body)
    again = _refused(answer, 422, "insufficient_funds")
    assert answer.headers["idempotent-replayed"] == "true"
    assert {**first, "request_id": ""} == {**again, "request_id": ""}


async def test_a_request_id_returns_on_every_answer(http: httpx.AsyncClient) -> None:
    for path in (THINGS, f"{THINGS}?owner=a", "/nowhere", "/openapi.json", "/docs", "/bang"):
        answer = await http.get(path, headers={"x-request-id": "my.request:1"})
        assert answer.headers["x-request-id"] == "my.request:1"


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "<script>"])
async def test_a_malformed_request_id_is_replaced(http: httpx.AsyncClient, request_id: str) -> None:
    answer = await http.get(f"{THINGS}?owner=a", headers={"x-request-id": request_id})
    assert answer.headers["x-request-id"] not in ("", request_id)


async def test_a_processing_is_believed_only_from_services(http: httpx.AsyncClient, service: DemoService) -> None:
    processing = "prc_" + "1" * 32
    for number, (api_key, sent, believed) in enumerate(
        [("writer", processing, None), ("service", processing, processing), ("service", "x; drop", None)]
    ):
        headers = {"authorization": f"Bearer {api_key}", "processing-id": sent, "idempotency-key": f"n{number}"}
        await http.post(THINGS, json={"name": "it", "amount_minor": 1}, headers=headers)
        assert service.calls[-1].processing_id == believed


@pytest.mark.parametrize("timeout_ms", ["0", "-1", "1.5", "soon", "300001", "9999999"])
async def test_a_malformed_timeout_is_refused(http: httpx.AsyncClient, timeout_ms: str) -> None:
    answer = await http.get(f"{THINGS}?owner=a", headers={"x-request-timeout-ms": timeout_ms})
    _refused(answer, 400, "invalid_request", "X-Request-Timeout-Ms")


async def test_the_deadline_answers_while_the_work_goes_on(service: DemoService) -> None:
    async with rest_served(service) as url, httpx.AsyncClient(base_url=url, headers=JSON) as client:
        body = {"name": "slow", "amount_minor": 1}
        answer = await client.post(THINGS, json=body, headers={"x-request-timeout-ms": "50"})
        _refused(answer, 504, "deadline_exceeded")
        assert answer.headers["retry-after"] == "1"
        _refused(await client.post(THINGS, json=body), 409, "request_in_progress")
        service.release.set()
        await service.done.wait()
        answer = await client.post(THINGS, json=body)
        assert (answer.status_code, answer.headers["idempotent-replayed"]) == (201, "true")
    assert await carried_to_completion(1)


async def test_a_caller_who_leaves_does_not_stop_the_work(service: DemoService) -> None:
    async with rest_served(service) as url:
        async with httpx.AsyncClient(base_url=url, headers=JSON) as client:
            task = asyncio.create_task(client.post(THINGS, json={"name": "slow", "amount_minor": 1}))
            await service.begun.wait()
            task.cancel()
        service.release.set()
        await service.done.wait()
    assert service.finished == 1


async def test_an_answer_cut_short_is_noticed(service: DemoService) -> None:
    async with rest_served(service) as url:
        client = rest_client(Demo, url, "writer")
        found: list[object] = []
        with pytest.raises(Unavailable) as caught:
            await _take(client.export_things(ExportThings(count=20_000, fail_after=10_000)), found)
        assert caught.value.code == "answer_cut_short"
        assert 0 < len(found) <= 10_000
        await close_client(client)


async def test_a_reader_who_leaves_ends_the_stream(service: DemoService) -> None:
    async with (
        rest_served(service) as url,  # shuts down cleanly afterwards: nothing is left streaming
        httpx.AsyncClient(base_url=url, headers=JSON) as client,
        client.stream("GET", "/v1/demo/export", params={"count": 10**9}) as answer,
    ):
        assert answer.headers["content-type"] == "application/x-ndjson"
        async for line in answer.aiter_lines():
            assert line == '{"count":0}'
            break


async def test_every_answer_is_observed(http: httpx.AsyncClient, seen: list[tuple[str, int]]) -> None:
    await http.post(THINGS, json={"name": "it", "amount_minor": 1})
    await http.post(THINGS, json={"name": "it"})
    await http.get(f"{THINGS}?owner=a")
    await http.get("/v1/demo/export?count=1")
    assert seen == [("create_thing", 201), ("create_thing", 400), ("list_things", 200), ("export_things", 200)]


async def test_head_answers_like_get(http: httpx.AsyncClient) -> None:
    assert (await http.head(f"{THINGS}?owner=a")).status_code == 200


async def test_nobody_listening_is_unavailable_and_nothing_was_done() -> None:
    client = rest_client(Demo, "http://127.0.0.1:9", "writer")
    with pytest.raises(Unavailable) as caught:
        await client.create_thing(CreateThing(name="it", amount_minor=1))
    assert caught.value.code == "unreachable"


async def test_a_client_passes_over_the_fields_of_a_newer_server() -> None:
    async def newer(_: Request) -> PlainTextResponse:
        return PlainTextResponse('{"asked":"a","things":[],"added_later":{"x":1}}', media_type="application/json")

    async with served(Starlette(routes=[Route(THINGS, newer)])) as url:
        client = rest_client(Demo, url, "writer")
        assert (await client.list_things(ListThings(owner="a"))).asked == "a"
        await close_client(client)


class _Fickle:
    """Answers `answers` requests a connection, then closes it without a word."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self.connections = 0
        self.requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self._answers + 1):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            self.requests += 1
            if _ < self._answers:
                writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"count":1}')
        writer.close()


async def _settle_twice(fickle: _Fickle) -> list[object]:
    server = await asyncio.start_server(fickle, "127.0.0.1", 0)
    client = rest_client(Demo, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "writer")
    outcomes: list[object] = []
    for _ in range(2):
        try:
            outcomes.append((await client.settle_thing(SettleThing(thing_id=THING_ID))).count)
        except Unknown as error:
            outcomes.append(error.code)
    await close_client(client)
    server.close()
    await server.wait_closed()
    return outcomes


async def test_a_kept_connection_found_closed_is_replaced() -> None:
    fickle = _Fickle(answers=1)
    assert await _settle_twice(fickle) == [1, 1]
    assert fickle.connections == 2


async def test_a_fresh_connection_that_gives_no_answer_leaves_the_outcome_unknown() -> None:
    fickle = _Fickle(answers=0)
    assert await _settle_twice(fickle) == ["no_answer", "no_answer"]
    assert fickle.requests == 2
