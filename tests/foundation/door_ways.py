"""The four ways into a door, each as an object with the door's verbs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import uvicorn

from kessai.foundation.contract import BoundVerb, Message, verbs_of
from kessai.foundation.door import close_client, grpc_client, grpc_server, rest_app, rest_client
from kessai.foundation.door.listener import DoorProtocol
from kessai.foundation.door.problem import error_of
from kessai.foundation.door.sending import current_sending
from tests.foundation.demo_door import Demo, DemoService, authenticate

WAYS = ("in_process", "rest", "grpc", "client")


@asynccontextmanager
async def served(app: Any) -> AsyncGenerator[str, None]:
    """An app on a real server with a free port; gives its address."""
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", http=DoorProtocol, access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def rest_served(service: DemoService) -> AsyncGenerator[str, None]:
    """The demonstration over HTTP."""
    async with served(rest_app([(Demo, service)], authenticate=authenticate)) as url:
        yield url


@asynccontextmanager
async def grpc_served(service: DemoService) -> AsyncGenerator[str, None]:
    """The demonstration over gRPC; gives its target."""
    server, port = grpc_server([(Demo, service)], authenticate=authenticate, host="127.0.0.1", port=0)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


class RawRest:
    """The REST routes used as anyone with an HTTP library would."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {api_key}"})
        for bound in verbs_of(Demo):
            if bound.spec.public and not bound.spec.stream:
                setattr(self, bound.spec.name, self._verb(bound))
        self.export_things = self._export

    def _verb(self, bound: BoundVerb) -> Any:
        async def call(request: Message) -> Message:
            plain = {key: value for key, value in msgspec.to_builtins(request).items() if value is not None}
            path = bound.spec.path
            for key in [key for key in plain if f"{{{key}}}" in path]:
                path = path.replace(f"{{{key}}}", str(plain.pop(key)))
            sent = current_sending()
            headers = {} if sent.idempotency_key is None else {"idempotency-key": sent.idempotency_key}
            if bound.spec.moves_value:
                headers.setdefault("idempotency-key", msgspec.json.encode(id(request)).decode())
            if bound.spec.method == "GET":
                texts = {k: str(v).lower() if isinstance(v, bool) else v for k, v in plain.items()}
                answer = await self._http.get(path, params=texts, headers=headers)
            else:
                answer = await self._http.request(bound.spec.method, path, json=plain, headers=headers)
            sent.replayed = answer.headers.get("idempotent-replayed") == "true"
            if answer.is_success:
                assert answer.status_code == bound.spec.status
                return msgspec.json.decode(answer.content, type=bound.response)
            assert answer.headers["content-type"] == "application/problem+json"
            error = error_of(answer.content)
            assert error is not None
            assert answer.status_code == error.http_status
            raise error

        return call

    async def _export(self, request: Message) -> AsyncIterator[Message]:
        (bound,) = (bound for bound in verbs_of(Demo) if bound.spec.stream)
        params = {key: value for key, value in msgspec.to_builtins(request).items() if value is not None}
        async with self._http.stream("GET", bound.spec.path, params=params) as answer:
            if not answer.is_success:
                error = error_of(await answer.aread())
                assert error is not None
                raise error
            async for line in answer.aiter_lines():
                yield msgspec.json.decode(line, type=bound.response)

    async def aclose(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def entered(way: str, service: DemoService, api_key: str = "writer") -> AsyncGenerator[Demo, None]:
    """The demonstration by one of its ways."""
    match way:
        case "in_process":
            yield service
        case "grpc":
            async with grpc_served(service) as target:
                client = grpc_client(Demo, target, api_key)
                try:
                    yield client
                finally:
                    await close_client(client)
        case _:
            async with rest_served(service) as url:
                other: Any = rest_client(Demo, url, api_key) if way == "client" else RawRest(url, api_key)
                try:
                    yield other
                finally:
                    await close_client(other)
