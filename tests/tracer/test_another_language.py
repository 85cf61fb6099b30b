"""A service that shares no code with the platform takes part over gRPC: plain grpcio, and protoc's stubs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from kessai.apps.remote import RemoteEffects
from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.door import grpc_client, grpc_server
from kessai.foundation.door.principal import Principal
from kessai.foundation.errors import Forbidden, Invalid, NotFound, Refused
from kessai.foundation.ids import new_id
from kessai.sdk.processing.api import Announce, ConsistencyReport, Outcome, Processing, SendReports
from kessai.sdk.processing.participant import Participant
from kessai.sdk.processing.reconcile import digest_of
from kessai.services.identity.api import CreateKey, Scope
from kessai.services.tracer.api import GetProcessing, Tracer, Verdict
from kessai.services.tracer.api import Processing as Shown

from .toys import World, effect

CONTRACTS = Path(__file__).parents[2] / "contracts"
KIOSK = Path(__file__).parent / "kiosk.py"


async def run(*words: str) -> None:
    """A program to its end; its complaint when it fails."""
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=asyncio.subprocess.PIPE)
    _, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()


@pytest.fixture
async def stubs(tmp_path: Path) -> Path:
    """What protoc makes of the emitted contracts."""
    out = tmp_path / "stubs"
    out.mkdir()
    files = ("ledger.proto", "tracer.proto")
    await run("-m", "grpc_tools.protoc", f"-I{CONTRACTS}", f"--python_out={out}", f"--grpc_python_out={out}", *files)
    return out


@pytest.fixture
async def served(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Platform, str]]:
    """A platform and its address."""
    settings = Settings(database_url=database_url, data=str(tmp_path), sandbox=True)
    await prepare(database_url, settings)
    platform = Platform(database_url, settings)
    await platform.open()
    server, port = platform.grpc(host="127.0.0.1", port=0)
    await server.start()
    yield platform, f"127.0.0.1:{port}"
    await server.stop(1)
    await platform.close()


async def decided(platform: Platform, processing_id: str) -> Shown:
    """A processing once everybody has reported on it."""
    async with asyncio.timeout(60):
        while True:
            try:
                found = await platform.tracer.get_processing(GetProcessing(processing_id=processing_id))
                if found.verdict is not Verdict.PENDING and len(found.participants) > 1:
                    return found
            except NotFound:
                pass
            await asyncio.sleep(0.1)


async def key_of(platform: Platform, service: str | None) -> str:
    """A key for a service that takes part; in its own name unless that is None."""
    scopes = [Scope.TRACER_PARTICIPATE, Scope.INTERNAL, Scope.TRACER_READ, Scope.LEDGER_READ, Scope.LEDGER_WRITE]
    return (await platform.identity.create_key(CreateKey(name="kiosk", scopes=scopes, service=service))).secret


@pytest.mark.parametrize(("remembered_minor", "verdict"), [(500, "CONSISTENT"), (501, "INCONSISTENT")])
async def test_a_service_in_another_language_takes_part(
    served: tuple[Platform, str], stubs: Path, remembered_minor: int, verdict: str
) -> None:
    platform, target = served
    processing_id, secret = new_id("prc"), await key_of(platform, "kiosk")
    await run(str(KIOSK), str(stubs), target, secret, processing_id, str(remembered_minor), "ledger")
    found = await decided(platform, processing_id)
    assert (found.verdict, found.entry, found.participants) == (verdict, "kiosk", ["kiosk", "ledger"])
    assert [(each.caller, each.callee, each.told_by_callee) for each in found.graph] == [("kiosk", "ledger", True)]
    told = [each.report for each in found.reports if each.participant == "kiosk"][-1]
    assert [each.fields for each in told.differences] == ([] if remembered_minor == 500 else [["amount_minor"]] * 2)


async def test_a_service_that_hides_whom_it_called_is_caught_by_whom_it_called(
    served: tuple[Platform, str], stubs: Path
) -> None:
    platform, target = served
    processing_id, secret = new_id("prc"), await key_of(platform, "kiosk")
    await run(str(KIOSK), str(stubs), target, secret, processing_id, "500")
    found = await decided(platform, processing_id)
    assert found.verdict == "INCONSISTENT"
    (call,) = found.verdicts[-1].undeclared
    assert (call.caller, call.callee) == ("kiosk", "ledger")


async def test_a_key_of_one_service_cannot_speak_for_another(served: tuple[Platform, str]) -> None:
    platform, target = served
    client = grpc_client(Tracer, target, await key_of(platform, "kiosk"))
    with pytest.raises(Forbidden) as refused:
        await client.announce(Announce(participant="ledger", processing_ids=["prc_1"]))
    assert refused.value.code == "not_this_participant"
    await client.announce(Announce(participant="kiosk", processing_ids=["prc_1"]))
    await cast("Any", client).aclose()


async def test_a_key_without_a_services_name_speaks_for_nobody(served: tuple[Platform, str]) -> None:
    platform, target = served
    client = grpc_client(Tracer, target, await key_of(platform, None))
    report = ConsistencyReport(processing_id="prc_1", revision=1, outcome=Outcome.MATCHED, digest=digest_of([]))
    for name in ("ledger", "kiosk"):
        with pytest.raises(Forbidden, match="not_this_participant"):
            await client.send_reports(SendReports(participant=name, reports=[report]))
    await cast("Any", client).aclose()


@pytest.mark.parametrize("name", ["internal", "ledger", "tracer", "key_1"])
async def test_no_key_acts_in_the_platforms_own_name(served: tuple[Platform, str], name: str) -> None:
    with pytest.raises(Refused, match="service_name_reserved"):
        await key_of(served[0], name)


async def test_a_key_in_a_services_name_needs_a_services_scopes(served: tuple[Platform, str]) -> None:
    platform, _ = served
    with pytest.raises(Invalid) as refused:
        await platform.identity.create_key(CreateKey(name="kiosk", scopes=[Scope.TRACER_READ], service="kiosk"))
    assert refused.value.code == "invalid_request"
    assert Principal("key_1", frozenset(), "kiosk").caller("approval:approve") == "key_1"


async def test_a_remote_service_is_asked_for_its_record_and_waited_for(
    database: Database, served: tuple[Platform, str]
) -> None:
    platform, _ = served
    world = World(database, {"shop": ["kiosk"], "kiosk": []})
    server, port = grpc_server(
        [(Processing, world.toys["kiosk"])], authenticate=platform.identity.authenticate, host="127.0.0.1", port=0
    )
    await server.start()
    remote = RemoteEffects("kiosk", f"127.0.0.1:{port}", await key_of(platform, "shop"))
    own = world.toys["shop"].own_view
    shop = Participant(database, "shop", own=own, dependencies={"kiosk": remote}, tracer=world.tracer, doubt_s=0)
    world.participants["shop"] = shop
    for processing_id, extra in (("prc_1", False), ("prc_2", True)):
        world.toys["shop"].called(world.toys["kiosk"], processing_id, effect(f"kio_{processing_id}"))
        if extra:
            world.toys["kiosk"].did("shop", processing_id, effect("kio_unheard_of"))
        await world.touch("shop", processing_id, entry=True)
        await world.touch("kiosk", processing_id)
    await world.settle()
    assert [await world.verdict(each) for each in ("prc_1", "prc_2")] == ["CONSISTENT", "INCONSISTENT"]
    await server.stop(0)
    await world.touch("shop", "prc_1")
    await world.settle()
    assert (await world.processing("prc_1")).waiting_for == ["shop"]
    await remote.close()
    await world.tracer.close()
