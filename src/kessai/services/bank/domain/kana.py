"""A holder's name as banks write it: the characters of Zengin records, half-width, one byte each."""

from __future__ import annotations

import re
import unicodedata

from kessai.foundation.errors import Invalid

NAME_BYTES_MAX = 30
"""Of a payee's name in a Zengin transfer record, voicing marks counted as bytes of their own."""

_FULL = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン"
_HALF = "ｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾅﾆﾇﾈﾉﾊﾋﾌﾍﾎﾏﾐﾑﾒﾓﾔﾕﾖﾗﾘﾙﾚﾛﾜﾝ"
_SMALL = dict(zip("ァィゥェォッャュョヮ", "アイウエオツヤユヨワ", strict=True))
_MARKS = {"\u3099": "ﾞ", "\u309a": "ﾟ", "゛": "ﾞ", "゜": "ﾟ", "ー": "-", "−": "-", "‐": "-", "–": "-"}
_TABLE = str.maketrans(dict(zip(_FULL, _HALF, strict=True)) | _MARKS)
_WRITABLE = re.compile(r"[ｱ-ﾝﾞﾟA-Z0-9 ().\-]+")
_HIRAGANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}


def writable(name: str) -> str:
    """The name in the bank's characters; Invalid `holder_name_not_writable` when it has none for part of it.

    Hiragana and full width are folded, small kana become large, a long mark becomes `-`, ガ becomes two characters.
    """
    folded = unicodedata.normalize("NFKC", name).translate(_HIRAGANA).upper()
    large = "".join(_SMALL.get(each, each) for each in folded)
    text = unicodedata.normalize("NFD", large).translate(_TABLE)
    text = " ".join(text.split())
    if not _WRITABLE.fullmatch(text) or len(text) > NAME_BYTES_MAX:
        raise Invalid(
            "holder_name_not_writable",
            f"The holder's name must be at most {NAME_BYTES_MAX} kana, Latin letters, digits or ( ) - . in all.",
            field="$.holder_name",
        )
    return text
