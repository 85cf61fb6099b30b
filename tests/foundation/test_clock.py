"""Business time: aware, in UTC, and in the sandbox only ever forward."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from kessai.foundation.clock import SandboxClock, SystemClock, business_date


def test_time_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
    assert SandboxClock().now().tzinfo is UTC


def test_frozen_clock_stands_still_and_advances_by_exactly_what_is_asked() -> None:
    clock = SandboxClock()
    clock.freeze()
    stood = clock.now()
    clock.advance(timedelta(days=30))
    assert clock.now() == stood + timedelta(days=30)
    clock.freeze()
    assert clock.now() == stood + timedelta(days=30)


def test_thawed_clock_goes_on_from_where_it_stood() -> None:
    clock = SandboxClock()
    clock.freeze()
    clock.advance(timedelta(days=3))
    stood = clock.now()
    clock.thaw()
    assert timedelta(0) <= clock.now() - stood < timedelta(seconds=5)
    assert not clock.frozen


def test_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="forward"):
        SandboxClock().advance(timedelta(seconds=-1))


def test_restored_clock_continues_an_earlier_run() -> None:
    clock, instant = SandboxClock(), datetime(2030, 1, 1, tzinfo=UTC)
    clock.restore(timedelta(days=1), instant)
    assert clock.now() == instant
    clock.restore(timedelta(days=1), None)
    assert clock.offset == timedelta(days=1)


def test_business_date_is_tokyos() -> None:
    assert business_date(datetime(2025, 3, 31, 15, 0, tzinfo=UTC)) == date(2025, 4, 1)
    assert business_date(datetime(2025, 3, 31, 14, 59, tzinfo=UTC)) == date(2025, 3, 31)
