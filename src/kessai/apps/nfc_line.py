"""How the authorization server is set up: where it listens, whom it lets in, and its certificate."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Annotated

import msgspec

from kessai.apps.nfc_server import Authorizes, NfcServer, Peer, peer, tls_of
from kessai.apps.ports import bound_socket
from kessai.foundation.config import Settings, TomlDocument, load_toml, read_toml
from kessai.foundation.errors import OperatorError
from kessai.services.nfc.domain.rules import Wire

WAY = "iD (ISO 8583)"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (not where we listen: where one who is here finds us then)


class PeerTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who may connect."""

    networks: Annotated[list[str], msgspec.Meta(min_length=1)]
    """From where, such as `10.1.0.0/16`."""
    subjects: list[str] = []
    """Common names of client certificates; none: any."""


def host_of(settings: Settings) -> str:
    """The address that it listens at."""
    return settings.host if settings.nfc_host is None else settings.nfc_host


def reached_at(settings: Settings) -> str:
    """The address at which this machine reaches it."""
    return _ANY.get(host_of(settings), host_of(settings))


def read_peers(document: TomlDocument) -> list[Peer]:
    """Who may connect; ConfigError names the line of what is wrong."""
    found: list[Peer] = []
    for name, terms in document.table("peers", PeerTerms).items():
        try:
            found.append(peer(name, terms.networks, terms.subjects))
        except ValueError as error:
            raise document.error(("peers", name, "networks"), str(error)) from error
    if not found:
        raise document.error(("peers",), "nobody could connect")
    return found


def peers_of(settings: Settings) -> list[Peer]:
    """Who may connect under these settings; raises OperatorError."""
    if settings.nfc_peers is None:
        document = load_toml("kessai.config", "nfc_peers.toml")
    else:
        document = read_toml(Path(settings.nfc_peers))
    peers = read_peers(document)
    named = next((each.name for each in peers if each.subjects), None)
    if named is not None and settings.nfc_tls_client_ca is None:
        raise document.error(("peers", named, "subjects"), "nobody shows a certificate: set nfc_tls_client_ca")
    return peers


def tls_settings(settings: Settings) -> ssl.SSLContext | None:
    """TLS as set, or None; OperatorError says what is missing or does not fit."""
    certificate, key = settings.nfc_tls_certificate, settings.nfc_tls_key
    if certificate is None:
        other = next((each for each in ("nfc_tls_key", "nfc_tls_client_ca") if getattr(settings, each)), None)
        if other is not None:
            raise OperatorError(f"There is {other}, but no certificate: set nfc_tls_certificate.")
        return None
    if key is None:
        raise OperatorError("There is nfc_tls_certificate, but no key: set nfc_tls_key.")
    for path in filter(None, (certificate, key, settings.nfc_tls_client_ca)):
        _require_file(path)
    try:
        return tls_of(certificate, key, settings.nfc_tls_client_ca)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise OperatorError(f"The certificate {certificate} cannot be used with its key: {reason}.") from error


def _require_file(path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise OperatorError(f"The certificate's file {path} cannot be read: {error.strerror}.") from error


async def listening(desk: Authorizes, wire: Wire, settings: Settings, *, reuse_port: bool = False) -> NfcServer:
    """The server as set, listening; raises OperatorError. `reuse_port`: others may listen there, too."""
    tls, peers = await asyncio.to_thread(tls_settings, settings), peers_of(settings)
    server = NfcServer(desk, wire, peers=peers, tls=tls)
    await server.start(sock=bound_socket(host_of(settings), settings.nfc_port, reuse_port=reuse_port, way=WAY))
    return server
