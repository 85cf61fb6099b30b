"""What was written is read as it was, and a second reader, that shares nothing with ours, reads the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.sdk import zengin
from kessai.sdk.zengin import File, Header, Kind, Line, Trailer, ZenginError
from tests.sdk.zengin import second_reader
from tests.sdk.zengin.samples import DAY, WIDE, file_of, files, header, line

Asked = tuple[Header, list[Line], bool]


def require_alike(file: File, book: second_reader.Book) -> None:
    """Both readers found the same in a file, field by field."""
    assert _words(file.header) == book.header
    assert file.header.day == book.day
    assert [_words(each) | {"flag": "Y" if each.edi is not None else " "} for each in file.lines] == [
        row | {"flag": row.get("flag", " ")} for row in book.rows
    ]
    assert _words(file.trailer, width={"count": 6, "total": 12}).items() >= book.trailer.items()


def _words(value: Header | Line | Trailer, width: dict[str, int] | None = None) -> dict[str, str]:
    """A record as the booklet's columns have it."""
    found: dict[str, str] = {}
    for name, each in msgspec.structs.asdict(value).items():
        found[name] = _word(name, each, (width or {}).get(name.rpartition("_")[2], 10 if name == "amount" else 1))
    if isinstance(value, Header):
        found["day"] = value.day.strftime("%m%d")
    if isinstance(value, Line):
        _only_what_is_there(value, found)
    return found


def _word(name: str, value: Any, width: int) -> str:
    return f"{value:0{width}d}" if isinstance(value, int) else str(value)


def _only_what_is_there(value: Line, found: dict[str, str]) -> None:
    """A transfer has codes or EDI information, a debit a result in place of how it is delivered."""
    absent = ["customer_code_1", "customer_code_2"] if value.edi is not None else ["edi"]
    for name in (*absent, "result"):
        del found[name]


def _compared(data: bytes, file: File) -> None:
    book = second_reader.read(data, file.header.day)
    if file.header.kind is Kind.DEBIT:
        assert [int(row.pop("result")) for row in book.rows] == [each.result or 0 for each in file.lines]
        book.rows = [row | {"delivery": "7"} for row in book.rows]
    require_alike(file, book)


@given(files())
@settings(max_examples=80, deadline=None)
def test_what_was_written_is_read_as_it_was(asked: Asked) -> None:
    head, lines, newline = asked
    data = zengin.write(head, lines, newline=newline)
    file = zengin.read(data, near=head.day)
    assert (file.header, file.lines, file.newline) == (head.as_written(), [x.as_written() for x in lines], newline)
    assert zengin.write(file.header, file.lines, newline=file.newline) == data
    _compared(data, file)


@given(files(WIDE))
@settings(max_examples=50, deadline=None)
def test_names_of_any_width_are_read_folded(asked: Asked) -> None:
    head, lines, newline = asked
    file = zengin.read(zengin.write(head, lines, newline=newline), near=head.day)
    assert (file.header, file.lines) == (head.as_written(), [each.as_written() for each in lines])


@given(files(), st.lists(st.integers(1, 300), max_size=12))
@settings(max_examples=50, deadline=None)
def test_a_file_that_comes_in_pieces_is_the_same_file(asked: Asked, lengths: list[int]) -> None:
    head, lines, newline = asked
    data = zengin.write(head, lines, newline=newline)
    whole = list(zengin.decode([data], near=head.day))
    assert list(zengin.decode(_pieces(data, lengths), near=head.day)) == whole
    assert [type(each) for each in whole] == [Header, *[Line] * len(lines), Trailer]


def _pieces(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    cuts = [0]
    for length in lengths:
        cuts.append(min(len(data), cuts[-1] + length))
    for start, end in pairwise([*cuts, len(data)]):
        yield data[start:end]


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "drop", "insert", "cut", "repeat"]),
        st.integers(0, 10_000),
        st.sampled_from(b"\x00 019AYa/\r\n\xa6\xb0\xb1\xdf\xff"),
    ),
    min_size=1,
    max_size=3,
)


def _mutated(data: bytes, mutations: list[tuple[str, int, int]]) -> bytes:
    changed = bytearray(data)
    for how, where, byte in mutations:
        at = where % (len(changed) + 1)
        match how:
            case "put":
                changed[at : at + 1] = bytes([byte])
            case "drop":
                del changed[at : at + 1]
            case "insert":
                changed.insert(at, byte)
            case "cut":
                del changed[at:]
            case _:
                changed[at:at] = changed[at : at + 122]
    return bytes(changed)


@given(files(), MUTATIONS)
@settings(max_examples=150, deadline=None)
def test_both_readers_take_and_refuse_the_same_files(asked: Asked, mutations: list[tuple[str, int, int]]) -> None:
    head, lines, newline = asked
    data = _mutated(zengin.write(head, lines, newline=newline), mutations)
    ours, theirs = _ours(data, head.day), _theirs(data, head.day)
    assert (ours is None) == (theirs is None), (ours, theirs)
    if ours is None or theirs is None:
        _compared(data, zengin.read(data, near=head.day))
    else:
        assert abs(ours.line - theirs.row) <= 1  # a row that is too long is seen at its end, or at the next one's start


def _ours(data: bytes, near: date) -> ZenginError | None:
    try:
        zengin.read(data, near=near)
    except ZenginError as error:
        return error
    return None


def _theirs(data: bytes, near: date) -> second_reader.Wrong | None:
    try:
        second_reader.read(data, near)
    except second_reader.Wrong as wrong:
        return wrong
    return None


@given(st.binary(max_size=400), st.lists(st.integers(0, 3), max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_comes_is_read_or_refused(noise: bytes, kept: list[int]) -> None:
    records = list(zengin.encode(header(), [line()]))
    error = _ours(b"".join(records[at] for at in kept) + noise, DAY)
    if error is None:
        assert (kept, noise) == ([0, 1, 2, 3], b"")
    else:
        assert error.code in zengin.CODES
        assert error.line >= 1
        assert 1 <= error.position <= 121


@pytest.mark.parametrize("newline", [True, False])
def test_every_single_byte_may_be_wrong_without_a_crash(newline: bool) -> None:
    data = file_of(line(), line(edi="ABC"), newline=newline)
    unit = 122 if newline else 120
    for at in range(len(data)):
        for byte in b"\x00 0\r\xa6\xfd":
            changed = data[:at] + bytes([byte]) + data[at + 1 :]
            ours, theirs = _ours(changed, DAY), _theirs(changed, DAY)
            assert (ours is None) == (theirs is None)
            assert ours is None or abs(ours.line - (at // unit + 1)) <= 1 or ours.line == 4
