"""How far exchanges have come, worked out anew: from the birth's record, the actions' and the reversals'."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec

from kessai.apps.verify.finding import Report
from kessai.apps.verify.records import Effect, Posting, decode_effect
from kessai.foundation.db import Connection, Queries
from kessai.services.ledger.domain.state import instant

COURSE = "an exchange's state follows from what was done to it"
ROWS_AT_ONCE = 1_000

StoredLeg = tuple[str, str, int, int | None, int, int, list[tuple[int, int]], list[tuple[int, int]]]
encode = msgspec.json.Encoder().encode
decode_progress = msgspec.json.Decoder(tuple[str, list[StoredLeg], list[tuple[str, bytes]]]).decode


class Leg(msgspec.Struct, array_like=True):
    """One leg of an exchange, in the order in which its progress is written."""

    account_id: str
    asset: str
    amount: int
    expires: int | None
    captured: int = 0
    reversed: int = 0
    holds: list[list[int]] = []
    taken: list[list[int]] = []

    @property
    def side(self) -> tuple[str, bool]:
        """Account and direction: what a reversal's posting tells of the leg that it undoes."""
        return (self.account_id, self.amount > 0)


@dataclass(slots=True)
class Course:
    """An exchange as its records make it."""

    state: str
    legs: list[Leg]
    version: int = 0
    actions: list[list[Any]] = field(default_factory=list[list[Any]])
    state_at_first: str = ""
    """After the flush in which it was born."""
    faults: list[str] = field(default_factory=list[str])

    def act(self, effect: Effect) -> None:
        """Carry it on by a capture, a void or an expiry."""
        self.version += 1
        self.state = effect.state
        self.actions.append([effect.action_id, bytes.fromhex(effect.content or "")])
        for posting in effect.postings:
            self._move(self.legs[posting[0]], posting)
        if effect.legs != [[leg.captured, leg.reversed] for leg in self.legs]:
            self.faults.append(f"{effect.action_id} tells other amounts a leg than its postings add up to")
        captured = any(leg.captured for leg in self.legs)
        if (effect.state in ("VOIDED", "EXPIRED")) is not (effect.state != "AUTHORIZED" and not captured):
            self.faults.append(f"{effect.action_id} left it {effect.state}")
        if effect.state != "AUTHORIZED" and any(lot for leg in self.legs for lot, _ in leg.holds):
            self.faults.append(f"{effect.action_id} left it {effect.state} with lots still held")

    @staticmethod
    def _move(leg: Leg, posting: Posting) -> None:
        amount, held_change, takings = posting[3], posting[4], posting[8]
        leg.captured += abs(amount)
        if leg.amount > 0:
            return
        if posting[5] is None:  # a log-only account: its hold is a number here and nowhere else, and no lot is taken
            left = sum(held for _, held in leg.holds) + amount
            leg.holds = [[0, left]] if left else []
            return
        if not takings:
            takings = [(0, amount, held_change)]
        moved = {lot: (consumed, change) for lot, consumed, change in takings}
        kept: list[list[int]] = []
        for lot, held in leg.holds:
            consumed, change = moved.pop(lot, (0, 0))
            if held + change:
                kept.append([lot, held + change])
            if consumed:
                leg.taken.append([lot, -consumed])
        leg.holds = kept

    def reverse(self, effect: Effect) -> None:
        """Give back what a reversal's postings give back: debits first, each side in the order of the legs."""
        self.version += 1
        at = {True: 0, False: 0}
        for posting in effect.postings:
            undone = (posting[1], posting[3] < 0)
            found = [n for n in range(at[undone[1]], len(self.legs)) if self.legs[n].side == undone]
            if not found:
                self.faults.append(f"{effect.exchange_id} gives back on a leg that it has not")
                continue
            number = next((n for n in found if _could_undo(self.legs[n], posting)), found[0])
            at[undone[1]] = number + 1
            _give_back(self.legs[number], abs(posting[3]))

    def progress(self) -> bytes:
        """As its row should hold it."""
        return encode((self.state, self.legs, self.actions))


def _could_undo(leg: Leg, posting: Posting) -> bool:
    """Whether the lots that a posting gave back are the last that the leg took."""
    amount = abs(posting[3])
    if leg.captured - leg.reversed < amount:
        return False
    if leg.amount > 0:
        return True
    copy = msgspec.convert(msgspec.to_builtins(leg), Leg)
    _give_back(copy, amount)
    before, after = _by_lot(leg.taken), _by_lot(copy.taken)
    return all(before[lot] - after[lot] >= back for lot, back, _ in posting[8])


def _by_lot(taken: list[list[int]]) -> Counter[int]:
    lots: Counter[int] = Counter()
    for lot, amount in taken:
        lots[lot] += amount
    return lots


def _give_back(leg: Leg, amount: int) -> None:
    leg.reversed += amount
    while leg.amount < 0 and amount and leg.taken and leg.taken[-1][0]:
        lot, taken = leg.taken.pop()
        back = min(taken, amount)
        amount -= back
        if taken > back:
            leg.taken.append([lot, taken - back])


def born(effect: Effect) -> Course:
    """An exchange right after its birth."""
    if effect.state == "AUTHORIZED":
        held = {posting[0]: posting for posting in effect.postings}
        legs = [Leg(*leg, holds=_held(leg[2], held.get(number))) for number, leg in enumerate(effect.legs)]
        return Course("AUTHORIZED", legs, version=1)
    if effect.legs:  # a balancing leg moved nothing, and keeps its number
        told = {posting[0]: posting for posting in effect.postings}
        legs = [_captured(told[n]) if n in told else Leg(*leg) for n, leg in enumerate(effect.legs)]
        return Course("CAPTURED", legs)
    if not effect.legs:
        return Course("CAPTURED", [_captured(posting) for posting in effect.postings])
    moved = {posting[0]: posting for posting in effect.postings}  # a leg of nothing has no posting
    return Course(
        "CAPTURED", [_captured(moved[at]) if at in moved else Leg(*leg) for at, leg in enumerate(effect.legs)]
    )


def _held(amount: int, posting: Posting | None) -> list[list[int]]:
    if amount >= 0:
        return []
    lots = [] if posting is None else [[lot, held] for lot, _, held in posting[8]]
    return lots or [[0, -amount]]


def _captured(posting: Posting) -> Leg:
    taken = [[lot, -consumed] for lot, consumed, _ in posting[8] if consumed < 0]
    return Leg(posting[1], posting[2], posting[3], posting[9], abs(posting[3]), 0, [], taken)


async def check_courses(connection: Connection, sql: Queries, report: Report) -> None:
    """The state of every exchange that has one, or should have."""
    async for row in connection.cursor(sql["courses"], prefetch=ROWS_AT_ONCE):
        key = "exc_" + row["exchange_id"].hex
        if row["birth"] is None:
            text = "there is no such exchange, but a state, actions or reversals of it"
            report.add(COURSE, "ledger.exchange", key, text)
            if row["state"] is not None:
                report.add(COURSE, "ledger.exchange_state", key, "it is the state of an exchange that does not exist")
            continue
        try:
            course = _course(row)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, LookupError, TypeError) as error:
            report.add(COURSE, "ledger.exchange_state", key, f"its course cannot be worked out: {error}")
            continue
        _check(row, key, course, report)


def _course(row: asyncpg.Record) -> Course:
    birth = decode_effect(row["birth"])
    course = born(birth)
    steps: list[tuple[int, int, Effect]] = []
    for name in ("action", "reversal"):
        if row[f"{name}_ids"] is not None:
            effects = [decode_effect(record) for record in row[f"{name}s"]]
            steps += zip(row[f"{name}_ids"], row[f"{name}_ordinals"], effects, strict=True)
    steps.sort(key=lambda step: step[:2])
    course.state_at_first = course.state
    for flush_id, _, effect in steps:
        (course.reverse if effect.action == "reversed" else course.act)(effect)
        if flush_id == row["birth_id"]:
            course.state_at_first = course.state
    for leg in course.legs:
        if not 0 <= leg.reversed <= leg.captured <= abs(leg.amount):
            course.faults.append("more was captured than held, or reversed than captured")
    return course


def _check(row: asyncpg.Record, key: str, course: Course, report: Report) -> None:
    for fault in course.faults:
        report.add(COURSE, "ledger.exchange_state", key, fault)
    if row["state"] is None:
        report.add(COURSE, "ledger.exchange_state", key, "it is missing, though something was done to the exchange")
        return
    expires = None
    if course.state_at_first == "AUTHORIZED" and (micros := decode_effect(row["birth"]).expires) is not None:
        expires = instant(micros)
    told = {
        "state": course.state,
        "version": course.version,
        "expires_at": expires,
        "is_held": course.state == "AUTHORIZED",
    }
    for name, value in told.items():
        if row[name] != value:
            report.add(COURSE, "ledger.exchange_state", key, f"its {name} is {row[name]}, its records make it {value}")
    if row["progress"] != course.progress():
        _check_progress(row["progress"], key, course, report)


def _check_progress(stored: bytes, key: str, course: Course, report: Report) -> None:
    try:
        state, legs, actions = decode_progress(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        report.add(COURSE, "ledger.exchange_state", key, f"its progress cannot be read: {error}")
        return
    known = {action_id for action_id, _ in course.actions}
    for action_id, _ in actions:
        if action_id not in known:
            report.add(
                COURSE, "ledger.exchange_action", f"{key}/{action_id}", "it is missing, though the exchange tells of it"
            )
    told: list[StoredLeg] = msgspec.convert(msgspec.to_builtins(course.legs), list[StoredLeg])
    same_legs = legs == told or (_doubled(told) and _by_side(legs) == _by_side(told))
    same_actions = actions == [tuple(each) for each in course.actions]
    if state != course.state or not same_legs or not same_actions or encode((state, legs, actions)) != stored:
        what = "legs" if not same_legs else "actions" if not same_actions else "text"
        report.add(
            COURSE, "ledger.exchange_state", key, f"the {what} of its progress are not what its records make of it"
        )


def _doubled(legs: list[StoredLeg]) -> bool:
    return len({(leg[0], leg[2] > 0) for leg in legs}) < len(legs)


def _by_side(legs: list[StoredLeg]) -> dict[tuple[str, bool], list[object]]:
    """Legs of one account and direction taken together: which of them a reversal meant is not told."""
    sides: dict[tuple[str, bool], tuple[list[int], Counter[int], Counter[int]]] = {}
    for account_id, _, amount, _, captured, back, holds, taken in legs:
        numbers, held, consumed = sides.setdefault((account_id, amount > 0), ([0, 0, 0], Counter(), Counter()))
        for at, number in enumerate((amount, captured, back)):
            numbers[at] += number
        held.update(dict(holds))
        consumed.update(_by_lot([list(each) for each in taken]))
    return {side: [numbers, dict(held), dict(consumed)] for side, (numbers, held, consumed) in sides.items()}
