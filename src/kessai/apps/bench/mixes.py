"""Which accounts an exchange touches: drawn before the measured stretch, so that drawing costs nothing in it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from kessai.services.ledger.api import CreateExchange, Leg, account_id_of

CUSTOMER_TYPE = "funds"
FUNDING_TYPE = "deposit"
FUNDING_OWNER = "internal"
CHECKED_TYPE = "settled_sales"
LOG_ONLY_TYPE = "unsettled_sales"
AMOUNT_MAX = 100
OPENING_MINOR = 500_000
"""Midway to the retention cap: a random walk of small amounts reaches neither end."""
CHECKED_OPENING_MINOR = 1_000_000
SKEWED_TOUCHES = 0.95
"""The part of touches that go to the busy accounts of a skewed mix."""
SKEWED_ACCOUNTS = 0.05
"""The part of a grown ledger's accounts that are the busy ones."""


class Touch(StrEnum):
    """How exchanges choose their accounts."""

    UNIFORM = "uniform"
    """Two customers, drawn evenly."""
    SKEWED = "skewed"
    """Two customers; 95% of touches go to the busy ones."""
    CHECKED = "checked"
    """A customer and one account whose balance is checked, in either direction."""
    LOG_ONLY = "log_only"
    """A customer pays into one log-only account."""


def customer(number: int) -> str:
    """The owner of a numbered customer account."""
    return f"bench/c{number:08d}"


MERCHANT = "bench/merchant"


@dataclass(frozen=True, slots=True)
class Crowd:
    """The customers `first` to `first + count - 1`; skewed touches go to the first `busy` of them more often."""

    first: int
    count: int
    busy: int = 0


class Draw:
    """Draws exchanges of one kind of touch over a crowd, repeatably."""

    def __init__(self, touch: Touch, crowd: Crowd, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  (a load, not a secret)
        self._touch = touch
        self._crowd = crowd
        self._ids: dict[int, str] = {}
        self._checked = str(account_id_of(MERCHANT, CHECKED_TYPE))

    def exchanges(self, count: int) -> list[CreateExchange]:
        """`count` exchanges of 1 to 100 yen."""
        return [self.exchange() for _ in range(count)]

    def exchange(self) -> CreateExchange:
        """One exchange."""
        amount = self._random.randint(1, AMOUNT_MAX)
        match self._touch:
            case Touch.UNIFORM | Touch.SKEWED:
                source, target = self._two()
            case Touch.CHECKED:
                source, target = self._account(self._number()), self._checked
                if self._random.random() < 0.5:
                    source, target = target, source
            case Touch.LOG_ONLY:
                return _exchange(
                    "charge",
                    Leg(account_id=self._account(self._number()), amount_minor=amount, asset="JPY"),
                    Leg(owner=MERCHANT, account_type=LOG_ONLY_TYPE, amount_minor=amount, asset="JPY"),
                )
        return pay(source, target, amount)

    def _two(self) -> tuple[str, str]:
        one, other = self._number(), self._number()
        while other == one:
            other = self._number()
        return self._account(one), self._account(other)

    def _number(self) -> int:
        crowd = self._crowd
        if self._touch is Touch.SKEWED and self._random.random() < SKEWED_TOUCHES:
            return crowd.first + self._random.randrange(max(2, crowd.busy))
        return crowd.first + self._random.randrange(crowd.count)

    def _account(self, number: int) -> str:
        if (found := self._ids.get(number)) is None:
            found = self._ids[number] = str(account_id_of(customer(number), CUSTOMER_TYPE))
        return found


def pay(source: str, target: str, amount_minor: int) -> CreateExchange:
    """An exchange between two accounts, named by their ids."""
    return _exchange(
        "transfer",
        Leg(account_id=source, amount_minor=amount_minor, asset="JPY"),
        Leg(account_id=target, amount_minor=amount_minor, asset="JPY"),
    )


def funding(owner: str, account_type: str, amount_minor: int) -> CreateExchange:
    """An opening credit from the internal deposit account."""
    return _exchange(
        "top_up",
        Leg(owner=FUNDING_OWNER, account_type=FUNDING_TYPE, amount_minor=amount_minor, asset="JPY"),
        Leg(owner=owner, account_type=account_type, amount_minor=amount_minor, asset="JPY"),
    )


def _exchange(kind: str, source: Leg, target: Leg) -> CreateExchange:
    return CreateExchange(sources=[source], targets=[target], kind=kind)
