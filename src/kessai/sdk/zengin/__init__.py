"""The Zengin format (全銀協規定フォーマット): transfers (総合振込) and debits (口座振替) as files of 120-byte records.

    from kessai.sdk import zengin

    data = zengin.write(header, lines)          # bytes, or a ZenginError that names line and position
    file = zengin.read(data, near=today)        # File(header, lines, trailer), or a ZenginError
    for record in zengin.encode(header, lines): # the same, a record at a time, however many there are
        out.write(record)
    for value in zengin.decode(chunks, near=today):
        ...                                     # Header, Line, Line, …, Trailer

Names are given in any kana and Latin width and are folded to what banks write (`kana`); one that cannot be written so
is refused, never changed silently. A record is 120 bytes, each followed by CR LF or none of them. What was written is
read again as it was, with its names folded (`as_written`), and what can be read is written again byte for byte. Nothing
here knows of a service: the package needs the calendar alone.
"""

from kessai.sdk.zengin.characters import is_writable, kana
from kessai.sdk.zengin.reader import decode, read
from kessai.sdk.zengin.records import DebitResult, DepositType, File, Header, Kind, Line, Trailer
from kessai.sdk.zengin.refusals import CODES, ZenginError
from kessai.sdk.zengin.writer import encode, write

__all__ = [
    "CODES",
    "DebitResult",
    "DepositType",
    "File",
    "Header",
    "Kind",
    "Line",
    "Trailer",
    "ZenginError",
    "decode",
    "encode",
    "is_writable",
    "kana",
    "read",
    "write",
]
