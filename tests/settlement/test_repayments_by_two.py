"""What is said to have arrived settles a claim only when a second person says so; what a movement came to stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from datetime import date

import pytest
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_hex, new_id
from kessai.services.identity.api import Scope, content_digest
from kessai.services.settlement import store
from kessai.services.settlement.api.claims import GetClaim, RecordRepayment, RepaymentState, RepaymentWay
from kessai.services.settlement.store import movements
from kessai.services.settlement.store.movements import Ending, Movement
from tests.payment.outside import Secretary
from tests.settlement.cycle_world import World, opened

OCTOBER_END = date(2025, 10, 31)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


@contextmanager
def person(request_key: str | None = None) -> Generator[None]:
    """Calls by somebody's key."""
    scopes = frozenset({Scope.SETTLEMENT_WRITE.value})
    token = enter_call(Call(caller=f"key_{new_hex()}", request_key=request_key or new_hex(), scopes=scopes))
    try:
        yield
    finally:
        leave_call(token)


async def code_of(world: World, asked: RecordRepayment) -> str | None:
    """Why it is refused, if it is."""
    try:
        await world.desk.record_repayment(asked)
    except PaymentError as error:
        return error.code
    return None


async def test_one_person_alone_settles_no_claim(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", -2_000)
    await world.settle(OCTOBER_END)
    (claim,) = await world.claims("mer:x")
    secretary = Secretary()
    world.engine.deps.approvals = secretary
    asked = RecordRepayment(claim_id=claim.claim_id, amount_minor=2_000)
    with person():
        assert await code_of(world, asked) == "approval_required"
        assert await code_of(world, replace(asked, approval_id=new_id("apv"))) == "approval_not_found"
    agreed = replace(asked, approval_id=new_id("apv"))
    secretary.approved[str(agreed.approval_id)] = content_digest(replace(asked, amount_minor=1))
    with person():
        assert await code_of(world, agreed) == "approval_content_differs"
    history = await world.desk.get_claim(GetClaim(claim_id=claim.claim_id))
    assert (history.claim.owed_minor, history.claim.pending_minor) == (2_000, 0)
    assert await world.balance("mer:x", "settled_claims") == -2_000

    secretary.approved[str(agreed.approval_id)] = content_digest(asked)
    for _ in range(2):  # the same again collects, and uses up, no more
        with person("a" * 32):
            answer = await world.desk.record_repayment(agreed)
        assert (answer.state, answer.claim.collected_minor) == (RepaymentState.DONE, 2_000)
    assert len(secretary.consumed) == 1
    with person():
        assert await code_of(world, agreed) == "repayment_above_claim"


async def test_a_debit_needs_no_second_person(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", -2_000)
    await world.settle(OCTOBER_END)
    (claim,) = await world.claims("mer:x")
    debit = RecordRepayment(
        claim_id=claim.claim_id,
        amount_minor=500,
        source=RepaymentWay.DEBIT,
        bank_account_id=world.bank.account_of("mer:x"),
    )
    with person():
        assert await code_of(world, debit) is None
        assert await code_of(world, replace(debit, source=RepaymentWay.DEPOSIT)) == "approval_required"


@pytest.mark.parametrize(
    ("first", "late", "stands"),
    [
        ("SUCCEEDED", "REFUSED", "SUCCEEDED"),
        ("CAPTURED", "REFUSED", "CAPTURED"),
        ("CAPTURED", "IN_FLIGHT", "CAPTURED"),
        ("CAPTURED", "RETURNED", "RETURNED"),
        ("RETURNED", "CAPTURED", "RETURNED"),
        ("REFUSED", "CAPTURED", "CAPTURED"),
        ("IN_FLIGHT", "REFUSED", "REFUSED"),
    ],
)
async def test_what_is_told_late_changes_no_success(database: Database, first: str, late: str, stands: str) -> None:
    async with opened(database) as world:
        now, movement = world.clock.now(), Movement("rfd_1", "refund", "mer:x", "internal:fees", 250, "payout:1")

        async def write(connection: Connection) -> list[set[str]]:
            await movements.ask_within(connection, [movement], {"rfd_1": "prc_1"}, now)
            told = [Ending("rfd_1", state, "late" if state == late else None) for state in (first, late)]
            return [await movements.end(connection, [each], now) for each in told]

        changed = await database.transaction(store.ROLE, write)
        assert changed == [{"rfd_1"}, {"rfd_1"} if stands == late else set()]
        found = (await movements.load(database, ["rfd_1"]))["rfd_1"]
        assert (found.state, found.code) == (stands, "late" if stands == late else None)
