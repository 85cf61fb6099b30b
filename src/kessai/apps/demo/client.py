"""A client of the public HTTP API on the standard library alone: what an integrator would write first."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    body: dict[str, Any]
    replayed: bool

    @property
    def refused(self) -> bool:
        """Whether it is a problem (RFC 9457) rather than a result."""
        return self.status >= 400


class Client:
    """Talks to one platform with one API key over one connection."""

    def __init__(self, url: str, api_key: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=TIMEOUT_S)
        self._api_key = api_key

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def get(self, path: str) -> dict[str, Any]:
        """A result; RuntimeError when it is a problem."""
        return _result(self.ask("GET", path, None, None), path)

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A result under a fresh idempotency key; RuntimeError when it is a problem."""
        return _result(self.try_post(path, body or {}), path)

    def try_post(self, path: str, body: dict[str, Any], *, key: str | None = None) -> Answer:
        """Whatever came back, a refusal included."""
        return self.ask("POST", path, body, key or uuid4().hex)

    def ask(self, method: str, path: str, body: dict[str, Any] | None, key: str | None) -> Answer:
        """Whatever came back; a body needs an idempotency key."""
        headers = {"Authorization": f"Bearer {self._api_key}"}
        if key is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        text = response.read()
        return Answer(response.status, json.loads(text or b"{}"), response.getheader("Idempotent-Replayed") == "true")


def _result(answer: Answer, path: str) -> dict[str, Any]:
    if answer.refused:
        raise RuntimeError(f"{path} answered {answer.status}: {answer.body}")
    return answer.body
