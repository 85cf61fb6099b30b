"""Effects as they were recorded: the canonical texts that the seal covers, read back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

Taking = tuple[int, int, int]
"""Lot, amount, held change."""
Posting = tuple[
    int, str, str, int, int, int | None, int | None, int, list[Taking], int | None, str | None, int | None
]  # fmt: skip
"""Leg, account, asset, amount, held change, balance, held, sequence, takings, new lot's expiry and rate, gain."""

STATES = frozenset(
    {
        ("created", "CAPTURED"), ("authorized", "AUTHORIZED"), ("reversed", "CAPTURED"), ("captured", "CAPTURED"),
        ("captured", "AUTHORIZED"), ("voided", "VOIDED"), ("voided", "CAPTURED"), ("expired", "EXPIRED"),
        ("expired", "CAPTURED"),
    }
)  # fmt: skip
"""An effect's action, and the states it may leave an exchange in."""
BIRTHS = frozenset({"created", "authorized", "reversed"})


class Effect(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One effect on an exchange, as `ledger.exchange` publishes it."""

    exchange_id: str
    action: str
    kind: str
    state: str
    caller: str
    postings: list[Posting] = []
    legs: list[list[Any]] = []
    action_id: str | None = None
    content: str | None = None
    reference: str | None = None
    expires: int | None = None
    reverses: str | None = None
    rate: str | None = None
    metadata: dict[str, str] = {}
    processing_id: str | None = None
    undoes: list[int] = []


class AccountEvent(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One change of an account's settings."""

    account_id: str
    event: str
    version: int
    owner: str | None = None
    account_type: str | None = None
    freeze: str | None = None
    closed: bool | None = None
    overdraft: int | None = None
    metadata: dict[str, str] | None = None
    incoming: int | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a request was refused with for good; it stands under the request's id, and is no effect."""

    exchange_id: str
    action: str
    kind: str
    code: str
    message: str
    caller: str
    content: str
    details: dict[str, Any] = {}
    action_id: str | None = None
    processing_id: str | None = None


decode_refusal = msgspec.json.Decoder(Refusal).decode
decode_effect = msgspec.json.Decoder(Effect).decode
decode_account_event = msgspec.json.Decoder(AccountEvent).decode


def faults_of(effect: Effect) -> Iterator[str]:
    """What is wrong with an effect as it was recorded: sums that are not zero, states that cannot be."""
    if (effect.action, effect.state) not in STATES:
        yield f"it was {effect.action} and is {effect.state}"
    if (effect.reverses is not None) is not (effect.action == "reversed"):
        yield "only a reversal names what it reverses"
    if effect.action == "reversed" and len(effect.undoes) != len(effect.postings):
        yield "it does not tell which leg each of its postings undoes"
    sums: dict[str, int] = {}
    for posting in effect.postings:
        sums[posting[2]] = sums.get(posting[2], 0) + posting[3]
        if posting[5] is None and (posting[4] or posting[8] or posting[9] is not None or posting[10] is not None):
            yield f"leg {posting[0]} has lots or holds in a log-only account"
    if effect.action == "authorized":
        for leg in effect.legs:
            sums[leg[1]] = sums.get(leg[1], 0) + leg[2]
    for asset, total in sums.items():
        if total:
            yield f"it adds up to {total} {asset}"


def is_plain(effect: Effect) -> bool:
    """Whether an effect is one of the many that need no closer look: captured at once, two legs of one asset."""
    postings = effect.postings
    if effect.action != "created" or effect.state != "CAPTURED" or len(postings) != 2 or effect.reverses is not None:
        return False
    one, other = postings
    return one[3] == -other[3] and one[2] == other[2] and one[5] is not None and other[5] is not None


def fresh_amount(posting: Posting) -> int:
    """How much of a credit makes a new lot: what did not go back into lots that it came from."""
    return posting[3] - sum(amount for _, amount, _ in posting[8])
