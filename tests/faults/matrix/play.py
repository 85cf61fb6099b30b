"""Playing a case, and judging where it ended: by the oracle, in the ledger, and in the books of who is outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from kessai.foundation.ids import bare
from kessai.simulators.faults import Fault
from tests.faults.matrix.cases import DATABASE, Case
from tests.faults.matrix.lane import SERVICES, Lane
from tests.faults.matrix.oracle import CARD, Model
from tests.faults.matrix.scene import Scene
from tests.faults.matrix.stories import CUSTOMER, KNOWN_ACCOUNTS

REFUSAL = "limit_exceeded"
"""The code with which parties refuse here."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a case."""

    case: Case
    flushes: dict[str, int]
    """Flushes of each service's journal."""
    struck: bool
    """Whether it was disturbed: a story may be over before its boundary comes."""
    payment_id: str
    faults: list[str]
    """Where it did not end as it should."""
    calls: dict[str, int] = field(default_factory=dict[str, int])
    """What each service asked of its database."""


def end_of(case: Case) -> Model:
    """What the oracle says that a case comes to."""
    story, trouble = case.story, case.trouble
    model = Model(amount=story.amount, parts=story.parts)
    refusing = {story.given} if story.given else set[str | None]()
    if trouble.refuses:
        refusing.add(case.call)
    for step in story.steps:
        refused = next((verb for verb in step.calls if verb in refusing), None)
        refusing.discard(refused)
        if not step.rule(model, refused or (story.ledger_refuses if step.calls else None)):
            return model
    if trouble.fate is not None and trouble.fate.state == "returned" and story.comes_back is not None:
        story.comes_back(model, None)
    return model


async def play(lane: Lane, case: Case) -> Played:
    """Play a case to its end, and judge it; what cannot even be played is a fault as well."""
    scene = Scene(lane)
    try:
        await _prepare(scene, case)
        try:
            await _act(scene, case)
            await lane.come_to_rest()
            flushes = {name: lane.fuses[name].flushes for name in SERVICES}
            calls = {name: lane.database.calls(name) for name in SERVICES}
        finally:
            lane.calm()
            struck = lane.database.struck or any(fuse.struck for fuse in lane.fuses.values())
            lane.database.reset()
            for fuse in lane.fuses.values():
                fuse.reset()
        faults = await judge(scene, case)
    except Exception as error:  # noqa: BLE001  (the next case is played all the same)
        return Played(case, {}, struck=False, payment_id=scene.payment_id, faults=[f"it cannot be played: {error!r}"])
    return Played(case, flushes, struck, scene.payment_id, faults, calls)


async def _prepare(scene: Scene, case: Case) -> None:
    story = case.story
    for (role, account_type), amount in story.begins.items():
        await scene.give(role, account_type, amount)
    for act in story.prepare:
        await act(scene)


async def _act(scene: Scene, case: Case) -> None:
    lane, story = scene.lane, case.story
    lane.left.clear()
    for fuse in lane.fuses.values():
        fuse.reset()
    lane.database.reset()
    if case.disturbance in DATABASE:
        lane.database.break_at(case.service, case.flush, case.disturbance)
    elif case.disturbance == "client leaves":
        lane.leave_at(case.service, (case.flush, case.when))
    elif case.service:
        lane.kill_at(case.service, (case.flush, case.when), dying=case.dying)
    for service, boundary in case.further:
        lane.kill_at(service, boundary, dying=(service,))
    if story.party is not None:
        if case.trouble.fate is not None:
            lane.bank.books.foresee(case.trouble.fate)
        lane.trouble(story.party, case.call, case.trouble)
        if story.given is not None:
            lane.simulator(story.party).faults.program(Fault(verb=story.given, refuse=REFUSAL, times=0))
    lane.ledger_line.refused = story.ledger_refuses
    for step in story.steps:
        before = len(scene.told)
        await step.act(scene)
        if any(told != "done" for told in scene.told[before:]):
            return


# -- judging ------------------------------------------------------------------------------------------------------


async def judge(scene: Scene, case: Case) -> list[str]:
    """Where a case that has come to rest differs from what the oracle says of it."""
    model, payment = end_of(case), await scene.payment()
    told = {"state": model.state, "captured_minor": model.captured, "refunded_minor": model.refunded}
    found = [
        f"its {name} is {is_}, the oracle says {value} (told {scene.told}, {payment.refusal_code})"
        for name, value in told.items()
        if (is_ := getattr(payment, name)) != value
    ]
    return [*found, *[each async for each in _balances(scene, case, model)], *_outside(scene, case, model)]


async def _balances(scene: Scene, case: Case, model: Model) -> AsyncIterator[str]:
    on_card = case.story.party == CARD
    for account in KNOWN_ACCOUNTS:
        value = case.story.begins.get(account, 0) + case.story.standing.get(account, 0) + model.balances[account]
        available = value
        if account == CUSTOMER:
            value -= model.taken["funds"] if on_card else 0
            available = value - model.held["funds"]
        found = await scene.balance(*account)
        if found[0] != value or (account == CUSTOMER and found[1] != available):
            yield f"{'/'.join(account)} has {found}, the oracle says {value, available}"


def _outside(scene: Scene, case: Case, model: Model) -> Iterator[str]:
    """What the books outside say of this payment."""
    digits = bare(scene.payment_id)
    if case.story.party == "card":
        authorization = scene.lane.cards.books.authorizations.get(f"cau_{digits}")
        held, taken = 0, 0
        if authorization is not None:
            taken = authorization.captured - authorization.refunded
            waits = authorization.state in ("authorized", "requires_action")
            held = authorization.amount - authorization.captured if waits else 0
        if (held, taken) != (model.card_held, model.taken[CARD]):
            yield f"the card gateway holds {held} and took {taken}, not {model.card_held} and {model.taken[CARD]}"
    if case.story.party == "bank":
        books = scene.lane.bank.books
        moved = sum(line.amount for line in books.statement() if line.id[4:] == digits)
        value = case.story.amount if model.state == "CAPTURED" else 0
        if abs(moved) != value:
            yield f"the bank moved {moved}, the oracle says {value}"
