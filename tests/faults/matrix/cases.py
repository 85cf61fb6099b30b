"""Which cases there are: story × call × trouble, and each of these once for every boundary at which somebody dies.

How many boundaries there are is found by playing a combination undisturbed; so the whole is enumerated, not guessed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tests.faults.matrix import brittle
from tests.faults.matrix.lane import Boundary, Party, When
from tests.faults.matrix.stories import STORIES, Story
from tests.faults.matrix.troubles import CALM, TROUBLES, Trouble

NO_CALL = "-"
BEHIND: Mapping[Party | None, str | None] = {"card": "cardgateway", "bank": "bank", None: None}
"""The service that goes to a party."""

Disturbance = Literal["dies", "all die", "client leaves", "away", "commit lost"]
DATABASE: tuple[brittle.Trouble, ...] = ("away", "commit lost")
"""Disturbances of what a service asks of its database; the boundary is then the number of that call."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One story, in trouble with one call, disturbed at one boundary (or not at all)."""

    story: Story
    call: str = NO_CALL
    trouble: Trouble = CALM
    service: str = ""
    """Whose journal's boundary it is."""
    flush: int = 0
    when: When = "before"
    disturbance: Disturbance = "dies"
    further: tuple[tuple[str, Boundary], ...] = ()
    """Boundaries at which somebody dies besides, while what died first is being taken up, or later."""

    def __str__(self) -> str:
        at = f"{self.service} {self.disturbance} {self.when} flush {self.flush}" if self.service else "undisturbed"
        also = "".join(f", {service} {when} {flush}" for service, (flush, when) in self.further)
        return f"{self.story.name} / {self.call} / {self.trouble.name} / {at}{also}"

    @property
    def dying(self) -> tuple[str, ...]:
        """The services that die: a payment process may be one with the services that go outside, or not."""
        behind = BEHIND[self.story.party]
        return (self.service,) if self.disturbance == "dies" or behind is None else ("payment", behind)


def combinations() -> Iterator[Case]:
    """Every story with every trouble of every call that it makes, undisturbed."""
    for story in STORIES.values():
        yield Case(story=story)
        for call in story.calls:
            for trouble in TROUBLES.values():
                if applies(story, call, trouble):
                    yield Case(story=story, call=call, trouble=trouble)


def applies(story: Story, call: str, trouble: Trouble) -> bool:
    """Whether a call of a story can be in such trouble, and that comes to an end without an operator."""
    if trouble is CALM or not (trouble.card if story.party == "card" else trouble.bank):
        return False
    if trouble.refuses and call in story.undoing:
        return False
    returned = trouble.fate is not None and trouble.fate.state == "returned"
    return not returned or story.comes_back is not None


def disturbed(case: Case, flushes: Mapping[str, int]) -> Iterator[Case]:
    """A combination once for every boundary of every journal that takes part; `flushes` by service.

    Whether the payment's process dies alone or with the service that goes outside alternates with the boundary.
    """
    for service in ("payment", BEHIND[case.story.party]):
        for flush in range(1, flushes.get(service or "", 0) + 1):
            for number, when in enumerate(("before", "after")):
                together = service == "payment" and case.story.party is not None and (flush + number) % 2 == 0
                how: Disturbance = "all die" if together else "dies"
                yield replace(case, service=str(service), flush=flush, when=when, disturbance=how)


def left(case: Case, flushes: Mapping[str, int]) -> Iterator[Case]:
    """The same with a client who goes away at every boundary, and comes back at once with the same key."""
    return (replace(each, disturbance="client leaves") for each in disturbed(case, flushes))


def without_database(case: Case, calls: Mapping[str, int]) -> Iterator[Case]:
    """A combination once for every call of every service that takes part to its database, by each trouble there;
    `calls` by service."""
    for service in ("payment", BEHIND[case.story.party]):
        for number in range(1, calls.get(service or "", 0) + 1):
            for trouble in DATABASE:
                yield replace(case, service=str(service), flush=number, disturbance=trouble)


def drawn(seed: int, number: int, flushes: Mapping[str, Mapping[str, int]], *, deaths: int = 1) -> list[Case]:
    """So many cases by a seed, of every trouble as many; up to so many deaths each. `flushes` by story, undisturbed."""
    draw = random.Random(seed)
    by_trouble: dict[str, list[Case]] = {}
    for case in combinations():
        by_trouble.setdefault(case.trouble.name, []).append(case)
    stock = {name: draw.sample(cases, len(cases)) for name, cases in by_trouble.items()}
    found: list[Case] = []
    while len(found) < number:
        for name, cases in stock.items():
            if not cases:
                cases += draw.sample(by_trouble[name], len(by_trouble[name]))
            found.append(_struck(cases.pop(), draw, flushes, deaths))
    return draw.sample(found, number)


def _struck(case: Case, draw: random.Random, flushes: Mapping[str, Mapping[str, int]], deaths: int) -> Case:
    """A combination at a boundary that is drawn, and at some more."""
    first, *others = draw.choices(list(disturbed(case, flushes[case.story.name])), k=draw.randint(1, deaths))
    return replace(first, further=tuple((each.service, (each.flush, each.when)) for each in others))
