"""What happens at the door before and around a verb, the same for every transport.

The API key is checked, then its scope, then the Idempotency-Key; then the verb runs under its Call. A request whose
key is being worked on in this process is told so at once; across processes the services' own rows decide.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.contract import VerbSpec
from kessai.foundation.door.principal import Authenticate, Principal
from kessai.foundation.errors import DeadlineExceeded, Invalid, PaymentError, RequestInProgress, Unauthenticated
from kessai.foundation.ids import derived_hex, new_hex

BODY_BYTES_MAX = 1024 * 1024
BATCH_BODY_BYTES_MAX = 8 * 1024 * 1024
TIMEOUT_MS_DEFAULT = 30_000
TIMEOUT_MS_MAX = 300_000
INTERNAL_SCOPE = "internal"

R = TypeVar("R")

_IDEMPOTENCY_KEY = re.compile(r'(?!")[!-~]{1,255}\Z|"[!#-\[\]-~]{1,255}"\Z')
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_PROCESSING_ID = re.compile(r"[a-z]{3}_[0-9a-f]{32}\Z")
_TIMEOUT_MS = re.compile(r"[1-9][0-9]{0,5}\Z")

_underway: set[str] = set()
"""Request keys that this process is working on, by whichever transport they came."""
_carried: set[asyncio.Task[Any]] = set()
"""Work that outlives its caller; kept here so that it is carried to completion."""


def body_bytes_max(spec: VerbSpec) -> int:
    """The body limit of a verb."""
    return BATCH_BODY_BYTES_MAX if spec.batch else BODY_BYTES_MAX


def request_id_of(raw: str | None) -> str:
    """The caller's request id when it is well-formed, else a fresh one."""
    return raw if raw is not None and _REQUEST_ID.match(raw) else new_hex()


def timeout_ms_of(raw: str | None, default_ms: int) -> int:
    """`X-Request-Timeout-Ms`, or the default; Invalid when it is not a whole number within the limit."""
    if raw is None:
        return default_ms
    if not _TIMEOUT_MS.match(raw) or int(raw) > TIMEOUT_MS_MAX:
        text = f"X-Request-Timeout-Ms must be a whole number from 1 to {TIMEOUT_MS_MAX}."
        raise Invalid("invalid_request", text, field="X-Request-Timeout-Ms")
    return int(raw)


async def admit(
    spec: VerbSpec,
    authenticate: Authenticate,
    *,
    authorization: str | None,
    idempotency_key: str | None,
    processing_id: str | None,
    request_id: str,
) -> Call:
    """The Call of an admitted request; raises Unauthenticated, Forbidden or Invalid, in this order."""
    principal = await authenticate(_bearer(authorization))
    principal.require(spec.scope)
    trusted = processing_id is not None and INTERNAL_SCOPE in principal.scopes and _PROCESSING_ID.match(processing_id)
    return Call(
        caller=principal.caller(spec.scope),
        processing_id=processing_id if trusted else None,
        request_id=request_id,
        request_key=_request_key(spec, principal, idempotency_key),
        scopes=principal.scopes,
    )


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise Unauthenticated("missing_api_key", "Send an API key as Authorization: Bearer kes_….")
    kind, _, secret = authorization.partition(" ")
    if kind.lower() != "bearer" or not secret:
        raise Unauthenticated("invalid_api_key", "The Authorization header must be: Bearer, a space, an API key.")
    return secret.strip()


def _request_key(spec: VerbSpec, principal: Principal, raw: str | None) -> str | None:
    """Scoped to API key and route, not to content: the services compare content and refuse a reuse."""
    if raw is None or spec.method == "GET":
        if spec.moves_value:
            text = "This verb moves value: send an Idempotency-Key, and the same one when you send the request again."
            raise Invalid("idempotency_key_missing", text, field="Idempotency-Key")
        return None
    if not _IDEMPOTENCY_KEY.match(raw):
        text = "Idempotency-Key must be 1 to 255 visible ASCII characters."
        raise Invalid("idempotency_key_malformed", text, field="Idempotency-Key")
    quoted = len(raw) > 2 and raw[0] == raw[-1] == '"'
    return derived_hex(principal.key_id, f"{spec.method} {spec.path}", raw[1:-1] if quoted else raw)


async def perform(method: Callable[[Any], Awaitable[R]], request: object, call: Call) -> R:
    """Run a verb under its Call; RequestInProgress while the same request key is worked on in this process."""
    key = call.request_key
    if key is not None:
        if key in _underway:
            raise RequestInProgress
        _underway.add(key)
    token = enter_call(call)
    try:
        return await method(request)
    finally:
        leave_call(token)
        if key is not None:
            _underway.discard(key)


def late() -> DeadlineExceeded:
    """What a caller is told whose deadline passes; the work itself goes on."""
    text = "The deadline passed before an answer; send the request again with the same Idempotency-Key."
    return DeadlineExceeded("deadline_exceeded", text)


def carry(work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
    """A task that runs to completion whoever stops waiting for it."""
    task = asyncio.get_running_loop().create_task(work)
    _carried.add(task)
    task.add_done_callback(_set_down)
    return task


def _set_down(task: asyncio.Task[Any]) -> None:
    _carried.discard(task)
    if not task.cancelled() and isinstance(task.exception(), PaymentError):
        return  # looked at, so that asyncio does not report an answer that nobody waited for


async def carried_to_completion(timeout_s: float) -> bool:
    """Wait, at shutdown, for work whose callers are gone; False when some is still running after `timeout_s`."""
    if not _carried:
        return True
    _, left = await asyncio.wait(set(_carried), timeout=timeout_s)
    return not left
