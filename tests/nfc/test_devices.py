"""Phones with a number of their own: asked for, vouched for, active, suspended, deleted; lost answers inquired."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from kessai.foundation.errors import Conflict, Invalid, KeyReused, NotFound, PaymentError, Refused
from kessai.foundation.ids import new_hex, new_id
from kessai.sdk.iso8583 import Pan
from kessai.services.nfc.api import (
    AuthenticateDevice,
    CloseCard,
    DeleteDevice,
    Device,
    DeviceAsk,
    DeviceState,
    GetCardHistory,
    InquireDevice,
    ListDevices,
    Platform,
    PrepaidCard,
    PrepaidCardState,
    ProvisionDevice,
    ReissueCard,
    ResumeDevice,
    SuspendDevice,
    SuspendedBy,
    UnlockCard,
)
from kessai.services.nfc.domain.terms import CardTerms
from kessai.simulators.cardnetwork import DeviceBody
from kessai.simulators.faults import PRESETS, Fault
from tests.nfc.world import ANDROID, APPLE, World, calling

D = DeviceState


async def _card(world: World) -> PrepaidCard:
    await world.fill(3)
    return await world.card()


async def _authenticated(world: World, card: PrepaidCard) -> Device:
    device = await world.provisioned(card)
    request = AuthenticateDevice(
        card_id=card.card_id, device_id=device.device_id, authentication=world.authentication()
    )
    return await world.service.authenticate_device(request)


async def _active(world: World, card: PrepaidCard) -> Device:
    device = await _authenticated(world, card)
    world.network.books.devices.activate(device.device_id, world.clock.now())
    return await _inquired(world, device)


async def _inquired(world: World, device: Device) -> Device:
    return await world.service.inquire_device(InquireDevice(card_id=device.card_id, device_id=device.device_id))


async def _device(world: World, device: Device) -> Device:
    listed = await world.service.list_devices(ListDevices(card_id=device.card_id, include_deleted=True))
    return next(each for each in listed.devices if each.device_id == device.device_id)


def _theirs(world: World, device: Device) -> str:
    return world.network.books.devices.find(device.device_id).state


def _pan(world: World, device: Device) -> Pan:
    tokens = world.network.books.devices
    return Pan(tokens.pan_of(tokens.find(device.device_id)))


@pytest.mark.parametrize(
    ("wallet", "platform", "handed_over"),
    [
        ({"apple": APPLE}, Platform.APPLE, ["activation_data", "encrypted_pass_data", "ephemeral_public_key"]),
        ({"android": ANDROID}, Platform.ANDROID, ["opaque_payment_card"]),
    ],
    ids=["apple", "android"],
)
async def test_a_phone_gets_a_number_of_its_own(
    world: World, wallet: dict[str, object], platform: Platform, handed_over: list[str]
) -> None:
    card = await _card(world)
    device = await world.provisioned(card, **wallet)
    assert (device.platform, device.state, device.pending) == (platform, D.REQUESTED, None)
    assert [each.name for each in device.payload] == handed_over
    request = AuthenticateDevice(
        card_id=card.card_id, device_id=device.device_id, authentication=world.authentication()
    )
    device = await world.service.authenticate_device(request)
    assert (device.state, device.last_four, device.pending) == (D.AUTHENTICATED, None, None)
    world.network.books.devices.activate(device.device_id, world.clock.now())
    assert await world.service.hear_devices() == 1
    device = await _device(world, device)
    pan = _pan(world, device)
    assert (device.state, device.last_four) == (D.ACTIVE, pan.last4)
    told = await world.service.card_of(pan)
    assert told is not None
    assert (told.card_id, told.card_state) == (card.card_id, PrepaidCardState.ACTIVE)
    assert (told.device_id, told.device_state, told.platform) == (device.device_id, D.ACTIVE, platform)
    assert await world.service.hear_devices() == 0


async def test_a_device_is_suspended_resumed_and_deleted(world: World) -> None:
    device = await _active(world, await _card(world))
    which = {"card_id": device.card_id, "device_id": device.device_id}
    device = await world.service.suspend_device(SuspendDevice(**which, note="left it in a taxi"))
    assert (device.state, device.suspended_by) == (D.SUSPENDED, SuspendedBy.CUSTOMER)
    assert _theirs(world, device) == "suspended"
    resume = ResumeDevice(**which, authentication=world.authentication(), note="found it")
    device = await world.service.resume_device(resume)
    assert (device.state, device.suspended_by, _theirs(world, device)) == (D.ACTIVE, None, "active")
    device = await world.service.delete_device(DeleteDevice(**which, note="sold it"))
    assert (device.state, device.pending, _theirs(world, device)) == (D.DELETED, None, "deleted")
    with pytest.raises(Conflict, match="device_deleted"):
        await world.service.resume_device(resume)
    assert (await world.service.list_devices(ListDevices(card_id=device.card_id))).devices == []
    told = await world.service.card_of(_pan(world, device))
    assert told is not None
    assert told.device_state is D.DELETED


async def test_what_the_owner_does_on_the_phone_is_heard(world: World) -> None:
    device = await _active(world, await _card(world))
    tokens, id_there = world.network.books.devices, device.device_id
    tokens.suspend(id_there, world.clock.now())
    await world.service.hear_devices()
    heard = await _device(world, device)
    assert (heard.state, heard.suspended_by) == (D.SUSPENDED, SuspendedBy.WALLET)
    tokens.resume(id_there, world.clock.now())
    await world.service.hear_devices()
    assert (await _device(world, device)).state is D.ACTIVE
    tokens.delete(id_there, world.clock.now())
    await world.service.hear_devices()
    assert (await _device(world, device)).state is D.DELETED


async def test_devices_go_the_way_of_their_card(world: World) -> None:
    card = await _card(world)
    device = await _active(world, card)
    await world.locked(card)
    suspended = await _device(world, device)
    assert (suspended.state, suspended.suspended_by) == (D.SUSPENDED, SuspendedBy.LOCK)
    assert _theirs(world, device) == "suspended"
    unlock = UnlockCard(card_id=card.card_id, authentication=world.authentication(), note="found")
    await world.service.unlock_card(unlock)
    assert ((await _device(world, device)).state, _theirs(world, device)) == (D.ACTIVE, "active")
    await world.service.close_card(CloseCard(card_id=card.card_id, note="leaves"))
    assert ((await _device(world, device)).state, _theirs(world, device)) == (D.DELETED, "deleted")


async def test_a_reissued_cards_devices_are_deleted(world: World) -> None:
    card = await _card(world)
    device = await _active(world, card)
    request = ReissueCard(card_id=card.card_id, authentication=world.authentication(), note="worn out")
    await world.service.reissue_card(request)
    assert _theirs(world, device) == "deleted"


async def test_no_device_becomes_active_on_a_locked_card(world: World) -> None:
    card = await _card(world)
    device = await _authenticated(world, card)
    await world.locked(card)
    world.network.books.devices.activate(device.device_id, world.clock.now())
    await world.service.hear_devices()
    stopped = await _device(world, device)
    assert (stopped.state, stopped.suspended_by, stopped.pending) == (D.SUSPENDED, SuspendedBy.LOCK, None)
    assert _theirs(world, device) == "suspended"
    world.network.books.devices.resume(device.device_id, world.clock.now())
    await world.service.hear_devices()
    assert _theirs(world, device) == "suspended"


async def test_a_device_repeated_under_its_key_is_one(world: World) -> None:
    card = await _card(world)
    request = ProvisionDevice(card_id=card.card_id, authentication=world.authentication(), apple=APPLE)
    key = new_hex()
    with calling(key):
        first = await world.service.provision_device(request)
    with calling(key) as again:
        assert (await world.service.provision_device(request)).device_id == first.device_id
    assert again.replayed
    assert len((await world.service.list_devices(ListDevices(card_id=card.card_id))).devices) == 1
    with calling(key), pytest.raises(KeyReused):
        await world.service.provision_device(replace(request, apple=None, android=ANDROID))


async def test_wallet_data_is_that_of_one_maker(world: World) -> None:
    card = await _card(world)
    nothing = ProvisionDevice(card_id=card.card_id, authentication=world.authentication())
    wrong = [nothing, replace(nothing, apple=APPLE, android=ANDROID)]
    wrong.append(replace(nothing, apple=replace(APPLE, certificates=[])))
    for each in wrong:
        with pytest.raises(Invalid, match="wallet_data_wrong"):
            await world.service.provision_device(each)


async def test_a_phone_that_the_token_service_refuses_is_told_why(world: World) -> None:
    card = await _card(world)
    world.network.faults.program(Fault(verb="provision", refuse="bad_wallet_data"))
    device = await world.provisioned(card)
    assert (device.state, device.refusal_code, device.pending) == (D.DELETED, "bad_wallet_data", None)


async def test_verbs_refuse_what_a_devices_state_does_not_allow(world: World) -> None:
    card = await _card(world)
    device = await world.provisioned(card)
    which = {"card_id": device.card_id, "device_id": device.device_id}
    with pytest.raises(Refused, match="device_not_active"):
        await world.service.suspend_device(SuspendDevice(**which, note="why not"))
    with pytest.raises(Refused, match="device_not_suspended"):
        await world.service.resume_device(ResumeDevice(**which, authentication=world.authentication(), note="why not"))
    await world.service.authenticate_device(AuthenticateDevice(**which, authentication=world.authentication()))
    with pytest.raises(Refused, match="device_not_requested"):
        await world.service.authenticate_device(AuthenticateDevice(**which, authentication=world.authentication()))
    with pytest.raises(NotFound, match="device_not_found"):
        await _inquired(world, replace(device, device_id=new_id("dev")))


async def test_a_card_is_on_so_many_devices_at_most(world: World) -> None:
    card = await _card(world)
    devices = [await world.provisioned(card) for _ in range(world.terms.devices.per_card_max)]
    with pytest.raises(Refused, match="too_many_devices"):
        await world.provisioned(card)
    await world.service.delete_device(DeleteDevice(card_id=card.card_id, device_id=devices[0].device_id, note="sold"))
    assert (await world.provisioned(card)).state is D.REQUESTED


# -- answers that are lost ----------------------------------------------------------------------------------------

LOSSES = sorted(set(PRESETS) - {"hang", "slow_reply", "delay", "undone"})


@pytest.mark.parametrize("name", LOSSES)
async def test_whatever_befalls_the_line_a_device_ends_as_both_say(world: World, name: str) -> None:
    card = await _card(world)
    for verb in ("provision", "authenticate"):
        world.network.faults.program(replace(PRESETS[name], verb=verb))
    device = await world.provisioned(card)
    if device.pending is not None:
        device = await _repeated(world, card, device)
    which = {"card_id": device.card_id, "device_id": device.device_id}
    request = AuthenticateDevice(**which, authentication=world.authentication())
    device = await world.service.authenticate_device(request)
    await _settled(world, device)
    assert ((await _device(world, device)).state, _theirs(world, device)) == (D.AUTHENTICATED, "authenticated")


async def _repeated(world: World, card: PrepaidCard, device: Device) -> Device:
    """What the token service never saw is asked again by whoever has the wallet's data: the app, under its key."""
    request = ProvisionDevice(card_id=card.card_id, authentication=world.authentication(), apple=APPLE)
    while device.pending is not None:
        with calling(device.device_id[4:]):
            device = await world.service.provision_device(request)
        await asyncio.sleep(0.02)
    return device


async def _settled(world: World, device: Device) -> None:
    while (await _device(world, device)).pending is not None:
        await world.service.settle_devices()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", LOSSES)
async def test_a_suspension_whose_answer_is_lost_holds_at_once_and_is_carried_on(world: World, name: str) -> None:
    device = await _active(world, await _card(world))
    world.network.faults.program(replace(PRESETS[name], verb="suspend"))
    request = SuspendDevice(card_id=device.card_id, device_id=device.device_id, note="left it")
    assert (await world.service.suspend_device(request)).state is D.SUSPENDED
    await _settled(world, device)
    assert _theirs(world, device) == "suspended"


async def test_a_device_that_is_not_heard_of_is_in_doubt_until_inquired(world: World) -> None:
    card = await _card(world)
    world.network.faults.program(Fault(verb="provision", reply="drop"))
    world.network.faults.program(Fault(verb="inquire_device", effect=False, reply="drop", times=0))
    device = await world.provisioned(card)
    assert (device.state, device.pending, device.payload) == (D.REQUESTED, DeviceAsk.PROVISION, [])
    with pytest.raises(PaymentError) as unknown:
        await _inquired(world, device)
    assert unknown.value.code in {"token_service_answer_unknown", "token_service_unavailable"}
    world.network.faults.clear()
    while (await _device(world, device)).pending is not None:
        await world.service.settle_devices()
        await asyncio.sleep(0.02)
    asked = [each.verb for each in world.network.requests if each.id == device.device_id]
    assert asked.count("provision") == 1
    assert (await _inquired(world, device)).payload != []


async def test_a_request_that_never_arrived_is_given_up_and_undone_if_it_comes_after_all(world: World) -> None:
    card = await _card(world)
    world.service = world.another_process(terms=_impatient(world))
    world.network.faults.program(Fault(verb="provision", effect=False, reply="drop"))
    device = await world.provisioned(card)
    await _settled(world, device)
    given_up = await _device(world, device)
    assert (given_up.state, given_up.refusal_code) == (D.DELETED, "never_arrived")
    world.network.books.devices.provision(device.device_id, _late(world), world.clock.now())
    await world.service.hear_devices()
    assert _theirs(world, device) == "deleted"


def _impatient(world: World) -> CardTerms:
    """Terms by which nothing is waited for."""
    return dataclasses.replace(world.terms, devices=replace(world.terms.devices, arrives_within_s=0))


def _late(world: World) -> DeviceBody:
    """What was sent, as it arrives."""
    return DeviceBody(
        card=next(iter(world.network.books.issuing.cards)),
        platform="apple",
        certificates=APPLE.certificates,
        nonce=APPLE.nonce,
        nonce_signature=APPLE.nonce_signature,
    )


async def test_a_change_whose_verb_was_cut_off_is_carried_on_by_another_process(world: World) -> None:
    device = await _active(world, await _card(world))
    await world.network.go_away()
    request = SuspendDevice(card_id=device.card_id, device_id=device.device_id, note="left it")
    assert (await world.service.suspend_device(request)).pending is DeviceAsk.SUSPEND
    await world.network.start()
    other = world.another_process()
    while (await _device(world, device)).pending is not None:
        await other.settle_devices()
        await asyncio.sleep(0.02)
    assert _theirs(world, device) == "suspended"
    history = await world.service.get_card_history(GetCardHistory(card_id=device.card_id, limit=1))
    assert history.steps[0].device_state is D.SUSPENDED
