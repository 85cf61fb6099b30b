"""The oracle: a small pure model of what a payment comes to, from the documents' rules alone.

Sources give in order and get back in the reverse order of use; what somebody outside refused moved nothing; whatever
was lost on the way was done, or will be, and once. Amounts are yen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Account = tuple[str, str]
"""A role (`customer`, `merchant` …) and an account type."""
CARD = "card"


@dataclass
class Model:
    """A payment, and everything that it can have moved."""

    amount: int
    parts: Mapping[str, int]
    """What each source gives, in order."""
    state: str = "PENDING"
    captured: int = 0
    refunded: int = 0
    held: Counter[str] = field(default_factory=Counter[str])
    """By source: held, not taken."""
    taken: Counter[str] = field(default_factory=Counter[str])
    """By source: taken, and not given back."""
    card_held: int = 0
    """What the card gateway still holds; not always what we hold."""
    balances: Counter[Account] = field(default_factory=Counter[Account])

    def hold(self) -> None:
        """Everything is held, inside and on the card."""
        self.held = Counter(self.parts)
        self.card_held = self.parts.get(CARD, 0)
        self.state = "AUTHORIZED"

    def refuse(self) -> None:
        """It came to nothing."""
        self.state, self.card_held = "REFUSED", 0
        self.held.clear()

    def take(self, amount: int, *, final: bool = True) -> dict[str, int]:
        """Take an amount from the sources in order; gives their parts. With `final`, the rest is let go."""
        parts = _in_order(list(self.held.items()), amount)
        for source, part in parts.items():
            self.held[source] -= part
            self.taken[source] += part
        self.captured += amount
        self.card_held = self.held[CARD]
        self.state = "CAPTURED" if final or not self.held.total() else "PARTIALLY_CAPTURED"
        if final:
            self.held.clear()
            self.card_held = 0
        return parts

    def give_back(self, amount: int) -> dict[str, int]:
        """Give an amount back in the reverse order of use; gives the sources' parts."""
        parts = _in_order([*reversed(list(self.taken.items()))], amount)
        for source, part in parts.items():
            self.taken[source] -= part
        return parts

    def let_go(self, state: str, *, card_too: bool = True) -> None:
        """What is held is released."""
        self.held.clear()
        if card_too:
            self.card_held = 0
        self.state = state

    def pay(self, to: Account, amount: int) -> None:
        """A participant gets (or, negative, gives) so much."""
        self.balances[to] += amount


def _in_order(sources: list[tuple[str, int]], amount: int) -> dict[str, int]:
    parts: dict[str, int] = {}
    for source, left in sources:
        part = min(left, amount)
        if part > 0:
            parts[source] = part
            amount -= part
    assert amount == 0, "the model takes more than there is"
    return parts


Rule = Callable[[Model, str | None], bool]
"""What a step makes of the model, where somebody outside refused that call; False: the story ends here."""

# -- charges: the payer's sources are the customer's, the payee is a merchant ------------------------------------

MERCHANT: Account = ("merchant", "unsettled_sales")


def sell(model: Model, refused: str | None) -> bool:
    """Hold everything and take it at once."""
    if refused is not None:
        model.refuse()
        return False
    model.hold()
    return _taken_by_merchant(model, model.amount)


def authorize(model: Model, refused: str | None) -> bool:
    """Hold everything."""
    if refused is not None:
        model.refuse()
        return False
    model.hold()
    return True


def capture(amount: int, *, final: bool = True) -> Rule:
    """Take a part; a refusal by the card leaves everything as it was."""

    def rule(model: Model, refused: str | None) -> bool:
        if refused == "capture":
            return False
        held = model.card_held
        _taken_by_merchant(model, amount, final=final)
        if refused == "void":
            model.card_held = held
        return True

    return rule


def _taken_by_merchant(model: Model, amount: int, *, final: bool = True) -> bool:
    model.take(amount, final=final)
    model.pay(MERCHANT, amount)
    return True


def refund(amount: int) -> Rule:
    """Give back to the card first; its refusal leaves everything as it was."""

    def rule(model: Model, refused: str | None) -> bool:
        if refused is not None:
            return False
        model.give_back(amount)
        model.refunded += amount
        model.pay(MERCHANT, -amount)
        return True

    return rule


def let_go(state: str) -> Rule:
    """Cancel, or let lapse; a card that does not let go is left to its issuer."""

    def rule(model: Model, refused: str | None) -> bool:
        model.let_go("CAPTURED" if model.captured else state, card_too=refused is None)
        return True

    return rule


# -- escrow: parked with the marketplace, paid on to the seller ---------------------------------------------------

MARKET: Account = ("market", "unsettled_sales")
SELLER: Account = ("seller", "sales")


def park(model: Model, refused: str | None) -> bool:
    """Take everything into the marketplace's account."""
    if refused is not None:
        model.refuse()
        return False
    model.hold()
    model.take(model.amount)
    model.state, model.captured = "AUTHORIZED", 0
    model.pay(MARKET, model.amount)
    return True


def pay_on(amount: int, fee: int) -> Rule:
    """Pay the seller, and give the rest back to the buyer; what cannot go back stays parked."""

    def rule(model: Model, refused: str | None) -> bool:
        model.pay(MARKET, fee - amount)
        model.pay(SELLER, amount - fee)
        model.captured += amount
        rest = model.amount - model.captured
        if rest and refused is not None:
            model.state = "PARTIALLY_CAPTURED"
            return False
        if rest:
            model.give_back(rest)
            model.pay(MARKET, -rest)
        model.state = "CAPTURED"
        return True

    return rule


def unpark(state: str) -> Rule:
    """Give what was not paid on back to the buyer; a refusal leaves it parked."""

    def rule(model: Model, refused: str | None) -> bool:
        if refused is not None:
            return False
        rest = model.amount - model.captured
        model.give_back(rest)
        model.pay(MARKET, -rest)
        model.state = "CAPTURED" if model.captured else state
        return True

    return rule


def refund_escrow(amount: int, fee: int) -> Rule:
    """The seller and the marketplace give back in the parts they got."""

    def rule(model: Model, refused: str | None) -> bool:
        if refused is not None:
            return False
        model.give_back(amount)
        model.refunded += amount
        model.pay(SELLER, fee - amount)
        model.pay(MARKET, -fee)
        return True

    return rule


# -- where the customer's account was closed: only the card can get its part back ----------------------------------


def refund_card_alone(model: Model, refused: str | None) -> bool:
    """The card gets its part back, and nothing else."""
    return refund(model.parts[CARD])(model, refused)


def refund_escrow_card_alone(fee: int) -> Rule:
    """The same of an escrow; of the fee, what is in proportion to the card's part goes back."""

    def rule(model: Model, refused: str | None) -> bool:
        return refund_escrow(model.parts[CARD], fee)(model, refused)

    return rule


def unpark_card_alone(model: Model, refused: str | None) -> bool:
    """The card gets its part back; the rest stays parked."""
    if refused is None:
        model.taken[CARD] = 0
        model.pay(MARKET, -model.parts[CARD])
    return False


# -- in one movement, inside or with a bank -----------------------------------------------------------------------


def move(*postings: tuple[Account, int], state: str = "CAPTURED") -> Rule:
    """Value moves at once; a refusal moves nothing."""

    def rule(model: Model, refused: str | None) -> bool:
        if refused is not None:
            model.refuse()
            return False
        for account, amount in postings:
            model.pay(account, amount)
        model.captured, model.state = model.amount, state
        model.held.clear()
        return True

    return rule


def also(*postings: tuple[Account, int], refunded: int = 0) -> Rule:
    """Value moves besides, or so much of the payment goes back."""

    def rule(model: Model, _: str | None) -> bool:
        for account, amount in postings:
            model.pay(account, amount)
        model.refunded += refunded
        return True

    return rule


def wait(model: Model, refused: str | None) -> bool:
    """Nothing has moved yet: somebody outside has to act."""
    if refused is not None:
        model.refuse()
        return False
    model.state = "REQUIRES_ACTION"
    return True


def come_back(*postings: tuple[Account, int]) -> Rule:
    """What had left came back, less the fee."""

    def rule(model: Model, _: str | None) -> bool:
        for account, amount in postings:
            model.pay(account, amount)
        model.state = "RETURNED"
        return True

    return rule


def refund_of(amount: int, account: Account, *, gives: bool = True) -> Rule:
    """An account gives an amount back, or gets it back."""

    def rule(model: Model, _: str | None) -> bool:
        model.pay(account, -amount if gives else amount)
        model.refunded += amount
        return True

    return rule
