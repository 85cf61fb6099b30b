"""Configuration: TOML that names the line of what is wrong, and the platform's own typed settings.

Unknown keys are refused everywhere: a misspelt setting must not silently mean its default.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

import msgspec

from kessai.foundation.errors import OperatorError

T = TypeVar("T")
KeyPath: TypeAlias = "tuple[str | int, ...]"

ENVIRONMENT_PREFIX = "KESSAI_"
NOT_SETTINGS = ("KESSAI_CONFIG", "KESSAI_TEST_", "KESSAI_FAULT_")
"""Variables of the same prefix that something else reads."""
_CLUSTER_LINK = re.compile(r"^KESSAI(_\w+)?_(PORT_\d+_\w+|SERVICE_\w+)$")
"""What Kubernetes sets in every pod for a Service named kessai."""


class ConfigError(OperatorError):
    """Something in a configuration file is wrong; the message names file, line and key."""


class TomlDocument:
    """A TOML text with the line of each of its tables and keys."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{source}: {error}") from error
        self._lines = _index(text)

    def line_of(self, *path: str | int) -> int:
        """The line on which a table or key stands, or that of the nearest table around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def error(self, path: Sequence[str | int], reason: str) -> ConfigError:
        """A ConfigError that points at a table or key."""
        name = ".".join(str(part) for part in path)
        return ConfigError(f"{self.source}, line {self.line_of(*path)}: {name}: {reason}")

    def convert(self, path: Sequence[str | int], into: type[T]) -> T:
        """What stands at `path` (all of it: an empty path) as a typed value; ConfigError names the key at fault."""
        value: Any = self.data
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError) as error:
                raise self.error(path, "is missing") from error
        try:
            return msgspec.convert(value, into)
        except msgspec.ValidationError as error:
            where, reason = _located(str(error))
            raise self.error((*path, *where), reason) from error

    def table(self, name: str, into: type[T]) -> dict[str, T]:
        """A table of like tables, `[name.one]`, `[name.two]` …, each converted alone; nothing else may stand beside."""
        for key in self.data:
            if key != name:
                raise self.error((key,), f"unknown key; only [{name}.…] is expected here")
        if not isinstance(self.data.get(name), dict):
            raise self.error((name,), "must be a table")
        return {key: self.convert((name, key), into) for key in cast("dict[str, Any]", self.data[name])}


def load_toml(package: str, name: str) -> TomlDocument:
    """A TOML file that is part of a package."""
    return TomlDocument(resources.files(package).joinpath(name).read_text(encoding="utf-8"), name)


def read_toml(path: Path) -> TomlDocument:
    """A TOML file of the operator's; OperatorError when it cannot be read."""
    try:
        return TomlDocument(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise OperatorError(f"The configuration {path} cannot be read: {reason}.") from error


def _index(text: str) -> dict[KeyPath, int]:
    """Line of each table and key. Each statement is read alone; one that spans lines is gathered until it parses."""
    lines: dict[KeyPath, int] = {(): 1}
    table: KeyPath = ()
    arrays: dict[KeyPath, int] = {}
    gathered: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        gathered.append(line)
        statement = "\n".join(gathered)
        if (parsed := _parsed(statement)) is None:
            continue
        start = number - len(gathered) + 1
        gathered = []
        if statement.lstrip().startswith("["):
            table = _header(parsed, arrays)
            for depth in range(1, len(table) + 1):
                lines.setdefault(table[:depth], start)
        else:
            for path in _paths(parsed):
                lines[(*table, *path)] = start
    return lines


def _parsed(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return None


def _header(parsed: dict[str, Any], arrays: dict[KeyPath, int]) -> KeyPath:
    """The table that a header alone opens; `arrays` counts the tables of each array of tables."""
    path: list[str | int] = []
    inner: object = parsed
    while isinstance(inner, dict) and inner:
        ((name, inner),) = cast("dict[str, object]", inner).items()
        path.append(name)
        place = tuple(path)
        if isinstance(inner, list):
            arrays[place] = arrays.get(place, -1) + 1
        if place in arrays:
            path.append(arrays[place])
    return tuple(path)


def _paths(value: dict[str, Any]) -> list[KeyPath]:
    found: list[KeyPath] = []
    for key, inner in value.items():
        found.append((key,))
        if isinstance(inner, dict):
            found.extend((key, *path) for path in _paths(cast("dict[str, Any]", inner)))
    return found


_AT = re.compile(r" - at `\$(.*)`$")
_SEGMENT = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`$")
_MISSING = re.compile(r"^Object missing required field `(.*)`$")


def _located(message: str) -> tuple[KeyPath, str]:
    """The key that a msgspec message speaks of, and the rest of the message."""
    where: KeyPath = ()
    if at := _AT.search(message):
        message = message[: at.start()]
        where = tuple(name or int(index) for name, index in _SEGMENT.findall(at[1]))
    if unknown := _UNKNOWN.match(message):
        return (*where, unknown[1]), "unknown key"
    if missing := _MISSING.match(message):
        return (*where, missing[1]), "is missing"
    return where, message[0].lower() + message[1:]


# -- the platform's settings ------------------------------------------------------------------------------------


Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may set, by file (TOML), environment (`KESSAI_PORT`) or flag (`--port`); the later wins."""

    database_url: str | None = None
    """A PostgreSQL of your own; None starts the embedded one."""
    data: str | None = None
    """The embedded PostgreSQL's folder; None chooses one."""
    host: str = "127.0.0.1"
    port: Port = 8080
    """REST; 0 takes a free one."""
    grpc_port: Port = 9090
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    sandbox: bool | None = None
    """Whether the clock can be moved; None: yes on the embedded database, no on any other."""
    account_types: str | None = None
    """A file of account types in place of the platform's own."""
    payment_kinds: str | None = None
    """A file of payment kinds in place of the platform's own."""
    outside: str | None = None
    """A file of how long is waited for whom outside, in place of the platform's own."""
    tracer: str | None = None
    """A file of the tracer's settings in place of the platform's own."""
    chart_of_accounts: str | None = None
    """A chart of accounts (勘定科目表) in place of the platform's own."""
    posting_rules: str | None = None
    """A file of posting rules (仕訳ルール) in place of the platform's own."""
    accruals: str | None = None
    """A file of how months are closed (決算整理) in place of the platform's own."""
    statutory: str | None = None
    """A file of the law's figures (法定帳簿) in place of the platform's own."""
    reconciliation: str | None = None
    """A file of what reconciliations (照合) tolerate in place of the platform's own."""
    bank_terms: str | None = None
    """A file of what was agreed with the bank about files (総合振込) in place of the platform's own."""
    settlement: str | None = None
    """A file of what is settled (加盟店精算), and who proves it, in place of the platform's own."""
    isolation: Literal["read committed", "repeatable read", "serializable"] | None = None
    """Transaction isolation; None leaves the database's own default."""
    card_gateway_url: str | None = None
    """The card gateway; None: `kessai up` starts a simulated one, and nothing else charges cards."""
    card_gateway_key: str = "simulated-card-gateway"
    """Our credential there."""
    bank_url: str | None = None
    """The bank; None: `kessai up` starts a simulated one, and nothing else moves money there."""
    bank_key: str = "simulated-bank"
    """Our credential there."""
    card_network_url: str | None = None
    """The card network (iD): its files and its token service; None: `kessai up` starts a simulated one."""
    card_network_key: str = "simulated-card-network"
    """Our credential there."""
    card_files: str | None = None
    """The folder in which the issuer's files are exchanged; None: over HTTP, at the card network."""
    sms_url: str | None = None
    """The sender of text messages; None: `kessai up` starts a simulated one, and nobody else sends any."""
    sms_key: str = "simulated-sms"
    """Our credential there."""
    nfc: str | None = None
    """A file of what cards go by, in place of the platform's own."""
    nfc_authorization: str | None = None
    """A file of what card payments must meet, in place of the platform's own."""
    nfc_clearing: str | None = None
    """A file of how card payments are cleared, in place of the platform's own."""
    nfc_peers: str | None = None
    """A file of who may connect to the authorization server, in place of the platform's own: this machine alone."""
    nfc_host: str | None = None
    """Where the authorization server listens (ISO 8583 over TCP); None: at `host`."""
    nfc_port: Port = 0
    """Its port; 0 takes a free one."""
    nfc_tls_certificate: str | None = None
    """A file with its certificate and what signed that (PEM); None: no TLS."""
    nfc_tls_key: str | None = None
    """A file with the certificate's key (PEM)."""
    nfc_tls_client_ca: str | None = None
    """A file with who signs the certificates that clients need (PEM); None: they need none."""
    vault_keys: str | None = None
    """Keys for what is kept encrypted: base64 of 32 bytes each, newest first, commas between; None: those of `data`."""
    remote_services_key: str = ""
    """Our credential at other teams' services that the tracer's settings name."""
    evidence_keys: str | None = None
    """Ed25519 keys that sign evidence: base64 of 32 bytes each, newest first, commas between; None: those of `data`."""
    seal_workflows: bool = False
    """Whether what workflows keep of requests, results and messages is encrypted under the vault's newest key."""
    workflow_rest_after_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """A workflow that waits for longer than this leaves memory until its time, or a message, has come."""
    workflow_history_days: Annotated[int, msgspec.Meta(ge=1)] = 90
    """How long what workflows did can be read after they ended."""
    workflow_ids_days: Annotated[int, msgspec.Meta(ge=1)] = 400
    """How long a request sent again is recognised; not shorter than the history is kept."""
    request_timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=600_000)] = 30_000
    """Deadline of a request whose caller names none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    traces_endpoint: str | None = None
    """Where OpenTelemetry traces go (OTLP over HTTP); None sends none."""
    traces_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    """The share of requests that are traced."""


def load_settings(
    flags: Mapping[str, object], *, file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Settings from a file, then the environment, then flags (None: not given); ConfigError says what is wrong."""
    variables = os.environ if environment is None else environment
    if file is None and (named := variables.get("KESSAI_CONFIG")):
        file = Path(named)
    merged: dict[str, object] = {}
    if file is not None:
        document = read_toml(file)
        document.convert((), Settings)
        merged |= document.data
    merged |= _from_environment(variables)
    merged |= {name: value for name, value in flags.items() if value is not None}
    return _checked(merged, "The settings")


def _from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for variable, text in variables.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable.startswith(NOT_SETTINGS):
            continue
        if _CLUSTER_LINK.match(variable) or (variable == "KESSAI_PORT" and text.startswith("tcp://")):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in fields:
            raise ConfigError(f"The environment variable {variable} is unknown.")
        try:
            found[name] = msgspec.convert(text, fields[name], strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(f"The environment variable {variable} is wrong: {_located(str(error))[1]}.") from error
    return found


def _checked(merged: dict[str, object], source: str) -> Settings:
    try:
        return msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        where, reason = _located(str(error))
        flag = "--" + ".".join(str(part) for part in where).replace("_", "-")
        raise ConfigError(f"{source} are wrong: {flag}: {reason}.") from error
