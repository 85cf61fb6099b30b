"""Card numbers: held so that they are not shown by accident."""

from __future__ import annotations

import re
from typing import Final, final

PAN_DIGITS_MIN: Final = 12
PAN_DIGITS_MAX: Final = 19
SHOWN_DIGITS: Final = 4
_PAN: Final = re.compile(r"[0-9]{12,19}")
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


@final
class Pan:
    """A card's number. Its digits are had by `digits` alone: as text it is masked, and JSON refuses it."""

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        """Raises ValueError, without the digits, unless there are 12 to 19."""
        if not _PAN.fullmatch(digits):
            raise ValueError("not a card number")
        self.digits = digits
        """The whole number."""

    @property
    def last4(self) -> str:
        """What may be shown of it."""
        return self.digits[-SHOWN_DIGITS:]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pan) and self.digits == other.digits

    def __hash__(self) -> int:
        return hash(self.digits)

    def __str__(self) -> str:
        return mask(self.digits)

    __repr__ = __str__


def mask(pan: str) -> str:
    """A card number as it may be shown: its last four digits, an asterisk for each other; nothing of a short one.

    >>> mask("4111111111111111")
    '************1111'
    """
    if len(pan) < PAN_DIGITS_MIN:
        return "*" * PAN_DIGITS_MIN
    return "*" * (len(pan) - SHOWN_DIGITS) + pan[-SHOWN_DIGITS:]


def check_digit(digits: str) -> str:
    """The digit that makes a number right when it is put behind it (ISO/IEC 7812-1, Luhn)."""
    return str(-_luhn_sum(digits, doubled_from_right=0) % 10)


def passes_luhn(pan: str) -> bool:
    """Whether its last digit is the check digit of the others; False for what is not digits."""
    return bool(_PAN.fullmatch(pan)) and _luhn_sum(pan, doubled_from_right=1) % 10 == 0


def _luhn_sum(digits: str, *, doubled_from_right: int) -> int:
    values = [int(each) for each in reversed(digits)]
    doubled = sum(_DOUBLED[each] for each in values[doubled_from_right::2])
    return doubled + sum(values[1 - doubled_from_right :: 2])
