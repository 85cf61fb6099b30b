"""The simulated gateway's own books: cards as tokens, authorizations and what was done to them.

Everything has the caller's id and is done once for it: the same id again gives the answer that was given, with other
content it is refused (`id_reused`). A void of an authorization that was never seen is remembered: what comes later
under that id is refused. Each change is one line of a file, if there is one, so that the books survive a restart; card
numbers are looked at and forgotten.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Literal

import msgspec

AMOUNT_MAX = 10**12
BRANDS = {"4": "visa", "5": "mastercard", "35": "jcb", "34": "amex", "37": "amex"}


class Declined(Exception):
    """The gateway says no: a stable code, and the HTTP status it goes with."""

    def __init__(self, code: str, status: int = 422) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class Plastic(msgspec.Struct, frozen=True, kw_only=True):
    """A card as the gateway keeps it; `always` is the code that its issuer refuses everything with."""

    card_token: str
    brand: str
    last_four: str
    expiry_month: int
    expiry_year: int
    always: str | None = None
    challenges: bool = False
    """Its issuer asks for 3-D Secure."""
    removed: bool = False


class Operation(msgspec.Struct, kw_only=True):
    """Something done to an authorization, or refused."""

    id: str
    kind: Literal["complete", "capture", "void", "refund"]
    amount: int
    final: bool = True
    code: str | None = None
    """Why it was refused; None when it was done."""
    at: datetime


class Authorization(msgspec.Struct, kw_only=True):
    """An amount held on a card, and what became of it."""

    id: str
    state: Literal["requires_action", "authorized", "captured", "voided", "refused"]
    card_token: str
    amount: int
    currency: str
    captured: int = 0
    refunded: int = 0
    code: str | None = None
    challenge: Literal["open", "passed", "failed"] | None = None
    at: datetime
    operations: list[Operation] = []

    def operation(self, operation_id: str) -> Operation | None:
        """The operation of an id."""
        return next((each for each in self.operations if each.id == operation_id), None)


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the file: what was asked, with everything that chance decided."""

    do: Literal["form", "card", "forget", "authorize", "challenge", "complete", "capture", "void", "refund", "relapse"]
    id: str
    at: datetime
    operation_id: str = ""
    card: Plastic | None = None
    form_token: str = ""
    card_token: str = ""
    amount: int = 0
    currency: str = ""
    final: bool = True
    passed: bool = False
    challenges: bool = False
    refuse: str | None = None


_MAGIC_CARDS: dict[str, tuple[str, str | None, bool]] = {
    "tok_visa": ("visa", None, False),
    "tok_mastercard": ("mastercard", None, False),
    "tok_jcb": ("jcb", None, False),
    "tok_3ds": ("visa", None, True),
    "tok_insufficient_funds": ("visa", "insufficient_funds", False),
    "tok_declined": ("visa", "card_declined", False),
    "tok_lost": ("visa", "card_lost_or_stolen", False),
    "tok_limit": ("visa", "limit_exceeded", False),
}
"""Form tokens that need no form: brand, the code that the issuer refuses with, whether it asks for 3-D Secure."""


class Books:
    """What the gateway knows. Every method is one decision, written before it is told."""

    def __init__(self, now: Callable[[], datetime], path: Path | None = None) -> None:
        self.authorizations: dict[str, Authorization] = {}
        self._cards: dict[str, Plastic] = {}
        self._registered: dict[str, str | None] = {}
        self._forms: dict[str, Plastic] = {}
        self._now = now
        self._file: IO[bytes] | None = None
        if path is not None:
            self._take_up(path)

    @classmethod
    def read(cls, path: Path) -> Books | None:
        """What a file says, whether or not a gateway writes to it just now; None without one. Not to be changed."""
        if not path.exists():
            return None
        books = cls(_unchangeable)
        for text in _whole_lines(path.read_bytes()).splitlines():
            books._apply(msgspec.json.decode(text, type=Line))
        return books

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # -- cards --------------------------------------------------------------------------------------------------

    def fill_form(self, number: str, month: int, year: int) -> str:
        """The customer's side: a card number becomes a token that is good for one registration."""
        digits = number.replace(" ", "")
        if not _passes_luhn(digits):
            raise Declined("invalid_number")
        brand = next((name for prefix, name in BRANDS.items() if digits.startswith(prefix)), "other")
        plastic = _plastic(brand, digits[-4:], month=month, year=year)
        form_token = f"form_{secrets.token_hex(12)}"
        self._write(Line(do="form", id=form_token, at=self._now(), card=plastic))
        return form_token

    def register(self, registration_id: str, form_token: str, refuse: str | None = None) -> Plastic:
        """Keep a card for good; the same id again gives the same card."""
        if registration_id not in self._registered:
            plastic = None if refuse else self._plastic_of(form_token)
            line = Line(do="card", id=registration_id, at=self._now(), card=plastic, form_token=form_token)
            self._write(line)
        token = self._registered[registration_id]
        if token is None:
            raise Declined(refuse or "invalid_form_token")
        return self._cards[token]

    def registered(self, registration_id: str) -> Plastic | None:
        """The card of a registration; raises Declined when it was refused."""
        if registration_id not in self._registered:
            return None
        token = self._registered[registration_id]
        if token is None:
            raise Declined("invalid_form_token")
        return self._cards[token]

    def forget(self, registration_id: str) -> None:
        """Remove a card; nothing happens the second time."""
        token = self._registered.get(registration_id)
        if token is not None and not self._cards[token].removed:
            self._write(Line(do="forget", id=registration_id, at=self._now()))

    def _plastic_of(self, form_token: str) -> Plastic | None:
        magic = _MAGIC_CARDS.get(form_token)
        if magic is None:
            return self._forms.get(form_token)
        brand, always, challenges = magic
        return _plastic(brand, "4242", always=always, challenges=challenges)

    # -- authorizations -----------------------------------------------------------------------------------------

    def authorize(
        self,
        authorization_id: str,
        card_token: str,
        amount: int,
        currency: str,
        *,
        challengeable: bool = True,
        challenges: bool = False,
        refuse: str | None = None,
    ) -> Authorization:
        """Hold an amount; `challengeable` says that the customer can be sent to 3-D Secure."""
        known = self.authorizations.get(authorization_id)
        if known is None:
            card = self._cards.get(card_token)
            refuse = refuse or _refusal(card, amount, currency)
            challenges = refuse is None and (challenges or (card is not None and card.challenges))
            if challenges and not challengeable:
                challenges, refuse = False, "authentication_required"
            known = self._write_authorization(
                Line(
                    do="authorize",
                    id=authorization_id,
                    at=self._now(),
                    card_token=card_token,
                    amount=amount,
                    currency=currency,
                    challenges=challenges,
                    refuse=refuse,
                )
            )
        elif known.state == "voided" and not known.card_token:
            raise Declined("authorization_voided")
        elif (known.card_token, known.amount, known.currency) != (card_token, amount, currency):
            raise Declined("id_reused", 409)
        if known.state == "refused":
            raise Declined(known.code or "card_declined")
        return known

    def challenge(self, authorization_id: str, *, passed: bool) -> None:
        """The customer's side: prove who they are, or fail to."""
        known = self.authorizations.get(authorization_id)
        if known is None or known.challenge != "open":
            raise Declined("no_challenge", 404)
        self._write(Line(do="challenge", id=authorization_id, at=self._now(), passed=passed))

    def complete(self, authorization_id: str, operation_id: str, refuse: str | None = None) -> Authorization:
        """Take up an authorization after its challenge."""
        return self._operate("complete", authorization_id, operation_id, 0, True, refuse)

    def capture(
        self, authorization_id: str, operation_id: str, amount: int, *, final: bool, refuse: str | None = None
    ) -> Authorization:
        """Take (a part of) what is held."""
        return self._operate("capture", authorization_id, operation_id, amount, final, refuse)

    def refund(self, authorization_id: str, operation_id: str, amount: int, refuse: str | None = None) -> Authorization:
        """Give (a part of) what was captured back."""
        return self._operate("refund", authorization_id, operation_id, amount, True, refuse)

    def void(self, authorization_id: str, operation_id: str, refuse: str | None = None) -> Authorization:
        """Release what is held; an id that was never seen can never be authorized from now on."""
        if authorization_id not in self.authorizations and refuse is None:
            return self._write_authorization(
                Line(do="void", id=authorization_id, operation_id=operation_id, at=self._now())
            )
        return self._operate("void", authorization_id, operation_id, 0, True, refuse)

    def relapse(self, authorization_id: str) -> None:
        """Lose a release: the hold stands again, though the merchant was told that it does not."""
        if self.authorizations[authorization_id].state == "voided":
            self._write(Line(do="relapse", id=authorization_id, at=self._now()))

    def _operate(
        self, kind: Literal["complete", "capture", "void", "refund"], authorization_id: str, operation_id: str,
        amount: int, final: bool, refuse: str | None,
    ) -> Authorization:  # fmt: skip
        authorization = self.authorizations.get(authorization_id)
        if authorization is None:
            raise Declined("authorization_not_found", 404)
        known = authorization.operation(operation_id)
        if known is None:
            if kind == "complete" and authorization.challenge == "open" and authorization.state == "requires_action":
                raise Declined("action_pending", 409)
            refuse = refuse or _operation_refusal(authorization, kind, amount)
            self._write_authorization(
                Line(
                    do=kind,
                    id=authorization_id,
                    operation_id=operation_id,
                    at=self._now(),
                    amount=amount,
                    final=final,
                    refuse=refuse,
                )
            )
            known = authorization.operation(operation_id)
            assert known is not None
        elif (known.kind, known.amount, known.final) != (kind, amount, final):
            raise Declined("id_reused", 409)
        if known.code is not None:
            raise Declined(known.code)
        return authorization

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

    def _write(self, line: Line) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()
        self._apply(line)

    def _write_authorization(self, line: Line) -> Authorization:
        self._write(line)
        return self.authorizations[line.id]

    def _apply(self, line: Line) -> None:
        match line.do:
            case "form":
                assert line.card is not None
                self._forms[line.id] = line.card
            case "card":
                self._forms.pop(line.form_token, None)
                self._registered[line.id] = line.card and line.card.card_token
                if line.card is not None:
                    self._cards[line.card.card_token] = line.card
            case "forget":
                token = self._registered[line.id]
                assert token is not None
                self._cards[token] = msgspec.structs.replace(self._cards[token], removed=True)
            case "authorize":
                self.authorizations[line.id] = _authorized(line)
            case "challenge":
                self.authorizations[line.id].challenge = "passed" if line.passed else "failed"
            case "void" if line.id not in self.authorizations:
                self.authorizations[line.id] = Authorization(
                    id=line.id, state="voided", card_token="", amount=0, currency="", at=line.at
                )
                _operated(self.authorizations[line.id], line)
            case "relapse":
                self.authorizations[line.id].state = "authorized"
            case "complete" | "capture" | "void" | "refund":
                _operated(self.authorizations[line.id], line)


def _whole_lines(data: bytes) -> bytes:
    """A line that a crash cut short was never told."""
    return data[: data.rfind(b"\n") + 1]


def _unchangeable() -> datetime:
    raise AssertionError("books that are only read")


# -- rules ------------------------------------------------------------------------------------------------------


def _refusal(card: Plastic | None, amount: int, currency: str) -> str | None:
    if card is None or card.removed:
        return "unknown_card"
    if currency != "JPY" or not 0 < amount <= AMOUNT_MAX:
        return "invalid_amount"
    return card.always


def _operation_refusal(authorization: Authorization, kind: str, amount: int) -> str | None:
    held = authorization.amount - authorization.captured
    match kind, authorization.state:
        case "complete", "requires_action":
            return None if authorization.challenge == "passed" else "authentication_failed"
        case "complete", "authorized":
            return None
        case "capture", "authorized":
            return None if 0 < amount <= held else "capture_above_authorized"
        case "void", "authorized" | "requires_action" | "voided" | "refused":
            return None
        case "void", _:
            return "already_captured"
        case "refund", "authorized" | "captured":
            left = authorization.captured - authorization.refunded
            return None if 0 < amount <= left else "refund_above_captured"
        case _:
            return f"cannot_{kind}"


def _authorized(line: Line) -> Authorization:
    state = "refused" if line.refuse else "requires_action" if line.challenges else "authorized"
    return Authorization(
        id=line.id,
        state=state,
        card_token=line.card_token,
        amount=line.amount,
        currency=line.currency,
        code=line.refuse,
        challenge="open" if line.challenges else None,
        at=line.at,
    )


def _operated(authorization: Authorization, line: Line) -> None:
    assert line.do in ("complete", "capture", "void", "refund")
    authorization.operations.append(
        Operation(
            id=line.operation_id, kind=line.do, amount=line.amount, final=line.final, code=line.refuse, at=line.at
        )
    )
    match line.do:
        case "complete" if line.refuse is None:
            authorization.state = "authorized"
        case "complete" if authorization.state == "requires_action":
            authorization.state, authorization.code = "refused", line.refuse
        case _ if line.refuse is not None:
            return
        case "capture":
            authorization.captured += line.amount
            if line.final or authorization.captured == authorization.amount:
                authorization.state = "captured"
        case "refund":
            authorization.refunded += line.amount
        case "void" if authorization.state != "refused":
            authorization.state = "captured" if authorization.captured else "voided"
        case _:
            return


def _plastic(
    brand: str, last_four: str, *, month: int = 12, year: int = 2039, always: str | None = None,
    challenges: bool = False,
) -> Plastic:  # fmt: skip
    return Plastic(
        card_token=f"ctk_{secrets.token_hex(16)}",
        brand=brand,
        last_four=last_four,
        expiry_month=month,
        expiry_year=year,
        always=always,
        challenges=challenges,
    )


def _passes_luhn(digits: str) -> bool:
    if not digits.isdecimal() or not 12 <= len(digits) <= 19:
        return False
    doubled = [int(digit) * (2 if index % 2 else 1) for index, digit in enumerate(reversed(digits))]
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0
