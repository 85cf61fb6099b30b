"""Messages are read and written right: by bytes of hand, by a second reader, and by a great many damaged ones."""

from __future__ import annotations

import pickle
from collections import Counter
from datetime import UTC, datetime
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.sdk import iso8583
from kessai.sdk.iso8583 import CODES, FormatError, Message, Mti, Pan, fuzz, mutations
from tests.sdk.iso8583 import second_reader
from tests.sdk.iso8583.golden import GOLDEN, PAN

BY_TYPE = {message.mti: (message, bytes.fromhex(text)) for message, text in GOLDEN}
SALE, SALE_BYTES = BY_TYPE[Mti.AUTHORIZATION]
BACK, BACK_BYTES = BY_TYPE[Mti.REVERSAL_ADVICE]
PAN_AT = 12
AMOUNT_AT = PAN_AT + 2 + 16 + 6


@pytest.mark.parametrize(("message", "text"), GOLDEN, ids=[each.mti.value for each, _ in GOLDEN])
def test_bytes_written_by_hand_are_what_is_written_and_read(message: Message, text: str) -> None:
    data = bytes.fromhex(text)
    assert iso8583.encode(message) == data
    assert iso8583.decode(data) == message


def test_there_is_a_hand_written_message_of_every_type() -> None:
    assert set(BY_TYPE) == set(Mti)


@pytest.mark.parametrize("mti", Mti)
def test_what_was_written_is_read_again_as_it_was(mti: Mti) -> None:
    random = Random(mti.value)
    for _ in range(100):
        message = mutations.drawn(random, mti)
        assert iso8583.decode(iso8583.encode(message)) == message


@pytest.mark.parametrize("mti", Mti)
def test_a_second_reader_reads_the_same(mti: Mti) -> None:
    random = Random(mti.value)
    for _ in range(50):
        message = mutations.drawn(random, mti)
        _require_same(message, second_reader.read(iso8583.encode(message)))


def _require_same(message: Message, found: dict[int, str]) -> None:
    said = {
        each.number: each.written(value) if each.written else value
        for each in iso8583.FIELDS
        if (value := getattr(message, each.name)) is not None
    }
    assert {0: message.mti.value, **said} == found


def test_damaged_messages_are_read_or_refused_by_both_readers_alike() -> None:
    following, heard = mutations.stream(20_260), Counter[str]()
    for _ in range(6_000):
        data = following()
        heard[fuzz.judged(data)] += 1
        try:
            found = second_reader.read(data)
        except second_reader.NotAMessage:
            with pytest.raises(FormatError):
                iso8583.decode(data)
        else:
            _require_same(iso8583.decode(data), found)
    assert heard["read"] > 100
    assert set(heard) <= {"read", *CODES}
    assert len(heard) >= 7


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600))
def test_noise_is_refused_with_a_format_error_alone(data: bytes) -> None:
    assert fuzz.judged(data) in {"read", *CODES}


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(GOLDEN), st.data())
def test_a_message_with_bytes_changed_is_read_or_refused(golden: tuple[Message, str], data: st.DataObject) -> None:
    wire = bytearray.fromhex(golden[1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(wire) - 1))
        wire[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not wire:
            break
    assert fuzz.judged(bytes(wire)) in {"read", *CODES}


def test_the_fuzz_says_what_broke_a_rule_and_how(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuzz.main(["--messages", "200", "--seed", "3"]) == 0
    assert "field_not_allowed" in capsys.readouterr().out

    def broken(_: bytes) -> Message:
        raise IndexError("out of range")

    monkeypatch.setattr(fuzz, "decode", broken)
    assert fuzz.main(["--messages", "200"]) == 1
    assert "IndexError: out of range" in capsys.readouterr().out


# -- refusals ---------------------------------------------------------------------------------------------------


def _with(data: bytes, at: int, put: bytes) -> bytes:
    return data[:at] + put + data[at + len(put) :]


REFUSED: tuple[tuple[str, bytes, int | None, str], ...] = (
    ("nothing", b"", None, "message_length"),
    ("too long", SALE_BYTES + b"0" * 512, None, "message_length"),
    ("an unknown type", _with(SALE_BYTES, 0, b"0200"), 0, "mti_unknown"),
    ("a type of letters", _with(SALE_BYTES, 0, b"\xff100"), 0, "mti_unknown"),
    ("an empty second bitmap", b"0800" + bytes.fromhex("8220000000000000") + bytes(8), 1, "bitmap"),
    ("half a second bitmap", b"0800" + bytes.fromhex("8220000000000000") + bytes(4), 1, "bitmap"),
    ("a field that nobody speaks", _with(SALE_BYTES, 4, b"\x7a"), 5, "field_not_allowed"),
    ("a field of other messages", _with(SALE_BYTES, 8, b"\x0a"), 39, "field_not_allowed"),
    ("a third bitmap", BACK_BYTES[:12] + b"\x80" + BACK_BYTES[13:], 65, "field_not_allowed"),
    ("a missing field", _with(SALE_BYTES, 4, b"\x32")[:12] + SALE_BYTES[30:], 2, "field_missing"),
    ("letters in the PAN", _with(SALE_BYTES, PAN_AT + 2, b"A"), 2, "field_content"),
    ("a PAN of eleven digits", SALE_BYTES[:12] + b"1199900012345" + SALE_BYTES[30:], 2, "field_content"),
    ("a PAN of twenty digits", SALE_BYTES[:12] + b"20" + b"9" * 20 + SALE_BYTES[30:], 2, "field_length"),
    ("a length with a sign", SALE_BYTES.replace(b"1110000000001", b"+810000000", 1), 32, "field_length"),
    ("letters in the amount", _with(SALE_BYTES, AMOUNT_AT, b"A"), 4, "field_content"),
    ("a full-width digit", _with(SALE_BYTES, AMOUNT_AT, "１".encode()), 4, "field_content"),
    ("31 February", SALE_BYTES.replace(b"0430030000", b"0231030000", 1), 7, "field_content"),
    ("24 o'clock", SALE_BYTES.replace(b"000001120000", b"000001240000", 1), 12, "field_content"),
    ("month 13", SALE_BYTES.replace(b"31045812", b"31135812", 1), 14, "field_content"),
    ("a blank terminal", SALE_BYTES.replace(b"T0000001", b" " * 8, 1), 41, "field_content"),
    ("a line break in a name", SALE_BYTES.replace(b"KISSA ", b"KISSA\n", 1), 43, "field_content"),
    ("a country in digits", SALE_BYTES.replace(b"JP392", b"J1392", 1), 43, "field_content"),
    ("an original that is an answer", BACK_BYTES.replace(b"3920100", b"3920110", 1), 90, "field_content"),
    ("nothing is taken back", BACK_BYTES[:-42] + b"000000001200" + b"0" * 30, 95, "replacement_not_below_amount"),
    ("a fee", BACK_BYTES[:-1] + b"1", 95, "field_content"),
    ("an end within a field", SALE_BYTES[:-1], 49, "field_length"),
    ("bytes behind the end", SALE_BYTES + b"0", None, "trailing_bytes"),
    ("approved without a code", b"0110" + bytes.fromhex("322000010a808000") + BY_TYPE[Mti.ADVICE_ANSWER][1][12:], 38,
     "field_missing"),
)  # fmt: skip


@pytest.mark.parametrize(("what", "data", "field", "code"), REFUSED, ids=[each[0] for each in REFUSED])
def test_what_is_wrong_is_named_by_field_and_code(what: str, data: bytes, field: int | None, code: str) -> None:
    with pytest.raises(FormatError) as refused:
        iso8583.decode(data)
    assert (refused.value.field, refused.value.code) == (field, code), what
    assert refused.value.__context__ is None
    with pytest.raises(second_reader.NotAMessage):
        second_reader.read(data)


def test_every_refusal_that_a_message_can_meet_is_met() -> None:
    assert {each[3] for each in REFUSED} | {"frame_length", "frame_cut"} == set(CODES)


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"amount": -1}, 4, "field_content"),
        ({"amount": 10**12}, 4, "field_content"),
        ({"stan": "１２３４５６"}, 11, "field_content"),
        ({"place": "KISSA JP"}, 43, "field_content"),
        ({"terminal": "T00000001"}, 41, "field_content"),
        ({"response": "00"}, 39, "field_not_allowed"),
        ({"expiry": None}, 14, "field_missing"),
    ],
)
def test_what_could_not_be_read_is_not_written(changed: dict[str, object], field: int, code: str) -> None:
    with pytest.raises(FormatError) as refused:
        iso8583.encode(msgspec.structs.replace(SALE, **changed))
    assert (refused.value.field, refused.value.code) == (field, code)


def test_a_refusal_survives_another_process() -> None:
    error = pickle.loads(pickle.dumps(FormatError(4, "field_content")))
    assert (error.field, error.code, str(error)) == (4, "field_content", "field 4: field_content")


# -- answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mti", iso8583.ANSWERS)
def test_every_request_has_an_answer_without_the_number(mti: Mti) -> None:
    request = BY_TYPE[mti][0]
    answer = iso8583.decode(iso8583.encode(request.answer("91")))
    assert (answer.mti, answer.response, answer.pan) == (iso8583.ANSWERS[mti], "91", None)
    assert (answer.transmitted, answer.stan, answer.rrn) == (request.transmitted, request.stan, request.rrn)


def test_what_cannot_be_read_is_answered_with_what_could_be() -> None:
    refused = iso8583.refuse(_with(SALE_BYTES, AMOUNT_AT, b"A"))
    assert refused is not None
    answer = iso8583.decode(refused)
    assert (answer.mti, answer.response, answer.stan, answer.amount) == ("0110", "30", "000001", None)
    assert answer.rrn == SALE.rrn
    cut = iso8583.refuse(SALE_BYTES[:70])
    assert cut is not None
    assert iso8583.decode(cut).rrn is None
    network = iso8583.refuse(BY_TYPE[Mti.NETWORK][1][:-3] + b"999")
    assert network is not None
    assert iso8583.decode(network).response == "30"


@pytest.mark.parametrize(
    "data", [b"", SALE_BYTES[:40], BY_TYPE[Mti.AUTHORIZATION_ANSWER][1] + b"0", b"0200" + bytes(8)]
)
def test_nobody_is_answered_who_could_not_know_it(data: bytes) -> None:
    assert iso8583.refuse(data) is None


def test_a_reversal_names_its_original_whatever_zeros_its_acquirer_has() -> None:
    assert SALE.key == "10000000001-0430030000-000001-612012000001"
    assert BACK.original_key == SALE.key
    short = msgspec.structs.replace(SALE, acquirer="123")
    assert short.key.startswith("00000000123-")


# -- numbers and times ------------------------------------------------------------------------------------------


def test_a_number_is_shown_by_its_last_four_digits_alone() -> None:
    for text in (
        repr(SALE),
        str(SALE),
        f"{SALE.pan}",
        repr(SALE.pan),
        str([SALE]),
        str(FormatError(2, "field_content")),
    ):
        assert PAN not in text
    assert "************7890" in repr(SALE)
    assert "3104" not in repr(SALE)
    with pytest.raises(TypeError):
        msgspec.json.encode(SALE)
    with pytest.raises(ValueError) as refused:
        Pan("12345")
    assert "12345" not in str(refused.value)
    assert iso8583.mask("1234") == "*" * 12
    assert (Pan(PAN).last4, Pan(PAN).digits) == ("7890", PAN)


@settings(deadline=None)
@given(st.text("0123456789", min_size=11, max_size=18))
def test_a_check_digit_makes_a_number_right_and_no_other_does(digits: str) -> None:
    right = iso8583.check_digit(digits)
    assert [each for each in "0123456789" if iso8583.passes_luhn(digits + each)] == [right]


def test_known_numbers_pass_luhn() -> None:
    assert iso8583.passes_luhn("4111111111111111")
    assert iso8583.passes_luhn(PAN)
    assert not iso8583.passes_luhn("4111111111111112")
    assert not iso8583.passes_luhn("411111111111111x")


@pytest.mark.parametrize(
    ("text", "near", "meant"),
    [
        ("1231235959", datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("0101000000", datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("0229120000", datetime(2028, 3, 1, tzinfo=UTC), datetime(2028, 2, 29, 12, tzinfo=UTC)),
        ("0229120000", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 2, 28, 12, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_year_is_the_nearest(text: str, near: datetime, meant: datetime) -> None:
    assert iso8583.instant_of(text, near) == meant


def test_a_time_is_written_in_utc() -> None:
    assert iso8583.transmitted_at(datetime.fromisoformat("2026-04-30T12:00:00+09:00")) == "0430030000"
