"""Card numbers are nowhere but sealed in the vault; nor are phone numbers, nor the codes that were sent."""

from __future__ import annotations

import logging
from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unavailable
from kessai.foundation.migrations import migrate
from kessai.foundation.vault import Vault, VaultSealBroken, new_vault_key, read_vault_keys
from kessai.sdk.iso8583 import Pan
from kessai.services.nfc.api import (
    AuthenticateDevice,
    DeleteDevice,
    InquireDevice,
    LockReason,
    ReissueCard,
    RequestCards,
    SuspendDevice,
    UnlockCard,
    VerifyPhone,
)
from kessai.services.nfc.domain.pool import read_issued, request_file, request_reference
from kessai.services.nfc.store import SCHEMA
from kessai.services.nfc.store.vault import marks_of, sealed_pan
from kessai.simulators.cardnetwork import IssueFate
from kessai.simulators.faults import PRESETS
from tests.nfc.canary import rows_with, said, told
from tests.nfc.world import ANDROID, PHONE, World

_DAY = date(2026, 4, 30)


async def _everything(world: World) -> list[str]:
    """A life of a card with faults and refusals everywhere; gives what was said in errors."""
    errors: list[str] = []

    async def tried(doing: Any) -> Any:
        try:
            return await doing
        except PaymentError as error:
            errors.append(told(error))
            return None

    issuing = world.network.books.issuing
    issuing.foresee(IssueFate(spoil="bad_pan", times=2))
    issuing.foresee(IssueFate(spoil="twice"))
    await tried(world.service.request_cards(RequestCards(count=9)))
    issuing.foresee(IssueFate(spoil="cut"))
    await tried(world.service.request_cards(RequestCards(count=2)))
    world.network.faults.program(replace(PRESETS["garbage_after"], verb="issued_file"))
    await tried(world.service.request_cards(RequestCards(count=2)))
    card = await world.registered()
    await tried(world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.wrong_code())))
    card = await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.code()))
    for wallet in ({}, {"android": ANDROID}):
        device = await world.provisioned(card, **wallet)
        which = {"card_id": card.card_id, "device_id": device.device_id}
        authenticate = AuthenticateDevice(**which, authentication=world.authentication())
        await tried(world.service.authenticate_device(authenticate))
        world.network.books.devices.activate(device.device_id, world.clock.now())
        for preset in ("garbage_after", "drop_after", "twice"):
            world.network.faults.program(replace(PRESETS[preset], verb="inquire_device"))
            await tried(world.service.inquire_device(InquireDevice(**which)))
        await tried(world.service.inquire_device(InquireDevice(**which)))
        await tried(world.service.suspend_device(SuspendDevice(**which, note="left it")))
    await tried(world.service.hear_devices())
    await tried(world.service.delete_device(DeleteDevice(**which, note="sold it")))
    await world.locked(card, LockReason.STOLEN)
    unlock = UnlockCard(card_id=card.card_id, authentication=world.authentication(), note="please")
    await tried(world.service.unlock_card(unlock))
    reissue = ReissueCard(card_id=card.card_id, authentication=world.authentication(), note="stolen")
    await tried(world.service.reissue_card(reissue))
    for pan in world.pans():
        await tried(world.service.card_of(pan))
    return errors


async def test_no_number_is_anywhere_but_in_the_vault(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    errors = await _everything(world)
    numbers = [each.digits for each in world.pans()]
    assert len(numbers) > 10
    assert errors
    sealed = await world.database.fetch(None, "SELECT token FROM nfc.pan_vault")
    assert len(sealed) > 6
    assert await rows_with(world.database, numbers) == []
    output = capfd.readouterr()
    assert said("\n".join([*errors, caplog.text, output.out, output.err]), numbers) == []


async def test_no_phone_number_and_no_code_is_anywhere(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    errors = await _everything(world)
    secrets = [PHONE, PHONE[1:]]
    assert await rows_with(world.database, secrets) == []
    output = capfd.readouterr()
    assert said("\n".join([*errors, caplog.text, output.out, output.err]), secrets) == []
    kept = await world.database.fetch(None, "SELECT detail FROM nfc.card_step")
    assert said("\n".join(row["detail"] for row in kept), [world.code()]) == []


async def test_the_canary_finds_what_is_there(world: World) -> None:
    await world.fill(1)
    (row,) = await world.database.fetch(None, "SELECT reference FROM nfc.pool_card")
    assert await rows_with(world.database, ["nothing of the kind", row["reference"]]) == ["nfc.pool_card: 1"]
    assert said("00" + b"4111".hex(), ["4111"]) == [0]


def test_what_holds_a_number_does_not_show_it() -> None:
    vault = Vault(read_vault_keys(new_vault_key()))
    pan = Pan("9990000000000011")
    batch = "0" * 32
    file = request_file(batch, 1, _DAY, 1)
    assert said(file.decode(), [pan.digits]) == []
    assert said(repr(sealed_pan(vault, pan, "3112", "card")), [pan.digits]) == []
    assert said(repr(read_issued(_issued(batch, pan), batch, 1, _DAY)), [pan.digits]) == []


def _issued(batch: str, pan: Pan) -> bytes:
    records = [f"HII{'issued-000001':<32}20260430000001{batch:<32}"]
    records.append(f"D000001{request_reference(batch, 1):<32}0{'c000000000000001':<16}{pan.digits:<19}3112")
    records.append("T000001000001000000")
    return "".join(f"{each:<128}\n" for each in records).encode()


# -- keys ---------------------------------------------------------------------------------------------------------


async def test_keys_are_rotated_while_numbers_stay_findable(world: World) -> None:
    await world.fill(3)
    card = await world.card()
    pan = await world.pan(card)
    before = await world.service.card_of(pan)
    world.keys.insert(0, new_vault_key())
    both = world.another_process()
    assert await both.card_of(pan) == before
    assert len(await world.database.fetch(None, "SELECT token FROM nfc.pan_vault")) == 3
    assert await both.reseal() == 4
    assert await both.reseal() == 0
    world.keys.pop()
    newest = world.another_process()
    assert await newest.card_of(pan) == before
    assert await newest.cards_of(world.pans()[:3]) == await both.cards_of(world.pans()[:3])
    rows = await world.database.fetch(None, "SELECT fingerprint FROM nfc.pan_lookup")
    assert {row["fingerprint"] for row in rows} == {marks_of(world.vault, each)[0] for each in world.pans()}
    reissue = ReissueCard(card_id=card.card_id, authentication=world.authentication(), note="after the rotation")
    assert (await newest.reissue_card(reissue)).phone.phone == "*******5678"


async def test_without_a_key_nothing_is_accepted(world: World) -> None:
    world.keys.clear()
    service = world.another_process()
    await service.request_cards(RequestCards(count=1))
    world.service = service
    with pytest.raises(Unavailable, match="vault_not_configured"):
        await world.registered()
    assert await service.reseal() == 0


async def test_a_number_under_a_key_that_is_gone_is_not_found_and_not_read(world: World) -> None:
    await world.fill(1)
    world.keys[:] = [new_vault_key()]
    service = world.another_process()
    assert await service.card_of(world.pans()[0]) is None
    with pytest.raises(VaultSealBroken):
        await service.reseal()


async def test_the_service_may_not_change_what_is_written_for_ever(database: Database) -> None:
    await migrate(database, [SCHEMA])
    rows = await database.fetch(
        None,
        "SELECT table_name, privilege_type FROM information_schema.table_privileges"
        " WHERE grantee = 'kessai_nfc' AND table_name = ANY ($1::text[])",
        ["card_step", "issue_step", "issue_error"],
    )
    granted = {row["table_name"]: set[str]() for row in rows}
    for row in rows:
        granted[row["table_name"]].add(row["privilege_type"])
    assert granted == {name: {"SELECT", "INSERT"} for name in ("card_step", "issue_step", "issue_error")}
