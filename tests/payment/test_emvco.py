"""EMVCo merchant-presented QR: what was made is read, and nothing else."""

from __future__ import annotations

import string

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kessai.foundation.errors import Invalid
from kessai.services.payment.api.codes import QrContent
from kessai.services.payment.domain import emvco

OURS = "org.kessai"
PLAIN = QrContent(merchant_id="mer:shop", name="KISSA KESSAI", city="TOKYO")
FULL = QrContent(
    merchant_id="mer:0190f0c2a5b87d3c9d5e1f2a3b4c5d6e",
    shop_id="shp:0190f0c2a5b87d3c9d5e1f2a3b4c5d6f",
    name="KISSA KESSAI",
    city="MINATO-KU",
    amount_minor=1_980,
    category_code="5814",
    language="ja",
    local_name="喫茶 決済",
    local_city="港区",
    bill_number="B-77",
    store_label="ROPPONGI 1",
    reference_label="R/2025/1",
    terminal_label="T01",
    purpose="LUNCH",
)

names = st.text(string.ascii_letters + string.digits + " -'&.", min_size=1, max_size=25).filter(str.strip)
labels = st.none() | names
ids = st.text(string.ascii_letters + string.digits + "_.:/-", min_size=1, max_size=36)
local = st.text("喫茶決済店アイウーｶﾌｪ é𠮷", min_size=1, max_size=15).filter(str.strip)


@st.composite
def contents(draw: st.DrawFn) -> QrContent:
    """Whatever a QR may say."""
    speaks = draw(st.booleans())
    short = draw(st.lists(labels.map(lambda label: label and label[:12]).filter(lambda x: x is None or x.strip()),
                          min_size=5, max_size=5))  # fmt: skip
    return QrContent(
        merchant_id=draw(ids),
        shop_id=draw(st.none() | ids),
        name=draw(names),
        city=draw(names.map(lambda name: name[:15]).filter(str.strip)),
        amount_minor=draw(st.none() | st.integers(1, 10**13 - 1)),
        category_code=draw(st.integers(0, 9999).map(lambda code: f"{code:04}")),
        language=draw(st.sampled_from(["ja", "en", "zh"])) if speaks else None,
        local_name=draw(local) if speaks else None,
        local_city=draw(st.none() | local) if speaks else None,
        bill_number=short[0],
        store_label=short[1],
        reference_label=short[2],
        terminal_label=short[3],
        purpose=short[4],
    )


def refusal(text: str) -> str:
    """The code with which a text is refused."""
    with pytest.raises(Invalid) as refused:
        emvco.read(text, OURS)
    return refused.value.code


def sealed(fields: str) -> str:
    """Fields with the right checksum behind them."""
    text = fields + "6304"
    return f"{text}{emvco.crc16(text.encode()):04X}"


def test_checksum_is_the_standards_own() -> None:
    assert emvco.crc16(b"123456789") == 0x29B1
    assert emvco.crc16(b"") == 0xFFFF


def test_plain_qr_is_what_the_standard_says() -> None:
    body = "000201" + "010211" + "2626" + "0010org.kessai" + "0108mer:shop" + "52040000" + "5303392" + "5802JP"
    body += "5912KISSA KESSAI" + "6005TOKYO"
    assert emvco.make(PLAIN, OURS) == sealed(body)


@given(contents())
@example(FULL)
def test_what_was_made_is_read(content: QrContent) -> None:
    assert emvco.read(emvco.make(content, OURS), OURS) == content


@given(contents(), st.data())
def test_every_character_that_was_read_wrong_is_noticed(content: QrContent, data: st.DataObject) -> None:
    text = emvco.make(content, OURS)
    places = [place for place, character in enumerate(text) if character.isascii()]
    place = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from(string.printable).filter(lambda each: each != text[place]))
    assert refusal(text[:place] + other + text[place + 1 :]) in ("qr_checksum_wrong", "qr_malformed")


def test_no_single_wrong_character_of_a_whole_qr_goes_unnoticed() -> None:
    text = emvco.make(msgspec.structs.replace(FULL, language=None, local_name=None, local_city=None), OURS)
    codes = {
        refusal(text[:place] + other + text[place + 1 :])
        for place, character in enumerate(text)
        for other in string.digits + string.ascii_letters + " .:-"
        if other != character
    }
    assert codes == {"qr_checksum_wrong", "qr_malformed"}


@given(contents(), st.data())
def test_a_qr_that_was_cut_off_or_has_something_added_is_refused(content: QrContent, data: st.DataObject) -> None:
    text = emvco.make(content, OURS)
    cut = data.draw(st.integers(0, len(text) - 1))
    assert refusal(text[:cut])
    assert refusal(text + data.draw(st.sampled_from(string.printable)))


@given(st.text(max_size=600))
def test_whatever_is_scanned_is_read_or_refused_with_a_code(text: str) -> None:
    assert refusal(text).startswith("qr_")
    assert refusal(sealed(text)).startswith("qr_")


HEAD = "000201010211"
ACCOUNT = "26260010org.kessai0108mer:shop"
TAIL = "5802JP5912KISSA KESSAI6005TOKYO"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (HEAD + ACCOUNT + "520400005303392" + TAIL + "54091000", "qr_malformed"),  # a field longer than what is left
        (HEAD + ACCOUNT + "52040000520400005303392" + TAIL, "qr_malformed"),  # twice
        (HEAD + ACCOUNT + "520400005303392" + TAIL + "5400", "qr_malformed"),  # empty
        (HEAD + ACCOUNT + "5204000053033925802JP5912KISSA KESSAI", "qr_malformed"),  # no city
        ("010211000201" + ACCOUNT + "520400005303392" + TAIL, "qr_malformed"),  # the format does not come first
        ("000202010211" + ACCOUNT + "520400005303392" + TAIL, "qr_malformed"),  # another format
        (HEAD + ACCOUNT + "27260010org.kessai0108mer:shop520400005303392" + TAIL, "qr_malformed"),  # two merchants
        (HEAD + "26140010org.kessai520400005303392" + TAIL, "qr_malformed"),  # no merchant
        (HEAD + ACCOUNT.replace("mer:shop", "mer shop") + "520400005303392" + TAIL, "qr_malformed"),
        (HEAD + ACCOUNT + "5204XXXX5303392" + TAIL, "qr_malformed"),
        (HEAD + "26250009other.net0108mer:shop520400005303392" + TAIL, "qr_not_ours"),
        (HEAD + "520400005303392" + TAIL, "qr_not_ours"),
        ("000201010212" + ACCOUNT + "520400005303392" + TAIL, "qr_unsupported"),  # of one payment only
        (HEAD + ACCOUNT + "520400005303840" + TAIL, "qr_unsupported"),  # dollars
        (HEAD + ACCOUNT + "520400005303392" + TAIL.replace("JP", "US"), "qr_unsupported"),
        (HEAD + ACCOUNT + "520400005303392550201" + TAIL, "qr_unsupported"),  # a tip
        (HEAD + ACCOUNT + "5204000053033925401" + "0" + TAIL, "qr_amount_invalid"),
        (HEAD + ACCOUNT + "52040000530339254040100" + TAIL, "qr_amount_invalid"),
        (HEAD + ACCOUNT + "520400005303392540510.50" + TAIL, "qr_amount_invalid"),
        (HEAD + ACCOUNT + "5204000053033925403-10" + TAIL, "qr_amount_invalid"),
        (HEAD + ACCOUNT + "5204000053033925403１２３" + TAIL, "qr_amount_invalid"),  # digits of another script
    ],
)
def test_a_qr_with_a_right_checksum_is_still_read_strictly(fields: str, code: str) -> None:
    assert refusal(sealed(fields)) == code


def test_a_right_checksum_in_small_letters_is_refused() -> None:
    text = next(
        text for amount in range(1, 100)
        if (text := emvco.make(msgspec.structs.replace(PLAIN, amount_minor=amount), OURS))[-4:].lower() != text[-4:]
    )  # fmt: skip
    assert refusal(text[:-4] + text[-4:].lower()) == "qr_malformed"


def test_a_qr_shared_with_other_networks_names_our_merchant() -> None:
    others = "02160000111122223333" + "26250009other.net0108mer:them"
    ours = ACCOUNT.replace("26", "29", 1)
    unknown = "8008whatever"
    read = emvco.read(sealed(HEAD + others + ours + "520400005303392" + TAIL + unknown), OURS)
    assert read == PLAIN


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"asset": "USD"}, "qr_unsupported"),
        ({"amount_minor": 10**13}, "qr_unsupported"),
        ({"language": "ja"}, "qr_unsupported"),
        ({"local_city": "港区"}, "qr_unsupported"),
        ({"merchant_id": "m" * 82}, "qr_too_long"),
        (dict.fromkeys(("bill_number", "store_label", "purpose", "terminal_label"), "x" * 25), "qr_too_long"),
    ],
)
def test_what_a_qr_cannot_say_is_not_made(changes: dict[str, object], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        emvco.make(msgspec.structs.replace(PLAIN, **changes), OURS)
    assert refused.value.code == code
