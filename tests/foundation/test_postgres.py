"""The embedded PostgreSQL starts anywhere, says what is wrong, and recovers from every kind of death."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from kessai.foundation import postgres
from kessai.foundation.errors import OperatorError
from kessai.foundation.postgres import EmbeddedPostgres, barred_at, default_data, demotion, running_dsn


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the database's own user can reach, gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="kessai-pg-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A running server."""
    started = EmbeddedPostgres(folder / "data", durable=False)
    await started.start()
    yield started
    await started.stop()


async def _value(dsn: str, query: str, password: str | None = None) -> object:
    connection = await asyncpg.connect(dsn, password=password)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _until_it_answers(server: EmbeddedPostgres) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await _value(server.dsn, "SELECT 1")
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.02)
            else:
                return


async def test_data_outlives_a_restart(folder: Path) -> None:
    first = EmbeddedPostgres(folder / "data")
    await first.start()
    await _value(first.dsn, "CREATE TABLE kept AS SELECT 42 AS id")
    settings = {
        name: await _value(first.dsn, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "data_checksums")
    }
    await first.stop()
    assert set(settings.values()) == {"on"}
    second = EmbeddedPostgres(folder / "data")
    await second.start()
    assert await _value(second.dsn, "SELECT id FROM kept") == 42
    await second.stop()
    assert running_dsn(folder / "data") is None


async def test_second_start_on_the_same_folder_says_who_has_it(server: EmbeddedPostgres) -> None:
    with pytest.raises(OperatorError, match=rf"in use by another kessai \(process {os.getpid()}\)"):
        await EmbeddedPostgres(server.data).start()
    assert await _value(server.dsn, "SELECT 1") == 1


async def test_loopback_port_asks_for_the_password(server: EmbeddedPostgres) -> None:
    address = f"postgresql://postgres@127.0.0.1:{server.port}/kessai"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await _value(address, "SELECT 1", password="guess")
    password = (server.data / "password").read_text().strip()
    assert await _value(address, "SELECT 1", password=password) == 1


async def test_only_the_owner_can_enter_data_and_socket(server: EmbeddedPostgres) -> None:
    for private in (server.cluster, server.data / "run"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    for private in (server.data / "password", server.data / "lock", server.data / "postgres.log"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600


async def test_environment_of_ours_does_not_reach_the_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("KESSAI_TEST_SECRET", "hidden")
    server = EmbeddedPostgres(folder / "data", durable=False)
    await server.start()
    assert "KESSAI_TEST_SECRET" not in psutil.Process(server.pid).environ()
    await server.stop()


async def test_killed_server_is_started_again_where_it_was(server: EmbeddedPostgres) -> None:
    watch = asyncio.create_task(server.watch())
    await _value(server.dsn, "CREATE TABLE kept AS SELECT 42 AS id")
    killed = server.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await _until_it_answers(server)
    assert server.pid != killed
    await server.stop()
    await watch


async def test_server_left_by_a_killed_process_is_taken_over(folder: Path) -> None:
    program = (
        "import asyncio, os, signal, sys\nfrom pathlib import Path\n"
        "from kessai.foundation.postgres import EmbeddedPostgres\n"
        "async def main():\n    await EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\nasyncio.run(main())\n"
    )
    died = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(folder / "data"))
    assert await died.wait() == -signal.SIGKILL
    assert running_dsn(folder / "data") is not None
    server = EmbeddedPostgres(folder / "data", durable=False)
    await server.start()
    assert await _value(server.dsn, "SELECT 1") == 1
    await server.stop()


async def test_pid_file_that_names_somebody_elses_process_is_no_obstacle(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "data", durable=False)
    await server.start()
    file = server.cluster / "postmaster.pid"
    lines = file.read_text().splitlines()
    await server.stop()
    stranger = subprocess.Popen(["sleep", "60"], **demotion())
    try:
        file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        await server.start()
        assert stranger.poll() is None
        await server.stop()
    finally:
        stranger.kill()
        stranger.wait()


async def test_cluster_that_was_never_finished_is_made_anew(folder: Path) -> None:
    (folder / "data" / "cluster.new" / "base").mkdir(parents=True)
    server = EmbeddedPostgres(folder / "data", durable=False)
    await server.start()
    assert await _value(server.dsn, "SELECT 1") == 1
    await server.stop()


async def test_folder_with_a_very_long_name_works(folder: Path) -> None:
    server = EmbeddedPostgres(folder / ("long" * 30) / "data", durable=False)
    await server.start()
    assert await _value(server.dsn, "SELECT 1") == 1
    await server.stop()


async def test_folder_that_cannot_be_written_is_one_sentence(folder: Path) -> None:
    (folder / "data").write_text("a file stands here")
    with pytest.raises(OperatorError, match=r"The data folder .* cannot be written: "):
        await EmbeddedPostgres(folder / "data").start()


async def test_broken_cluster_is_one_sentence(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "data", durable=False, settings={"shared_buffers": "much"})
    with pytest.raises(OperatorError, match=r"PostgreSQL does not start in .*shared_buffers"):
        await server.start()
    mended = EmbeddedPostgres(folder / "data", durable=False)
    await mended.start()
    await mended.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
async def test_folder_that_the_databases_user_cannot_enter_is_named(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(OperatorError, match=r"PostgreSQL runs as user \w+, which cannot enter .*/closed"):
        await EmbeddedPostgres(folder / "closed" / "data").start()
    assert barred_at(folder / "closed" / "data", demotion()) == (folder / "closed").resolve()
    assert stat.S_IMODE((folder / "closed").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_default_folder_is_a_system_folder_where_the_databases_user_cannot_enter(folder: Path) -> None:
    assert default_data(folder) == folder / ".kessai"
    folder.chmod(0o700)
    assert default_data(folder).parent == postgres.SYSTEM_FOLDER
    assert default_data(folder) == default_data(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
async def test_binaries_are_copied_out_when_the_databases_user_cannot_reach_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path(EmbeddedPostgres(folder).bin_dir).parents[1]
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    libraries = original.with_name(original.name + ".libs")
    shutil.copytree(original, closed / "copy" / original.name, symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, closed / "copy" / libraries.name)
    monkeypatch.setattr(postgres, "SYSTEM_FOLDER", folder / "system")

    class Found:
        origin = str(closed / "copy" / original.name / "__init__.py")

    def found(_: str) -> type[Found]:
        return Found

    monkeypatch.setattr(postgres.util, "find_spec", found)
    server = EmbeddedPostgres(folder / "data", durable=False)
    await server.start()
    assert await _value(server.dsn, "SELECT 1") == 1
    assert server.bin_dir.is_relative_to(folder / "system")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    await server.stop()
