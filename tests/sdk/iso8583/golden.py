"""A message of every type, written by hand: what it says, and each of its bytes in order.

Texts are hexadecimal ASCII; bitmaps are counted out beside them.
"""

from __future__ import annotations

from typing import Any

from kessai.sdk.iso8583 import Message, Mti, Network, Original, Pan

PAN = "9990001234567890"
_PAN_HEX = "3136 39393930303031323334353637383930"  # 16, then the digits
_SENT = "30343330303330303030"  # 0430030000
_PLACE = (
    "4b49535341204b4553534149" + "20" * 13  # KISSA KESSAI, 25 characters
    + "544f4b594f" + "20" * 8  # TOKYO, 13
    + "4a50"  # JP
)  # fmt: skip
_ACQUIRER = "3131 3130303030303030303031"  # 11, 10000000001
_RRN = "363132303132303030303031"  # 612012000001
_TERMINAL = "5430303030303031"  # T0000001
_MERCHANT = "53484f50303120202020202020 2020"  # SHOP01 and nine spaces
_ORIGINAL = (
    "30313030"  # 0100
    "303030303031"  # 000001
    "30343330303330303030"
    "3130303030303030303031"
    "3030303030303030303030"
)
_REPLACEMENT = "303030303030303031303030" + "30" * 30  # 1000 stands

_PURCHASE = (
    _PAN_HEX
    + "303030303030"  # 3
    + "303030303030303031323030"  # 4: 1200
    + _SENT  # 7
    + "303030303031"  # 11
    + "313230303030"  # 12
    + "30343330"  # 13
    + "33313034"  # 14: 3104
    + "35383132"  # 18
    + "303731"  # 22
    + "3030"  # 25
    + _ACQUIRER
    + _RRN
)
_ANSWER = "303030303030" + "303030303030303031323030" + _SENT + "303030303031" + _ACQUIRER + _RRN
_TAKE_BACK = (
    _PAN_HEX + "303030303030" + "303030303030303031323030" + "30343330303330303130" + "303030303032" + _ACQUIRER + _RRN
)

_CARD: dict[str, Any] = {"pan": Pan(PAN), "processing_code": "000000", "amount": 1_200}
_WHERE: dict[str, Any] = {"acquirer": "10000000001", "rrn": "612012000001", "terminal": "T0000001", "currency": "392"}
_FIRST: dict[str, Any] = {"transmitted": "0430030000", "stan": "000001"}
_SECOND: dict[str, Any] = {"transmitted": "0430030010", "stan": "000002"}
_SALE: dict[str, Any] = {
    **_CARD,
    **_WHERE,
    **_FIRST,
    "local_time": "120000",
    "local_date": "0430",
    "expiry": "3104",
    "mcc": "5812",
    "entry_mode": "071",
    "condition": "00",
    "merchant": "SHOP01",
    "place": f"{'KISSA KESSAI':<25}{'TOKYO':<13}JP",
}
_TOLD: dict[str, Any] = {"processing_code": "000000", "amount": 1_200, **_WHERE, **_FIRST}
_BACK: dict[str, Any] = {
    **_CARD,
    **_WHERE,
    **_SECOND,
    "merchant": "SHOP01",
    "original": Original(mti=Mti.AUTHORIZATION, stan="000001", transmitted="0430030000", acquirer="10000000001"),
}

# 2 3 4 7 | 11 12 13 14 | 18 22 | 25 | 32 | 37 | 41 42 43 | 49
#   0111 0010 | 0011 1100 | 0100 0100 | 1000 0001 | 0000 1000 | 1110 0000 | 1000 0000 | 0000 0000
GOLDEN: tuple[tuple[Message, str], ...] = (
    (
        Message(mti=Mti.AUTHORIZATION, **_SALE),
        "30313030 723c448108e08000" + _PURCHASE + _TERMINAL + _MERCHANT + _PLACE + "333932",
    ),
    (
        # 3 4 7 | 11 | 32 | 37 38 39 | 41 | 49
        Message(mti=Mti.AUTHORIZATION_ANSWER, **_TOLD, response="00", approval_code="A1B2C3"),
        "30313130 322000010e808000" + _ANSWER + "413142324333" + "3030" + _TERMINAL + "333932",
    ),
    (
        # as 0100, with 38 and 39
        Message(mti=Mti.ADVICE, **_SALE, approval_code="N00001", response="00"),
        "30313230 723c44810ee08000" + _PURCHASE + "4e3030303031" + "3030" + _TERMINAL + _MERCHANT + _PLACE + "333932",
    ),
    (
        Message(mti=Mti.ADVICE_ANSWER, **_TOLD, response="00"),
        "30313330 322000010a808000" + _ANSWER + "3030" + _TERMINAL + "333932",
    ),
    (
        # 1 2 3 4 7 | 11 | 32 | 37 | 41 42 | 49, and 90
        Message(mti=Mti.REVERSAL, **_BACK),
        "30343030 f220000108c08000 0000004000000000" + _TAKE_BACK + _TERMINAL + _MERCHANT + "333932" + _ORIGINAL,
    ),
    (
        Message(mti=Mti.REVERSAL_REPEAT, **_BACK),
        "30343031 f220000108c08000 0000004000000000" + _TAKE_BACK + _TERMINAL + _MERCHANT + "333932" + _ORIGINAL,
    ),
    (
        Message(mti=Mti.REVERSAL_ANSWER, **{**_TOLD, **_SECOND}, response="25"),
        "30343130 322000010a808000"
        + _ANSWER.replace(_SENT + "303030303031", "30343330303330303130" + "303030303032")
        + "3235"
        + _TERMINAL
        + "333932",
    ),
    (
        # and 95
        Message(mti=Mti.REVERSAL_ADVICE, **_BACK, replacement_amount=1_000),
        "30343230 f220000108c08000 0000004200000000"
        + _TAKE_BACK
        + _TERMINAL
        + _MERCHANT
        + "333932"
        + _ORIGINAL
        + _REPLACEMENT,
    ),
    (
        Message(mti=Mti.REVERSAL_ADVICE_REPEAT, **_BACK, replacement_amount=1_000),
        "30343231 f220000108c08000 0000004200000000"
        + _TAKE_BACK
        + _TERMINAL
        + _MERCHANT
        + "333932"
        + _ORIGINAL
        + _REPLACEMENT,
    ),
    (
        Message(mti=Mti.REVERSAL_ADVICE_ANSWER, **{**_TOLD, **_SECOND}, response="00"),
        "30343330 322000010a808000"
        + _ANSWER.replace(_SENT + "303030303031", "30343330303330303130" + "303030303032")
        + "3030"
        + _TERMINAL
        + "333932",
    ),
    (
        # 1 7 | 11, and 70
        Message(mti=Mti.NETWORK, **_FIRST, network=Network.SIGN_ON),
        "30383030 8220000000000000 0400000000000000" + _SENT + "303030303031" + "303031",
    ),
    (
        # 1 7 | 11 | 39, and 70
        Message(mti=Mti.NETWORK_ANSWER, **_FIRST, response="00", network=Network.ECHO),
        "30383130 8220000002000000 0400000000000000" + _SENT + "303030303031" + "3030" + "333031",
    ),
)
