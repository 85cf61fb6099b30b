"""A holder's name as banks write it: the characters of Zengin records, half-width, one byte each."""

from __future__ import annotations

from kessai.foundation.errors import Invalid
from kessai.sdk import zengin

NAME_BYTES_MAX = 30
"""Of a payee's name in a Zengin transfer record, voicing marks counted as bytes of their own."""


def writable(name: str) -> str:
    """The name in the bank's characters; Invalid `holder_name_not_writable` when it has none for part of it.

    Several spaces are one.
    """
    try:
        text = " ".join(zengin.kana(name).split())
    except zengin.ZenginError:
        text = ""
    if not text or len(text) > NAME_BYTES_MAX:
        raise Invalid(
            "holder_name_not_writable",
            f"The holder's name must be at most {NAME_BYTES_MAX} kana, Latin letters, digits or ( ) - . in all.",
            field="$.holder_name",
        )
    return text
