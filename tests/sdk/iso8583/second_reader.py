"""A reader of ISO 8583 that shares nothing with ours: bits are counted one by one, fields are cut off the front.

Written from the list of fields alone: number, length (LL: two digits of length before it), what it holds.
"""

from __future__ import annotations

from datetime import date

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
FIELDS = {
    2: ("LL", 19),
    3: ("n", 6),
    4: ("n", 12),
    7: ("MMDDhhmmss", 10),
    11: ("n", 6),
    12: ("hhmmss", 6),
    13: ("MMDD", 4),
    14: ("YYMM", 4),
    15: ("MMDD", 4),
    18: ("n", 4),
    22: ("n", 3),
    25: ("n", 2),
    32: ("LL", 11),
    37: ("an", 12),
    38: ("an", 6),
    39: ("AN", 2),
    41: ("text", 8),
    42: ("text", 15),
    43: ("place", 40),
    49: ("n", 3),
    70: ("network", 3),
    90: ("original", 42),
    95: ("replacement", 42),
}
PURCHASE = "2 3 4 7 11 12 13 14 18 22 25 32 37 41 42 43 49"
ANSWER = "3 4 7 11 32 37 39 41 49"
TAKEN_BACK = "2 3 4 7 11 32 37 41 42 49 90"
MAY_TAKE_BACK = "12 13 14 15 18 22 25 38 39 43 95"
TYPES = {
    "0100": (PURCHASE, "15"),
    "0110": (ANSWER, "12 13 15 38 42"),
    "0120": (PURCHASE.replace(" 14", ""), "14 15 38 39"),
    "0130": (ANSWER, "12 13 15 38 42"),
    "0400": (TAKEN_BACK, MAY_TAKE_BACK),
    "0401": (TAKEN_BACK, MAY_TAKE_BACK),
    "0410": (ANSWER, "12 13 15 42"),
    "0420": (TAKEN_BACK, MAY_TAKE_BACK),
    "0421": (TAKEN_BACK, MAY_TAKE_BACK),
    "0430": (ANSWER, "12 13 15 42"),
    "0800": ("7 11 70", ""),
    "0810": ("7 11 39 70", ""),
}


class NotAMessage(Exception):
    """It is not one."""


def require(condition: bool) -> None:
    if not condition:
        raise NotAMessage


def read(data: bytes) -> dict[int, str]:
    """The fields as they stand, and the type as field 0; raises NotAMessage."""
    require(len(data) <= 512)
    mti = "".join(map(chr, data[:4]))
    require(mti in TYPES and len(data) >= 12)
    numbers, rest = _bitmap(data[4:12], 0), data[12:]
    if 1 in numbers:
        require(len(rest) >= 8)
        second = _bitmap(rest[:8], 64)
        require(bool(second))
        numbers, rest = [*numbers[1:], *second], rest[8:]
    found: dict[int, str] = {0: mti}
    for number in numbers:
        require(number in FIELDS)
        kind, length = FIELDS[number]
        if kind == "LL":
            require(len(rest) >= 2 and all(chr(each) in DIGITS for each in rest[:2]))
            length, rest = int(rest[:2]), rest[2:]
        require(len(rest) >= length and all(0x20 <= each <= 0x7E for each in rest[:length]))
        found[number], rest = "".join(map(chr, rest[:length])), rest[length:]
        require(_holds(number, kind, found[number]))
    require(not rest)
    _whole(found)
    return found


def _bitmap(octets: bytes, before: int) -> list[int]:
    bits = "".join(f"{each:08b}" for each in octets)
    return [before + place for place, each in enumerate(bits, 1) if each == "1"]


def _holds(number: int, kind: str, text: str) -> bool:
    digits = all(each in DIGITS for each in text)
    match kind:
        case "LL":
            return digits and (12 <= len(text) <= 19 if number == 2 else 1 <= len(text) <= 11)
        case "n":
            return digits
        case "an":
            return all(each in DIGITS + LETTERS + LETTERS.lower() for each in text)
        case "AN":
            return all(each in DIGITS + LETTERS for each in text)
        case "text":
            return text.strip(" ") != ""
        case "place":
            return text[38] in LETTERS and text[39] in LETTERS
        case "network":
            return text in ("001", "002", "301")
        case "replacement":
            return digits and int(text[12:]) == 0
        case "original":
            return digits and text[:4] in ("0100", "0120") and _time("MMDDhhmmss", text[10:20])
        case _:
            return digits and _time(kind, text)


def _time(kind: str, text: str) -> bool:
    parts = {kind[at : at + 2]: int(text[at : at + 2]) for at in range(0, len(kind), 2)}
    if kind == "YYMM":
        return 1 <= parts["MM"] <= 12
    try:
        date(2024, parts.get("MM", 1), parts.get("DD", 1))
    except ValueError:
        return False
    return parts.get("hh", 0) < 24 and parts.get("mm", 0) < 60 and parts.get("ss", 0) < 60


def _whole(found: dict[int, str]) -> None:
    needed, optional = ({int(each) for each in words.split()} for words in TYPES[found[0]])
    there = set(found) - {0}
    require(there <= needed | optional)
    if found[0][2] in "13" and found.get(39) == "30":
        needed = {7, 11, 39}
    elif found[0] == "0110" and found.get(39) == "00":
        needed = needed | {38}
    require(needed <= there)
    if 95 in found:
        require(int(found[95][:12]) < int(found[4]))
