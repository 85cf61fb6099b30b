"""What a device becomes by what the token service says, for every pair of states; without anybody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest

from kessai.services.nfc.api import (
    CodeDelivery,
    DeviceAsk,
    DeviceState,
    LockReason,
    Platform,
    PrepaidCardState,
    SuspendedBy,
)
from kessai.services.nfc.domain.cards import (
    Card,
    Change,
    Device,
    DeviceNumber,
    Holding,
    Phone,
    PoolCard,
    close,
    lock,
    unlock,
)
from kessai.services.nfc.domain.devices import (
    DONE,
    Standing,
    Told,
    expiry_of,
    heard,
    last_day_of,
    never_arrived,
    refused,
)

D, S, A = DeviceState, PrepaidCardState, DeviceAsk
NOW = datetime(2026, 4, 30, 3, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
NUMBER = DeviceNumber(token="tok_" + "0" * 32, last_four="0017", expires_on=date(2031, 4, 30))
POOL = PoolCard(reference="c1", token="tok_" + "1" * 32, last_four="0011", expires_on=date(2031, 4, 30))
STATES = list(product(PrepaidCardState, DeviceState, (None, *DeviceAsk), (None, *SuspendedBy), Told))


def _card(state: PrepaidCardState = S.ACTIVE) -> Card:
    return Card(
        card_id="c" * 32, customer_id="cus:anna", state=state, number=POOL, version=1, created_at=NOW, updated_at=NOW
    )


def _device(
    state: DeviceState,
    pending: DeviceAsk | None = None,
    by: SuspendedBy | None = None,
    number: DeviceNumber | None = NUMBER,
) -> Device:
    return Device(
        device_id="d" * 32,
        platform=Platform.APPLE,
        state=state,
        pending=pending,
        asked_at=NOW if pending else None,
        suspended_by=by,
        number=number,
        created_at=NOW,
        updated_at=NOW,
    )


def _told(state: Told) -> Standing:
    return Standing(state=state, number=NUMBER if state in (Told.ACTIVE, Told.SUSPENDED) else None)


def _holding(card: Card, *devices: Device) -> Holding:
    phone = Phone(
        sealed=b"",
        fingerprint=b"",
        last_four="5678",
        code_digest=b"",
        sends=1,
        attempts=0,
        delivery=CodeDelivery.SENT,
        sent_at=NOW,
        expires_at=LATER,
    )
    return Holding(card=card, phone=phone, devices={each.device_id: each for each in devices})


def test_nothing_that_is_told_makes_a_device_pay_that_must_not() -> None:
    for card, state, pending, by, told in STATES:
        if (state is D.SUSPENDED) != (by is not None):
            continue
        after = heard(_card(card), _device(state, pending, by), _told(told), LATER, LATER)
        case = (card, state, pending, by, told, after)
        assert after.state is D.DELETED or card is not S.CLOSED, case
        assert after.state is not D.ACTIVE or card is not S.LOCKED, case
        assert after.state is D.DELETED or state is not D.DELETED, case
        assert (after.state is D.SUSPENDED) == (after.suspended_by is not None), case
        assert (after.pending is None) == (after.asked_at is None), case
        if after.state is D.ACTIVE and state is not D.ACTIVE:
            assert (told, after.pending) in ((Told.ACTIVE, None), (Told.ACTIVE, pending)), case


def test_what_keeps_a_device_from_paying_is_asked_until_it_is_done() -> None:
    for card, state, pending, by, told in STATES:
        if (state is D.SUSPENDED) != (by is not None):
            continue
        after = heard(_card(card), _device(state, pending, by), _told(told), LATER, LATER)
        if after.state is D.DELETED and told is not Told.DELETED:
            assert after.pending is not None, (card, state, pending, by, told)
        if after.suspended_by in (SuspendedBy.LOCK, SuspendedBy.CUSTOMER) and told is Told.ACTIVE:
            assert after.pending is A.SUSPEND, (card, state, pending, by, told)


def test_hearing_the_same_again_changes_nothing() -> None:
    for card, state, pending, by, told in STATES:
        if (state is D.SUSPENDED) != (by is not None):
            continue
        once = heard(_card(card), _device(state, pending, by), _told(told), LATER, LATER)
        if once.pending is None or told not in DONE[once.pending]:
            assert heard(_card(card), once, _told(told), LATER, LATER) == once, (card, state, pending, by, told)


@pytest.mark.parametrize(
    ("ask", "state", "pending"),
    [
        (A.PROVISION, D.DELETED, None),
        (A.AUTHENTICATE, D.REQUESTED, None),
        (A.RESUME, D.SUSPENDED, None),
        (A.SUSPEND, D.SUSPENDED, A.SUSPEND),
        (A.DELETE, D.DELETED, A.DELETE),
    ],
)
def test_a_refusal_ends_what_would_pay_and_not_what_stops_it(
    ask: DeviceAsk, state: DeviceState, pending: DeviceAsk | None
) -> None:
    before = {A.PROVISION: D.REQUESTED}.get(ask, state)
    by = SuspendedBy.CUSTOMER if before is D.SUSPENDED else None
    after = refused(_device(before, ask, by), "wrong_state", LATER)
    assert (after.state, after.pending, after.refusal_code) == (state, pending, "wrong_state")
    assert refused(after, "wrong_state", LATER + timedelta(minutes=1)) == after


def test_what_the_customer_suspended_is_not_resumed_on_the_phone() -> None:
    stopped = _device(D.SUSPENDED, by=SuspendedBy.CUSTOMER)
    after = heard(_card(), stopped, Standing(state=Told.ACTIVE, number=None), LATER, LATER)
    assert (after.state, after.suspended_by, after.pending) == (D.SUSPENDED, SuspendedBy.CUSTOMER, A.SUSPEND)
    resuming = replace(stopped, pending=A.RESUME)
    assert heard(_card(), resuming, Standing(state=Told.ACTIVE, number=None), LATER, LATER).state is D.ACTIVE


def test_a_request_is_given_up_when_it_cannot_be_on_its_way_any_more() -> None:
    device = _device(D.REQUESTED, A.PROVISION, number=None)
    assert never_arrived(device, NOW, NOW + timedelta(seconds=299), 300) == device
    given_up = never_arrived(device, NOW, NOW + timedelta(seconds=300), 300)
    assert (given_up.state, given_up.pending, given_up.refusal_code) == (D.DELETED, None, "never_arrived")
    settled = _device(D.ACTIVE)
    assert never_arrived(settled, NOW, LATER, 0) == settled


def test_a_device_that_is_being_resumed_is_stopped_by_a_lock() -> None:
    resuming = _device(D.SUSPENDED, A.RESUME, SuspendedBy.CUSTOMER)
    after = lock(_holding(_card(), resuming), LockReason.LOST, NOW, NOW).after.devices["d" * 32]
    assert (after.state, after.suspended_by, after.pending) == (D.SUSPENDED, SuspendedBy.LOCK, A.SUSPEND)


def test_a_lock_resumes_only_what_it_suspended() -> None:
    mine, theirs = _device(D.ACTIVE), replace(_device(D.SUSPENDED, by=SuspendedBy.CUSTOMER), device_id="e" * 32)
    locked = lock(_holding(_card(), mine, theirs), LockReason.CUSTOMER, NOW, NOW).after
    opened = unlock(locked, NOW, NOW)
    assert opened.after.devices["d" * 32].pending is A.RESUME
    assert opened.after.devices["e" * 32] == theirs
    assert _kinds(opened) == ["unlocked", "device"]


def test_a_closed_cards_devices_are_deleted_once() -> None:
    gone = replace(_device(D.DELETED), device_id="e" * 32)
    change = close(_holding(_card(), _device(D.ACTIVE), gone), NOW, NOW, why="asked_for")
    assert change.after.devices["d" * 32].pending is A.DELETE
    assert change.after.devices["e" * 32] == gone
    assert _kinds(change) == ["closed", "device"]


def _kinds(change: Change) -> list[str]:
    return [each.kind.value for each in change.steps]


@pytest.mark.parametrize(
    ("expiry", "day"), [("2602", date(2026, 2, 28)), ("2802", date(2028, 2, 29)), ("3112", date(2031, 12, 31))]
)
def test_a_card_pays_until_the_end_of_its_month(expiry: str, day: date) -> None:
    assert last_day_of(expiry) == day
    assert expiry_of(day) == expiry


@pytest.mark.parametrize("expiry", ["2613", "2600", "260", "26 1", "²602", ""])
def test_what_is_no_month_is_no_expiry(expiry: str) -> None:
    with pytest.raises(ValueError):
        last_day_of(expiry)
