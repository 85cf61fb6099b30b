"""Cards with their phone numbers and devices, loaded and written as one; their steps; who has which card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.foundation.events import outbox_insert, outbox_row
from kessai.foundation.ids import derived_hex
from kessai.services.nfc.api import (
    TOPIC_CARD,
    CardChanged,
    CardStep,
    CodeDelivery,
    DeviceAsk,
    DeviceState,
    LockReason,
    Platform,
    PrepaidCardState,
    StepKind,
    SuspendedBy,
)
from kessai.services.nfc.domain.cards import Card, Change, Device, DeviceNumber, Holding, Phone, PoolCard, Step

_SQL = load_queries("kessai.services.nfc", file="sql/cards.sql")
_OUTBOX_INSERT = outbox_insert("nfc")
CUSTOMERS_CARDS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who does something, by which call, and why."""

    act_id: str
    digest: bytes
    """HMAC of the request."""
    caller: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Before:
    """What the first step of an act's earlier run says."""

    digest: bytes
    kind: StepKind
    device_id: str | None
    detail: str


# -- holdings -----------------------------------------------------------------------------------------------------


async def load(connection: Connection, card_ids: Sequence[str]) -> dict[str, Holding]:
    """Those of the cards that exist, with all that belongs to them."""
    cards = {row["card_id"].hex: _card(row) for row in await connection.fetch(_SQL["cards_named"], card_ids)}
    phones = {row["card_id"].hex: _phone(row) for row in await connection.fetch(_SQL["phones_named"], card_ids)}
    devices: dict[str, dict[str, Device]] = defaultdict(dict)
    for row in await connection.fetch(_SQL["devices_of_cards"], card_ids):
        devices[row["card_id"].hex][row["device_id"].hex] = _device(row)
    return {
        card_id: Holding(card=card, phone=phones[card_id], devices=devices.get(card_id, {}))
        for card_id, card in cards.items()
    }


async def insert(connection: Connection, made: Holding, steps: Sequence[Step], act: Act) -> bool:
    """A new card with its first steps; False when its id is taken (then roll back)."""
    card = made.card
    row = (
        card.card_id,
        card.customer_id,
        card.state.value,
        card.lock_reason,
        *_number(card),
        card.replaces,
        card.replaced_by,
        len(steps),
        card.created_at,
        card.updated_at,
    )
    if not await connection.fetch(_SQL["insert_cards"], *_columns([row])):
        return False
    phone = made.phone
    row = (card.card_id, phone.sealed, phone.fingerprint, phone.last_four, *_phone_row(phone))
    await connection.execute(_SQL["insert_phones"], *_columns([row]))
    await _insert_steps(connection, made, steps, 0, act, card.updated_at)
    return True


async def write(connection: Connection, before: Holding, change: Change, act: Act, at: datetime) -> bool:
    """Write a change with its steps; False when somebody else changed the card first (then roll back)."""
    after, card = change.after, change.after.card
    known = before.card.version
    row = (
        card.card_id,
        card.state.value,
        card.lock_reason,
        *_number(card),
        card.replaced_by,
        known,
        known + len(change.steps),
        at,
    )
    if not await connection.fetch(_SQL["update_cards"], *_columns([row])):
        return False
    if after.phone != before.phone:
        await connection.execute(_SQL["update_phones"], *_columns([(card.card_id, *_phone_row(after.phone))]))
    new = [each for each in after.devices.values() if each.device_id not in before.devices]
    changed = [each for each in after.devices.values() if before.devices.get(each.device_id, each) != each]
    if new:
        await connection.execute(_SQL["insert_devices"], *_columns([_new_device(card.card_id, each) for each in new]))
    if changed:
        rows = [(card.card_id, each.device_id, *_device_row(each)) for each in changed]
        await connection.execute(_SQL["update_devices"], *_columns(rows))
    await _insert_steps(connection, after, change.steps, known, act, at)
    return True


async def _insert_steps(
    connection: Connection, after: Holding, steps: Sequence[Step], known: int, act: Act, at: datetime
) -> None:
    card = after.card
    rows = [
        (
            card.card_id,
            known + number,
            act.act_id,
            act.digest,
            each.kind.value,
            card.state.value,
            each.device_id,
            _state_of(after, each),
            each.detail_json,
            act.note,
            act.caller,
            at,
        )
        for number, each in enumerate(steps, 1)
    ]
    await connection.execute(_SQL["insert_steps"], *_columns(rows))
    events = [_event(after, each, known + number, at) for number, each in enumerate(steps, 1)]
    await connection.execute(_OUTBOX_INSERT, *_columns([outbox_row(TOPIC_CARD, events, at)]))


def _event(after: Holding, step: Step, version: int, at: datetime) -> CardChanged:
    card, state = after.card, _state_of(after, step)
    return CardChanged(
        event_id=derived_hex("nfc.card", card.card_id, str(version)),
        card_id=f"vpc_{card.card_id}",
        customer_id=card.customer_id,
        version=version,
        kind=step.kind,
        state=card.state,
        lock_reason=card.lock_reason,
        last_four=card.number.last_four if card.number else None,
        expires_on=card.number.expires_on if card.number else None,
        device_id=step.device_id and f"dev_{step.device_id}",
        device_state=None if state is None else DeviceState(state),
        occurred_at=at,
    )


def _state_of(after: Holding, step: Step) -> str | None:
    return None if step.device_id is None else after.devices[step.device_id].state.value


# -- steps --------------------------------------------------------------------------------------------------------


async def step_of_act(connection: Connection, card_id: str, act_id: str) -> Before | None:
    """The first step of an act on a card; None when it was not done yet."""
    rows = await connection.fetch(_SQL["step_of_act"], card_id, act_id)
    if not rows:
        return None
    row = rows[0]
    return Before(row["digest"], StepKind(row["kind"]), _hex(row["device_id"]), row["detail"])


async def steps_page(connection: Connection, card_id: str, below: int, limit: int) -> list[CardStep]:
    """Steps with a version below one, newest first."""
    return [
        CardStep(
            version=row["version"],
            kind=StepKind(row["kind"]),
            card_state=PrepaidCardState(row["card_state"]),
            device_id=row["device_id"] and f"dev_{row['device_id'].hex}",
            device_state=row["device_state"] and DeviceState(row["device_state"]),
            detail=row["detail"],
            note=row["note"],
            caller=row["caller"],
            recorded_at=row["recorded_at"],
        )
        for row in await connection.fetch(_SQL["steps_page"], card_id, below, limit)
    ]


# -- who has which card -------------------------------------------------------------------------------------------


async def ids_of_customer(connection: Connection, customer_id: str, *, closed: bool) -> list[str]:
    """The customer's cards, newest first."""
    rows = await connection.fetch(_SQL["cards_of_customer"], customer_id, closed, CUSTOMERS_CARDS_MAX)
    return [row["card_id"].hex for row in rows]


async def held_by(connection: Connection, customer_id: str) -> tuple[str, int] | None:
    """The card that a customer registered last, and the version of that."""
    rows = await connection.fetch(_SQL["customer_cards_named"], [customer_id])
    return (rows[0]["card_id"].hex, rows[0]["version"]) if rows else None


async def hold(connection: Connection, customer_id: str, card_id: str, known: int | None) -> bool:
    """Say which card a customer has; False when that was said otherwise meanwhile (then roll back)."""
    if known is None:
        return bool(await connection.fetch(_SQL["insert_customer_cards"], [customer_id], [card_id]))
    return bool(await connection.fetch(_SQL["update_customer_cards"], [customer_id], [card_id], [known]))


async def ids_of_references(connection: Connection, references: Sequence[str]) -> dict[str, str]:
    """The cards that bear the issuer's references, where a customer has them."""
    rows = await connection.fetch(_SQL["cards_of_references"], references)
    return {row["reference"]: row["card_id"].hex for row in rows}


# -- devices and what the token service tells ---------------------------------------------------------------------


async def cards_of_devices(connection: Connection, device_ids: Sequence[str]) -> dict[str, str]:
    """The card of each device that exists."""
    rows = await connection.fetch(_SQL["cards_of_devices"], device_ids)
    return {row["device_id"].hex: row["card_id"].hex for row in rows}


async def devices_pending(connection: Connection, after: str, limit: int) -> list[tuple[str, str]]:
    """Devices (and their cards) of which the token service has not confirmed something."""
    rows = await connection.fetch(_SQL["devices_pending"], after, limit)
    return [(row["device_id"].hex, row["card_id"].hex) for row in rows]


async def feed_place(connection: Connection, feed: str) -> int:
    """How far a feed was heard."""
    await connection.execute(_SQL["insert_feed_place"], feed)
    return (await connection.fetch(_SQL["feed_place"], feed))[0]["position"]


async def move_feed_place(connection: Connection, feed: str, known: int, to: int) -> bool:
    """Say that a feed was heard so far; False when another process did."""
    return bool(await connection.fetch(_SQL["move_feed_place"], feed, known, to))


# -- rows ---------------------------------------------------------------------------------------------------------


def _number(card: Card) -> tuple[object, ...]:
    number = card.number
    return (number.reference, number.token, number.last_four, number.expires_on) if number else (None,) * 4


def _phone_row(phone: Phone) -> tuple[object, ...]:
    return (
        phone.code_digest,
        phone.sends,
        phone.attempts,
        phone.delivery.value,
        phone.sent_at,
        phone.expires_at,
        phone.verified_at,
    )


def _new_device(card_id: str, device: Device) -> tuple[object, ...]:
    row = _device_row(device)
    return (card_id, device.device_id, device.platform.value, *row[:-1], device.created_at, device.updated_at)


def _device_row(device: Device) -> tuple[object, ...]:
    number = device.number
    return (
        device.state.value,
        device.pending,
        device.asked_at,
        device.suspended_by,
        *((number.token, number.last_four, number.expires_on) if number else (None,) * 3),
        device.refusal_code,
        device.updated_at,
    )


def _card(row: asyncpg.Record) -> Card:
    number = row["token"] and PoolCard(
        reference=row["reference"], token=row["token"], last_four=row["last_four"], expires_on=row["expires_on"]
    )
    return Card(
        card_id=row["card_id"].hex,
        customer_id=row["customer_id"],
        state=PrepaidCardState(row["state"]),
        lock_reason=row["lock_reason"] and LockReason(row["lock_reason"]),
        number=number,
        replaces=_hex(row["replaces"]),
        replaced_by=_hex(row["replaced_by"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _phone(row: asyncpg.Record) -> Phone:
    return Phone(
        sealed=row["sealed"],
        fingerprint=row["fingerprint"],
        last_four=row["last_four"],
        code_digest=row["code_digest"],
        sends=row["sends"],
        attempts=row["attempts"],
        delivery=CodeDelivery(row["delivery"]),
        sent_at=row["sent_at"],
        expires_at=row["expires_at"],
        verified_at=row["verified_at"],
    )


def _device(row: asyncpg.Record) -> Device:
    number = row["token"] and DeviceNumber(token=row["token"], last_four=row["last_four"], expires_on=row["expires_on"])
    return Device(
        device_id=row["device_id"].hex,
        platform=Platform(row["platform"]),
        state=DeviceState(row["state"]),
        pending=row["pending"] and DeviceAsk(row["pending"]),
        asked_at=row["asked_at"],
        suspended_by=row["suspended_by"] and SuspendedBy(row["suspended_by"]),
        number=number,
        refusal_code=row["refusal_code"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
