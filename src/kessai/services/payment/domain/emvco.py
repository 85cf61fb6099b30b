"""EMVCo merchant-presented QR: data objects of two digits of id, two of length, and a value; the last is a checksum.

Source: EMV QR Code Specification for Payment Systems, Merchant-Presented Mode, version 1.1. Lengths count characters;
the checksum is over the UTF-8 bytes of everything before it, its own id and length included.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping

import msgspec

from kessai.foundation.errors import Invalid
from kessai.services.payment.api.codes import QR_CHARACTERS_MAX, QrContent

FORMAT = "00"
INITIATION = "01"
MERCHANT_ACCOUNT = "26"
MERCHANT_ACCOUNTS = tuple(f"{number:02}" for number in range(26, 52))
"""Templates that any network may use; each begins with the network's globally unique id."""
CATEGORY, CURRENCY, AMOUNT, COUNTRY, NAME, CITY = "52", "53", "54", "58", "59", "60"
TIPS = ("55", "56", "57")
ADDITIONAL, CHECKSUM, LOCAL = "62", "63", "64"

STATIC = "11"
"""The same QR for any number of payments."""
CURRENCIES: Mapping[str, str] = {"JPY": "392"}
"""ISO 4217 numeric."""
COUNTRY_CODE = "JP"
CHECKSUM_HEAD = f"{CHECKSUM}04"

_ADDITIONAL = (
    ("01", "bill_number"),
    ("03", "store_label"),
    ("05", "reference_label"),
    ("07", "terminal_label"),
    ("08", "purpose"),
)
_LOCAL = (("00", "language"), ("01", "local_name"), ("02", "local_city"))
_OURS = (("01", "merchant_id"), ("02", "shop_id"))
_TEXTS = ((CATEGORY, "category_code"), (NAME, "name"), (CITY, "city"))

_AMOUNT = re.compile(r"[1-9][0-9]{0,12}", re.ASCII)
_HEAD = re.compile(r"[0-9]{4}", re.ASCII)
_CHECKSUM = re.compile(r"[0-9A-F]{4}")


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, beginning with 0xFFFF (ISO/IEC 13239, as EMVCo uses it)."""
    return binascii.crc_hqx(data, 0xFFFF)


# -- making ---------------------------------------------------------------------------------------------------------


def make(content: QrContent, globally_unique_id: str) -> str:
    """The text of a static QR; raises Invalid `qr_unsupported`, `qr_too_long`."""
    check_supported(content)
    fields = [
        (FORMAT, "01"),
        (INITIATION, STATIC),
        (MERCHANT_ACCOUNT, _template([("00", globally_unique_id), *_pairs(content, _OURS)])),
        (CATEGORY, content.category_code),
        (CURRENCY, CURRENCIES[content.asset]),
        (AMOUNT, "" if content.amount_minor is None else str(content.amount_minor)),
        (COUNTRY, COUNTRY_CODE),
        (NAME, content.name),
        (CITY, content.city),
        (ADDITIONAL, _template(_pairs(content, _ADDITIONAL))),
        (LOCAL, _template(_pairs(content, _LOCAL))),
    ]
    text = _template(fields) + CHECKSUM_HEAD
    if len(text) + 4 > QR_CHARACTERS_MAX:
        raise _too_long()
    return text + f"{crc16(text.encode()):04X}"


def check_supported(content: QrContent) -> None:
    """Raises Invalid `qr_unsupported`: what a static QR cannot say."""
    if content.asset not in CURRENCIES:
        raise Invalid("qr_unsupported", f"A QR is paid in {', '.join(CURRENCIES)}.", field="asset")
    if content.amount_minor is not None and not _AMOUNT.fullmatch(str(content.amount_minor)):
        raise Invalid("qr_unsupported", "An amount has at most 13 digits in a QR.", field="amount_minor")
    if (content.language is None) != (content.local_name is None):
        raise Invalid("qr_unsupported", "language and local_name come together.", field="language")
    if content.local_city is not None and content.local_name is None:
        raise Invalid("qr_unsupported", "local_city needs local_name.", field="local_city")


def _pairs(content: QrContent, fields: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(field, getattr(content, name) or "") for field, name in fields]


def _template(fields: list[tuple[str, str]]) -> str:
    """Fields that have a value, one after the other."""
    return "".join(_field(field, value) for field, value in fields if value)


def _field(field: str, value: str) -> str:
    if len(value) > 99:
        raise _too_long()
    return f"{field}{len(value):02}{value}"


def _too_long() -> Invalid:
    return Invalid("qr_too_long", "That does not fit into a QR; shorten names, ids or labels.")


# -- reading --------------------------------------------------------------------------------------------------------


def read(text: str, globally_unique_id: str) -> QrContent:
    """What a scanned QR says.

    Raises Invalid `qr_malformed`, `qr_checksum_wrong`, `qr_not_ours`, `qr_unsupported`, `qr_amount_invalid`.
    """
    fields = _checked(text)
    ours = _our_account(fields, globally_unique_id)
    _refuse_unsupported(fields)
    said: dict[str, object] = {"asset": _asset(fields), "amount_minor": _amount(fields)}
    said |= _named(ours, _OURS)
    said |= _named(_inner(fields, ADDITIONAL), _ADDITIONAL)
    said |= _named(_inner(fields, LOCAL), _LOCAL)
    said |= _named(fields, _TEXTS)
    try:
        content = msgspec.convert({name: value for name, value in said.items() if value is not None}, QrContent)
    except msgspec.ValidationError as error:
        raise _malformed(str(error)) from None
    check_supported(content)
    return content


def _checked(text: str) -> dict[str, str]:
    """The outermost fields of a text whose checksum is right."""
    if len(text) > QR_CHARACTERS_MAX or text[-8:-4] != CHECKSUM_HEAD or not _CHECKSUM.fullmatch(text[-4:]):
        raise _malformed("It does not end with a checksum.")
    if f"{crc16(text[:-4].encode()):04X}" != text[-4:]:
        raise Invalid("qr_checksum_wrong", "The QR was not read right: its checksum differs.")
    fields = fields_of(text[:-8])
    if next(iter(fields), None) != FORMAT or fields[FORMAT] != "01":
        raise _malformed("It does not begin with the payload format 01.")
    for needed in (CATEGORY, CURRENCY, COUNTRY, NAME, CITY):
        if needed not in fields:
            raise _malformed(f"Field {needed} is missing.")
    return fields


def fields_of(text: str) -> dict[str, str]:
    """Fields by id, in their order; raises Invalid `qr_malformed` unless they fill the text, each once."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(text):
        head = text[at : at + 4]
        if not _HEAD.fullmatch(head):
            raise _malformed(f"No field begins at character {at}.")
        length = int(head[2:])
        value = text[at + 4 : at + 4 + length]
        if not length or len(value) != length or head[:2] in fields:
            raise _malformed(f"Field {head[:2]} is empty, cut off, or there twice.")
        fields[head[:2]] = value
        at += 4 + length
    return fields


def _our_account(fields: Mapping[str, str], globally_unique_id: str) -> dict[str, str]:
    """The merchant account of our own network; other networks may share the QR."""
    accounts = [fields_of(fields[field]) for field in MERCHANT_ACCOUNTS if field in fields]
    ours = [account for account in accounts if account.get("00") == globally_unique_id]
    if not ours:
        raise Invalid("qr_not_ours", "The QR is of another payment network.")
    if len(ours) > 1:
        raise _malformed("It names two merchants of this network.")
    return ours[0]


def _refuse_unsupported(fields: Mapping[str, str]) -> None:
    if fields.get(INITIATION, STATIC) != STATIC:
        raise Invalid("qr_unsupported", "The QR is of one payment only.", field=INITIATION)
    if fields[CURRENCY] not in CURRENCIES.values():
        raise Invalid("qr_unsupported", "The QR asks for another currency.", field=CURRENCY)
    if fields[COUNTRY] != COUNTRY_CODE:
        raise Invalid("qr_unsupported", "The QR is of another country.", field=COUNTRY)
    if any(tip in fields for tip in TIPS):
        raise Invalid("qr_unsupported", "The QR asks for a tip.", field=TIPS[0])


def _asset(fields: Mapping[str, str]) -> str:
    return next(asset for asset, numeric in CURRENCIES.items() if numeric == fields[CURRENCY])


def _amount(fields: Mapping[str, str]) -> int | None:
    if (amount := fields.get(AMOUNT)) is None:
        return None
    if not _AMOUNT.fullmatch(amount):
        raise Invalid("qr_amount_invalid", "The amount is not whole yen above zero.", field=AMOUNT)
    return int(amount)


def _inner(fields: Mapping[str, str], template: str) -> dict[str, str]:
    return fields_of(fields[template]) if template in fields else {}


def _named(fields: Mapping[str, str], names: tuple[tuple[str, str], ...]) -> dict[str, object]:
    return {name: fields.get(field) for field, name in names}


def _malformed(why: str) -> Invalid:
    return Invalid("qr_malformed", f"This is no merchant's QR. {why}")
