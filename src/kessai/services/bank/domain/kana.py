"""A holder's name as banks write it: the characters of Zengin records, half-width, one byte each."""

from __future__ import annotations

import re

from kessai.foundation.errors import Invalid
from kessai.sdk import zengin

NAME_BYTES_MAX = 30
"""Of a payee's name in a Zengin transfer record, voicing marks counted as bytes of their own."""
_IN_FULL = {
    zengin.kana(full): zengin.kana(short)
    for full, short in (
        ("カブシキガイシャ", "カ"), ("ユウゲンガイシャ", "ユ"), ("ゴウドウガイシャ", "ド"), ("ゴウメイガイシャ", "メ"),
        ("ゴウシガイシャ", "シ"),
    )
}  # fmt: skip
"""法人略語: how banks shorten the form of a company in an account's name."""
_BEFORE, _AFTER = re.compile(r"([^()]{1,5})\)(.+)"), re.compile(r"(.+)\(([^()]{1,5})\)?")


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


def same_holder(holder: str, registered: str) -> bool:
    """Whether an account's holder bears a registered name, as banks write both.

    Spaces and the kind of dash do not count. A company's form (カブシキガイシャ, カ)) is compared where the registered
    name has one. What cannot be written as banks do is nobody's.
    """
    try:
        (form, name), (wanted, registered_name) = _parted(holder), _parted(registered)
    except zengin.ZenginError:
        return False
    return name == registered_name and wanted in ("", form)


def _parted(name: str) -> tuple[str, str]:
    """A company's form, shortened, or "", and the name without it."""
    text = "".join(zengin.kana(name).split()).replace("ｰ", "-")
    for full, short in _IN_FULL.items():
        if text.startswith(full) and text != full:
            return short, text.removeprefix(full)
        if text.endswith(full) and text != full:
            return short, text.removesuffix(full)
    if (before := _BEFORE.fullmatch(text)) is not None:
        return before[1], before[2]
    if (after := _AFTER.fullmatch(text)) is not None:
        return after[2], after[1]
    return "", text
