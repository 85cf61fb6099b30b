"""How far an exchange has come: what each leg has captured, holds and has given back.

Kept for exchanges that were held, captured in parts or reversed; an exchange that was captured at once and never
touched again needs none.
"""

from __future__ import annotations

import msgspec

from kessai.services.ledger.api import ExchangeState


class LegProgress(msgspec.Struct, array_like=True):
    """One leg: fixed facts first, then what changes."""

    account_id: str
    asset: str
    amount: int
    """Signed: negative leaves the account."""
    expires: int | None
    """Of the lot a target makes, in microseconds."""
    captured: int
    """Unsigned, as is `reversed`."""
    reversed: int
    holds: list[list[int]]
    """`[lot sequence, amount]` still held, in order of consumption; sequence 0 is an overdraft's hold without a lot."""
    taken: list[list[int]]
    """`[lot sequence, amount]`: of a source, consumed by captures and not given back yet; of a target, credited to
    lots by captures and not taken back from them yet."""
    gain: int = 0
    """Realised gain told of what a rate-tracked source has sold and not got back yet."""


class Done(msgspec.Struct, array_like=True):
    """An action that was carried out: its id and content, so that a repetition is known."""

    action_id: str
    digest: bytes


class Progress(msgspec.Struct, eq=False):
    """One exchange as memory knows it. `version` 0 has no row in the database yet."""

    exchange_id: str
    kind: str
    reference: str | None
    state: ExchangeState
    version: int
    recorded: int
    expires: int | None
    reverses: str | None
    rate: str | None
    metadata: dict[str, str]
    processing_id: str | None
    legs: list[LegProgress]
    actions: list[Done]
    digest: bytes
    refused: bool = False
    """Nothing was done under this id, and nothing ever will be: all that stands there is a refusal."""

    @property
    def hex(self) -> str:
        return self.exchange_id[4:]
