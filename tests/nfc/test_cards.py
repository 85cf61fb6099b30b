"""Customers' cards: registered with a verified phone, given from the pool, locked, unlocked, reissued, closed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from kessai.foundation.errors import Conflict, KeyReused, NotFound, PaymentError, Refused, Unavailable
from kessai.foundation.ids import new_hex, new_id
from kessai.services.nfc.api import (
    Authentication,
    AuthenticationMethod,
    CardChanged,
    CloseCard,
    CodeDelivery,
    GetCardHistory,
    GetPool,
    GetPrepaidCard,
    ListPrepaidCards,
    LockReason,
    PrepaidCardState,
    RegisterPrepaidCard,
    ReissueCard,
    SendCode,
    StepKind,
    UnlockCard,
    VerifyPhone,
)
from kessai.simulators.faults import Fault
from kessai.simulators.sms import UNREACHABLE
from tests.nfc.world import PHONE, World, calling

S = PrepaidCardState


async def test_a_card_is_registered_verified_and_active(world: World) -> None:
    await world.fill()
    pending = await world.registered()
    assert (pending.state, pending.last_four, pending.phone.delivery) == (S.PENDING, None, CodeDelivery.SENT)
    assert pending.phone.phone == "*******5678"
    card = await world.service.verify_phone(VerifyPhone(card_id=pending.card_id, code=world.code()))
    assert (card.state, card.phone.verified_at) == (S.ACTIVE, world.clock.now())
    assert card.last_four == (await world.pan(card)).last4
    pool = await world.service.get_pool(GetPool())
    assert (pool.free, pool.assigned, pool.low) == (4, 1, True)


async def test_every_step_is_kept_and_published(world: World) -> None:
    await world.fill()
    card = await world.card()
    await world.locked(card)
    history = await world.service.get_card_history(GetCardHistory(card_id=card.card_id))
    kinds = [each.kind for each in reversed(history.steps)]
    assert kinds == [
        StepKind.REGISTERED,
        StepKind.CODE_DELIVERY,
        StepKind.CODE_TRIED,
        StepKind.ASSIGNED,
        StepKind.LOCKED,
    ]
    rows = await world.database.fetch(None, "SELECT payload FROM nfc.outbox WHERE topic = 'nfc.card'")
    events = [each for row in rows for each in msgspec.json.decode(row["payload"], type=list[CardChanged])]
    assert sorted(each.version for each in events) == [1, 2, 3, 4, 5]
    assert next(each for each in events if each.version == 5).state is S.LOCKED
    page = await world.service.get_card_history(GetCardHistory(card_id=card.card_id, limit=2))
    rest = await world.service.get_card_history(GetCardHistory(card_id=card.card_id, cursor=page.next_cursor))
    assert [*page.steps, *rest.steps] == history.steps


async def test_a_registration_repeated_is_one_and_sends_one_message(world: World) -> None:
    await world.fill()
    request = RegisterPrepaidCard(customer_id="cus:anna", phone_number=PHONE, authentication=world.authentication())
    key = new_hex()
    with calling(key):
        first = await world.service.register_prepaid_card(request)
    with calling(key) as again:
        assert await world.service.register_prepaid_card(request) == first
    assert again.replayed
    assert len(world.sms.inbox.to(PHONE)) == 1
    with calling(key), pytest.raises(KeyReused):
        await world.service.register_prepaid_card(msgspec.structs.replace(request, phone_number="+819000000009"))


async def test_a_customer_has_one_card(world: World) -> None:
    await world.fill()
    card = await world.card()
    with pytest.raises(Conflict) as refused:
        await world.registered()
    assert (refused.value.code, refused.value.details["card_id"]) == ("card_already_registered", card.card_id)


async def test_many_registrations_of_a_customer_at_once_leave_one_card(world: World) -> None:
    await world.fill()
    made = await asyncio.gather(*(world.registered() for _ in range(4)), return_exceptions=True)
    cards = (await world.service.list_prepaid_cards(ListPrepaidCards(customer_id="cus:anna"))).cards
    assert len(cards) == 1
    assert any(not isinstance(each, BaseException) for each in made)


async def test_a_registration_that_was_never_finished_is_given_up_for_a_new_one(world: World) -> None:
    await world.fill()
    first = await world.registered()
    second = await world.registered(phone="+819011111111")
    assert (await world.service.get_prepaid_card(GetPrepaidCard(card_id=first.card_id))).state is S.CLOSED
    with pytest.raises(Conflict, match="card_not_pending"):
        await world.service.verify_phone(VerifyPhone(card_id=first.card_id, code=world.code()))
    code = world.code("+819011111111")
    assert (await world.service.verify_phone(VerifyPhone(card_id=second.card_id, code=code))).state is S.ACTIVE


async def test_a_customer_who_was_authenticated_long_ago_gets_no_card(world: World) -> None:
    await world.fill()
    for by in (timedelta(seconds=-601), timedelta(seconds=61)):
        told = Authentication(method=AuthenticationMethod.PASSKEY, authenticated_at=world.clock.now() + by)
        request = RegisterPrepaidCard(customer_id="cus:anna", phone_number=PHONE, authentication=told)
        with pytest.raises(Refused, match="authentication_stale"):
            await world.service.register_prepaid_card(request)
    assert world.sms.inbox.to(PHONE) == []


# -- codes --------------------------------------------------------------------------------------------------------


async def test_wrong_codes_are_counted_until_another_one_is_needed(world: World) -> None:
    await world.fill()
    card = await world.registered()
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(Refused) as refused:
            await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.wrong_code()))
        assert (refused.value.code, refused.value.details["attempts_left"]) == ("sms_code_wrong", left)
    with pytest.raises(Refused, match="sms_code_used_up"):
        await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.code()))
    world.pass_time(seconds=30)
    await world.service.send_code(SendCode(card_id=card.card_id))
    assert (await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.code()))).state is S.ACTIVE


async def test_a_wrong_code_repeated_under_its_key_counts_once(world: World) -> None:
    await world.fill()
    card = await world.registered()
    request, key = VerifyPhone(card_id=card.card_id, code=world.wrong_code()), new_hex()
    told: list[object] = []
    for _ in range(2):
        with calling(key), pytest.raises(Refused, match="sms_code_wrong") as refused:
            await world.service.verify_phone(request)
        told.append(refused.value.details["attempts_left"])
    assert told == [4, 4]
    found = await world.service.get_prepaid_card(GetPrepaidCard(card_id=card.card_id))
    assert found.phone.attempts_left == 4


async def test_wrong_codes_at_once_are_all_counted(world: World) -> None:
    await world.fill()
    card = await world.registered()
    request = VerifyPhone(card_id=card.card_id, code=world.wrong_code())
    tries = await asyncio.gather(*(world.service.verify_phone(request) for _ in range(8)), return_exceptions=True)
    codes = [each.code for each in tries if isinstance(each, PaymentError)]
    assert sorted(codes) == ["sms_code_used_up"] * 3 + ["sms_code_wrong"] * 5


async def test_an_old_code_does_not_verify(world: World) -> None:
    await world.fill()
    card = await world.registered()
    old = world.code()
    world.pass_time(seconds=600)
    with pytest.raises(Refused, match="sms_code_expired"):
        await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=old))
    await world.service.send_code(SendCode(card_id=card.card_id))
    if world.code() != old:
        with pytest.raises(Refused, match="sms_code_wrong"):
            await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=old))
    assert (await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.code()))).state is S.ACTIVE


async def test_codes_are_sent_so_often_and_no_oftener(world: World) -> None:
    await world.fill()
    card = await world.registered()
    with pytest.raises(Refused, match="sms_too_soon"):
        await world.service.send_code(SendCode(card_id=card.card_id))
    for _ in range(4):
        world.pass_time(seconds=30)
        card = await world.service.send_code(SendCode(card_id=card.card_id))
    assert card.phone.sends_left == 0
    world.pass_time(seconds=30)
    with pytest.raises(Refused, match="sms_limit_reached"):
        await world.service.send_code(SendCode(card_id=card.card_id))


async def test_a_number_has_so_many_messages_a_day_whoever_asks(world: World) -> None:
    await world.fill()
    for each in range(10):
        await world.registered(f"cus:{each}")
    with pytest.raises(Refused, match="sms_limit_reached"):
        await world.registered("cus:eleven")
    world.pass_time(days=1)
    assert (await world.registered("cus:eleven")).state is S.PENDING


async def test_a_number_that_cannot_be_reached_says_so(world: World) -> None:
    await world.fill()
    assert (await world.registered(phone=UNREACHABLE)).phone.delivery is CodeDelivery.REFUSED


@pytest.mark.parametrize(
    ("fault", "delivery"),
    [
        (Fault(verb="send", reply="drop"), CodeDelivery.SENT),
        (Fault(verb="send", reply="garbage"), CodeDelivery.SENT),
        (Fault(verb="send", effect=False, reply="drop"), CodeDelivery.UNKNOWN),
        (Fault(verb="*", effect=False, reply="fail", times=0), CodeDelivery.UNKNOWN),
    ],
    ids=["lost_after", "garbage_after", "lost_before", "away"],
)
async def test_a_lost_answer_about_a_message_is_inquired(world: World, fault: Fault, delivery: CodeDelivery) -> None:
    await world.fill()
    world.sms.faults.program(fault)
    card = await world.registered()
    assert card.phone.delivery is delivery
    assert len(world.sms.inbox.to(PHONE)) == (delivery is CodeDelivery.SENT)
    world.sms.faults.clear()
    world.pass_time(seconds=30)
    another = world.another_process()  # whose circuit to the sender is closed
    assert (await another.send_code(SendCode(card_id=card.card_id))).phone.delivery is CodeDelivery.SENT


# -- the pool -----------------------------------------------------------------------------------------------------


async def test_an_empty_pool_is_a_clear_answer_before_any_message(world: World) -> None:
    with pytest.raises(Unavailable, match="card_pool_empty"):
        await world.registered()
    assert world.sms.inbox.to(PHONE) == []


async def test_who_finds_the_pool_empty_after_the_code_need_not_be_verified_again(world: World) -> None:
    await world.fill(1)
    anna, ben = await world.registered(), await world.registered("cus:ben", "+819022222222")
    await world.service.verify_phone(VerifyPhone(card_id=anna.card_id, code=world.code()))
    request = VerifyPhone(card_id=ben.card_id, code=world.code("+819022222222"))
    key = new_hex()
    with calling(key), pytest.raises(Unavailable, match="card_pool_empty"):
        await world.service.verify_phone(request)
    with calling(key), pytest.raises(Unavailable, match="card_pool_empty"):
        await world.service.verify_phone(request)
    await world.fill(1)
    world.pass_time(days=1)
    with calling(key):
        assert (await world.service.verify_phone(request)).state is S.ACTIVE


async def test_cards_assigned_at_once_are_each_given_once(world: World) -> None:
    count = 24
    await world.fill(count)
    phones = {f"cus:{each}": f"+8190300000{each:02d}" for each in range(count + 2)}
    pending = {name: await world.registered(name, phone) for name, phone in phones.items()}
    processes = [world.service, world.another_process(), world.another_process()]

    async def verify(place: int, name: str) -> str | None:
        request = VerifyPhone(card_id=pending[name].card_id, code=world.code(phones[name]))
        try:
            await processes[place % 3].verify_phone(request)
        except Unavailable as error:
            return error.code
        return None

    told = await asyncio.gather(*(verify(place, name) for place, name in enumerate(phones)))
    assert sorted(filter(None, told)) == ["card_pool_empty"] * 2
    rows = await world.database.fetch(None, "SELECT card_id, reference FROM nfc.card WHERE state = 'ACTIVE'")
    given = await world.database.fetch(None, "SELECT card_id, reference FROM nfc.pool_card WHERE state = 'ASSIGNED'")
    assert len({row["reference"] for row in rows}) == len(rows) == count
    assert {tuple(row) for row in rows} == {tuple(row) for row in given}


# -- lock, unlock, reissue, close ---------------------------------------------------------------------------------


async def test_a_locked_card_is_unlocked_by_the_authenticated_customer(world: World) -> None:
    await world.fill()
    card = await world.locked(await world.card(), LockReason.LOST)
    assert (card.state, card.lock_reason) == (S.LOCKED, LockReason.LOST)
    request = UnlockCard(card_id=card.card_id, authentication=world.authentication(), note="found it")
    card = await world.service.unlock_card(request)
    assert (card.state, card.lock_reason) == (S.ACTIVE, None)
    with pytest.raises(Refused, match="card_not_locked"):
        await world.service.unlock_card(request)


async def test_a_stolen_card_is_not_unlocked_but_reissued(world: World) -> None:
    await world.fill()
    stolen = await world.locked(await world.card(), LockReason.STOLEN)
    assert (await world.locked(stolen)).lock_reason is LockReason.STOLEN
    with pytest.raises(Refused, match="card_stolen"):
        await world.service.unlock_card(
            UnlockCard(card_id=stolen.card_id, authentication=world.authentication(), note="please")
        )
    old_pan = await world.pan(stolen)
    request = ReissueCard(card_id=stolen.card_id, authentication=world.authentication(), note="stolen")
    key = new_hex()
    with calling(key):
        card = await world.service.reissue_card(request)
    with calling(key) as again:
        assert await world.service.reissue_card(request) == card
    assert again.replayed
    assert (card.state, card.replaces, card.phone.verified_at) == (S.ACTIVE, stolen.card_id, stolen.phone.verified_at)
    assert await world.pan(card) != old_pan
    old = await world.service.get_prepaid_card(GetPrepaidCard(card_id=stolen.card_id))
    assert (old.state, old.replaced_by) == (S.CLOSED, card.card_id)
    listed = await world.service.list_prepaid_cards(ListPrepaidCards(customer_id="cus:anna"))
    assert [each.card_id for each in listed.cards] == [card.card_id]
    with pytest.raises(Conflict, match="card_already_registered"):
        await world.registered()


async def test_a_reissue_without_a_card_to_give_changes_nothing(world: World) -> None:
    await world.fill(1)
    card = await world.card()
    request = ReissueCard(card_id=card.card_id, authentication=world.authentication(), note="scratched")
    with pytest.raises(Unavailable, match="card_pool_empty"):
        await world.service.reissue_card(request)
    assert await world.service.get_prepaid_card(GetPrepaidCard(card_id=card.card_id)) == card


async def test_a_closed_card_stays_closed_and_makes_room_for_another(world: World) -> None:
    await world.fill()
    card = await world.card()
    closed = await world.service.close_card(CloseCard(card_id=card.card_id, note="leaves us"))
    assert closed.state is S.CLOSED
    with pytest.raises(Conflict, match="card_closed"):
        await world.locked(card)
    world.pass_time(minutes=1)
    another = await world.card()
    assert another.card_id != card.card_id
    request = ListPrepaidCards(customer_id="cus:anna", include_closed=True)
    listed = await world.service.list_prepaid_cards(request)
    assert [each.card_id for each in listed.cards] == [another.card_id, card.card_id]


async def test_a_pending_card_is_neither_locked_nor_reissued(world: World) -> None:
    await world.fill()
    card = await world.registered()
    with pytest.raises(Refused, match="card_not_active"):
        await world.locked(card)
    with pytest.raises(Refused, match="card_not_active"):
        await world.service.reissue_card(
            ReissueCard(card_id=card.card_id, authentication=world.authentication(), note="please")
        )


async def test_who_names_no_card_is_told_so(world: World) -> None:
    with pytest.raises(NotFound, match="card_not_found"):
        await world.service.get_prepaid_card(GetPrepaidCard(card_id=new_id("vpc")))


async def test_verbs_repeated_under_a_key_do_it_once(world: World) -> None:
    await world.fill()
    card = await world.card()
    key = new_hex()
    told: list[int] = []
    for _ in range(3):
        with calling(key):
            told.append((await world.locked(card)).version)
    assert told == [card.version + 1] * 3
    with calling(key), pytest.raises(KeyReused):
        await world.locked(card, LockReason.STOLEN)


# -- whose a number is --------------------------------------------------------------------------------------------


async def test_the_authorization_server_hears_whose_a_number_is(world: World) -> None:
    await world.fill(2)
    card = await world.card()
    pan = await world.pan(card)
    told = await world.service.card_of(pan)
    assert told is not None
    assert (told.card_id, told.customer_id, told.card_state) == (card.card_id, "cus:anna", S.ACTIVE)
    assert (told.device_id, told.last_four, told.expires_on) == (None, pan.last4, card.expires_on)
    assert told.version == card.version
    free = next(each for each in world.pans() if each != pan)
    nobodys = await world.service.card_of(free)
    assert nobodys is not None
    assert (nobodys.card_id, nobodys.card_state) == (None, None)
    reference = (await world.database.fetch(None, "SELECT reference FROM nfc.card"))[0]["reference"]
    assert await world.service.cards_of_references([reference, "c999"]) == {reference: card.card_id}


async def test_what_is_remembered_of_a_number_is_forgotten_when_its_card_changes(world: World) -> None:
    await world.fill()
    card = await world.card()
    pan = await world.pan(card)
    assert (await world.service.cards_of([pan, pan]))[1] is not None
    await world.locked(card)
    told = await world.service.card_of(pan)
    assert told is not None
    assert (told.card_state, told.lock_reason) == (S.LOCKED, LockReason.CUSTOMER)


async def test_a_number_of_another_issuer_is_nobodys(world: World) -> None:
    await world.fill()
    (card,) = world.network.books.issuing.issue(1, world.clock.now())
    assert await world.service.card_of(world.pan_of(card.reference)) is None
