"""Asking the payment service for what was written down: page by page, as often as it takes, each thing once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime

from kessai.foundation import events
from kessai.foundation.call import Call, current_call, enter_call, leave_call
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, plan_by_index
from kessai.foundation.errors import Forbidden, PaymentError, Unauthenticated, Unavailable
from kessai.sdk.processing.announce import touched_row
from kessai.sdk.workflow import Activity
from kessai.services.payment.api import MOVEMENTS_MAX, MerchantMovement, MoveMerchants, PaymentState
from kessai.services.settlement import store
from kessai.services.settlement.store import movements
from kessai.services.settlement.store.movements import Ending, Movement
from kessai.services.settlement.workflows import Deps

_UNDER_WAY = (PaymentState.PENDING, PaymentState.UNKNOWN)


class Page(Message, frozen=True):
    """What was written down in one processing."""

    processing_id: str


class Done(Message, frozen=True):
    """What became of it."""

    moved: int
    refused: int


async def move(activity: Activity[Deps], page: Page) -> Done:
    """Have the payment service move all of a processing that is still ASKED, and write down what became of each.

    Raises Unavailable while something of it is under way: asked again, under the same ids, it is found.
    """
    deps, moved, refused, more = activity.deps, 0, 0, True
    while more:
        found = await movements.in_state(deps.database, page.processing_id, movements.ASKED, "", MOVEMENTS_MAX + 1)
        asked, more = found[:MOVEMENTS_MAX], len(found) > MOVEMENTS_MAX
        endings = await _ask(deps, [each.movement for each in asked], page.processing_id) if asked else []
        await write_endings(deps, endings, page.processing_id)
        if len(endings) < len(asked):
            raise Unavailable("movements_under_way", "Some of what was asked for is still under way.")
        moved += sum(each.state != PaymentState.REFUSED for each in endings)
        refused += sum(each.state == PaymentState.REFUSED for each in endings)
    return Done(moved=moved, refused=refused)


async def _ask(deps: Deps, wanted: Sequence[Movement], processing_id: str) -> list[Ending]:
    with within(processing_id):
        answer = await deps.payment.move_merchants(MoveMerchants(movements=[_movement(each) for each in wanted]))
    return [
        Ending(each.payment_id, each.state.value, each.code) for each in answer.outcomes if each.state not in _UNDER_WAY
    ]


def _movement(each: Movement) -> MerchantMovement:
    other = None if each.counterpart_id.startswith("internal:") else each.counterpart_id
    return MerchantMovement(
        payment_id=each.payment_id,
        kind=each.kind,
        merchant_id=each.owner_id,
        counterpart_id=None if other == each.owner_id else other,
        amount_minor=each.amount_minor,
        reference=each.about,
    )


async def write_endings(deps: Deps, endings: Sequence[Ending], processing_id: str) -> None:
    """Write down what became of movements, once, and tell the tracer that there is something new to compare."""
    if not endings:
        return
    now = deps.clock.now()

    async def write(connection: Connection) -> None:
        await plan_by_index(connection)
        if await movements.end(connection, endings, now):
            await tell_tracer(connection, [processing_id], now)

    await deps.database.transaction(store.ROLE, write)
    wake(deps)


def wake(deps: Deps) -> None:
    """Have what was just committed told at once."""
    events.wake(deps.database, store.SCHEMA.service)


async def tell_tracer(connection: Connection, processing_ids: Sequence[str], now: datetime) -> None:
    """That there are new effects in these processings, in the transaction that has them."""
    rows = [touched_row(processing_ids, now)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(events.outbox_insert(store.SCHEMA.service), *columns)


def says_no(error: PaymentError) -> bool:
    """Whether an error is an answer: that what was asked for was not done, and will not be.

    One that may pass, and one that is about the caller and not about what it asks for, leave the outcome unknown: an
    earlier call under the same id may have been heard.
    """
    return not error.retryable and not isinstance(error, (Unauthenticated, Forbidden))


def require_answer(error: PaymentError) -> None:
    """Raise what may pass as it is, and Unavailable for any other error that is no answer: it is asked again."""
    if error.retryable:
        raise error
    if not says_no(error):
        raise Unavailable("payment_unavailable", f"The payment service did not answer: {error.code}.") from error


def refund_named(error: PaymentError) -> str | None:
    """The payment service's id of the refund that it refused, where it had made one."""
    refund_id = error.details.get("refund_id")
    return None if refund_id is None else str(refund_id)


@contextmanager
def within(processing_id: str, request_key: str | None = None) -> Generator[None]:
    """Call others within a processing of our own, under a key of our own."""
    call = current_call()
    token = enter_call(
        Call(
            caller=store.SCHEMA.service,
            processing_id=processing_id,
            request_id=call.request_id,
            request_key=request_key or call.request_key,
            deadline=call.deadline,
        )
    )
    try:
        yield
    finally:
        leave_call(token)
