"""How a statement's and an invoice's parts are called and ordered, the same in CSV and PDF."""

from __future__ import annotations

from datetime import date
from typing import TypeAlias

from kessai.services.settlement.api.statements import ClaimInvoice, ReturnLine, Statement, TaxLine

Cell: TypeAlias = str | int | date
RATE_EXEMPT = "非課税"
STATEMENT, INVOICE = "精算明細書 兼 適格請求書・適格返還請求書", "請求書"
LINES = ("日付", "加盟店", "決済方法", "売上", "返金", "手数料", "手数料返金", "調整", "差引", "件数", "うち遅延")
TAXES = ("税率", "税込額", "税抜額", "消費税額")
RETURNS = ("返還 税率", "税込額", "税抜額", "消費税額", "返還日", "元の取引日")


def heading(of: Statement | ClaimInvoice) -> list[tuple[str, Cell]]:
    """Who issues it to whom, when, about which days."""
    return [
        ("発行者", of.issuer.name),
        ("登録番号", of.issuer.registration_number or ""),
        ("発行日", of.issued_on),
        ("宛先", of.recipient.name),
        ("加盟店ID", of.recipient.id or ""),
        ("宛先の登録番号", of.recipient.registration_number or ""),
        ("対象期間", f"{of.first_day} – {of.last_day}"),
        *([("版", _version(of))] if isinstance(of, Statement) else []),
    ]


def figures(of: Statement | ClaimInvoice) -> list[tuple[str, Cell]]:
    """What it comes to."""
    if isinstance(of, ClaimInvoice):
        return [
            ("請求番号", of.claim_id),
            ("支払期限", of.due_on),
            ("売上の不足額 (赤残)", of.amount_minor),
            ("相殺済み", -of.offset_minor),
            ("入金済み", -of.collected_minor),
            ("ご請求額", of.owed_minor),
        ]
    return [
        ("売上", of.sales_minor),
        ("返金", -of.refunds_minor),
        ("決済手数料 (税込)", -of.fees_minor),
        ("調整", of.adjustments_minor),
        ("差引売上", of.net_minor),
        ("うち赤残 (請求へ)", of.shortfall_minor),
        ("前回繰越", of.carried_minor),
        ("振込不能分", of.failed_minor),
        ("債権との相殺", -of.offset_minor),
        ("支払対象額", of.payable_minor),
        ("振込手数料 (税込)", -of.transfer_fee_minor),
        ("お振込額", of.amount_minor),
        ("未収の請求残高", of.claim_minor),
        ("お振込日", of.pay_on),
        ("状態", of.payout_state),
    ]


def lines(of: Statement) -> list[list[Cell]]:
    """Its days, in the order of `LINES`."""
    return [
        [
            each.day,
            each.merchant_id,
            each.method,
            each.sales_minor,
            -each.refunds_minor,
            -each.fees_minor,
            each.fee_refunds_minor,
            each.added_minor - each.taken_minor,
            each.net_minor,
            each.transactions,
            each.late,
        ]
        for each in of.lines
    ]


def tax_rows(of: Statement) -> list[list[Cell]]:
    """Its taxes, in the order of `TAXES`."""
    return [[rate_text(each), each.gross_minor, each.base_minor, each.tax_minor] for each in of.taxes]


def return_rows(of: Statement) -> list[list[Cell]]:
    """What was given back of fees, in the order of `RETURNS`."""
    return [
        [
            rate_text(each),
            each.gross_minor,
            each.base_minor,
            each.tax_minor,
            _days(each.returned_from, each.returned_until),
            _days(each.charged_from, each.charged_until),
        ]
        for each in of.returns
    ]


def _days(first: date, last: date) -> str:
    return f"{first}" if first == last else f"{first} – {last}"


def _version(of: Statement) -> str:
    """`1`; `2 (1 の訂正)`; one that is not issued yet says so."""
    if not of.version:
        return "未発行"
    return f"{of.version}" if of.corrects is None else f"{of.version} ({of.corrects} の訂正)"


def rate_text(line: TaxLine | ReturnLine) -> str:
    """`10%`, `8%`, 非課税."""
    whole, part = divmod(line.rate_bps, 100)
    return RATE_EXEMPT if line.rate_bps == 0 else f"{whole}%" if not part else f"{whole}.{part:02d}%"
