"""The parties outside: those that an operator has not configured are simulated, beside the platform, on loopback.

Their books lie in the data folder, so that they survive a restart and `kessai verify` can read them; where each listens
is written there too, for jobs that run beside the platform.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import structlog
from msgspec.structs import replace

from kessai.apps.place import data_folder
from kessai.foundation.config import Settings, read_toml
from kessai.foundation.errors import OperatorError

log = structlog.get_logger(__name__)


class Simulator(Protocol):
    """A party that can be started and stopped."""

    @property
    def url(self) -> str: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


def _card_gateway(path: Path, _: Settings) -> Simulator:
    from kessai.simulators.cardgateway import CardGatewaySimulator

    return CardGatewaySimulator(path=path)


def _bank(path: Path, settings: Settings) -> Simulator:
    from kessai.services.bank.domain import load_terms
    from kessai.simulators.bank import BankSimulator

    connection = load_terms(None if settings.bank_terms is None else read_toml(Path(settings.bank_terms))).connection
    return BankSimulator(path=path, folder=Path(connection.folder) if connection.way == "folder" else None)


PARTIES: dict[str, tuple[str, Callable[[Path, Settings], Simulator]]] = {
    "cardgateway": ("card_gateway_url", _card_gateway),
    "bank": ("bank_url", _bank),
}
"""Each party with the setting that names the real one."""


def folder_of(settings: Settings) -> Path:
    """Where the books of the simulated parties of this platform lie."""
    folder = data_folder(settings) / "simulators"
    if settings.database_url is None:
        return folder
    return folder / hashlib.sha256(settings.database_url.encode()).hexdigest()[:12]


@asynccontextmanager
async def simulated(settings: Settings) -> AsyncGenerator[Settings]:
    """The settings with an address for every party; those without one are simulated for as long as this lasts."""
    folder = folder_of(settings)
    async with AsyncExitStack() as stack:
        for name, (setting, make) in PARTIES.items():
            if getattr(settings, setting) is not None:
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True)
                simulator = make(folder / f"{name}.jsonl", settings)
                await simulator.start()
            except OSError as error:
                raise OperatorError(f"The simulated {name} cannot start: {error}.") from error
            stack.push_async_callback(simulator.stop)
            address = folder / f"{name}.url"
            address.write_text(simulator.url, encoding="utf-8")
            stack.callback(address.unlink, missing_ok=True)
            settings = replace(settings, **{setting: simulator.url})
            log.debug("simulated", party=name, url=simulator.url)
        yield settings


def running(settings: Settings) -> Settings:
    """The settings with the addresses of parties that a platform beside us simulates just now."""
    for name, (setting, _) in PARTIES.items():
        address = folder_of(settings) / f"{name}.url"
        if getattr(settings, setting) is None and address.exists():
            settings = replace(settings, **{setting: address.read_text(encoding="utf-8")})
    return settings
