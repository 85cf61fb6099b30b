"""`kessai up` as its operator meets it: it starts, it says where, it stops, and it says what is wrong."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from importlib import resources
from pathlib import Path

import psutil
import pytest

from kessai.apps.place import data_folder
from kessai.apps.wiring import prepare
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.postgres import running_dsn
from tests.apps.operator import KESSAI, TIMEOUT_S, StartUp, Up, refused


async def test_data_and_key_outlive_a_restart_and_the_server_is_stopped(folder: Path, start_up: StartUp) -> None:
    first = await start_up("--data", str(folder / "data"))
    assert first.key is not None
    opened = await first.ask("/v1/ledger/accounts", key=first.key, body={"owner": "cus:1", "account_type": "funds"})
    assert await first.stop() == 0
    assert running_dsn(folder / "data") is None
    second = await start_up("--data", str(folder / "data"))
    assert second.key is None
    again = await second.ask(f"/v1/ledger/accounts/{opened['account_id']}", key=first.key)
    assert again["owner"] == "cus:1"
    assert await second.stop(signal.SIGTERM) == 0
    assert "Traceback" not in first.errors + second.errors


async def test_it_says_where_it_listens_and_is_ready(up: Up) -> None:
    assert re.search(r"gRPC  127\.0\.0\.1:[1-9]\d*", up.said)
    ready = await up.ask("/readyz")
    line = ready.pop("card_network")
    assert (ready, isinstance(line, dict)) == ({"status": "ready", "sandbox": True}, True)
    assert (await up.ask("/healthz"))["status"] == "ok"
    assert "paths" in await up.ask("/openapi.json")


async def test_secret_of_the_first_key_is_in_no_log(up: Up, folder: Path) -> None:
    assert up.key is not None
    await up.ask("/v1/ledger/totals", key=up.key)
    await up.stop()
    assert up.key not in up.errors
    assert up.key.encode() not in (folder / "data" / "postgres.log").read_bytes()


async def test_second_start_on_the_same_data_says_so(up: Up, folder: Path) -> None:
    said = await refused("up", "--port", "0", "--grpc-port", "0", "--data", str(folder / "data"))
    assert f"is in use by another kessai (process {up.process.pid})" in said


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
async def test_taken_port_is_one_sentence(option: str, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        other = "--grpc-port" if option == "--port" else "--port"
        said = await refused("up", option, port, other, "0", "--data", str(folder / "data"))
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert not (folder / "data").exists()


async def test_taken_port_is_told_to_several_workers_too(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = str(taken.getsockname()[1])
        said = await refused("up", "--port", port, "--workers", "2", "--data", str(folder / "data"))
    assert f"cannot listen on 127.0.0.1:{port}" in said


async def test_one_port_for_both_ways_in_is_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    said = await refused("up", "--port", port, "--grpc-port", port, "--data", str(folder / "data"))
    assert said == f"REST and gRPC cannot both listen on 127.0.0.1:{port}; name another port."


async def test_configuration_that_would_misread_accounts_is_refused_with_its_line(
    database: Database, database_url: str, folder: Path
) -> None:
    await prepare(database_url, Settings())
    await database.fetch(
        None,
        "INSERT INTO ledger.account (account_id, owner, account_type, asset, balance, held, version, overdraft, frozen,"
        " closed, metadata, opened_id, flush_id)"
        " VALUES (gen_random_uuid(), 'cus:1', 'sales', 'JPY', 5, 0, 0, 0, 'NONE', false, '{}', 1, 1)",
    )
    text = resources.files("kessai.config").joinpath("account_types.toml").read_text(encoding="utf-8")
    types = folder / "types.toml"
    types.write_text(text.replace("[types.sales]\n", "[types.sales]\nlog_only = true\n"))
    line = 1 + types.read_text().splitlines().index("[types.sales]") + 1
    said = await refused(
        "up", "--port", "0", "--grpc-port", "0", "--database-url", database_url, "--account-types", str(types)
    )
    assert f"types.toml, line {line}: types.sales.log_only: accounts of the type are there already" in said


async def test_unwritable_folder_is_one_sentence(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    said = await refused("up", "--port", "0", "--grpc-port", "0", "--data", str(folder / "file" / "data"))
    assert "cannot be written" in said


async def test_unreachable_database_is_one_sentence_without_its_password() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/kessai"
    said = await refused("up", "--port", "0", "--grpc-port", "0", "--database-url", url)
    assert "The database at 127.0.0.1:1/kessai cannot be reached" in said
    assert "hunter2" not in said


async def test_newer_database_is_one_sentence(database: Database, database_url: str) -> None:
    await database.fetch(
        None,
        "INSERT INTO kessai.schema_migration (schema, component, number, name, digest)"
        " VALUES ('ledger', 'ledger', 9999, '9999_later.sql', 'x')",
    )
    said = await refused("up", "--port", "0", "--grpc-port", "0", "--database-url", database_url)
    assert "newer than this program" in said


async def test_impossible_account_type_is_refused_with_its_line(folder: Path) -> None:
    types = folder / "types.toml"
    types.write_text(
        '[types.hot]\nname_ja = "x"\nasset = "JPY"\nowner_kind = "merchant"\nlog_only = true\nretention_cap_minor = 5\n'
    )
    said = await refused(
        "up", "--port", "0", "--grpc-port", "0", "--data", str(folder / "data"), "--account-types", str(types)
    )
    assert re.search(r"types\.toml, line 6: types\.hot\.retention_cap_minor", said)


async def test_wrong_configuration_is_refused_before_a_key_is_made(folder: Path, start_up: StartUp) -> None:
    said = await refused("up", "--port", "0", "--grpc-port", "0", "--data", str(folder), "--payment-kinds", "nowhere")
    assert said == "The configuration nowhere cannot be read: No such file or directory."
    up = await start_up("--data", str(folder))
    assert up.key is not None


async def test_ctrl_c_during_the_start_ends_it_and_leaves_no_server(folder: Path) -> None:
    data = folder / "data"
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, "up", "--port", "0", "--grpc-port", "0", "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TIMEOUT_S):
        while not (data / "lock").exists():
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, _ = await process.communicate()
    assert (process.returncode, said) == (0, b"")
    assert running_dsn(data) is None


async def test_dead_worker_is_replaced_and_all_end_with_the_parent(folder: Path, start_up: StartUp) -> None:
    up = await start_up("--data", str(folder / "data"), "--workers", "2")
    parent = psutil.Process(up.process.pid)
    workers = [each for each in parent.children() if "kessai.apps.workers" in each.cmdline()]
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    async with asyncio.timeout(TIMEOUT_S):
        while len([each for each in parent.children() if _serves(each) and each.pid != workers[0].pid]) < 2:
            await asyncio.sleep(0.05)
    assert (await up.ask("/readyz"))["status"] == "ready"
    left = parent.children()
    assert await up.stop() == 0
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in left)


def _serves(process: psutil.Process) -> bool:
    try:
        return "kessai.apps.workers" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_workers_end_when_their_parent_is_killed(folder: Path, start_up: StartUp) -> None:
    up = await start_up("--data", str(folder / "data"), "--workers", "2")
    workers = [each for each in psutil.Process(up.process.pid).children() if _serves(each)]
    up.process.kill()
    await up.process.wait()
    async with asyncio.timeout(TIMEOUT_S):
        while any(each.is_running() and _serves(each) for each in workers):
            await asyncio.sleep(0.05)
    again = await start_up("--data", str(folder / "data"))
    assert await again.stop() == 0


async def test_moved_clock_is_every_workers_clock_and_is_kept(folder: Path, start_up: StartUp) -> None:
    up = await start_up("--data", str(folder / "data"), "--workers", "2")
    key = up.key
    before = (await up.ask("/v1/sandbox/clock", key=key))["now"]
    moved = await up.ask("/v1/sandbox/clock/advance", key=key, body={"seconds": 86_400})
    await up.ask("/v1/sandbox/clock/freeze", key=key, body={})
    shown = {str((await up.ask("/v1/sandbox/clock", key=key))["now"]) for _ in range(8)}
    assert len(shown) == 1
    assert str(before)[:10] < str(moved["now"])[:10] <= shown.pop()[:10]
    await up.stop()
    again = await start_up("--data", str(folder / "data"))
    state = await again.ask("/v1/sandbox/clock", key=key)
    assert state["frozen"] is True
    await again.ask("/v1/sandbox/clock/thaw", key=key, body={})
    await again.stop()


def test_data_goes_to_the_named_folder() -> None:
    assert data_folder(Settings(data="somewhere")) == Path("somewhere")


async def test_job_and_key_work_beside_a_running_platform(up: Up, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, "job", "run", "expire-lots", "--data", str(folder / "data")), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == b"expire-lots: 0\n"
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, "key", "create", "--scope", "ledger:read", "--data", str(folder / "data")),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert "totals" in await up.ask("/v1/ledger/totals", key=out.decode().strip())


async def test_unknown_job_and_missing_platform_are_one_sentence(folder: Path) -> None:
    assert "There is no job nonsense" in await refused("job", "run", "nonsense", "--data", str(folder / "data"))
    assert "There is no platform in" in await refused("key", "create", "--data", str(folder / "data"))
    assert os.listdir(folder) == []
