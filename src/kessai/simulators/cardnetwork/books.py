"""The processor's own books: what was asked, what it believes was approved and reversed, and what it cleared.

Every request is written before it is sent and every answer before it is told, one line of a file each, so that the
books survive a restart: reversals that were not answered are taken up again. No card's number is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from kessai.sdk.iso8583 import transmitted_at
from kessai.simulators.cardnetwork.clearing import ClearingDesk
from kessai.simulators.cardnetwork.devices import TokenService
from kessai.simulators.cardnetwork.issuing import IssueDesk
from kessai.simulators.cardnetwork.journal import Journal, entries_of
from kessai.simulators.cardnetwork.records import (
    TOKYO,
    Answered,
    Authorization,
    CardMade,
    Cleared,
    Declined,
    DeviceChanged,
    Entry,
    GivenUp,
    Issued,
    Late,
    Reversal,
    ReversalAnswered,
    ReversalSent,
    Sent,
    Tap,
)

STANS = 1_000_000
DONE = ("00", "25")
"""Answers after which a reversal needs no repeating: it was done, or there was nothing to take back."""
LATER = ("30", "91", "96")
"""Answers after which it is repeated: it was not read, or what became of it is not known."""


class Books:
    """What the processor knows. Every method is one decision, written before it is told."""

    def __init__(self, now: Callable[[], datetime], path: Path | None = None, *, seed: int = 0) -> None:
        self.authorizations: dict[str, Authorization] = {}
        """By the processor's id, oldest first."""
        self.by_key: dict[str, Authorization] = {}
        """By what a repeat is known by."""
        self._pans: dict[str, str] = {}
        """Numbers that a terminal brought along, by authorization; forgotten at a restart."""
        self._now = now
        self._moved_to: datetime | None = None
        self._stan = 0
        self.issuing = IssueDesk(self._write, seed=seed)
        self.devices = TokenService(self._write, self.issuing.cards, seed=seed)
        self.clearing = ClearingDesk(self._write, self.authorizations, self.issuing.cards)
        self._journal: Journal | None = None
        self._journal = Journal(path, self.apply)

    @classmethod
    def read(cls, path: Path) -> Books | None:
        """What a file says, whether or not a simulator writes to it just now; None without one. Not to be changed."""
        if not path.exists():
            return None
        books = cls(lambda: datetime.now(UTC))
        for entry in entries_of(path):
            books.apply(entry)
        return books

    def close(self) -> None:
        """Let go of the file."""
        if self._journal is not None:
            self._journal.close()

    def _write(self, entry: Entry) -> None:
        assert self._journal is not None
        self._journal.write(entry)

    # -- time ---------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Business time: our own, or the latest that a client told of."""
        own = self._now()
        return own if self._moved_to is None else max(own, self._moved_to)

    def move_to(self, at: datetime) -> None:
        """Business time has come to `at`; it never goes back."""
        self._moved_to = at if self._moved_to is None else max(at, self._moved_to)

    # -- requests -----------------------------------------------------------------------------------------------

    def next_stan(self) -> str:
        """A number that no other message in flight has."""
        self._stan = self._stan % (STANS - 1) + 1
        return f"{self._stan:06d}"

    def open(self, tap: Tap, *, advice: bool = False) -> Authorization:
        """Write a request down that is to be sent; Declined `card_not_found`, `device_not_active`, `not_found`."""
        about = self.find(tap.authorization) if tap.authorization is not None else None
        card, expiry = self._whose(tap)
        at, stan = self.now(), self.next_stan()
        local = at.astimezone(TOKYO)
        opened = Authorization(
            id=f"a{len(self.authorizations) + 1:012d}",
            kind="advice" if advice else "tap",
            card=card,
            device=tap.device,
            expiry=expiry,
            processing=tap.processing,
            amount=tap.amount,
            currency=tap.currency,
            at=at,
            acquirer=tap.acquirer,
            transmitted=transmitted_at(at),
            stan=stan,
            rrn=about.rrn if about is not None else f"{local:%Y}"[-1] + f"{local:%j%H}{stan}",
            merchant=tap.merchant,
            name=tap.name,
            city=tap.city,
            country=tap.country,
            terminal=tap.terminal,
            mcc=tap.mcc,
            entry=tap.entry,
            about=tap.authorization,
            approval_code=f"N{stan[1:]}" if advice else None,
        )
        self._write(Sent(authorization=opened))
        if tap.pan is not None:
            self._pans[opened.id] = tap.pan
        return self.authorizations[opened.id]

    def _whose(self, tap: Tap) -> tuple[str, str]:
        """Card and expiry."""
        if tap.pan is not None:
            return "", tap.expiry or "9912"
        if tap.device is not None:
            device = self.devices.find(tap.device)
            if device.state not in ("active", "suspended"):
                raise Declined("device_not_active")
            return device.body.card, tap.expiry or device.expiry
        card = self.issuing.cards.get(tap.card or "")
        if card is None:
            raise Declined("card_not_found", 404)
        return card.reference, tap.expiry or card.expiry

    def pan_of(self, authorization: Authorization) -> str:
        """The number that its messages have; Declined `number_forgotten`."""
        if authorization.device is not None:
            return self.devices.pan_of(self.devices.find(authorization.device))
        if authorization.card:
            return self.issuing.pan_of(self.issuing.cards[authorization.card])
        if authorization.id not in self._pans:
            raise Declined("number_forgotten", 409)
        return self._pans[authorization.id]

    def knows_number(self, authorization: Authorization) -> bool:
        """Whether its messages can be made (again)."""
        return bool(authorization.device or authorization.card or authorization.id in self._pans)

    def find(self, authorization_id: str) -> Authorization:
        """An authorization; Declined `authorization_not_found`."""
        if authorization_id not in self.authorizations:
            raise Declined("authorization_not_found", 404)
        return self.authorizations[authorization_id]

    def answer(self, authorization: Authorization, response: str, approval_code: str | None) -> None:
        """It was answered in time."""
        self._write(Answered(id=authorization.id, response=response, approval_code=approval_code))

    def give_up(self, authorization: Authorization) -> None:
        """It was not."""
        self._write(GivenUp(id=authorization.id))

    def hear_late(self, authorization_id: str) -> None:
        """It was, but after it had been given up."""
        self._write(Late(id=authorization_id))

    # -- reversals ----------------------------------------------------------------------------------------------

    def reverse(self, authorization: Authorization, amount: int | None, *, advice: bool) -> Reversal:
        """Write a reversal down that is to be sent; Declined `above_what_stands`."""
        left = authorization.amount - authorization.reversed
        taken = left if amount is None else amount
        if not 0 < taken <= left and authorization.amount:
            raise Declined("above_what_stands")
        reversal = Reversal(
            stan=self.next_stan(),
            transmitted=transmitted_at(self.now()),
            amount=taken,
            stands=left - taken,
            advice=advice,
        )
        self._write(ReversalSent(id=authorization.id, reversal=reversal))
        return authorization.reversals[-1]

    def answer_reversal(self, authorization: Authorization, reversal: Reversal, response: str) -> None:
        """A reversal was answered."""
        at = self.now()
        self._write(ReversalAnswered(id=authorization.id, stan=reversal.stan, response=response, at=at))

    def unanswered_reversals(self) -> Iterable[tuple[Authorization, Reversal]]:
        """Those that are to be taken up again."""
        for each in self.authorizations.values():
            for reversal in each.reversals:
                if reversal.response is None or reversal.response in LATER:
                    yield each, reversal

    # -- what is written ----------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Take a step that was written."""
        match entry:
            case Issued() | CardMade():
                self.issuing.apply(entry)
            case DeviceChanged():
                self.devices.apply(entry)
            case Cleared():
                self.clearing.apply(entry)
            case Sent():
                self._opened(entry.authorization)
            case Answered():
                self._answered(self.authorizations[entry.id], entry)
            case GivenUp():
                self.authorizations[entry.id].state = "given_up"
            case Late():
                self.authorizations[entry.id].late += 1
            case ReversalSent():
                self._stan = int(entry.reversal.stan)
                self.authorizations[entry.id].reversals.append(entry.reversal)
            case ReversalAnswered():
                _reversed(self.authorizations[entry.id], entry)

    def _opened(self, authorization: Authorization) -> None:
        self._stan = int(authorization.stan)
        self.authorizations[authorization.id] = self.by_key[authorization.key] = authorization

    def _answered(self, authorization: Authorization, entry: Answered) -> None:
        authorization.response = entry.response
        authorization.approval_code = entry.approval_code or authorization.approval_code
        if entry.response != "00":
            authorization.state = "declined"
        else:
            authorization.state = "advised" if authorization.kind == "advice" else "approved"


def _reversed(authorization: Authorization, entry: ReversalAnswered) -> None:
    reversal = next(each for each in authorization.reversals if each.stan == entry.stan)
    reversal.response, reversal.answered_at = entry.response, entry.at
    if authorization.approved and entry.response == "00":
        authorization.reversed += reversal.amount
        if authorization.reversed >= authorization.amount:
            authorization.state = "reversed"
    elif not authorization.approved and entry.response in DONE:
        authorization.state = "reversed"
