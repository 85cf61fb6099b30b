"""The demonstration: an embedded PostgreSQL and the platform, a client in a process of its own, and the proof."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from rich.console import Console
from rich.panel import Panel

from kessai.apps.bench.program import KESSAI, PlatformProcess
from kessai.apps.demo.sent import write_bank_files
from kessai.apps.outside import running
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError

BOOKS = Path(".kessai") / "demo"
"""Where what was written for signature stays when the demonstration's data is gone."""
SETTLEMENT = "settlement"
"""Of the same folder: merchants' statements, and the files that the bank got."""
DAY = (sys.executable, "-m", "kessai.apps.demo.day")
TAPS = (sys.executable, "-m", "kessai.apps.demo.taps")
MONTH = (sys.executable, "-m", "kessai.apps.demo.month")
APPROVER_SCOPES = ("approval:approve", "approval:read", "bank:approve", "bank:read")


def run() -> int:
    """0 when the day was played and everything balances, 1 when not, 2 when the platform could not be started."""
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="kessai-demo-"))
    folder.chmod(0o711)  # when we are root, the database's own user must reach its folder inside
    try:
        return uvloop.run(_show(console, folder / "data"))
    except OperatorError as error:
        console.print(str(error), markup=False)
        return 2
    except KeyboardInterrupt:
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _show(console: Console, data: Path) -> int:
    began = time.perf_counter()
    async with PlatformProcess("--data", str(data)) as platform:
        console.print(
            f"kessai (決済) is up at {platform.url} after {time.perf_counter() - began:.1f} s", highlight=False
        )
        parties = running(Settings(data=str(data)))
        played = await _child(
            *(*DAY, platform.url),
            KESSAI_API_KEY=platform.api_key,
            CARDS_URL=str(parties.card_gateway_url),
            BANK_URL=str(parties.bank_url),
            BOOKS_FOLDER=str(books_folder(data)),
        )
        console.rule("A card on a phone, tapped and cleared · iD決済の一日")
        tapped = await _child(
            *(*TAPS, platform.url),
            KESSAI_API_KEY=platform.api_key,
            NETWORK_URL=str(parties.card_network_url),
            SMS_URL=str(parties.sms_url),
        )
        shutil.rmtree(books_folder(data) / SETTLEMENT, ignore_errors=True)  # an earlier demonstration's
        console.rule("A month of merchants in fast time · 加盟店精算の一か月")
        settled = await _child(
            *(*MONTH, platform.url),
            KESSAI_API_KEY=platform.api_key,
            APPROVER_KEYS=" ".join([await approver_key(data) for _ in range(2)]),
            BANK_URL=str(parties.bank_url),
            SETTLEMENT_FOLDER=str(books_folder(data) / SETTLEMENT),
        )
        console.print(await write_bank_files(Settings(data=str(data)), books_folder(data) / SETTLEMENT))
        console.rule("kessai verify, the books outside included · 不変条件と社外帳簿の検証")
        verified = await _child(*KESSAI, "verify", "--data", str(data))
        console.rule("kessai trace prove --all · 全処理の再照合")
        proved = await _child(*KESSAI, "trace", "prove", "--all", "--data", str(data))
        if played or tapped or settled or verified or proved:
            broken = played or tapped or settled or 1 in (verified, proved)
            console.print("[red]It does not balance.[/red]" if broken else "it could not be verified")
            return 1
        console.print("[green]Every yen is accounted for · 一円まで合っています[/green]")
        if sys.stdout.isatty():
            await _stay(console, platform)
    return 0


async def approver_key(data: Path) -> str:
    """A key that the operator did not make, for somebody else who approves."""
    scopes = [part for scope in APPROVER_SCOPES for part in ("--scope", scope)]
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, "key", "create", "--data", str(data), "--name", "approver", *scopes),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate())[0].decode().strip()


def books_folder(data: Path) -> Path:
    """Where sheets are written: here, or beside the demonstration's own data where nothing can be written here."""
    try:
        BOOKS.mkdir(parents=True, exist_ok=True)
    except OSError:
        return data / "books"
    return BOOKS.resolve()


async def _child(*command: str, **environment: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, env={**os.environ, **environment}
    )
    return await process.wait()


async def _stay(console: Console, platform: PlatformProcess) -> None:
    """Until Ctrl-C, or until the platform ends by itself."""
    console.print(
        Panel(
            f"The platform stays up: {platform.url}\n"
            f"KEY={platform.api_key}\n"
            f'curl -H "Authorization: Bearer $KEY" {platform.url}/v1/ledger/totals\n'
            "Ctrl-C ends it and removes its data.",
            title="kessai",
        ),
        highlight=False,
    )
    await platform.wait()
