"""Messages to try a reader with: right ones of every type, and right ones that were damaged. Drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from kessai.sdk.iso8583.codec import encode
from kessai.sdk.iso8583.layout import MESSAGE_BYTES_MAX, PROFILES
from kessai.sdk.iso8583.message import Message, Mti, Network, Original, Response, name_and_location
from kessai.sdk.iso8583.numbers import Pan, check_digit

DAMAGES_MAX: Final = 3
_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
_YEAR_BEGINS: Final = int(datetime(2028, 1, 1, tzinfo=UTC).timestamp())
_YEAR_S: Final = 366 * 86_400


def drawn(random: Random, mti: Mti | None = None) -> Message:
    """A right message, of one type or any."""
    mti = random.choice(tuple(Mti)) if mti is None else mti
    profile = PROFILES[mti]
    optional = sorted(profile.allowed - profile.required)
    numbers = profile.required | {each for each in optional if random.random() < 0.5}
    if mti in (Mti.AUTHORIZATION_ANSWER, Mti.ADVICE_ANSWER):
        numbers |= {38}
    return Message(mti=mti, **{name: draw(random) for number, (name, draw) in _DRAW.items() if number in numbers})


def damaged(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """A message with one to three things wrong with it (now and then with none that matters)."""
    for _ in range(random.randint(1, DAMAGES_MAX)):
        data = random.choice(_DAMAGES)(random, data, other)
    return data


def stream(seed: int) -> Callable[[], bytes]:
    """Gives one message after the other: most damaged, some right, some noise."""
    random = Random(seed)  # noqa: S311 (messages are drawn, not secrets)
    right = [encode(drawn(random, mti)) for mti in Mti for _ in range(50)]

    def following() -> bytes:
        chance = random.random()
        if chance < 0.02:
            return random.randbytes(random.randint(0, MESSAGE_BYTES_MAX + 2))
        data = random.choice(right)
        return data if chance < 0.07 else damaged(random, data, random.choice(right))

    return following


# -- fields -----------------------------------------------------------------------------------------------------


def _digits(length: int) -> Callable[[Random], str]:
    return lambda random: "".join(random.choices("0123456789", k=length))


def _letters(length: int) -> Callable[[Random], str]:
    return lambda random: "".join(random.choices(_LETTERS, k=length))


def _time(form: str) -> Callable[[Random], str]:
    def draw(random: Random) -> str:
        return datetime.fromtimestamp(_YEAR_BEGINS + random.randrange(_YEAR_S), UTC).strftime(form)

    return draw


def _pan(random: Random) -> Pan:
    digits = _digits(random.randint(11, 18))(random)
    return Pan(digits + check_digit(digits))


def _original(random: Random) -> Original:
    return Original(
        mti=random.choice((Mti.AUTHORIZATION, Mti.ADVICE)),
        stan=_digits(6)(random),
        transmitted=_time("%m%d%H%M%S")(random),
        acquirer=_digits(11)(random),
    )


_DRAW: Final[dict[int, tuple[str, Callable[[Random], Any]]]] = {
    2: ("pan", _pan),
    3: ("processing_code", lambda random: random.choice(("000000", "200000", "310000"))),
    4: ("amount", lambda random: random.randint(1_000, 999_999_999_999)),
    7: ("transmitted", _time("%m%d%H%M%S")),
    11: ("stan", _digits(6)),
    12: ("local_time", _time("%H%M%S")),
    13: ("local_date", _time("%m%d")),
    14: ("expiry", _time("%y%m")),
    15: ("settlement_date", _time("%m%d")),
    18: ("mcc", _digits(4)),
    22: ("entry_mode", lambda random: random.choice(("071", "810"))),
    25: ("condition", lambda random: random.choice(("00", "59"))),
    32: ("acquirer", lambda random: _digits(random.randint(1, 11))(random)),
    37: ("rrn", _letters(12)),
    38: ("approval_code", _letters(6)),
    39: ("response", lambda random: random.choice(tuple(Response)).value),
    41: ("terminal", lambda random: _letters(random.randint(1, 8))(random)),
    42: ("merchant", lambda random: _letters(random.randint(1, 15))(random)),
    43: ("place", lambda random: name_and_location(_letters(20)(random), _letters(9)(random), "JP")),
    49: ("currency", lambda random: random.choice(("392", "840"))),
    70: ("network", lambda random: random.choice(tuple(Network))),
    90: ("original", _original),
    95: ("replacement_amount", lambda random: random.randint(0, 999)),
}


# -- damage -----------------------------------------------------------------------------------------------------


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _other_byte(random: Random, data: bytes, _: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + random.randbytes(1) + data[at + 1 :]


def _other_character(random: Random, data: bytes, _: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + bytes((random.randrange(0x20, 0x7F),)) + data[at + 1 :]


def _other_bit(random: Random, data: bytes, _: bytes) -> bytes:
    """Of the bitmaps, more often than not."""
    at = min(random.randrange(4, 20), len(data) - 1)
    if at < 0:
        return data
    return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]


def _cut(random: Random, data: bytes, _: bytes) -> bytes:
    return data[: _place(random, data)]


def _left_out(random: Random, data: bytes, _: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + data[at + random.randint(1, 8) :]


def _put_in(random: Random, data: bytes, _: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + random.randbytes(random.randint(1, 8)) + data[at:]


def _doubled(random: Random, data: bytes, _: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + data[max(at - random.randint(1, 12), 0) :]


def _crossed(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(random, data)] + other[_place(random, other) :]


def _other_type(random: Random, data: bytes, _: bytes) -> bytes:
    return random.choice(tuple(Mti)).value.encode() + data[4:]


_DAMAGES: Final = (
    _other_byte,
    _other_character,
    _other_bit,
    _cut,
    _left_out,
    _put_in,
    _doubled,
    _crossed,
    _other_type,
)
