"""The verbs about phones with a number of their own, and the token service's side of them.

What is asked of the token service stands in the device's row (`pending`) before it is asked, and until it is known to
be done. An answer that was lost is inquired; only what is known not to be done is asked again, under the same id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

import structlog

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Conflict, Invalid, Refused, Unavailable, Unknown
from kessai.foundation.ids import bare, new_hex
from kessai.foundation.outbound import NotSent, Unanswered
from kessai.foundation.vault import Vault
from kessai.services.nfc.api import (
    AuthenticateDevice,
    DeleteDevice,
    DeviceAsk,
    Devices,
    DeviceState,
    InquireDevice,
    ListDevices,
    Platform,
    ProvisionDevice,
    ResumeDevice,
    SuspendDevice,
    SuspendedBy,
)
from kessai.services.nfc.api import Device as ShownDevice
from kessai.services.nfc.domain.cards import (
    Change,
    Device,
    DeviceNumber,
    Holding,
    deleted,
    require_active,
    suspended,
    then,
)
from kessai.services.nfc.domain.devices import DONE, Standing, heard, last_day_of, never_arrived, refused
from kessai.services.nfc.domain.terms import CardTerms
from kessai.services.nfc.gateways import TokenService, ToldDevice
from kessai.services.nfc.service.acting import Acts, Overtaken
from kessai.services.nfc.service.showing import shown_device
from kessai.services.nfc.store import ROLE, cards
from kessai.services.nfc.store.vault import token_for

log = structlog.get_logger(__name__)

FEED = "device_events"
FIRST = "00000000-0000-0000-0000-000000000000"
PAGE = 200
ASKS_MAX = 3
"""How many things a device may need asked one after the other: provisioned, and at once suspended with its card."""

_OURS = re.compile(r"dev_[0-9a-f]{32}")

Body: TypeAlias = "Mapping[str, object]"
Decide: TypeAlias = "Callable[[Holding, Device, datetime], Device]"


class DeviceWork:
    """What is between us and the token service."""

    def __init__(
        self, database: Database, clock: Clock, vault: Vault, acts: Acts, tokens: TokenService, terms: CardTerms
    ) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._acts = acts
        self._tokens = tokens
        self._terms = terms

    async def tell(self, holding: Holding) -> Holding:
        """Have the token service told of every device of a card that it has to hear of; gives the card afterwards."""
        told = False
        for each in list(holding.devices.values()):
            if each.pending is not None:
                await self.settle(holding.card.card_id, each.device_id, again=current_call().replayed)
                told = True
        if not told:
            return holding
        return await self.found(holding.card.card_id)

    async def settle(
        self, card_id: str, device_id: str, *, body: Body | None = None, again: bool = False
    ) -> Mapping[str, str]:
        """Ask the token service for what is pending, until nothing is or no answer comes; gives the last payload.

        `again`: it may have been asked before, so that it is inquired first.
        """
        payload: Mapping[str, str] = {}
        for _ in range(ASKS_MAX):
            device = (await self.found(card_id)).device(device_id)
            if device.pending is None:
                break
            try:
                told = await self._asked(device, device.pending, body, again=again)
            except (NotSent, Unanswered) as error:
                log.warning("token_service_away", device_id=named(device_id), ask=device.pending, code=error.code)
                break
            await self.hear(card_id, device_id, told, asked=device.pending)
            payload = told.payload if told else payload
            again = False
            if told is None or told.refusal_code is not None:
                break
        return payload

    async def _asked(self, device: Device, ask: DeviceAsk, body: Body | None, *, again: bool) -> ToldDevice | None:
        """What the token service says once something was asked; None when it does not know the device."""
        if again or (ask is DeviceAsk.PROVISION and body is None):
            told = await self._tokens.find(named(device.device_id), self._clock.now())
            if _is_done(told, ask) or (ask is DeviceAsk.PROVISION and body is None):
                return told
        try:
            if ask is DeviceAsk.PROVISION:
                return await self._tokens.provision(named(device.device_id), body or {}, self._clock.now())
            return await self._tokens.ask(named(device.device_id), ask, self._clock.now())
        except Unanswered:
            told = await self._tokens.find(named(device.device_id), self._clock.now())
            if not _is_done(told, ask):
                raise
            return told

    async def inquire(self, card_id: str, device_id: str) -> Mapping[str, str]:
        """Take over how a device stands with the token service, and go on with what is pending."""
        try:
            told = await self._tokens.find(named(device_id), self._clock.now())
        except NotSent as error:
            raise Unavailable("token_service_unavailable", "The token service cannot be reached just now.") from error
        except Unanswered as error:
            raise Unknown("token_service_answer_unknown", "The token service's answer was lost; ask again.") from error
        await self.hear(card_id, device_id, told, asked=None)
        if told is not None:
            await self.settle(card_id, device_id)
        return told.payload if told else {}

    async def hear(self, card_id: str, device_id: str, told: ToldDevice | None, *, asked: DeviceAsk | None) -> None:
        """Write down what the token service has said of a device, if it is news."""

        async def judge(connection: Connection, holding: Holding, now: datetime) -> Change:
            before = holding.device(device_id)
            after = await self._heard(connection, holding, before, told, asked, now)
            return Change(holding, []) if after == before else then(Change(holding, []), after)

        await self._acts.follow(card_id, judge, self._acts.own())

    async def _heard(
        self,
        connection: Connection,
        holding: Holding,
        device: Device,
        told: ToldDevice | None,
        asked: DeviceAsk | None,
        now: datetime,
    ) -> Device:
        real_now = datetime.now(UTC)
        if told is None:
            return never_arrived(device, now, real_now, self._terms.devices.arrives_within_s)
        if told.refusal_code is not None:
            return refused(device, told.refusal_code, now) if device.pending is asked else device
        standing = Standing(state=told.state, number=await self._number(connection, told, now))
        return heard(holding.card, device, standing, now, real_now)

    async def _number(self, connection: Connection, told: ToldDevice, now: datetime) -> DeviceNumber | None:
        """The Device-PAN as a token: it goes into the vault with the very step that tells of it."""
        if told.pan is None or told.expiry is None:
            return None
        token = await token_for(connection, self._vault, told.pan, told.expiry, "device", now)
        if token is None:
            raise Overtaken
        return DeviceNumber(token=token, last_four=told.pan.last4, expires_on=last_day_of(told.expiry))

    async def settle_all(self) -> int:
        """Go on with everything that is pending; gives with how many devices."""
        after, done = FIRST, 0
        while page := await self._pending(after):
            for device_id, card_id in page:
                await self.settle(card_id, device_id, again=True)
            after, done = page[-1][0], done + len(page)
        return done

    async def _pending(self, after: str) -> list[tuple[str, str]]:
        return await self._database.transaction(ROLE, lambda connection: cards.devices_pending(connection, after, PAGE))

    async def hear_events(self) -> int:
        """Take over what changed with the token service since it was last heard; gives how many devices that were."""
        done = 0
        while True:
            place = await self._database.transaction(ROLE, lambda connection: cards.feed_place(connection, FEED))
            events = await self._tokens.events(place, self._clock.now())
            if not events.device_ids:
                return done
            done += await self._take_over(list(dict.fromkeys(events.device_ids)))
            to = events.position
            await self._database.transaction(
                ROLE,
                lambda connection, place=place, to=to: cards.move_feed_place(connection, FEED, place, to),
            )

    async def _take_over(self, device_ids: list[str]) -> int:
        ours = [bare(each) for each in device_ids if _OURS.fullmatch(each)]
        known = await self._database.transaction(ROLE, lambda connection: cards.cards_of_devices(connection, ours))
        if len(known) < len(device_ids):
            log.warning("devices_unknown", count=len(device_ids) - len(known))
        for device_id, card_id in known.items():
            told = await self._tokens.find(named(device_id), self._clock.now())
            await self.hear(card_id, device_id, told, asked=None)
            await self.settle(card_id, device_id)
        return len(known)

    async def found(self, card_id: str) -> Holding:
        """A card with its devices."""
        return await self._database.transaction(ROLE, lambda connection: self._acts.holding(connection, card_id))


class PhoneDevices:
    """Implements the door's part `DeviceDesk`."""

    _database: Database
    _acts: Acts
    _vault: Vault
    _terms: CardTerms
    _device_work: DeviceWork

    async def provision_device(self, request: ProvisionDevice, /) -> ShownDevice:
        """Ask the token service for a number for a phone."""
        platform = _platform(request)
        device_id = current_call().request_key or new_hex()

        async def judge(_: Connection, holding: Holding, now: datetime) -> Change:
            self._terms.authentication.require(request.authentication, now)
            require_active(holding.card)
            there = sum(each.state is not DeviceState.DELETED for each in holding.devices.values())
            if there >= self._terms.devices.per_card_max:
                raise Refused("too_many_devices", "This card is on as many devices as it may be.")
            device = Device(
                device_id=device_id,
                platform=platform,
                state=DeviceState.REQUESTED,
                pending=DeviceAsk.PROVISION,
                asked_at=datetime.now(UTC),
                created_at=now,
                updated_at=now,
            )
            return then(Change(holding, []), device)

        holding = await self._acts.change(request.card_id, request, judge)
        body = _wallet_body(request, holding)
        again = current_call().replayed
        payload = await self._device_work.settle(holding.card.card_id, device_id, body=body, again=again)
        return await self._shown_device(request.card_id, named(device_id), payload)

    async def authenticate_device(self, request: AuthenticateDevice, /) -> ShownDevice:
        """Vouch for the customer, so that the phone may take the number up."""

        def decide(holding: Holding, device: Device, now: datetime) -> Device:
            self._terms.authentication.require(request.authentication, now)
            require_active(holding.card)
            if device.state is not DeviceState.REQUESTED or device.pending is DeviceAsk.PROVISION:
                raise Refused("device_not_requested", "This device waits for no authentication.")
            return replace(device, pending=DeviceAsk.AUTHENTICATE, asked_at=datetime.now(UTC), updated_at=now)

        return await self._move(request, request.card_id, request.device_id, decide, "")

    async def suspend_device(self, request: SuspendDevice, /) -> ShownDevice:
        """Stop a device at once."""

        def decide(_: Holding, device: Device, now: datetime) -> Device:
            if device.state is not DeviceState.ACTIVE:
                raise Refused("device_not_active", "This device is not active.")
            return suspended(device, SuspendedBy.CUSTOMER, now, datetime.now(UTC))

        return await self._move(request, request.card_id, request.device_id, decide, request.note)

    async def resume_device(self, request: ResumeDevice, /) -> ShownDevice:
        """Let a suspended device pay again, once the token service has said so."""

        def decide(holding: Holding, device: Device, now: datetime) -> Device:
            self._terms.authentication.require(request.authentication, now)
            require_active(holding.card)
            if device.state is not DeviceState.SUSPENDED:
                raise Refused("device_not_suspended", "This device is not suspended.")
            return replace(device, pending=DeviceAsk.RESUME, asked_at=datetime.now(UTC), updated_at=now)

        return await self._move(request, request.card_id, request.device_id, decide, request.note)

    async def delete_device(self, request: DeleteDevice, /) -> ShownDevice:
        """Take a card off a phone at once."""

        def decide(_: Holding, device: Device, now: datetime) -> Device:
            return deleted(device, now, datetime.now(UTC))

        return await self._move(request, request.card_id, request.device_id, decide, request.note)

    async def inquire_device(self, request: InquireDevice, /) -> ShownDevice:
        """Ask the token service how a device stands, and take that over."""
        card_id, device_id = bare(request.card_id), bare(request.device_id)
        self._vault.head  # noqa: B018  # raises without a key, before a number may come
        (await self._device_work.found(card_id)).device(device_id)
        payload = await self._device_work.inquire(card_id, device_id)
        return await self._shown_device(request.card_id, request.device_id, payload)

    async def list_devices(self, request: ListDevices, /) -> Devices:
        """A card's devices, oldest first."""
        holding = await self._device_work.found(bare(request.card_id))
        found = holding.devices.values()
        kept = [each for each in found if request.include_deleted or each.state is not DeviceState.DELETED]
        return Devices(devices=[shown_device(holding.card.card_id, each) for each in kept])

    async def _move(self, request: Message, card_id: str, device_id: str, decide: Decide, note: str) -> ShownDevice:
        """Change a device, journalled before the token service hears of it."""
        bare_id = bare(device_id)

        async def judge(_: Connection, holding: Holding, now: datetime) -> Change:
            device = holding.device(bare_id)
            if device.state is DeviceState.DELETED:
                raise Conflict("device_deleted", "This device is deleted.")
            return then(Change(holding, []), decide(holding, device, now))

        await self._acts.change(card_id, request, judge, note=note)
        payload = await self._device_work.settle(bare(card_id), bare_id, again=current_call().replayed)
        return await self._shown_device(card_id, device_id, payload)

    async def _shown_device(self, card_id: str, device_id: str, payload: Mapping[str, str]) -> ShownDevice:
        holding = await self._device_work.found(bare(card_id))
        return shown_device(holding.card.card_id, holding.device(bare(device_id)), payload)


def named(device_id: str) -> str:
    """A device's id as it is known outside."""
    return f"dev_{device_id}"


def _is_done(told: ToldDevice | None, ask: DeviceAsk) -> bool:
    return told is not None and told.refusal_code is None and told.state in DONE[ask]


def _platform(request: ProvisionDevice) -> Platform:
    """Whose wallet it is; Invalid `wallet_data_wrong` unless exactly one gave its data."""
    if (request.apple is None) == (request.android is None):
        raise Invalid("wallet_data_wrong", "Exactly one of apple and android is given.", field="$.apple")
    if request.apple is not None and not request.apple.certificates:
        raise Invalid("wallet_data_wrong", "An Apple-like wallet gives its certificates.", field="$.apple.certificates")
    return Platform.ANDROID if request.apple is None else Platform.APPLE


def _wallet_body(request: ProvisionDevice, holding: Holding) -> Body:
    """What the token service is told; it is kept nowhere."""
    card = {"card": holding.card.number.reference if holding.card.number else ""}
    if request.apple is not None:
        apple = request.apple
        return card | {
            "platform": "apple",
            "certificates": apple.certificates,
            "nonce": apple.nonce,
            "nonce_signature": apple.nonce_signature,
        }
    android = request.android
    assert android is not None
    return card | {
        "platform": "android",
        "client_wallet_account_id": android.client_wallet_account_id,
        "stable_hardware_id": android.stable_hardware_id,
    }
