"""Refusals that are remembered: a row under the request's own id, so that nobody can carry the request out later.

Whoever decides a request writes under its id: the exchange, the action, or (where the caller asked for it) the
refusal. The id is a primary key, so that the first to commit has decided for everybody, however long another process
was stopped between deciding and writing.
"""

from __future__ import annotations

import msgspec

from kessai.foundation.errors import Conflict, Invalid, NotFound, PaymentError, Refused
from kessai.services.ledger.domain.commands import Capture, Command, Create, Release, Reverse
from kessai.services.ledger.domain.keys import is_reused, note_key
from kessai.services.ledger.domain.page import Page

Rememberable = Create | Capture | Release | Reverse

KINDS: dict[str, type[PaymentError]] = {each.__name__: each for each in (Conflict, Invalid, NotFound, Refused)}
REFUSED = b'refused"'
ACTION_AT = len('{"exchange_id":"","action":"') + len("exc_") + 32
"""Where the action stands in a record, whatever it tells of."""


class RefusalRecorded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal as the seal covers it. It is no effect on an exchange and is not published."""

    exchange_id: str
    action: str
    """Always `refused`."""
    kind: str
    """Which error of the family it is."""
    code: str
    message: str
    caller: str
    content: str
    """Digest of what was asked."""
    details: dict[str, str | int | float | bool | None] = {}
    action_id: str | None = None
    """Of a capture or void; without it the exchange itself was refused."""
    processing_id: str | None = None


_encode = msgspec.json.Encoder().encode
decode_refusal = msgspec.json.Decoder(RefusalRecorded).decode


def is_refusal(record: bytes) -> bool:
    """Whether a record tells of a refusal rather than of an effect."""
    return record.startswith(REFUSED, ACTION_AT)


def require_not_refused(page: Page, command: Rememberable) -> None:
    """Raises what this request was refused with for good; `…_id_reused` when it now asks for something else."""
    if (refusal := refused_before(page, command)) is not None:
        raise refusal


def refused_before(page: Page, command: Rememberable) -> PaymentError | None:
    """What `require_not_refused` raises."""
    if (stored := command.stored) is not None:
        if not is_refusal(stored.record):
            return None
        told = decode_refusal(stored.record)
        content, refusal = told.content, KINDS[told.kind](told.code, told.message, **told.details)
    elif (earlier := page.refusals.get(_key(command))) is not None:
        content, refusal = earlier
    else:
        return None
    return refusal if content == command.digest.hex() else _reused(command)


def _reused(command: Rememberable) -> Conflict:
    what = "exchange" if isinstance(command, Create | Reverse) else "action"
    return Conflict(f"{what}_id_reused", f"This {what} id was used with different content.")


def remember(page: Page, command: Command, refusal: PaymentError) -> None:
    """Write a refusal under its request's id, if the caller asked for that and nothing stands there yet."""
    if not isinstance(command, Rememberable) or not command.remember or type(refusal).__name__ not in KINDS:
        return
    action_id = _action_id(command)
    if command.exchange_id[:4] != "exc_" or (action_id is not None and action_id[:4] != "act_"):
        return
    if command.stored is not None or _is_taken(page, command) or is_reused(page, command.asked):
        return
    record = _encode(_recorded(command, action_id, refusal))
    ordinal, caller, processing_id = len(page.records), command.caller, command.processing_id
    if action_id is None:
        page.exchanges.append((command.exchange_id[4:], ordinal, record, command.digest, caller, processing_id))
    else:
        page.actions.append((command.exchange_id[4:], action_id[4:], ordinal, record, caller, processing_id))
    page.records.append(record)
    page.unpublished.add(ordinal)
    note_key(page, command.asked)
    page.refusals[_key(command)] = (command.digest.hex(), refusal)


def _is_taken(page: Page, command: Rememberable) -> bool:
    if _key(command) in page.refusals:
        return True
    if isinstance(command, Create | Reverse):
        return command.exchange_id in page.born_exchanges
    return (command.exchange_id, command.action_id) in page.action_answers


def _recorded(command: Rememberable, action_id: str | None, refusal: PaymentError) -> RefusalRecorded:
    return RefusalRecorded(
        exchange_id=command.exchange_id,
        action="refused",
        kind=type(refusal).__name__,
        code=refusal.code,
        message=refusal.message,
        caller=command.caller,
        content=command.digest.hex(),
        details={name: _plain(value) for name, value in refusal.details.items()},
        action_id=action_id,
        processing_id=command.processing_id,
    )


def _plain(value: object) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _action_id(command: Rememberable) -> str | None:
    return None if isinstance(command, Create | Reverse) else command.action_id


def _key(command: Rememberable) -> tuple[str, str | None]:
    return command.exchange_id, _action_id(command)
