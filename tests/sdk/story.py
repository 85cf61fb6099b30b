"""How a client tells a story: the same request, until it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow import Definition, Engine, Handle
from kessai.sdk.workflow.journal import FlushHook
from tests.sdk.conftest import Engines
from tests.sdk.shop.workflows import World


async def told(engine: Engine[Any], definition: Definition[Any, Any, Any], request: Any, workflow_id: str) -> Any:
    """The result, the code of the refusal, or `crashed`."""
    while True:
        try:
            return await (await engine.start(definition, request, workflow_id=workflow_id)).result()
        except PaymentError as error:
            if not error.retryable or error.code == "workflow_parked":
                return error.code
            if engine.closing:
                return "crashed"


async def ended(engine: Engine[Any], handle: Handle[Any], definition: Definition[Any, Any, Any], request: Any) -> Any:
    """The same of one that was started already; asked again only when that is needed."""
    try:
        return await handle.result()
    except PaymentError as error:
        if not error.retryable:
            return error.code
        return "crashed" if engine.closing else await told(engine, definition, request, handle.workflow_id)


def opener(engines: Engines, **options: Any) -> Callable[[FlushHook | None], Awaitable[Engine[World]]]:
    """For the test kit: opens one more executor, with a hook."""

    async def opened(hook: FlushHook | None) -> Engine[World]:
        return await engines.open(hook=hook, **options)

    return opened
