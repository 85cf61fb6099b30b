"""The parties outside: those that an operator has not configured are simulated, beside the platform, on loopback.

Their books lie in the data folder, so that they survive a restart and `kessai verify` can read them; where each listens
is written there too, for jobs that run beside the platform.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import structlog
from msgspec.structs import replace

from kessai.apps.nfc_line import reached_at
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


@runtime_checkable
class Caller(Protocol):
    """A party that connects to us, too."""

    async def connect(self, host: str, port: int, *, connections: int = 2, tls: ssl.SSLContext | None = None) -> None:
        """Sign on; TimeoutError when it is not let in (it is tried on)."""
        ...


def _card_gateway(path: Path, _: Settings) -> Simulator:
    from kessai.simulators.cardgateway import CardGatewaySimulator

    return CardGatewaySimulator(path=path)


def _bank(path: Path, settings: Settings) -> Simulator:
    from kessai.services.bank.domain import load_terms
    from kessai.simulators.bank import BankSimulator

    connection = load_terms(None if settings.bank_terms is None else read_toml(Path(settings.bank_terms))).connection
    return BankSimulator(path=path, folder=Path(connection.folder) if connection.way == "folder" else None)


def _card_network(path: Path, _: Settings) -> Simulator:
    from kessai.simulators.cardnetwork import CardNetworkSimulator

    return CardNetworkSimulator(path=path)


def _sms(_: Path, __: Settings) -> Simulator:
    from kessai.simulators.sms import SmsSimulator

    return SmsSimulator()


PARTIES: dict[str, tuple[str, Callable[[Path, Settings], Simulator]]] = {
    "cardgateway": ("card_gateway_url", _card_gateway),
    "bank": ("bank_url", _bank),
    "cardnetwork": ("card_network_url", _card_network),
    "sms": ("sms_url", _sms),
}
"""Each party with the setting that names the real one."""


def folder_of(settings: Settings) -> Path:
    """Where the books of the simulated parties of this platform lie."""
    folder = data_folder(settings) / "simulators"
    if settings.database_url is None:
        return folder
    return folder / hashlib.sha256(settings.database_url.encode()).hexdigest()[:12]


@asynccontextmanager
async def simulated(settings: Settings, nfc_port: asyncio.Future[int] | None = None) -> AsyncGenerator[Settings]:
    """The settings with an address for every party; those without one are simulated for as long as this lasts.

    `nfc_port`: where our authorization server listens, once it does; the card network then signs on there.
    """
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
            if nfc_port is not None and isinstance(simulator, Caller):
                await stack.enter_async_context(_calling(simulator, settings, nfc_port))
            settings = replace(settings, **{setting: simulator.url})
            log.debug("simulated", party=name, url=simulator.url)
        yield settings


@asynccontextmanager
async def _calling(party: Caller, settings: Settings, port: asyncio.Future[int]) -> AsyncGenerator[None]:
    """Have a party sign on to us once we listen; its connections come back by themselves, whoever cuts them."""

    async def sign_on() -> None:
        try:
            await party.connect(reached_at(settings), await port, tls=_client_tls(settings))
        except TimeoutError:
            log.warning("simulated_party_not_let_in", port=port.result())

    task = asyncio.create_task(sign_on())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _client_tls(settings: Settings) -> ssl.SSLContext | None:
    """The simulated side of TLS: it believes that we are we, and shows our own certificate where one is asked for."""
    if settings.nfc_tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(settings.nfc_tls_certificate, settings.nfc_tls_key)
    return context


def running(settings: Settings) -> Settings:
    """The settings with the addresses of parties that a platform beside us simulates just now."""
    for name, (setting, _) in PARTIES.items():
        address = folder_of(settings) / f"{name}.url"
        if getattr(settings, setting) is None and address.exists():
            settings = replace(settings, **{setting: address.read_text(encoding="utf-8")})
    return settings
