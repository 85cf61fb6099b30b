"""What the ledger is asked to do, one small object a command, with what the asking call carried."""

from __future__ import annotations

from dataclasses import dataclass

from kessai.services.ledger.api import (
    CaptureExchange,
    CreateExchange,
    Freeze,
    OpenAccount,
    ReverseExchange,
    UpdateAccount,
)


class NeedLots(Exception):
    """The window of an account's lots is too short for this command: load more, then decide again."""

    def __init__(self, account_id: str) -> None:
        super().__init__(account_id)
        self.account_id = account_id


@dataclass(slots=True)
class Stored:
    """What the database has already under a command's id."""

    digest: bytes
    record: bytes
    flush_id: int


@dataclass(slots=True)
class Asked:
    """An idempotency key (32 digits) as it came with a request, and the digest of all that was asked with it."""

    key: str
    digest: bytes
    stored: bytes | None = None
    """The digest that the database has for the key."""


@dataclass(slots=True, eq=False)
class Chain:
    """Exchanges that stand or fall together; `code` is what the innocent ones are told."""

    code: str


@dataclass(slots=True)
class Create:
    """Create an exchange. `accounts` are the ids of its legs, sources first."""

    request: CreateExchange
    exchange_id: str
    digest: bytes
    accounts: list[str]
    caller: str
    processing_id: str | None
    chain: Chain | None = None
    stored: Stored | None = None
    reference_taken: bool = False
    remember: bool = False
    """Write a refusal under `exchange_id`, so that it stays one."""
    asked: Asked | None = None
    """The idempotency key it came with, where the id does not stand for that."""


@dataclass(slots=True)
class Capture:
    """Capture a held exchange."""

    request: CaptureExchange
    action_id: str
    digest: bytes
    caller: str
    processing_id: str | None
    stored: Stored | None = None
    remember: bool = False
    asked: Asked | None = None

    @property
    def exchange_id(self) -> str:
        """Of the exchange that is captured."""
        return self.request.exchange_id


@dataclass(slots=True)
class Release:
    """Void a held exchange, or let it expire."""

    exchange_id: str
    action_id: str
    digest: bytes
    caller: str
    processing_id: str | None
    expiry: bool = False
    stored: Stored | None = None
    remember: bool = False
    asked: Asked | None = None


@dataclass(slots=True)
class Reverse:
    """Undo captured value by a new exchange `exchange_id`."""

    request: ReverseExchange
    exchange_id: str
    digest: bytes
    caller: str
    processing_id: str | None
    stored: Stored | None = None
    reference_taken: bool = False
    remember: bool = False
    asked: Asked | None = None


@dataclass(slots=True)
class Sweep:
    """Post an account's expired lots to breakage by a new exchange `exchange_id`."""

    account_id: str
    exchange_id: str
    caller: str


@dataclass(slots=True)
class Open:
    """Open an account."""

    request: OpenAccount
    account_id: str


@dataclass(slots=True)
class SetFreeze:
    """Freeze or thaw."""

    account_id: str
    freeze: Freeze


@dataclass(slots=True)
class Close:
    """Close an empty account."""

    account_id: str


@dataclass(slots=True)
class Update:
    """Change an account's settings."""

    request: UpdateAccount


Command = Create | Capture | Release | Reverse | Sweep | Open | SetFreeze | Close | Update
