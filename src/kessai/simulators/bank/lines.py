"""What the simulated bank writes down, and the words it is written in. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from kessai.sdk import zengin

DAY_S = 24 * 3600

OrderKind = Literal["transfer", "debit"]
OrderState = Literal["processing", "done", "failed", "returned"]
Words = Literal[
    "transfer",
    "debit",
    "failed transfer",
    "returned transfer",
    "file transfer",
    "file debit",
    "returned file transfer",
    "recalled file transfer",
]
"""What a line of the statement says of itself."""
FileStep = Literal["file", "accept", "file_step", "recall", "line_again"]
"""What is done with files."""
RETURN_AFTER_DAYS = 3


class Declined(Exception):
    """The bank says no: a stable code, and the HTTP status it goes with."""

    def __init__(self, code: str, status: int = 422) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account is, and under which name."""

    bank_code: str
    branch_code: str
    deposit_type: str
    number: str
    holder: str

    @property
    def place(self) -> str:
        """Everything but the name."""
        return "-".join((self.bank_code, self.branch_code, self.deposit_type, self.number))


class Deposit(msgspec.Struct, kw_only=True):
    """An account in the bank's books."""

    account: Account
    balance: int
    closed: bool = False


class Fate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become of orders: the first one foreseen that matches an order is its fate, for good."""

    about: str | None = None
    """The order's id; None is any."""
    number: str | None = None
    """The account's number; None is any."""
    state: Literal["done", "failed", "returned"] = "done"
    code: str | None = None
    """Why it fails or comes back."""
    after_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Until it is done or has failed."""
    return_after_s: Annotated[int, msgspec.Meta(ge=0)] = 3 * DAY_S
    """From then until it comes back."""
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many orders have this fate; 0 is all."""


class LineFate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become of lines: the first one foreseen that matches a line is its fate, for good."""

    about: str | None = None
    """The file's id; None is any, as with the next three."""
    line: int | None = None
    customer_code: str | None = None
    """Either of the two."""
    number: str | None = None
    """The account's."""
    state: Literal["done", "failed", "refused", "returned", "recalled"] = "done"
    code: str | None = None
    """Why it is not done, or comes back."""
    after_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """From the start of the file's day until it is done or has failed."""
    return_after_days: Annotated[int, msgspec.Meta(ge=1, le=250)] = RETURN_AFTER_DAYS
    """Business days from then until it comes back."""
    recall: Literal["done", "refused"] = "done"
    """What becomes of a recall that could be done (組戻, 組戻不成立)."""
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many lines have this fate; 0 is all."""

    def meets(self, file_id: str, number: int, line: zengin.Line) -> bool:
        """Whether it is this line's."""
        return (
            self.about in (None, file_id)
            and self.line in (None, number)
            and self.customer_code in (None, line.customer_code_1, line.customer_code_2)
            and self.number in (None, line.account_number)
        )


class FileFate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become of a file."""

    about: str | None = None
    """Its id; None is any."""
    after_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Until it is accepted."""
    refuse: str | None = None
    """Refuse all of it, with this code."""
    ack: Literal["normal", "none", "garbage"] = "normal"
    """What the drop folder is told of it."""
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many files have this fate; 0 is all."""


class Order(msgspec.Struct, kw_only=True):
    """A transfer or a debit under the client's id."""

    id: str
    kind: OrderKind
    account: Account
    amount: int
    mandate_id: str | None
    number: str
    """The bank's own number for it."""
    fate: Fate
    state: OrderState = "processing"
    code: str | None = None
    taken: bool = True
    """False: it was refused at once, and nothing was moved."""
    at: datetime
    settled_at: datetime | None = None


class FeedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement, as the client hears of it."""

    position: int
    id: str
    state: OrderState
    number: str
    code: str | None
    at: datetime


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One movement on the client's own account; outgoing money is negative."""

    position: int
    id: str
    amount: int
    balance: int
    """After it."""
    date: str
    """The business day in Tokyo."""
    words: Words
    file_id: str | None = None
    """The file that it is of, and its line there."""
    line: int | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the file."""

    do: Literal["open", "close", "mandate", "order", "settle", "return", "again"] | FileStep
    id: str
    at: datetime
    account: Account | None = None
    balance: int = 0
    kind: OrderKind = "transfer"
    amount: int = 0
    mandate_id: str | None = None
    number: str = ""
    fate: Fate | None = None
    code: str | None = None
    content: bytes = b""
    file_fate: FileFate | None = None
    line_fates: dict[int, LineFate] = {}
    line: int = 0


MAGIC_NUMBERS: dict[str, tuple[str, Fate]] = {
    "9000001": ("no_account", Fate()),
    "9000002": ("name_mismatch", Fate()),
    "9000003": ("", Fate(state="failed", code="insufficient_funds", times=0)),
    "9000004": ("", Fate(state="failed", code="stopped_by_holder", times=0)),
    "9000005": ("", Fate(state="failed", code="no_mandate", times=0)),
    "9000006": ("", Fate(state="returned", code="account_closed", times=0)),
    "9000007": ("", Fate(state="failed", code="account_closed", times=0)),
    "9000008": ("", Fate(state="failed", code="other", times=0)),
    "9000009": ("", Fate(state="done", after_s=DAY_S, times=0)),
}
"""Account numbers that mean something: what a check refuses them with (or nothing), and the fate of their orders."""
