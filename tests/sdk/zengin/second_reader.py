"""A second reader of the format, written from the published tables alone; nothing of ours is imported.

The tables are text as in a bank's booklet. Bytes become letters by the code chart of JIS X 0201, rows are cut first,
and every field is then looked up by its columns.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import jpholiday

HEADER = """
1 = 1
2-3 kind
4 = 0
5-14 N client_code
15-54 C* client_name
55-58 N day
59-62 N bank_code
63-77 C bank_name
78-80 N branch_code
81-95 C branch_name
96 of 129 deposit_type
97-103 N account_number
104-120 blank
"""
PLACE = """
1 = 2
2-5 N bank_code
6-20 C bank_name
21-23 N branch_code
24-38 C branch_name
"""
HOLDER = """
44-50 N account_number
51-80 C* name
81-90 N+ amount
91 of 012 new_code
"""
TRANSFER = f"""{PLACE}
39-42 = 0000
43 of 1249 deposit_type
{HOLDER}
92-101 N customer_code_1
102-111 N customer_code_2
112 of 78 delivery
113 of _ flag
114-120 blank
"""
TRANSFER_EDI = f"""{PLACE}
39-42 = 0000
43 of 1249 deposit_type
{HOLDER}
92-111 C edi
112 of 78 delivery
113 of Y flag
114-120 blank
"""
DEBIT = f"""{PLACE}
39-42 blank
43 of 1239 deposit_type
{HOLDER}
92-101 N customer_code_1
102-111 N customer_code_2
112 of 0123489 result
113-120 blank
"""
TRANSFER_TRAILER = """
1 = 8
2-7 N count
8-19 N total
20-120 blank
"""
DEBIT_TRAILER = """
1 = 8
2-7 N count
8-19 N total
20-25 N settled_count
26-37 N settled_total
38-43 N failed_count
44-55 N failed_total
56-120 blank
"""
END = """
1 = 9
2-120 blank
"""
KANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン"
LETTERS = (
    {0xB1 + n: chr(0xFF71 + n) for n in range(len(KANA))}
    | {0xDE: "\uff9e", 0xDF: "\uff9f"}
    | {ord(each): each for each in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ()-."}
)
DIGITS = set(range(0x30, 0x3A))


class Wrong(Exception):
    """The file is not right; which row, and which column."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__(row, column)
        self.row, self.column = row, column


@dataclass
class Book:
    """What was read: each row as words by the names of its fields."""

    header: dict[str, str]
    rows: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    trailer: dict[str, str] = field(default_factory=dict[str, str])
    day: dt.date = dt.date.min


def read(data: bytes, near: dt.date) -> Book:
    """The file, or Wrong."""
    rows = cut(data)
    kind = rows[0][1:3] if rows else b""
    if not rows or kind not in (b"21", b"91"):
        raise Wrong(1, 2)
    header = look(HEADER, rows[0], 1)
    book = Book(header, day=open_day(header["day"], near))
    at = 1
    while at < len(rows) and rows[at][:1] == b"2":
        table = DEBIT if kind == b"91" else TRANSFER_EDI if rows[at][112:113] == b"Y" else TRANSFER
        book.rows.append(look(table, rows[at], at + 1))
        at += 1
    if at >= len(rows):
        raise Wrong(at + 1, 1)
    book.trailer = look(TRANSFER_TRAILER if kind == b"21" else DEBIT_TRAILER, rows[at], at + 1)
    if not book.rows or not adds_up(book):
        raise Wrong(at + 1, 2)
    if at + 1 >= len(rows):
        raise Wrong(at + 2, 1)
    look(END, rows[at + 1], at + 2)
    if len(rows) > at + 2:
        raise Wrong(at + 3, 1)
    return book


def cut(data: bytes) -> list[bytes]:
    """Rows; one that is not 120 bytes long is left as it is, for whoever looks at it."""
    if data[120:122] == b"\r\n":
        rows = data.split(b"\r\n")
        return rows[:-1] if rows[-1] == b"" else [*rows[:-1], rows[-1] + b"\0"]
    return [data[at : at + 120] for at in range(0, len(data), 120)]


def look(table: str, row: bytes, number: int) -> dict[str, str]:
    """The row by a table's columns."""
    if len(row) != 120:
        raise Wrong(number, min(len(row), 120) + 1)
    found: dict[str, str] = {}
    for columns, rule, *words in (line.split() for line in table.splitlines() if line.strip()):
        first, _, last = columns.partition("-")
        part, column = row[int(first) - 1 : int(last or first)], int(first)
        name = words[-1] if words else rule
        if rule in ("N", "N+"):
            found[name] = digits(part, number, column, positive=rule == "N+")
        elif rule in ("C", "C*"):
            found[name] = letters(part, number, column, needed=rule == "C*")
        elif rule == "of":
            found[name] = one_of(part, words[0].replace("_", " "), number, column)
        elif rule == "=":
            constant(part, words[0].encode(), number, column)
        elif rule == "blank":
            constant(part, b" " * len(part), number, column)
        else:
            found[name] = part.decode("ascii")
    return found


def digits(part: bytes, number: int, column: int, *, positive: bool) -> str:
    """N: digits alone."""
    for place, byte in enumerate(part):
        if byte not in DIGITS:
            raise Wrong(number, column + place)
    text = part.decode("ascii")
    if positive and int(text) == 0:
        raise Wrong(number, column)
    return text


def letters(part: bytes, number: int, column: int, *, needed: bool) -> str:
    """C: letters of the chart from the left, filled with spaces."""
    for place, byte in enumerate(part):
        if byte not in LETTERS:
            raise Wrong(number, column + place)
    text = "".join(LETTERS[byte] for byte in part)
    bare = text.rstrip(" ")
    if bare.startswith(" ") or (needed and not bare):
        raise Wrong(number, column)
    return bare


def one_of(part: bytes, allowed: str, number: int, column: int) -> str:
    """One letter out of some."""
    if part.decode("latin-1") not in allowed:
        raise Wrong(number, column)
    return part.decode("ascii")


def constant(part: bytes, wanted: bytes, number: int, column: int) -> None:
    """Always the same."""
    for place, (is_there, should_be) in enumerate(zip(part, wanted, strict=True)):
        if is_there != should_be:
            raise Wrong(number, column + place)


def open_day(text: str, near: dt.date) -> dt.date:
    """The nearest day of that month and number, on which banks are open."""
    days = (near + dt.timedelta(days=sign * distance) for distance in range(731) for sign in (-1, 1))
    named = (day for day in days if (day.month, day.day) == (int(text[:2]), int(text[2:])))
    best = next((day for day in named if abs(day.year - near.year) <= 1), None)
    if best is None or best.weekday() > 4 or jpholiday.is_holiday(best) or text in ("1231", "0101", "0102", "0103"):
        raise Wrong(1, 55)
    return best


def adds_up(book: Book) -> bool:
    """Whether the trailer says of the rows what they are."""
    amounts = [int(row["amount"]) for row in book.rows]
    said = {name: int(text) for name, text in book.trailer.items()}
    if (said["count"], said["total"]) != (len(amounts), sum(amounts)):
        return False
    if "settled_count" not in said:
        return True
    paid = [int(row["amount"]) for row in book.rows if row["result"] == "0"]
    results = (said["settled_count"], said["settled_total"], said["failed_count"], said["failed_total"])
    came_back = (len(paid), sum(paid), len(amounts) - len(paid), sum(amounts) - sum(paid))
    return results == came_back or (results == (0, 0, 0, 0) and len(paid) == len(amounts))
