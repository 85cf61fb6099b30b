"""Holds in bulk: many customers' payments authorized by one call, each of which stands by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, KeyReused, Unavailable, Unknown
from kessai.foundation.ids import new_hex
from kessai.sdk.processing.api import ListEffects
from kessai.services.ledger.api import CreateExchange, FreezeAccount, account_id_of
from kessai.services.ledger.api.words import Freeze
from kessai.services.payment import store
from kessai.services.payment.api import (
    CancelPayment,
    CapturePayment,
    Funding,
    GetHistory,
    GetPayment,
    HoldPayments,
    PaymentState,
)
from kessai.services.payment.workflows import holding as saga
from tests.payment.holds import codes, findings, held, hold
from tests.payment.merchants import another_process, told_of_payments
from tests.payment.world import World, key, opened

S = PaymentState


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """Every world here is proved afterwards."""
    async with opened(database) as running:
        yield running
    assert await findings(database.dsn) == []


async def test_each_hold_is_a_payment_that_stands_by_itself(world: World) -> None:
    rich, poor = await world.customer(funds=1_000, free_points=300), await world.customer(funds=10)
    one, other = hold(rich, 700, reference="tap:1"), hold(poor, 11)
    assert await held(world.payments, [one, other]) == [
        (one.payment_id, "AUTHORIZED", None),
        (other.payment_id, "REFUSED", "insufficient_funds"),
    ]
    stored = await world.payments.get_payment(GetPayment(payment_id=one.payment_id))
    assert (stored.kind, stored.state, stored.reference, stored.captured_minor) == (
        "id_charge", S.AUTHORIZED, "tap:1", 0,
    )  # fmt: skip
    assert stored.funding == [
        Funding(source="free_points", amount_minor=300),
        Funding(source="funds", amount_minor=400),
    ]
    assert stored.expires_at is not None
    assert await world.balance(rich) == (1_000, 600)
    history = await world.payments.get_history(GetHistory(payment_id=other.payment_id))
    assert [(each.state, each.code) for each in history.steps] == [(S.PENDING, None), (S.REFUSED, "insufficient_funds")]


async def test_a_held_payment_goes_on_as_if_it_had_been_made_alone(world: World) -> None:
    customer = await world.customer(funds=1_000)
    taken, given_up = hold(customer, 300), hold(customer, 200)
    assert await codes(world.payments, taken, given_up) == ["AUTHORIZED", "AUTHORIZED"]
    captured = await world.payments.capture_payment(CapturePayment(payment_id=taken.payment_id, amount_minor=250))
    canceled = await world.payments.cancel_payment(CancelPayment(payment_id=given_up.payment_id))
    assert (captured.state, captured.captured_minor, canceled.state) == (S.CAPTURED, 250, S.CANCELED)
    assert await world.balance(customer) == (750, 750)
    assert await codes(world.payments, taken, given_up) == ["CAPTURED", "CANCELED"]


async def test_a_call_costs_two_commits_of_the_journal(world: World) -> None:
    customers = [await world.customer(funds=10) for _ in range(30)]
    before = world.payments.journal_flushes
    assert set(await codes(world.payments, *(hold(each, 10) for each in customers))) == {"AUTHORIZED"}
    assert world.payments.journal_flushes - before == 2


async def test_the_same_id_is_the_same_payment_in_whichever_call_it_comes(world: World) -> None:
    customer = await world.customer(funds=100)
    one, refused = hold(customer, 60), hold(customer, 50)
    first = await held(world.payments, [one, refused, one])
    another = hold(customer, 40)
    async with another_process(world) as service:
        assert await held(service, [another, refused, one]) == [
            (another.payment_id, "AUTHORIZED", None), first[1], first[0],
        ]  # fmt: skip
    assert await world.balance(customer) == (100, 0)


async def test_calls_at_the_same_time_share_what_both_ask_for(world: World) -> None:
    customer = await world.customer(funds=100)
    holds = [hold(customer, 10) for _ in range(5)]
    async with another_process(world) as service:
        told = await asyncio.gather(held(world.payments, holds[:4]), held(service, holds[1:]))
    assert [code or state for each in told for _, state, code in each] == ["AUTHORIZED"] * 8
    assert await world.balance(customer) == (100, 50)


@pytest.mark.parametrize(
    "other",
    [{"amount_minor": 31}, {"customer_id": "cus:other"}, {"reference": "another"}],
    ids=lambda each: next(iter(each)),
)
async def test_the_same_id_with_other_content_is_refused(world: World, other: dict[str, str | int]) -> None:
    customer = await world.customer(funds=100)
    one = hold(customer, 30)
    changed = replace(one, **other)
    assert await codes(world.payments, one, changed, one) == ["AUTHORIZED", "idempotency_key_reused", "AUTHORIZED"]
    assert await codes(world.payments, changed) == ["idempotency_key_reused"]
    assert await world.balance(customer) == (100, 70)


async def test_a_refusal_is_of_one_hold_and_says_why(world: World) -> None:
    customer, frozen = await world.customer(funds=1_000), await world.customer(funds=1_000)
    account_id = account_id_of(frozen, "funds")
    await world.ledger.freeze_account(FreezeAccount(account_id=account_id, freeze=Freeze.OUT))
    wrong = {
        "malformed_id": replace(hold(customer, 1), payment_id=f"pay_{new_hex()}"),
        "amount_above_limit": hold(customer, 10**9),
        "insufficient_funds": hold(f"cus:{new_hex()}", 1),
        "account_frozen": hold(frozen, 1),
    }
    good = hold(customer, 5)
    assert await codes(world.payments, good, *wrong.values()) == ["AUTHORIZED", *wrong]


@pytest.mark.parametrize(("kind", "code"), [("barter", "unknown_kind"), ("charge", "kind_not_in_bulk")])
async def test_only_plain_kinds_are_held_in_bulk(world: World, kind: str, code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.payments.hold_payments(HoldPayments(kind=kind, holds=[hold("cus:one", 1)]))
    assert refusal.value.code == code


async def test_what_the_ledger_cannot_answer_is_unknown_until_it_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga, "ANSWER_S", 0.2)
    customer = await world.customer(funds=100)
    one, away = hold(customer, 60), asyncio.Event()
    ask = world.ledger.create_exchange

    async def cut(request: object) -> object:
        if not away.is_set():
            raise Unavailable("ledger_away", "It is away.")
        return await ask(request)  # type: ignore[arg-type]

    monkeypatch.setattr(world.line, "create_exchange", cut, raising=False)
    asked = asyncio.create_task(held(world.payments, [one]))
    while (found := await _state(world, one.payment_id)) is not S.UNKNOWN:
        assert found in (None, S.PENDING)
        await asyncio.sleep(0.02)
    away.set()
    assert await asked == [(one.payment_id, "AUTHORIZED", None)]
    assert await world.balance(customer) == (100, 40)


async def _state(world: World, payment_id: str) -> PaymentState | None:
    rows = await world.database.fetch(
        None, "SELECT state FROM payment.payment WHERE payment_id = $1::uuid", payment_id[4:]
    )
    return PaymentState(rows[0]["state"]) if rows else None


@pytest.mark.parametrize("hangs", [False, True], ids=["is refused again and again", "is not answered"])
async def test_one_that_stays_undecided_keeps_no_other_in_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    customer = await world.customer(funds=100)
    holds, poor = [hold(customer, 10) for _ in range(3)], hold(customer, 1_000)
    stuck, back = holds[1], asyncio.Event()
    ask = world.ledger.create_exchange

    async def cut(request: CreateExchange) -> object:
        if request.reference == stuck.payment_id and not back.is_set():
            if hangs:
                await back.wait()
            raise Unavailable("ledger_away", "It is away.")
        return await ask(request)

    monkeypatch.setattr(world.line, "create_exchange", cut, raising=False)
    told = await held(world.payments, [*holds, poor])
    assert [code or state for _, state, code in told] == ["AUTHORIZED", "UNKNOWN", "AUTHORIZED", "insufficient_funds"]
    assert await world.balance(customer) == (100, 80)
    back.set()
    while await _state(world, stuck.payment_id) is not S.AUTHORIZED:
        await asyncio.sleep(0.02)
    assert await codes(world.payments, stuck) == ["AUTHORIZED"]
    assert await world.balance(customer) == (100, 70)


# -- keys, callers, processings -----------------------------------------------------------------------------------


async def test_a_key_with_other_content_is_refused(world: World) -> None:
    customer = await world.customer(funds=100)
    request = HoldPayments(kind="id_charge", holds=[hold(customer, 30)])
    with key("one"):
        first = await world.payments.hold_payments(request)
    with key("one") as call:
        assert await world.payments.hold_payments(request) == first
        assert call.replayed
    with key("one"), pytest.raises(KeyReused):
        await world.payments.hold_payments(HoldPayments(kind="id_charge", holds=[hold(customer, 1)]))
    assert await world.balance(customer) == (100, 70)


async def test_each_hold_is_part_of_its_own_processing_where_the_platform_asks(world: World) -> None:
    customer = await world.customer(funds=100)
    own = [hold(customer, 10, processing_id="prc_one"), hold(customer, 20, processing_id="prc_other")]
    token = enter_call(Call(caller="nfc"))
    try:
        assert await codes(world.payments, *own) == ["AUTHORIZED", "AUTHORIZED"]
    finally:
        leave_call(token)
    views = await world.payments.effects.own_view(["prc_one", "prc_other"])
    told = await world.ledger.list_effects(ListEffects(processing_ids=["prc_one", "prc_other"]))
    assert {name: ({each.effect_id for each in view.effects}, view.within) for name, view in views.items()} == {
        each.processing_id: ({each.payment_id}, []) for each in own
    }
    assert {each.processing_id: {of.amount_minor for of in each.effects} for each in told.processings} == {
        "prc_one": {-10, 10},
        "prc_other": {-20, 20},
    }


async def test_a_key_of_somebody_else_cannot_say_which_processing_it_is_part_of(world: World) -> None:
    customer = await world.customer(funds=100)
    token = enter_call(Call(caller="key_shop", scopes=frozenset({"payment:write"})))
    try:
        one = hold(customer, 10, processing_id="prc_theirs")
        assert await codes(world.payments, one) == ["AUTHORIZED"]
    finally:
        leave_call(token)
    stored = await world.payments.get_payment(GetPayment(payment_id=one.payment_id))
    assert stored.processing_id != "prc_theirs"


async def test_each_hold_is_published(world: World) -> None:
    customer = await world.customer(funds=10)
    assert await codes(world.payments, hold(customer, 10, reference="tap:7"), hold(customer, 1)) == [
        "AUTHORIZED", "insufficient_funds",
    ]  # fmt: skip
    told = [each for each in await told_of_payments(world) if each.kind == "id_charge"]
    assert [(each.type, each.reference, each.code) for each in told] == [
        ("payment.id_charge.authorized", "tap:7", None),
        ("payment.id_charge.refused", None, "insufficient_funds"),
    ]


# -- what cannot be told ------------------------------------------------------------------------------------------


async def test_what_was_begun_and_cannot_be_looked_up_is_unknown_and_not_unavailable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, away = await world.customer(funds=100), asyncio.Event()
    one, ask = hold(customer, 60), world.ledger.create_exchange

    async def slow(request: object) -> object:
        await away.wait()
        return await ask(request)  # type: ignore[arg-type]

    async def unreachable(*_: object) -> object:
        raise Unavailable("database_unavailable", "The database cannot be reached.")

    monkeypatch.setattr(world.line, "create_exchange", slow, raising=False)
    with monkeypatch.context() as cut:
        cut.setattr(store, "movements", unreachable)
        token = enter_call(Call(caller="nfc", deadline=asyncio.get_running_loop().time() + 0.3))
        try:
            with pytest.raises(Unknown) as doubt:
                await held(world.payments, [one])
        finally:
            leave_call(token)
    assert doubt.value.code == "outcome_unknown"
    away.set()
    assert await codes(world.payments, one) == ["AUTHORIZED"]
    assert await world.balance(customer) == (100, 40)
