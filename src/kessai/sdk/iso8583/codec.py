"""Bytes to messages and back. Both ways every field is checked, so that what was written can be read.

pyiso8583 takes the bytes apart; what it lets pass (letters in an amount, a field that this message has not, a
31 February, a length such as `+9`) is refused here. What can be read is written again byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import iso8583

from kessai.sdk.iso8583.layout import (
    BITMAP_BYTES,
    BY_NUMBER,
    FIELDS,
    MESSAGE_BYTES_MAX,
    MTI_BYTES,
    PROFILES,
    SPEC,
    UNREADABLE_REQUIRED,
    bit,
)
from kessai.sdk.iso8583.message import ANSWERS, Message, Mti, Response
from kessai.sdk.iso8583.refusals import FormatError

_MTIS: Final = {each.value.encode(): each for each in Mti}
_BITS: Final = {mti: (each.required_bits, each.allowed_bits) for mti, each in PROFILES.items()}
_UNREADABLE_BITS: Final = sum(map(bit, UNREADABLE_REQUIRED))
_ANSWER_TYPES: Final = frozenset(ANSWERS.values())
_SECOND: Final = bit(1)
_SECOND_FIELDS: Final = (1 << 64) - 1
_ECHOED: Final = tuple(BY_NUMBER[number] for number in (3, 4, 7, 11, 32, 37, 41, 49, 70))
_FROM_WIRE: Final[tuple[tuple[int, str, str, Callable[[str], object], Callable[[str], Any] | None, bool], ...]] = tuple(
    (each.bit, str(each.number), each.name, each.accepts, each.read, each.variable) for each in FIELDS
)
_ONTO_WIRE: Final = tuple((each.bit, str(each.number), each.name, each.accepts, each.written) for each in FIELDS)


def decode(data: bytes) -> Message:
    """A message from its bytes, without the length before them; raises FormatError, and nothing else."""
    mti, bits = _head(data)
    decoded, encoded = _taken_apart(data)
    fields: dict[str, Any] = {}
    for place, number, name, accepts, read, variable in _FROM_WIRE:
        if bits & place:
            value = decoded[number]
            if variable and not encoded[number]["len"].isdigit():
                raise FormatError(int(number), "field_length")
            if accepts(value) is None:
                raise FormatError(int(number), "field_content")
            fields[name] = value if read is None else read(value)
    message = Message(mti=mti, **fields)
    _require_whole(message, bits)
    return message


def _head(data: bytes) -> tuple[Mti, int]:
    """The type, and the fields as bits; nothing but these may be there."""
    if not MTI_BYTES + BITMAP_BYTES <= len(data) <= MESSAGE_BYTES_MAX:
        raise FormatError(None, "message_length")
    mti = _MTIS.get(bytes(data[:MTI_BYTES]))
    if mti is None:
        raise FormatError(0, "mti_unknown")
    bits = int.from_bytes(data[MTI_BYTES : MTI_BYTES + BITMAP_BYTES]) << 64
    if bits & _SECOND:
        second = data[MTI_BYTES + BITMAP_BYTES : MTI_BYTES + 2 * BITMAP_BYTES]
        bits |= int.from_bytes(second)
        if len(second) != BITMAP_BYTES or not bits & _SECOND_FIELDS:
            raise FormatError(1, "bitmap")
    if unknown := bits & ~_SECOND & ~_BITS[mti][1]:
        raise FormatError(129 - unknown.bit_length(), "field_not_allowed")
    return mti, bits


def _taken_apart(data: bytes) -> tuple[dict[str, str], dict[str, dict[str, bytes]]]:
    """The fields' texts. The library's error holds the whole message, so it is let go of before ours is raised."""
    try:
        return iso8583.decode(data, SPEC)
    except iso8583.DecodeError as error:
        number = int(error.field) if error.field.isdigit() else 0
        code = "trailing_bytes" if error.msg.startswith("Extra data") else _code_of(error.msg)
    raise FormatError(None if code == "trailing_bytes" else number, code)


def _code_of(words: str) -> str:
    return "field_content" if words == "Failed to decode field, invalid data" else "field_length"


def _require_whole(message: Message, bits: int) -> None:
    """What no field can say by itself."""
    answers, response = message.mti in _ANSWER_TYPES, message.response
    required = _BITS[message.mti][0]
    if answers and response == Response.FORMAT_ERROR:
        required = _UNREADABLE_BITS
    elif message.mti is Mti.AUTHORIZATION_ANSWER and response == Response.APPROVED:
        required |= bit(38)
    if missing := required & ~bits:
        raise FormatError(129 - missing.bit_length(), "field_missing")
    stands = message.replacement_amount
    if stands is not None and message.amount is not None and stands >= message.amount:
        raise FormatError(95, "replacement_not_below_amount")


def encode(message: Message) -> bytes:
    """A message's bytes, without a length before them; raises FormatError."""
    document: dict[str, str] = {"t": message.mti.value}
    bits = 0
    for place, number, name, accepts, written in _ONTO_WIRE:
        value = getattr(message, name)
        if value is not None:
            text = value if written is None else written(value)
            if accepts(text) is None:
                raise FormatError(int(number), "field_content")
            document[number] = text
            bits |= place
    if unknown := bits & ~_BITS[message.mti][1]:
        raise FormatError(129 - unknown.bit_length(), "field_not_allowed")
    _require_whole(message, bits)
    return bytes(iso8583.encode(document, SPEC)[0])


def refuse(data: bytes) -> bytes | None:
    """The answer 30 to a request that `decode` refuses; None when it is no request, or nobody would know it as theirs.

    It echoes what could be read and is right, fields 7 and 11 at least, and never the PAN.
    """
    mti = _MTIS.get(bytes(data[:MTI_BYTES]))
    answer = None if mti is None else ANSWERS.get(mti)
    if answer is None or len(data) > MESSAGE_BYTES_MAX:
        return None
    read, allowed = _readable(data), PROFILES[answer].allowed
    echoed = {str(each.number): text for each in _ECHOED if each.accepts(text := read.get(str(each.number), ""))}
    if "7" not in echoed or "11" not in echoed:
        return None
    echoed = {number: text for number, text in echoed.items() if int(number) in allowed}
    document = {"t": answer.value, "39": Response.FORMAT_ERROR.value, **echoed}
    return bytes(iso8583.encode(document, SPEC)[0])


def _readable(data: bytes) -> dict[str, str]:
    """The fields' texts up to the first that cannot be had."""
    try:
        return iso8583.decode(data, SPEC)[0]
    except iso8583.DecodeError as error:
        return error.doc_dec
