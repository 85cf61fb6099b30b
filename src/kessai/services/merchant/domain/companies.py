"""Numbers of companies. Pure.

法人番号 (法人番号の指定等に関する省令 第2条): the first of the 13 digits is 9 less the remainder by 9 of the sum of the
other twelve, of which every second one, beginning with the second from the right, counts twice.
"""

from __future__ import annotations

from kessai.foundation.errors import Invalid, Refused
from kessai.services.merchant.api import CompanyProfile


def check_digit(twelve: str) -> int:
    """The digit that goes before twelve digits."""
    weighed = sum(int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(twelve)))
    return 9 - weighed % 9


def require_numbers(profile: CompanyProfile) -> None:
    """Raises `corporate_number_wrong`, `registration_number_differs`."""
    number = profile.corporate_number
    if number is None:
        return
    if int(number[0]) != check_digit(number[1:]):
        raise Invalid("corporate_number_wrong", "The corporate number's check digit is wrong.", field="$.profile")
    if profile.registration_number not in (None, f"T{number}"):
        raise Refused(
            "registration_number_differs", "The registration number of a corporation is T and its corporate number."
        )
