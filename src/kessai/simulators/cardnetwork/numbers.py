"""Card numbers: made from a card's place in the books and a key, so that no file needs to hold them."""

from __future__ import annotations

from typing import Final, Literal

from kessai.sdk.iso8583 import check_digit

CARD_BIN: Final = "999000"
DEVICE_BIN: Final = "999001"
_SPAN: Final = 10**9
_STEP: Final = 387_420_489
"""3¹⁸, which has no factor in common with a power of ten: each place has a number of its own."""
_KEY_STEP: Final = 612_220_032


def number_of(place: int, *, seed: int, of: Literal["card", "device"] = "card") -> str:
    """The PAN (or Device-PAN) of a place: 16 digits that pass Luhn."""
    middle = (place * _STEP + (seed + 1) * _KEY_STEP) % _SPAN
    digits = f"{CARD_BIN if of == 'card' else DEVICE_BIN}{middle:09d}"
    return digits + check_digit(digits)


def reference_of(place: int) -> str:
    """A card's reference."""
    return f"c{place:015d}"
