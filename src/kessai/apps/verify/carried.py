"""What a payment's ledger exchange must look like: who gave, who got, how much, and how much of it went back."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
import msgspec

from kessai.apps.verify.courses import decode_progress
from kessai.apps.verify.records import decode_effect
from kessai.services.ledger.api import account_id_of
from kessai.services.payment.api import Funding
from kessai.services.payment.domain import PaymentKind, route_of

LET_GO = ("VOIDED", "EXPIRED")
EXCHANGE_STATES = {
    "REQUIRES_ACTION": ("AUTHORIZED",),
    "IN_FLIGHT": ("AUTHORIZED",),
    "AUTHORIZED": ("AUTHORIZED",),
    "PARTIALLY_CAPTURED": ("AUTHORIZED",),
    "CAPTURED": ("CAPTURED",),
    "RETURNED": ("CAPTURED",),
    "CANCELED": LET_GO,
    "EXPIRED": LET_GO,
    "REFUSED": LET_GO,
}
"""What a payment's state leaves of its exchange; one whose time is over is let go by either side."""
PARKED_STATES = EXCHANGE_STATES | {
    "AUTHORIZED": ("CAPTURED",),
    "PARTIALLY_CAPTURED": ("CAPTURED",),
    "CANCELED": ("CAPTURED", *LET_GO),
    "EXPIRED": ("CAPTURED", *LET_GO),
}
"""Of an escrow, which is taken at once: what is let go of it is given back."""

decode_funding = msgspec.json.Decoder(list[Funding]).decode


@dataclass(frozen=True, slots=True)
class Side:
    """One account's leg of an exchange."""

    account_id: str
    amount: int
    captured: int
    back: int


@dataclass(frozen=True, slots=True)
class Carrier:
    """An exchange as its records tell it."""

    state: str
    kind: str
    sides: list[Side]

    def of(self, account_id: str, *, gets: bool) -> Side | None:
        """The leg of an account, on the side that gets or gives."""
        return next((each for each in self.sides if each.account_id == account_id and (each.amount > 0) is gets), None)


def carrier_of(row: asyncpg.Record) -> Carrier:
    """State, kind and legs of a payment's exchange. Raises when it cannot be read."""
    birth = decode_effect(row["record"])
    if row["progress"] is None:
        sides = [Side(each[1], each[3], abs(each[3]), 0) for each in birth.postings]
        return Carrier(birth.state, birth.kind, sides)
    state, legs, _ = decode_progress(row["progress"])
    return Carrier(state, birth.kind, [Side(leg[0], leg[2], leg[4], leg[5]) for leg in legs])


def faults_of(row: asyncpg.Record, kind: PaymentKind) -> list[str]:
    """Where a payment and its exchange differ."""
    state = row["state"]
    if row["record"] is None:
        return [] if state == "REFUSED" else ["there is no exchange of it"]
    try:
        carrier = carrier_of(row)
        funding = decode_funding(row["funding"])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ["its exchange cannot be read"]
    states = PARKED_STATES if kind.parks else EXCHANGE_STATES
    found = [] if carrier.state in states.get(state, ()) else [f"it is {state}, its exchange {carrier.state}"]
    if carrier.kind != row["kind"]:
        found.append(f"its exchange's kind is {carrier.kind}, its own {row['kind']}")
    if state == "REFUSED":
        return found
    return found + _payee_faults(row, kind, carrier, funding) + _funding_faults(row, kind, carrier, funding)


def _payee_faults(row: asyncpg.Record, kind: PaymentKind, carrier: Carrier, funding: list[Funding]) -> list[str]:
    types = (kind.payee_account_type, *kind.payee_account_types)
    sides = (carrier.of(account_id_of(row["payee_id"], each), gets=True) for each in types)
    side = next((each for each in sides if each is not None), None)
    if side is None:
        return [f"its exchange pays somebody else than {row['payee_id']}"]
    told = {
        "amount": (row["amount_minor"], side.amount),
        "captured": (_captured(row, kind, carrier), side.captured),
        "given back": (_given_back(row, kind, carrier, funding), side.back),
    }
    return [
        f"its exchange's {name} is {there}, its own {mine}" for name, (mine, there) in told.items() if mine != there
    ]


def _captured(row: asyncpg.Record, kind: PaymentKind, carrier: Carrier) -> int:
    if kind.parks and carrier.state == "CAPTURED":
        return row["amount_minor"]
    return row["captured_minor"]


def _given_back(row: asyncpg.Record, kind: PaymentKind, carrier: Carrier, funding: list[Funding]) -> int:
    if row["state"] == "RETURNED":
        return row["amount_minor"]
    ended = row["state"] in ("CAPTURED", "CANCELED", "EXPIRED")
    if kind.parks and not ended:  # a card may have got its part back while the rest could not go
        return sum(part.returned_minor for part in funding)
    let_go = row["amount_minor"] - row["captured_minor"] if kind.parks and ended and carrier.state == "CAPTURED" else 0
    return row["refunded_minor"] + let_go


def _funding_faults(row: asyncpg.Record, kind: PaymentKind, carrier: Carrier, funding: list[Funding]) -> list[str]:
    found: list[str] = []
    told = any(part.returned_minor for part in funding)
    for part in funding:
        route = route_of(part.source, kind, row["payer_id"])
        side = carrier.of(account_id_of(route.owner, route.account_type), gets=False)
        gave = 0 if side is None else -side.amount
        if gave != part.amount_minor:
            found.append(f"it has {part.amount_minor} from {part.source}, its exchange {gave}")
        elif side is not None and told and _differs(part.returned_minor, side.back, along=route.along is not None):
            found.append(f"it gave {part.returned_minor} back to {part.source}, its exchange {side.back}")
    wanted = row["amount_minor"] + (0 if kind.parks else row["fee_minor"])
    if (total := sum(part.amount_minor for part in funding)) != wanted:
        found.append(f"its sources gave {total} in all, it takes {wanted}")
    return found


def _differs(told: int, back: int, *, along: bool) -> bool:
    """Whether a source got back something else; of what goes along with a receivable, less where that was repaid."""
    return back > told if along else back != told
