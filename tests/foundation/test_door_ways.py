"""One contract: the same tests on every way in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from kessai.foundation.door import sending
from kessai.foundation.errors import (
    DeadlineExceeded,
    Forbidden,
    Invalid,
    KeyReused,
    NotFound,
    PaymentError,
    Refused,
    RequestInProgress,
    Unauthenticated,
    Unavailable,
    Unknown,
)
from tests.foundation.demo_door import (
    THING_ID,
    Colour,
    Counted,
    CreateThing,
    CreateThings,
    Demo,
    DemoService,
    ExportThings,
    GetThing,
    ListThings,
    SettleThing,
    UpdateThing,
    full_request,
)
from tests.foundation.door_ways import WAYS, entered

REMOTE = [way for way in WAYS if way != "in_process"]


@pytest.fixture
def service() -> DemoService:
    return DemoService()


@pytest.fixture(params=WAYS)
async def door(request: pytest.FixtureRequest, service: DemoService) -> AsyncIterator[Demo]:
    async with entered(request.param, service) as entrance:
        yield entrance


@pytest.fixture(params=REMOTE)
async def remote(request: pytest.FixtureRequest, service: DemoService) -> AsyncIterator[Demo]:
    async with entered(request.param, service) as entrance:
        yield entrance


async def test_every_kind_of_field_arrives_and_returns_unchanged(door: Demo) -> None:
    request = full_request()
    thing = await door.create_thing(request)
    for name in request.__struct_fields__:
        assert getattr(thing, name) == getattr(request, name), name


async def test_fields_left_out_take_their_defaults(door: Demo) -> None:
    thing = await door.create_thing(CreateThing(name="it", amount_minor=1))
    assert thing.capture
    assert thing.colour is Colour.RED
    assert (thing.note, thing.due_at, thing.best, thing.aliases, thing.floor_minor) == (None,) * 5
    assert (thing.parts, thing.labels, thing.seal) == ([], {}, b"")


async def test_an_absent_map_differs_from_an_empty_one(door: Demo) -> None:
    assert (await door.update_thing(UpdateThing(thing_id=THING_ID))).labels == {"left": "alone"}
    assert (await door.update_thing(UpdateThing(thing_id=THING_ID, labels={}))).labels == {}
    assert (await door.update_thing(UpdateThing(thing_id=THING_ID, labels={"a": "b"}))).labels == {"a": "b"}


async def test_query_parameters_keep_their_types(door: Demo) -> None:
    request = ListThings(
        owner="山田 & co/1",
        limit=7,
        open=False,
        tags=["a b", "c"],
        since=datetime(2026, 4, 1, 9, tzinfo=UTC),
        colour=Colour.BLUE,
    )
    asked = (await door.list_things(request)).asked
    assert asked == repr(("山田 & co/1", 7, False, ["a b", "c"], "2026-04-01T09:00:00+00:00", Colour.BLUE))


async def test_path_and_body_make_one_request(door: Demo) -> None:
    assert await door.settle_thing(SettleThing(thing_id=THING_ID, amount_minor=5)) == Counted(count=5)
    assert await door.settle_thing(SettleThing(thing_id=THING_ID)) == Counted(count=-1)


async def test_a_batch_of_many_kilobytes_passes(door: Demo) -> None:
    things = [CreateThing(name=f"n{number}", amount_minor=1) for number in range(20_000)]
    assert await door.create_things(CreateThings(things=things)) == Counted(count=20_000)


async def test_a_stream_gives_all_its_items_in_order(door: Demo) -> None:
    found = [item.count async for item in door.export_things(ExportThings(count=20_000))]
    assert found == list(range(20_000))


async def test_an_empty_stream_is_empty(door: Demo) -> None:
    assert [item async for item in door.export_things(ExportThings(count=0))] == []


async def test_an_error_before_the_first_item_is_that_error(door: Demo) -> None:
    with pytest.raises(Unavailable) as caught:
        async for _ in door.export_things(ExportThings(count=13)):
            pass
    assert caught.value.code == "snapshot_not_stable"


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("refused", Refused, "insufficient_funds"),
        ("unavailable", Unavailable, "queue_full"),
        ("unknown", Unknown, "outcome_unknown"),
    ],
)
async def test_an_error_crosses_whole(door: Demo, name: str, kind: type[PaymentError], code: str) -> None:
    with pytest.raises(PaymentError) as caught:
        await door.create_thing(CreateThing(name=name, amount_minor=1))
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert caught.value.retryable is kind.retryable
    if name == "refused":
        assert caught.value.details == {"available_minor": 3, "places": ["a", "b"]}


async def test_not_found_says_what(door: Demo) -> None:
    missing = "thg_" + "f" * 32
    with pytest.raises(NotFound) as caught:
        await door.get_thing(GetThing(thing_id=missing))
    assert caught.value.code == "thing_not_found"
    assert caught.value.details["thing_id"] == missing


async def test_an_unexpected_exception_tells_nothing_of_itself(remote: Demo) -> None:
    with pytest.raises(Unknown) as caught:
        await remote.create_thing(CreateThing(name="broken", amount_minor=1))
    assert caught.value.code == "internal_error"
    assert caught.value.http_status == 500
    assert "secret reason" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_minor": 0}, "$.amount_minor"),
        ({"amount_minor": 10**16 + 1}, "$.amount_minor"),
        ({"name": ""}, "$.name"),
        ({"name": "no blanks"}, "$.name"),
        ({"name": "line\n"}, "$.name"),
        ({"note": "far too long"}, "$.note"),
        ({"note": "nul\0"}, "$.note"),
        ({"labels": {"": "x"}}, "$.labels"),
        ({"due_at": datetime(1600, 1, 1, tzinfo=UTC)}, "$.due_at"),
    ],
)
async def test_constraints_hold_on_every_transport_and_name_the_field(
    remote: Demo, service: DemoService, change: dict[str, object], field: str
) -> None:
    plain: dict[str, object] = {"name": "it", "amount_minor": 1} | change
    with pytest.raises(Invalid) as caught:
        await remote.create_thing(CreateThing(**plain))  # pyright: ignore[reportArgumentType]
    assert caught.value.code == "invalid_request"
    assert caught.value.details["field"] == field
    assert service.calls == []


async def test_a_malformed_path_parameter_names_itself(remote: Demo) -> None:
    with pytest.raises(Invalid) as caught:
        await remote.get_thing(GetThing(thing_id="thing-1"))
    assert caught.value.details["field"] == "$.thing_id"


async def test_the_same_key_and_content_replays(remote: Demo, service: DemoService) -> None:
    request = CreateThing(name="it", amount_minor=1)
    with sending(idempotency_key="k-1") as sent:
        first = await remote.create_thing(request)
        assert not sent.replayed
        assert await remote.create_thing(request) == first
        assert sent.replayed
    assert service.finished == 1


async def test_a_refusal_replays_too(remote: Demo) -> None:
    with sending(idempotency_key="k-2") as sent:
        for replayed in (False, True):
            with pytest.raises(Refused):
                await remote.create_thing(CreateThing(name="refused", amount_minor=1))
            assert sent.replayed is replayed


async def test_the_same_key_with_other_content_is_refused(remote: Demo) -> None:
    with sending(idempotency_key="k-3"):
        await remote.create_thing(CreateThing(name="it", amount_minor=1))
        with pytest.raises(KeyReused):
            await remote.create_thing(CreateThing(name="it", amount_minor=2))


async def test_a_key_in_use_is_told_so(remote: Demo, service: DemoService) -> None:
    with sending(idempotency_key="k-4"):
        first = asyncio.create_task(remote.create_thing(CreateThing(name="slow", amount_minor=1)))
        await service.begun.wait()
        with pytest.raises(RequestInProgress):
            await remote.create_thing(CreateThing(name="slow", amount_minor=1))
        service.release.set()
        assert (await first).name == "slow"


async def test_keys_are_scoped_to_route_and_api_key(service: DemoService) -> None:
    seen: set[str | None] = set()
    for way in REMOTE:
        for api_key in ("writer", "service"):
            async with entered(way, service, api_key) as entrance:
                with sending(idempotency_key="shared"):
                    await entrance.create_thing(CreateThing(name="it", amount_minor=1))
            seen.add(service.calls[-1].request_key)
            assert service.calls[-1].caller == f"key_{api_key}"
    assert len(seen) == 2  # one an API key, the same whichever way it came


async def test_past_the_deadline_the_work_is_carried_on(remote: Demo, service: DemoService) -> None:
    if type(remote).__name__ == "RawRest":
        pytest.skip("the header has its own test")
    request = CreateThing(name="slow", amount_minor=1)
    with sending(idempotency_key="k-5", timeout_s=0.2) as sent:
        with pytest.raises(DeadlineExceeded):
            await remote.create_thing(request)
        sent.timeout_s = 10
        with pytest.raises(RequestInProgress):
            await remote.create_thing(request)
        service.release.set()
        await service.done.wait()
        assert (await remote.create_thing(request)).name == "slow"
        assert sent.replayed
    assert service.finished == 1


@pytest.mark.parametrize("way", REMOTE)
@pytest.mark.parametrize(
    ("api_key", "kind", "code"),
    [("nobody", Unauthenticated, "invalid_api_key"), ("reader", Forbidden, "missing_scope")],
)
async def test_keys_and_scopes_are_asked_for(
    service: DemoService, way: str, api_key: str, kind: type[PaymentError], code: str
) -> None:
    async with entered(way, service, api_key) as entrance:
        with pytest.raises(kind) as caught:
            await entrance.create_thing(CreateThing(name="it", amount_minor=1))
        assert caught.value.code == code
    assert service.calls == []
