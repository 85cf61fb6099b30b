"""The format's characters: JIS X 0201, one byte each, of which banks take ｱ–ﾝ without ｦ, ﾞ ﾟ, A–Z, 0–9, space, ( ) - .

Other kana and Latin letters are folded into these as banks do it: hiragana and full width become half width, small kana
large, lower case upper case, a long mark a hyphen, and a voiced kana two characters. Nothing else is changed: what has
no place in the format is refused, never replaced.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from kessai.sdk.zengin.refusals import ZenginError

ENCODING: Final = "cp932"
"""Writes JIS X 0201 as single bytes."""
LETTERS: Final = rb"A-Z0-9 ().\-\xb1-\xdf"
"""The allowed bytes, as in a regular expression's brackets."""
SLASH: Final = rb"/"
"""Allowed by some banks only."""

_WRITTEN: Final = re.compile(r"[A-Z0-9 ().\-ｱ-ﾝﾞﾟ]*")
_WRITTEN_SLASH: Final = re.compile(r"[A-Z0-9 ().\-ｱ-ﾝﾞﾟ/]*")
_KANA: Final = dict(
    zip(
        "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン",
        "ｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾅﾆﾇﾈﾉﾊﾋﾌﾍﾎﾏﾐﾑﾒﾓﾔﾕﾖﾗﾘﾙﾚﾛﾜﾝ",
        strict=True,
    )
)
_SMALL: Final = dict(zip("ァィゥェォヵヶッャュョヮ", "ｱｲｳｴｵｶｹﾂﾔﾕﾖﾜ", strict=True))
_MARKS: Final = {"\u3099": "ﾞ", "\u309a": "ﾟ", "゛": "ﾞ", "゜": "ﾟ"}
_HYPHENS: Final = dict.fromkeys("ー\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
_LATIN: Final = dict(zip("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", strict=True))
_FOLDED: Final = _KANA | _SMALL | _MARKS | _HYPHENS | _LATIN
_HIRAGANA: Final = range(0x3041, 0x3097)
_TO_KATAKANA: Final = 0x60


class _Folding(dict[int, str]):
    """What each character is written as; filled as characters are met. One that cannot be written stays as it is."""

    def __missing__(self, code: int) -> str:
        whole = chr(code)
        if whole not in _MARKS:  # a mark alone would be given a space to stand on
            whole = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", whole))
        written = "".join(_FOLDED.get(each, each) for each in map(_katakana, whole))
        self[code] = written
        return written


def _katakana(letter: str) -> str:
    return chr(ord(letter) + _TO_KATAKANA) if ord(letter) in _HIRAGANA else letter


_FOLDING: Final = _Folding()


def fold(text: str) -> str:
    """The text as far as it can be written; spaces around it go. What cannot be written is still in it."""
    return text.translate(_FOLDING).strip(" ")


def kana(text: str, *, slash: bool = False) -> str:
    """The text in the format's characters, half width (ガ is two), without spaces around it.

    Raises ZenginError `character_not_allowed` whose line is 0 and whose position is the first character (from 1) that
    cannot be written: kanji, ヲ, `・`, `&` … `/` is one of them unless the bank takes it (`slash`).
    """
    folded = fold(text)
    allowed = _WRITTEN_SLASH if slash else _WRITTEN
    if not allowed.fullmatch(folded):
        place = next(index for index, each in enumerate(text) if not allowed.fullmatch(fold(each)))
        raise ZenginError(0, place + 1, "character_not_allowed", f"{text[place]!r} cannot be written.")
    return folded


def is_writable(text: str, *, slash: bool = False) -> bool:
    """Whether `kana` can write it."""
    return (_WRITTEN_SLASH if slash else _WRITTEN).fullmatch(fold(text)) is not None
