"""Headers, lines and files for the tests of the format."""

from __future__ import annotations

from datetime import date
from typing import Any

from hypothesis import strategies as st

from kessai.foundation.calendar import business_day_on_or_after
from kessai.sdk import zengin
from kessai.sdk.zengin import DepositType, Header, Kind, Line

DAY = date(2026, 4, 30)
LETTERS = "ｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾅﾆﾇﾈﾉﾊﾋﾌﾍﾎﾏﾐﾑﾒﾓﾔﾕﾖﾗﾘﾙﾚﾛﾜﾝﾞﾟABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ().-"
WIDE = "アガパぁがぱっョヶーＡｚ９　（）－．ｰｯ゛゜ヴabc" + LETTERS


def header(**other: Any) -> Header:
    """A header of transfers."""
    plain: dict[str, Any] = {
        "kind": Kind.TRANSFER,
        "client_code": "0123456789",
        "client_name": "ｶ)ｹﾂｻｲ",
        "day": DAY,
        "bank_code": "0005",
        "bank_name": "ﾐﾂﾋﾞｼUFJ",
        "branch_code": "001",
        "branch_name": "ﾎﾝﾃﾝ",
        "deposit_type": DepositType.ORDINARY,
        "account_number": "1234567",
    }
    return Header(**plain | other)


def line(**other: Any) -> Line:
    """A transfer."""
    plain: dict[str, Any] = {
        "bank_code": "0009",
        "bank_name": "ﾐﾂｲｽﾐﾄﾓ",
        "branch_code": "123",
        "branch_name": "ｼﾝｼﾞﾕｸ",
        "deposit_type": DepositType.ORDINARY,
        "account_number": "7654321",
        "name": "ﾔﾏﾀﾞ ﾀﾛｳ",
        "amount": 1_000,
    }
    return Line(**plain | other)


def file_of(*lines: Line, newline: bool = True, **other: Any) -> bytes:
    """A file of these lines, or of one."""
    return zengin.write(header(**other), lines or [line()], newline=newline)


def digits(length: int) -> st.SearchStrategy[str]:
    """So many digits."""
    return st.integers(0, 10**length - 1).map(lambda number: f"{number:0{length}d}")


def texts(length: int, letters: str = LETTERS, *, needed: bool = False) -> st.SearchStrategy[str]:
    """Texts that fit into so many bytes."""
    plain = st.text(letters, min_size=int(needed), max_size=length)
    return plain.filter(lambda text: len(zengin.kana(text)) <= length and (not needed or zengin.kana(text) != ""))


@st.composite
def files(draw: st.DrawFn, letters: str = LETTERS) -> tuple[Header, list[Line], bool]:
    """A header, its lines, and whether records end with CR LF."""
    kind = draw(st.sampled_from(Kind))
    amounts = draw(st.lists(st.integers(1, 9_999_999_999), min_size=1, max_size=6))
    answered = kind is Kind.DEBIT and draw(st.booleans())
    lines = [draw(_lines(kind, letters, amount, answered)) for amount in amounts]
    head = st.builds(
        Header,
        kind=st.just(kind),
        client_code=digits(10),
        client_name=texts(40, letters, needed=True),
        day=st.dates(date(2020, 1, 1), date(2040, 1, 1)).map(business_day_on_or_after),
        bank_code=digits(4),
        bank_name=texts(15, letters),
        branch_code=digits(3),
        branch_name=texts(15, letters),
        deposit_type=st.sampled_from([DepositType.ORDINARY, DepositType.CURRENT, DepositType.OTHER]),
        account_number=digits(7),
    )
    return draw(head), lines, draw(st.booleans())


def _lines(kind: Kind, letters: str, amount: int, answered: bool) -> st.SearchStrategy[Line]:
    debit = kind is Kind.DEBIT
    plain: dict[str, Any] = {
        "bank_code": digits(4),
        "bank_name": texts(15, letters),
        "branch_code": digits(3),
        "branch_name": texts(15, letters),
        "deposit_type": st.sampled_from([DepositType.ORDINARY, DepositType.TAX if debit else DepositType.SAVINGS]),
        "account_number": digits(7),
        "name": texts(30, letters, needed=True),
        "amount": st.just(amount),
        "new_code": st.sampled_from([0, 1, 2]),
    }
    coded = st.builds(Line, **plain, customer_code_1=digits(10), customer_code_2=digits(10), delivery=st.just(7))
    if debit:
        results = st.sampled_from([each.value for each in zengin.DebitResult]) if answered else st.none()
        return st.builds(Line, **plain, customer_code_1=digits(10), customer_code_2=digits(10), result=results)
    with_edi = st.builds(Line, **plain, edi=texts(20, letters), delivery=st.sampled_from([7, 8]))
    return st.one_of(coded, with_edi)
