"""What the simulated bank knows of a file, and the words it tells it in. Pure."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from kessai.sdk import zengin
from kessai.simulators.bank.lines import MAGIC_NUMBERS, Account, FileFate, LineFate

FileState = Literal["received", "accepted", "refused"]
LineState = Literal["accepted", "refused", "processing", "done", "failed", "returned", "recalled"]
EntryState = LineState | Literal["results", "recall_refused"]
REFUSED_SHOWN_MAX = 500
REFUSED_NUMBER = "9000010"
"""An account number whose line is refused with its file."""

DEPOSIT_TYPES = {
    zengin.DepositType.ORDINARY: "ordinary",
    zengin.DepositType.CURRENT: "current",
    zengin.DepositType.TAX: "tax",
    zengin.DepositType.SAVINGS: "savings",
    zengin.DepositType.OTHER: "other",
}
RESULTS = {
    None: zengin.DebitResult.PAID,
    "insufficient_funds": zengin.DebitResult.INSUFFICIENT_FUNDS,
    "no_account": zengin.DebitResult.NO_ACCOUNT,
    "account_closed": zengin.DebitResult.NO_ACCOUNT,
    "name_mismatch": zengin.DebitResult.NO_ACCOUNT,
    "stopped_by_holder": zengin.DebitResult.STOPPED_BY_DEPOSITOR,
    "no_mandate": zengin.DebitResult.NO_MANDATE,
    "stopped_by_client": zengin.DebitResult.STOPPED_BY_CLIENT,
}
"""The digit of a debit file's line, by the code of what became of it; any other code is 9."""


class LineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a line, or with line 0 of a file, as the client hears of it."""

    position: int
    file_id: str
    line: int
    customer_code_1: str = ""
    customer_code_2: str = ""
    edi: str | None = None
    amount: int = 0
    state: EntryState
    code: str | None
    number: str = ""
    at: datetime
    on: str | None = None
    """The day in Tokyo on which the client's account was moved because of it."""


class FiledLine(msgspec.Struct, kw_only=True):
    """One line of a file in the bank's books."""

    number: int
    """From 1."""
    said: zengin.Line
    fate: LineFate
    order_number: str
    """The bank's own for it."""
    state: LineState = "accepted"
    code: str | None = None
    ended_at: datetime | None = None
    """When it was done or failed."""
    last: LineEntry | None = None
    """What was told of it last."""

    @property
    def account(self) -> Account:
        """The holder's account."""
        said = self.said
        return Account(
            bank_code=said.bank_code,
            branch_code=said.branch_code,
            deposit_type=DEPOSIT_TYPES[said.deposit_type],
            number=said.account_number,
            holder=said.name,
        )

    def told(self) -> dict[str, Any]:
        """The line as a client hears of it."""
        return {
            "line": self.number,
            "customer_code_1": self.said.customer_code_1,
            "customer_code_2": self.said.customer_code_2,
            "edi": self.said.edi,
            "amount": self.said.amount,
            "state": self.state,
            "code": self.code,
            "number": self.order_number,
        }


class Filed(msgspec.Struct, kw_only=True):
    """A file in the bank's books."""

    id: str
    sha256: str
    received_at: datetime
    fate: FileFate
    said: zengin.File | None
    """What it says, if it can be read."""
    lines: list[FiledLine]
    state: FileState = "received"
    code: str | None = None
    line: int | None = None
    position: int | None = None
    """Where it cannot be read."""
    duplicate_of: str | None = None
    closed: bool = False
    """Whether each line has come to an end; a transfer may still come back."""
    recalls: dict[int, bool] = msgspec.field(default_factory=dict[int, bool])
    """Lines that were called back, and whether they came."""

    @property
    def kind(self) -> Literal["transfer", "debit"] | None:
        """What it asks for."""
        if self.said is None:
            return None
        return "transfer" if self.said.header.kind is zengin.Kind.TRANSFER else "debit"

    @property
    def day(self) -> date | None:
        """When it is to be done."""
        return None if self.said is None else self.said.header.day

    def told(self) -> dict[str, Any]:
        """Its standing, as a client hears of it."""
        refused = [each for each in self.lines if each.state == "refused"]
        taken = self.state == "accepted"
        total = sum(each.said.amount for each in self.lines)
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "closed": self.closed,
            "day": self.day,
            "lines": len(self.lines),
            "total": total,
            "accepted_lines": len(self.lines) - len(refused) if taken else 0,
            "accepted_total": total - sum(each.said.amount for each in refused) if taken else 0,
            "refused": [{"line": each.number, "code": each.code} for each in refused[:REFUSED_SHOWN_MAX]],
            "sha256": self.sha256,
            "received_at": self.received_at,
            "code": self.code,
            "line": self.line,
            "position": self.position,
            "duplicate_of": self.duplicate_of,
        }

    def with_results(self) -> bytes:
        """A debit file as it goes back, each line with its result."""
        assert self.said is not None
        lines = (msgspec.structs.replace(each.said, result=_digit(each)) for each in self.lines)
        return zengin.write(self.said.header, lines, newline=self.said.newline, slash=True)


def line_id(file_id: str, number: int) -> str:
    """A line's own id, in the statement and in recalls."""
    return f"{file_id}-{number:06d}"


def fated(account_number: str) -> LineFate:
    """The fate that an account number brings of itself."""
    if account_number == REFUSED_NUMBER:
        return LineFate(state="refused", code="invalid_account")
    fate = MAGIC_NUMBERS.get(account_number, ("", None))[1]
    if fate is None:
        return LineFate()
    return LineFate(state=fate.state, code=fate.code, after_s=fate.after_s)


def _digit(line: FiledLine) -> int:
    return RESULTS.get(line.code, zengin.DebitResult.OTHER).value
