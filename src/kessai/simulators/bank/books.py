"""The simulated bank's own books: accounts, mandates, orders, the feed of their results, and the client's statement.

Every order has the client's id and is taken once for it; the same id with other content is refused (`id_reused`). Money
is only moved between accounts of the bank: the client's own, the one where it waits while an order is on its way, and
the holders'. `total` is therefore always the same but for accounts that were opened. Each change is one line of a file,
if there is one, so that the books survive a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

import msgspec

from kessai.simulators.bank.files import FileDesk
from kessai.simulators.bank.lines import (
    MAGIC_NUMBERS,
    Account,
    Declined,
    Deposit,
    Fate,
    FeedEntry,
    Line,
    Order,
    OrderKind,
    StatementLine,
    Words,
)

CLIENT_BALANCE = 1_000_000_000_000
"""What the platform's own account begins with."""
HOLDER_BALANCE = 1_000_000
"""What an account begins with that is opened at its first check."""
AMOUNT_MAX = 9_999_999_999
FATES_MAX = 10_000
_TOKYO = ZoneInfo("Asia/Tokyo")

__all__ = ["MAGIC_NUMBERS", "Books", "Declined", "Fate", "FeedEntry", "Order", "StatementLine"]


class Books:
    """What the bank knows. Every method is one decision, written before it is told."""

    def __init__(self, now: Callable[[], datetime], path: Path | None = None) -> None:
        self.deposits: dict[str, Deposit] = {}
        """The holders' accounts, by their place."""
        self.orders: dict[str, Order] = {}
        self.feed: list[FeedEntry] = []
        self.client_balance = CLIENT_BALANCE
        """Of the platform's own account."""
        self.brought_in = 0
        """What holders' accounts began with, in all."""
        self.on_its_way = 0
        """Taken off the client's account and not yet at its end."""
        self.files = FileDesk(self)
        self._lines: list[StatementLine] = []
        self._moved_on: dict[str, int] = {}
        """What each business day did to the client's account."""
        self._lines_of: dict[str, list[int]] = {}
        """Where each order's lines are."""
        self._mandates: dict[str, str] = {}
        self._fates: list[Fate] = []
        self._now = now
        self._moved_to: datetime | None = None
        self._due: list[tuple[datetime, str]] = []
        self._file: IO[bytes] | None = None
        if path is not None:
            self._take_up(path)

    @classmethod
    def read(cls, path: Path) -> Books | None:
        """What a file says, whether or not a bank writes to it just now; None without one. Not to be changed."""
        if not path.exists():
            return None
        books = cls(_unchangeable)
        for text in _whole_lines(path.read_bytes()).splitlines():
            books._apply(msgspec.json.decode(text, type=Line))
        return books

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    # -- time ---------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Business time: our own, or the latest that a client told of."""
        own = self._now()
        return own if self._moved_to is None else max(own, self._moved_to)

    def move_to(self, at: datetime) -> None:
        """Business time has come to `at`; it never goes back. What is due by then is settled, in order."""
        self._moved_to = at if self._moved_to is None else max(at, self._moved_to)
        self.settle_due()

    def settle_due(self) -> None:
        """Settle every order whose time has come, and let come back what is to come back."""
        now = self.now()
        while True:
            order_due, file_due = self._due[0][0] if self._due else None, self.files.due
            if file_due is not None and file_due <= min(now, order_due or now):
                self.files.step()
            elif order_due is not None and order_due <= now:
                self._settle_next()
            else:
                return

    def _settle_next(self) -> None:
        at, order_id = heappop(self._due)
        order = self.orders[order_id]
        if _due_at(order) != at:
            return  # it was settled in an earlier life of these books
        if order.state == "processing":
            self.write(Line(do="settle", id=order_id, at=at, code=self._failure(order)))
        else:
            self.write(Line(do="return", id=order_id, at=at, code=order.fate.code or "other"))

    def foresee(self, fate: Fate) -> None:
        """What is to become of the next orders that match; raises ValueError when there are too many."""
        if len(self._fates) >= FATES_MAX:
            raise ValueError("too many fates")
        self._fates.append(fate)

    # -- accounts -----------------------------------------------------------------------------------------------

    def open_account(self, account: Account, balance: int = HOLDER_BALANCE) -> None:
        """An account of a holder."""
        assert account.place not in self.deposits
        self.write(Line(do="open", id=account.place, at=self.now(), account=account, balance=balance))

    def close_account(self, account: Account) -> None:
        """From now on nothing reaches it."""
        self.write(Line(do="close", id=account.place, at=self.now()))

    def check(self, account: Account, refuse: str | None = None) -> None:
        """Whether it is there under that name; one that nobody knows is opened. Raises Declined."""
        refuse = refuse or MAGIC_NUMBERS.get(account.number, ("", None))[0]
        if not refuse and account.place not in self.deposits:
            self.open_account(account)
        if refuse := refuse or self.wrong_with(account):
            raise Declined(refuse)

    def agree(self, mandate_id: str, account: Account, refuse: str | None = None) -> None:
        """A mandate to debit it; raises Declined."""
        known = self._mandates.get(mandate_id)
        if known is not None and known != account.place:
            raise Declined("id_reused", 409)
        if refuse := refuse or self.wrong_with(account):
            raise Declined(refuse)
        if known is None:
            self.write(Line(do="mandate", id=mandate_id, at=self.now(), account=account))

    def require_mandate(self, mandate_id: str) -> None:
        """Raises Declined when there is none under this id."""
        if mandate_id not in self._mandates:
            raise Declined("mandate_not_found", 404)

    def wrong_with(self, account: Account) -> str | None:
        """Why nothing reaches an account; None when it is there under that name."""
        deposit = self.deposits.get(account.place)
        if deposit is None:
            return "no_account"
        if deposit.closed:
            return "account_closed"
        return None if deposit.account.holder == account.holder else "name_mismatch"

    # -- orders -------------------------------------------------------------------------------------------------

    def take(
        self,
        kind: OrderKind,
        order_id: str,
        account: Account,
        amount: int,
        mandate_id: str | None,
        refuse: str | None = None,
    ) -> Order:
        """Take an order, or refuse it at once (Declined); the same id gives the same answer."""
        known = self.orders.get(order_id)
        if known is None:
            if not 0 < amount <= AMOUNT_MAX:
                refuse = refuse or "invalid_amount"
            elif kind == "transfer" and amount > self.client_balance:
                refuse = refuse or "insufficient_funds"
            line = Line(
                do="order",
                id=order_id,
                at=self.now(),
                account=account,
                kind=kind,
                amount=amount,
                mandate_id=mandate_id,
                number=f"{len(self.orders) + 1:010d}",
                fate=self._fate(order_id, account),
                code=refuse,
            )
            self.write(line)
            known = self.orders[order_id]
        elif (known.kind, known.account, known.amount, known.mandate_id) != (kind, account, amount, mandate_id):
            raise Declined("id_reused", 409)
        if not known.taken:
            raise Declined(known.code or "other")
        return known

    def find(self, kind: OrderKind, order_id: str) -> Order:
        """An order; raises Declined `instruction_not_found`."""
        order = self.orders.get(order_id)
        if order is None or order.kind != kind:
            raise Declined("instruction_not_found", 404)
        return order

    def say_again(self, order_id: str) -> None:
        """Put an order's last result into the feed once more, as if it had been sent twice."""
        self.write(Line(do="again", id=order_id, at=self.now()))

    def _fate(self, order_id: str, account: Account) -> Fate:
        for index, fate in enumerate(self._fates):
            if fate.about in (None, order_id) and fate.number in (None, account.number):
                if fate.times == 1:
                    del self._fates[index]
                elif fate.times > 1:
                    self._fates[index] = msgspec.structs.replace(fate, times=fate.times - 1)
                return fate
        return MAGIC_NUMBERS.get(account.number, ("", Fate()))[1]

    def _failure(self, order: Order) -> str | None:
        """Why an order fails, now that its time has come; None when it is done."""
        if order.fate.state == "failed":
            return order.fate.code or "other"
        if wrong := self.wrong_with(order.account):
            return wrong
        if order.kind == "transfer":
            return None
        if order.mandate_id is None or self._mandates.get(order.mandate_id) != order.account.place:
            return "no_mandate"
        return self._short_of(order.account, order.amount)

    def may_debit(self, account: Account, amount: int) -> str | None:
        """Why an account cannot be debited under any mandate; None when it can."""
        if wrong := self.wrong_with(account):
            return wrong
        return self._short_of(account, amount) if account.place in self._mandates.values() else "no_mandate"

    def _short_of(self, account: Account, amount: int) -> str | None:
        return "insufficient_funds" if self.deposits[account.place].balance < amount else None

    # -- what a client may read ---------------------------------------------------------------------------------

    def entries(self, after: int, limit: int) -> list[FeedEntry]:
        """Entries of the feed beyond a position."""
        return self.feed[after : after + limit]

    def statement(self, day: str | None = None, after: int = 0, limit: int | None = None) -> list[StatementLine]:
        """Lines of the client's account beyond a position, of one business day or of all."""
        found = [each for each in self._lines[after:] if day in (None, each.date)]
        return found if limit is None else found[:limit]

    def opening(self, day: str) -> int:
        """The client's balance at the start of a business day."""
        return CLIENT_BALANCE + sum(amount for on, amount in self._moved_on.items() if on < day)

    def moved(self, day: str) -> int:
        """What a business day did to it."""
        return self._moved_on.get(day, 0)

    def is_over(self, day: str) -> bool:
        """Whether a business day has ended in Tokyo."""
        return self.now().astimezone(_TOKYO).date().isoformat() > day

    def booked(self, order_id: str) -> int:
        """What an order did to the client's account, all its lines together."""
        return sum(self._lines[index].amount for index in self._lines_of.get(order_id, ()))

    @property
    def total(self) -> int:
        """All money in the bank."""
        return self.client_balance + self.on_its_way + sum(each.balance for each in self.deposits.values())

    def credit(self, account: Account, amount: int) -> None:
        """Move a holder's balance; only as part of a step that is written down."""
        self.deposits[account.place].balance += amount

    # -- what is written ----------------------------------------------------------------------------------------

    def _take_up(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        kept = _whole_lines(path.read_bytes())
        for text in kept.splitlines():
            self._apply(msgspec.json.decode(text, type=Line))
        self._file = path.open("r+b")
        self._file.truncate(len(kept))
        self._file.seek(len(kept))

    def write(self, line: Line) -> None:
        """Write a step down, and then take it."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()
        self._apply(line)

    def _apply(self, line: Line) -> None:
        match line.do:
            case "open":
                assert line.account is not None
                self.deposits[line.id] = Deposit(account=line.account, balance=line.balance)
                self.brought_in += line.balance
            case "close":
                self.deposits[line.id].closed = True
            case "mandate":
                assert line.account is not None
                self._mandates[line.id] = line.account.place
            case "order":
                self._ordered(line)
            case "settle":
                self._settled(self.orders[line.id], line)
            case "return":
                self._returned(self.orders[line.id], line)
            case "again":
                self._tell(self.orders[line.id], line.at)
            case "file" | "accept" | "file_step" | "recall" | "line_again":
                self.files.apply(line)

    def _ordered(self, line: Line) -> None:
        assert line.account is not None
        assert line.fate is not None
        order = self.orders[line.id] = Order(
            id=line.id,
            kind=line.kind,
            account=line.account,
            amount=line.amount,
            mandate_id=line.mandate_id,
            number=line.number,
            fate=line.fate,
            at=line.at,
        )
        if line.code is not None:
            order.state, order.code, order.taken = "failed", line.code, False
            return
        if order.kind == "transfer":
            self.on_its_way += order.amount
            self.book(order.id, -order.amount, "transfer", line.at)
        self._await(order)

    def _settled(self, order: Order, line: Line) -> None:
        order.state, order.code, order.settled_at = ("failed" if line.code else "done"), line.code, line.at
        if order.kind == "transfer":
            self.on_its_way -= order.amount
            if line.code:
                self.book(order.id, order.amount, "failed transfer", line.at)
            else:
                self.deposits[order.account.place].balance += order.amount
        elif not line.code:
            self.deposits[order.account.place].balance -= order.amount
            self.book(order.id, order.amount, "debit", line.at)
        self._tell(order, line.at)
        self._await(order)

    def _returned(self, order: Order, line: Line) -> None:
        order.state, order.code, order.settled_at = "returned", line.code, line.at
        self.deposits[order.account.place].balance -= order.amount
        self.book(order.id, order.amount, "returned transfer", line.at)
        self._tell(order, line.at)

    def _await(self, order: Order) -> None:
        if (at := _due_at(order)) is not None:
            heappush(self._due, (at, order.id))

    def book(
        self,
        order_id: str,
        amount: int,
        words: Words,
        at: datetime,
        *,
        file_id: str | None = None,
        line: int | None = None,
    ) -> str:
        """Move the client's balance, which is a line of the statement; gives the business day in Tokyo."""
        day = at.astimezone(_TOKYO).date().isoformat()
        self.client_balance += amount
        self._moved_on[day] = self._moved_on.get(day, 0) + amount
        self._lines_of.setdefault(order_id, []).append(len(self._lines))
        self._lines.append(
            StatementLine(
                position=len(self._lines) + 1,
                id=order_id,
                amount=amount,
                balance=self.client_balance,
                date=day,
                words=words,
                file_id=file_id,
                line=line,
            )
        )
        return day

    def _tell(self, order: Order, at: datetime) -> None:
        position = len(self.feed) + 1
        self.feed.append(
            FeedEntry(position=position, id=order.id, state=order.state, number=order.number, code=order.code, at=at)
        )


def _whole_lines(data: bytes) -> bytes:
    """A line that a crash cut short was never told."""
    return data[: data.rfind(b"\n") + 1]


def _unchangeable() -> datetime:
    raise AssertionError("books that are only read")


def _due_at(order: Order) -> datetime | None:
    """When an order's next step is due; None when there is none."""
    if order.state == "processing":
        return order.at + timedelta(seconds=order.fate.after_s)
    if order.state == "done" and order.kind == "transfer" and order.fate.state == "returned":
        assert order.settled_at is not None
        return order.settled_at + timedelta(seconds=order.fate.return_after_s)
    return None
