"""One-time codes: how their digits are made up, what may still be done with one, and how guessing is limited."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kessai.foundation.errors import Invalid, NotFound, PaymentError, Refused
from kessai.services.payment.api import FundingSource, PointsUse
from kessai.services.payment.api.codes import CodeState
from kessai.services.payment.domain.checkout import CodeTerms
from kessai.services.payment.domain.funding import Asked, plan_funding
from kessai.services.payment.domain.kinds import PaymentKind

CONTENT_HEAD = "KESSAI:"
"""Before the digits in a QR, so that a reader knows whose they are."""

_BETWEEN = re.compile(r"[ -]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """An issued code; its digits are known to nobody but the customer."""

    code_id: str
    customer_id: str
    sources: Sequence[FundingSource]
    points: PointsUse
    return_url: str | None
    caller: str
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    payment_id: str | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> CodeState:
        """Where it stands."""
        if self.used_at is not None:
            return CodeState.USED
        if self.revoked_at is not None:
            return CodeState.REVOKED
        return CodeState.EXPIRED if self.expires_at <= now else CodeState.ISSUED


# -- digits ---------------------------------------------------------------------------------------------------------


def check_digit(digits: str) -> str:
    """The digit that makes them right (Luhn: ISO/IEC 7812-1, annex B); finds any one digit that was read wrong."""
    doubled = (int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def random_below(terms: CodeTerms) -> int:
    """How many codes there are."""
    return 10**terms.random_digits


def digits_of(random: int, terms: CodeTerms) -> str:
    """The code of a random number below `random_below`."""
    body = f"{terms.prefix}{random:0{terms.random_digits}}"
    return body + check_digit(body)


def content_of(digits: str) -> str:
    """What a QR of a code holds."""
    return CONTENT_HEAD + digits


def digits_in(shown: str, terms: CodeTerms) -> str:
    """The digits of what was scanned or typed; raises Invalid `code_malformed`, which tells nothing of any code."""
    digits = _BETWEEN.sub("", shown.removeprefix(CONTENT_HEAD))
    length = len(terms.prefix) + terms.random_digits + 1
    whole = len(digits) == length and digits.isascii() and digits.isdigit() and digits.startswith(terms.prefix)
    if not whole or check_digit(digits[:-1]) != digits[-1]:
        raise Invalid("code_malformed", "That is no code of ours, or it was not read right.")
    return digits


# -- what may be done -----------------------------------------------------------------------------------------------


def check_preference(asked: Asked, kind: PaymentKind) -> None:
    """Raises what is wrong with a customer's sources whatever the amount will be."""
    try:
        plan_funding(kind.amount_minor_max, asked, kind)
    except PaymentError as error:
        if error.code != "sources_below_amount":
            raise


def check_attempts(failures: int, until: datetime, terms: CodeTerms) -> None:
    """Raises `too_many_attempts`."""
    if failures >= terms.failures_max:
        raise Refused(
            "too_many_attempts", f"{failures} unknown codes; no further one is looked at for now.", until=until
        )


def usable(code: Code | None, now: datetime) -> Code:
    """The code, if it may be used; raises `code_unknown`, `code_used`, `code_revoked`, `code_expired`."""
    if code is None:
        raise NotFound("code_unknown", "There is no such code.")
    match code.state(now):
        case CodeState.ISSUED:
            return code
        case CodeState.USED:
            raise used(code)
        case CodeState.REVOKED:
            raise Refused("code_revoked", "The customer has a newer code.", code_id=code.code_id)
        case CodeState.EXPIRED:
            raise Refused("code_expired", "The code's time is over.", code_id=code.code_id)


def used(code: Code) -> Refused:
    """What is said of a code that was used."""
    return Refused("code_used", "The code was used.", code_id=code.code_id)


def window_of(now: datetime, terms: CodeTerms) -> tuple[datetime, datetime]:
    """The window in which failures are counted: its beginning and its end."""
    seconds = terms.failures_window_minutes * 60
    begin = datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)
    return begin, begin + timedelta(seconds=seconds)
