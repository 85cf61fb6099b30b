"""Messages on a connection: whole ones whatever the pieces, and an end to it when a length is wrong."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.sdk import iso8583
from kessai.sdk.iso8583 import FormatError, Unframer

MESSAGES = st.lists(st.binary(min_size=1, max_size=iso8583.MESSAGE_BYTES_MAX), max_size=5)


@settings(deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 700), max_size=20))
def test_messages_are_whole_however_they_come_in(messages: list[bytes], cuts: list[int]) -> None:
    stream, unframer, found = b"".join(map(iso8583.frame, messages)), Unframer(), list[bytes]()
    for size in [*cuts, len(stream)]:
        found += unframer.feed(stream[:size])
        stream = stream[size:]
    assert found == messages
    assert not unframer.within_a_message


@pytest.mark.parametrize("head", [b"\x00\x00", b"\x02\x01", b"\xff\xff"])
def test_a_length_that_no_message_has_ends_it(head: bytes) -> None:
    with pytest.raises(FormatError) as refused:
        Unframer().feed(iso8583.frame(b"0800") + head)
    assert refused.value.code == "frame_length"


async def _read(stream: bytes) -> list[bytes]:
    reader = asyncio.StreamReader()
    reader.feed_data(stream)
    reader.feed_eof()
    return [each async for each in iso8583.frames(reader)]


async def test_a_connection_ends_between_messages() -> None:
    assert await _read(iso8583.frame(b"one") + iso8583.frame(b"two")) == [b"one", b"two"]
    assert await _read(b"") == []


@pytest.mark.parametrize("rest", [b"\x00", b"\x00\x05tw"])
async def test_a_connection_that_ends_within_a_message_is_refused(rest: bytes) -> None:
    with pytest.raises(FormatError) as refused:
        await _read(iso8583.frame(b"one") + rest)
    assert refused.value.code == "frame_cut"
