"""Names in the format's characters: what is folded, what is refused, and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.sdk import zengin
from kessai.sdk.zengin import ZenginError

VOICED = "ガギグゲゴザジズゼゾダヂヅデドバビブベボ"


@pytest.mark.parametrize(
    ("given_as", "written"),
    [
        ("ヤマダ タロウ", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("やまだ　たろう", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("ﾔﾏﾀﾞ ﾀﾛｳ", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("ガ", "ｶﾞ"),
        ("カ\u3099", "ｶﾞ"),
        ("ぱピﾌﾟ", "ﾊﾟﾋﾟﾌﾟ"),
        ("ァィゥェォッャュョヮヵヶ", "ｱｲｳｴｵﾂﾔﾕﾖﾜｶｹ"),
        ("ｧｨｩｪｫｯｬｭｮ", "ｱｲｳｴｵﾂﾔﾕﾖ"),
        ("っゃゎ", "ﾂﾔﾜ"),
        ("サーバー", "ｻ-ﾊﾞ-"),
        ("ｻｰﾊﾞｰ", "ｻ-ﾊﾞ-"),
        ("ヴ", "ｳﾞ"),
        ("゛゜", "ﾞﾟ"),
        ("ａｂｃＸＹＺ０１９", "ABCXYZ019"),
        ("kessai", "KESSAI"),
        ("（カ）Ａ．Ｂ－Ｃ", "(ｶ)A.B-C"),
        ("A−B‐C–D", "A-B-C-D"),
        ("  A B  ", "A B"),
        ("", ""),
    ],
)
def test_any_width_is_folded_to_what_banks_write(given_as: str, written: str) -> None:
    assert zengin.kana(given_as) == written
    assert zengin.is_writable(given_as)
    assert len(written.encode("cp932")) == len(written)


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("株式会社", 1),
        ("ヲ", 1),
        ("ｱｦ", 2),
        ("カガをカ", 3),
        ("A・B", 2),
        ("A&B", 2),
        ("ヰ", 1),
        ("Aé", 2),
        ("ß", 1),
        ("ı", 1),
        ("A\nB", 2),
        ("A\tB", 2),
        ("A?B", 2),
        ("A\\", 2),
        ("｢A｣", 1),
        ("\U0001f600", 1),
    ],
)
def test_what_has_no_place_in_the_format_is_refused_and_named(name: str, position: int) -> None:
    with pytest.raises(ZenginError) as caught:
        zengin.kana(name)
    assert (caught.value.line, caught.value.position, caught.value.code) == (0, position, "character_not_allowed")
    assert not zengin.is_writable(name)


def test_a_slash_is_written_only_for_banks_that_take_it() -> None:
    assert zengin.kana("ｱ/ｲ", slash=True) == "ｱ/ｲ"
    assert not zengin.is_writable("ｱ/ｲ")


def test_voicing_marks_are_bytes_of_their_own() -> None:
    assert len(zengin.kana(VOICED)) == 2 * len(VOICED)


@given(st.text(max_size=20))
def test_whatever_text_comes_is_written_or_refused_at_one_of_its_characters(text: str) -> None:
    try:
        written = zengin.kana(text)
    except ZenginError as error:
        position = error.position
    else:
        position = 0
        assert zengin.kana(written) == written
        assert "?" not in written
    assert 0 <= position <= len(text)
    assert (position == 0) == zengin.is_writable(text)
