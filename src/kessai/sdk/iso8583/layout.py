"""Which fields there are, what each may hold, and which of them a type of message has.

The wire is ISO 8583:1987 as ASCII: four digits of type, one or two bitmaps of eight bytes (the second when a field
above 64 is there, and only then), then the fields in the order of their numbers; LLVAR fields begin with two digits of
length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kessai.sdk.iso8583.message import Mti, Network, Original
from kessai.sdk.iso8583.numbers import Pan

MESSAGE_BYTES_MAX: Final = 512
"""More than the longest message has."""
MTI_BYTES: Final = 4
BITMAP_BYTES: Final = 8
LAST_FIELD: Final = 192
"""The last that any bitmap can name."""

_MMDD: Final = (
    r"(?:(?:0[13578]|1[02])(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)(?:0[1-9]|[12][0-9]|30)|02(?:0[1-9]|[12][0-9]))"
)
_HHMMSS: Final = r"(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]"
_TEXT: Final = r"(?=.*[!-~])[ -~]"


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name in a Message, its length on the wire (LLVAR: at most), and what it may hold."""

    number: int
    name: str
    length: int
    accepts: Callable[[str], re.Match[str] | None]
    read: Callable[[str], Any] | None
    """From the wire; None: as it is."""
    written: Callable[[Any], str] | None
    """Onto the wire; None: as it is."""
    variable: bool

    @property
    def bit(self) -> int:
        """Its place in a bitmap of 128 bits."""
        return bit(self.number)


def bit(number: int) -> int:
    """A field's place in a bitmap of 128 bits."""
    return 1 << (128 - number)


def _field(
    number: int,
    name: str,
    length: int,
    pattern: str,
    *,
    read: Callable[[str], Any] | None = None,
    written: Callable[[Any], str] | None = None,
    variable: bool = False,
) -> Field:
    return Field(number, name, length, re.compile(pattern).fullmatch, read, written, variable)


def _text(number: int, name: str, length: int) -> Field:
    """Left-justified, filled with spaces, not blank."""

    def written(text: str) -> str:
        return text.ljust(length)

    return _field(number, name, length, _TEXT + f"{{{length}}}", read=str.rstrip, written=written)


def _digits_of(pan: Pan) -> str:
    return pan.digits


def _twelve_digits(amount: int) -> str:
    return f"{amount:012d}"


def _read_original(text: str) -> Original:
    return Original(
        mti=Mti(text[:4]), stan=text[4:10], transmitted=text[10:20], acquirer=text[20:31], forwarder=text[31:]
    )


def _write_original(original: Original) -> str:
    acquirer, forwarder = original.acquirer.rjust(11, "0"), original.forwarder.rjust(11, "0")
    return f"{original.mti.value}{original.stan}{original.transmitted}{acquirer}{forwarder}"


def _read_replacement(text: str) -> int:
    return int(text[:12])


def _write_replacement(amount: int) -> str:
    return f"{amount:012d}{'0' * 30}"


FIELDS: Final = (
    _field(2, "pan", 19, "[0-9]{12,19}", read=Pan, written=_digits_of, variable=True),
    _field(3, "processing_code", 6, "[0-9]{6}"),
    _field(4, "amount", 12, "[0-9]{12}", read=int, written=_twelve_digits),
    _field(7, "transmitted", 10, _MMDD + _HHMMSS),
    _field(11, "stan", 6, "[0-9]{6}"),
    _field(12, "local_time", 6, _HHMMSS),
    _field(13, "local_date", 4, _MMDD),
    _field(14, "expiry", 4, "[0-9]{2}(?:0[1-9]|1[0-2])"),
    _field(15, "settlement_date", 4, _MMDD),
    _field(18, "mcc", 4, "[0-9]{4}"),
    _field(22, "entry_mode", 3, "[0-9]{3}"),
    _field(25, "condition", 2, "[0-9]{2}"),
    _field(32, "acquirer", 11, "[0-9]{1,11}", variable=True),
    _field(37, "rrn", 12, "[0-9A-Za-z]{12}"),
    _field(38, "approval_code", 6, "[0-9A-Za-z]{6}"),
    _field(39, "response", 2, "[0-9A-Z]{2}"),
    _text(41, "terminal", 8),
    _text(42, "merchant", 15),
    _field(43, "place", 40, "[ -~]{38}[A-Z]{2}"),
    _field(49, "currency", 3, "[0-9]{3}"),
    _field(70, "network", 3, "|".join(each.value for each in Network), read=Network, written=str),
    _field(
        90,
        "original",
        42,
        f"(?:0100|0120)[0-9]{{6}}{_MMDD}{_HHMMSS}[0-9]{{22}}",
        read=_read_original,
        written=_write_original,
    ),
    _field(95, "replacement_amount", 42, "[0-9]{12}0{30}", read=_read_replacement, written=_write_replacement),
)
"""Every field that is spoken here."""
BY_NUMBER: Final = {each.number: each for each in FIELDS}


@dataclass(frozen=True, slots=True)
class Profile:
    """Which fields a type of message has."""

    required: frozenset[int]
    allowed: frozenset[int]

    @property
    def required_bits(self) -> int:
        """Those it needs, as a bitmap."""
        return sum(map(bit, self.required))

    @property
    def allowed_bits(self) -> int:
        """All it may have, as a bitmap; the first bit, which announces a second bitmap, is no field."""
        return sum(map(bit, self.allowed))


def _profile(required: set[int], optional: set[int]) -> Profile:
    return Profile(frozenset(required), frozenset(required | optional))


_AUTHORIZATION: Final = {2, 3, 4, 7, 11, 12, 13, 14, 18, 22, 25, 32, 37, 41, 42, 43, 49}
_REVERSAL: Final = _profile({2, 3, 4, 7, 11, 32, 37, 41, 42, 49, 90}, {12, 13, 14, 15, 18, 22, 25, 38, 39, 43, 95})
_ANSWERED: Final = {3, 4, 7, 11, 32, 37, 39, 41, 49}
_ANSWER: Final = _profile(_ANSWERED, {12, 13, 15, 38, 42})
_REVERSAL_ANSWER: Final = _profile(_ANSWERED, {12, 13, 15, 42})

PROFILES: Final[Mapping[Mti, Profile]] = {
    Mti.AUTHORIZATION: _profile(_AUTHORIZATION, {15}),
    Mti.AUTHORIZATION_ANSWER: _ANSWER,
    Mti.ADVICE: _profile(_AUTHORIZATION - {14}, {14, 15, 38, 39}),
    Mti.ADVICE_ANSWER: _ANSWER,
    Mti.REVERSAL: _REVERSAL,
    Mti.REVERSAL_REPEAT: _REVERSAL,
    Mti.REVERSAL_ANSWER: _REVERSAL_ANSWER,
    Mti.REVERSAL_ADVICE: _REVERSAL,
    Mti.REVERSAL_ADVICE_REPEAT: _REVERSAL,
    Mti.REVERSAL_ADVICE_ANSWER: _REVERSAL_ANSWER,
    Mti.NETWORK: _profile({7, 11, 70}, set()),
    Mti.NETWORK_ANSWER: _profile({7, 11, 39, 70}, set()),
}
"""The fields of each type of message."""
UNREADABLE_REQUIRED: Final = frozenset((7, 11, 39))
"""What an answer to a message that cannot be read (39 is 30) needs; others are echoed as far as they were read."""


def _spec_of(number: int) -> dict[str, Any]:
    field = BY_NUMBER.get(number)
    return {
        "data_enc": "ascii",
        "len_enc": "ascii",
        "len_type": 2 if field is not None and field.variable else 0,
        # a field that is not spoken here is longer than any message, so that nothing is read beyond it
        "max_len": MESSAGE_BYTES_MAX + 1 if field is None else field.length,
        "desc": "" if field is None else field.name,
    }


_BITMAP: Final = {"data_enc": "b", "len_enc": "ascii", "len_type": 0, "max_len": BITMAP_BYTES, "desc": "bitmap"}
SPEC: Final[Mapping[str, Mapping[str, Any]]] = {
    "h": {"data_enc": "ascii", "len_enc": "ascii", "len_type": 0, "max_len": 0, "desc": "no header"},
    "t": {"data_enc": "ascii", "len_enc": "ascii", "len_type": 0, "max_len": MTI_BYTES, "desc": "type"},
    "p": _BITMAP,
    "1": _BITMAP,
    **{str(number): _spec_of(number) for number in range(2, LAST_FIELD + 1)},
}
"""The layout as pyiso8583 has it."""
