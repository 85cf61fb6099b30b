"""A service that shares no code with the platform takes part over gRPC: plain grpcio, and protoc's stubs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.errors import NotFound
from kessai.foundation.ids import new_id
from kessai.services.tracer.api import GetProcessing, Processing, Verdict

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
async def served(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Platform, str, str]]:
    """A platform, its address and a key."""
    settings = Settings(database_url=database_url, data=str(tmp_path), sandbox=True)
    secret = await prepare(database_url, settings)
    assert secret is not None
    platform = Platform(database_url, settings)
    await platform.open()
    server, port = platform.grpc(host="127.0.0.1", port=0)
    await server.start()
    yield platform, f"127.0.0.1:{port}", secret
    await server.stop(1)
    await platform.close()


async def decided(platform: Platform, processing_id: str) -> Processing:
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


@pytest.mark.parametrize(("remembered_minor", "verdict"), [(500, "CONSISTENT"), (501, "INCONSISTENT")])
async def test_a_service_in_another_language_takes_part(
    served: tuple[Platform, str, str], stubs: Path, remembered_minor: int, verdict: str
) -> None:
    platform, target, secret = served
    processing_id = new_id("prc")
    await run(str(KIOSK), str(stubs), target, secret, processing_id, str(remembered_minor))
    found = await decided(platform, processing_id)
    assert (found.verdict, found.entry, found.participants) == (verdict, "kiosk", ["kiosk", "ledger"])
    assert [(each.caller, each.callee) for each in found.graph] == [("kiosk", "ledger")]
    told = [each.report for each in found.reports if each.participant == "kiosk"][-1]
    assert [each.fields for each in told.differences] == ([] if remembered_minor == 500 else [["amount_minor"]] * 2)
