"""The gateway's books against ours, to the yen: read from both sides' own stores, not through the service."""

from __future__ import annotations

from kessai.foundation.db import Database
from kessai.simulators.cardgateway import Books

_OURS = (
    "SELECT authorization_id, state, amount_minor, captured_minor, refunded_minor FROM cardgateway.card_authorization"
)
_STATES = {
    "requires_action": "REQUIRES_ACTION",
    "authorized": "AUTHORIZED",
    "captured": "CAPTURED",
    "voided": "VOIDED",
    "refused": "REFUSED",
}


async def differences(database: Database, books: Books) -> list[str]:
    """Where the two disagree; nothing may be in doubt when this is asked."""
    ours = {f"cau_{row[0].hex}": tuple(row)[1:] for row in await database.fetch(None, _OURS)}
    found = [f"{each} is only in the gateway's books" for each in books.authorizations if each not in ours]
    for authorization_id, (state, amount, captured, refunded) in ours.items():
        theirs = books.authorizations.get(authorization_id)
        if theirs is None:
            if state not in ("VOIDED", "REFUSED"):
                found.append(f"{authorization_id} is {state} here and unknown there")
            continue
        believed = (state, captured, refunded, amount)
        told = (_STATES[theirs.state], theirs.captured, theirs.refunded, theirs.amount or amount)
        if believed != told:
            found.append(f"{authorization_id}: {believed} here, {told} there")
    return found
