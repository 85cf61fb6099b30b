"""How far exchanges have come, worked out anew: from the birth's record, the actions' and the reversals'."""

from __future__ import annotations

from collections.abc import Sequence
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

StoredLeg = tuple[str, str, int, int | None, int, int, list[tuple[int, int]], list[tuple[int, int]], int]
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
    gain: int = 0


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
        leg.gain += posting[11] or 0
        if leg.amount > 0:
            leg.taken += _moved(posting)
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
        """Undo a part of each leg that a reversal's postings name."""
        self.version += 1
        for number, posting in zip(effect.undoes, effect.postings, strict=False):
            if not 0 <= number < len(self.legs) or not _undoes(self.legs[number], posting):
                self.faults.append(f"{effect.exchange_id} gives back on a leg that it has not")
                continue
            leg = self.legs[number]
            leg.reversed += abs(posting[3])
            leg.gain += posting[11] or 0 if leg.amount < 0 else 0
            returned = _give_back(leg, posting[3]) if leg.amount < 0 else _take_back(leg, posting)
            if any(returned.get(lot, 0) < back for lot, back, _ in posting[8] if back > 0):
                self.faults.append(f"{effect.exchange_id} gives back to lots that it has not taken from")

    def progress(self) -> bytes:
        """As its row should hold it."""
        return encode((self.state, self.legs, self.actions))


def _undoes(leg: Leg, posting: Posting) -> bool:
    return (leg.account_id, leg.amount > 0) == (posting[1], posting[3] < 0)


def _give_back(leg: Leg, amount: int) -> dict[int, int]:
    """What a source has consumed goes back, the last first; gives how much goes to which lot."""
    returned: dict[int, int] = {}
    while amount and leg.taken and leg.taken[-1][0]:
        lot, taken = leg.taken.pop()
        back = min(taken, amount)
        amount -= back
        returned[lot] = returned.get(lot, 0) + back
        if taken > back:
            leg.taken.append([lot, taken - back])
    return returned


def _take_back(leg: Leg, posting: Posting) -> dict[int, int]:
    """What a target's lots have given up is no longer theirs to give; what came from other lots changes nothing."""
    gone = {lot: -amount for lot, amount, _ in posting[8]}
    leg.taken = [[lot, made - min(made, gone.get(lot, 0))] for lot, made in leg.taken]
    leg.taken = [each for each in leg.taken if each[1]]
    return {}


def born(effect: Effect) -> Course:
    """An exchange right after its birth."""
    if effect.state == "AUTHORIZED":
        held = {posting[0]: posting for posting in effect.postings}
        legs = [Leg(*leg, holds=_held(leg[2], held.get(number))) for number, leg in enumerate(effect.legs)]
        return Course("AUTHORIZED", legs, version=1)
    if not effect.legs:
        return Course("CAPTURED", [_captured(posting) for posting in effect.postings])
    moved = {posting[0]: posting for posting in effect.postings}  # a balancing leg of nothing has no posting
    return Course(
        "CAPTURED", [_captured(moved[at]) if at in moved else Leg(*leg) for at, leg in enumerate(effect.legs)]
    )


def _held(amount: int, posting: Posting | None) -> list[list[int]]:
    if amount >= 0:
        return []
    lots = [] if posting is None else [[lot, held] for lot, _, held in posting[8]]
    return lots or [[0, -amount]]


def _captured(posting: Posting) -> Leg:
    return Leg(
        posting[1], posting[2], posting[3], posting[9], abs(posting[3]), 0, [], _moved(posting), posting[11] or 0
    )


def _moved(posting: Posting) -> list[list[int]]:
    """Lots that a posting consumed, or else filled again and made."""
    moved = [[lot, abs(amount)] for lot, amount, _ in posting[8] if amount]
    fresh = posting[3] - sum(amount for _, amount in moved)
    return [*moved, [posting[7], fresh]] if fresh > 0 and posting[5] is not None else moved


async def check_courses(connection: Connection, sql: Queries, report: Report) -> dict[str, int]:
    """The state of every exchange that has one, or should have; gives what those held may still bring, by account."""
    incoming: dict[str, int] = {}
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
        if course.state == "AUTHORIZED":
            _add_incoming(course, incoming)
        _check(row, key, course, report)
    return incoming


def _add_incoming(course: Course, incoming: dict[str, int]) -> None:
    for leg in course.legs:
        if leg.amount > leg.captured:
            incoming[leg.account_id] = incoming.get(leg.account_id, 0) + leg.amount - leg.captured


def _course(row: asyncpg.Record) -> Course:
    course = born(decode_effect(row["birth"]))
    course.state_at_first = course.state
    for flush_id, effect in steps_of(row):
        (course.reverse if effect.action == "reversed" else course.act)(effect)
        if flush_id == row["birth_id"]:
            course.state_at_first = course.state
    for leg in course.legs:
        if not 0 <= leg.reversed <= leg.captured <= abs(leg.amount):
            course.faults.append("more was captured than held, or reversed than captured")
    return course


def steps_of(row: asyncpg.Record) -> Sequence[tuple[int, Effect]]:
    """What was done to an exchange after its birth, in order, each with its flush."""
    steps: list[tuple[int, int, Effect]] = []
    for name in ("action", "reversal"):
        if row[f"{name}_ids"] is not None:
            effects = [decode_effect(record) for record in row[f"{name}s"]]
            steps += zip(row[f"{name}_ids"], row[f"{name}_ordinals"], effects, strict=True)
    steps.sort(key=lambda step: step[:2])
    return [(flush_id, effect) for flush_id, _, effect in steps]


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
    same_legs = legs == told
    same_actions = actions == [tuple(each) for each in course.actions]
    if state != course.state or not same_legs or not same_actions or encode((state, legs, actions)) != stored:
        what = "legs" if not same_legs else "actions" if not same_actions else "text"
        report.add(
            COURSE, "ledger.exchange_state", key, f"the {what} of its progress are not what its records make of it"
        )
