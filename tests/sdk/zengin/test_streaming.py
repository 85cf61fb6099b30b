"""A file of any length is written and read in memory that does not grow with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import msgspec

from kessai.sdk import zengin
from kessai.sdk.zengin import Line
from tests.sdk.zengin.samples import DAY, header, line

FEW, MANY = 2_000, 20_000
ROOM = 64 * 1024
"""What the larger file may take more than the smaller one; it is 2 MB longer."""


def _lines(count: int) -> Iterator[Line]:
    plain = line()
    return (msgspec.structs.replace(plain, account_number=f"{n:07d}", amount=n + 1) for n in range(count))


def _peak(work: Callable[[int], None], count: int) -> int:
    tracemalloc.start()
    work(count)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _through(count: int) -> None:
    """Write records and read them as they come, keeping none."""
    total = 0
    for each in zengin.decode(zengin.encode(header(), _lines(count)), near=DAY):
        if isinstance(each, Line):
            total += each.amount
    assert total == count * (count + 1) // 2


def test_memory_does_not_grow_with_the_file() -> None:
    _through(10)
    assert _peak(_through, MANY) - _peak(_through, FEW) < ROOM


def test_the_first_line_is_read_before_the_last_chunk_has_come() -> None:
    given: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number, record in enumerate(zengin.encode(header(), _lines(50))):
            given.append(number)
            yield record

    found = zengin.decode(chunks(), near=DAY)
    next(found)
    next(found)
    assert len(given) < 5
    assert sum(1 for _ in found) == 50
    assert len(given) == 53


def test_nothing_is_told_of_the_total_before_the_end_was_seen() -> None:
    data = zengin.write(header(), _lines(3))
    told = zengin.decode([data + b"x"], near=DAY)
    kinds: list[str] = []
    try:
        kinds += (type(each).__name__ for each in told)
    except zengin.ZenginError as error:
        code = error.code
    else:
        code = "none"
    assert (kinds, code) == (["Header", "Line", "Line", "Line"], "after_end")
