"""What is in a statement and in an invoice: everything from rows, but for the day on which it is issued."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from msgspec.structs import replace

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection
from kessai.services.settlement.api.statements import (
    ClaimInvoice,
    Party,
    ReturnLine,
    Statement,
    StatementLine,
    StatementPayout,
    TaxLine,
)
from kessai.services.settlement.domain.claims import Claim
from kessai.services.settlement.domain.cycle_rules import CycleRules
from kessai.services.settlement.domain.cycles import PayeeTerms
from kessai.services.settlement.domain.invoice import rate_totals
from kessai.services.settlement.domain.payouts import Payout, PayoutState
from kessai.services.settlement.store import cycles
from kessai.services.settlement.store.cycles import Charged, Summary

NOT_CHARGED = (PayoutState.FAILED, PayoutState.RETURNED)
"""States in which nothing is paid, and the transfer fee goes back."""


async def statement_of(
    connection: Connection, summary: Summary, payouts: Sequence[Payout], rules: CycleRules, issued_on: date
) -> Statement:
    """The statement of a cycle with its payouts as they stand; which version it is, is not known yet."""
    rows = await cycles.lines_of(connection, summary.payee_id, summary.cycle_id)
    charged = await cycles.fees_by_rate(connection, summary)
    charges = [(each.rate_bps, each.amount_minor) for each in charged if not each.given_back]
    told = [_payout(each) for each in payouts]
    if fee := sum(each.transfer_fee_minor for each in told):
        charges = [*charges, (rules.fees.transfer_fee_tax_bps, fee)]
    return Statement(
        payee_id=summary.payee_id,
        cycle_id=f"cyc_{summary.cycle_id}",
        first_day=summary.first_day,
        last_day=summary.last_day,
        issued_on=issued_on,
        issuer=_issuer(rules),
        recipient=_recipient(summary.terms),
        lines=[StatementLine(**dict(row)) for row in rows],
        sales_minor=summary.sales_minor,
        refunds_minor=summary.refunds_minor,
        fees_minor=summary.fees_minor - summary.fee_refunds_minor,
        adjustments_minor=summary.added_minor - summary.taken_minor,
        net_minor=summary.net_minor,
        shortfall_minor=summary.shortfall_minor,
        carried_minor=sum(each.carried_minor for each in payouts),
        failed_minor=sum(each.failed_minor for each in payouts),
        offset_minor=sum(each.offset_minor for each in payouts),
        payable_minor=sum(each.payable_minor for each in payouts),
        transfer_fee_minor=fee,
        amount_minor=sum(each.amount_minor for each in told),
        claim_minor=min(each.claim_minor for each in payouts),
        payout_id=told[0].payout_id,
        payout_state=", ".join(dict.fromkeys(each.state for each in told)),
        pay_on=max(each.pay_on for each in payouts),
        taxes=tax_lines(charges),
        returns=[_return_line(each) for each in charged if each.given_back],
        payouts=told,
        version=0,
        corrects=None,
    )


def says_the_same(one: Statement, other: Statement) -> bool:
    """Whether two statements differ in nothing but when they were issued, and how far a payment has come."""
    return _lasting(one) == _lasting(other)


def _lasting(of: Statement) -> Statement:
    payouts = [replace(each, state="" if each.amount_minor else each.state) for each in of.payouts]
    return replace(of, issued_on=date.min, payout_state="", payouts=payouts, version=0, corrects=None)


def _payout(payout: Payout) -> StatementPayout:
    nothing = payout.state in NOT_CHARGED
    return StatementPayout(
        payout_id=f"spo_{payout.payout_id}",
        state=payout.state.value,
        pay_on=payout.pay_on,
        payable_minor=payout.payable_minor,
        transfer_fee_minor=0 if nothing else payout.transfer_fee_minor,
        amount_minor=0 if nothing else payout.amount_minor,
    )


def _return_line(each: Charged) -> ReturnLine:
    (total,) = rate_totals([(each.rate_bps, each.amount_minor)])
    return ReturnLine(
        rate_bps=each.rate_bps,
        gross_minor=total.gross_minor,
        base_minor=total.base_minor,
        tax_minor=total.tax_minor,
        returned_from=each.settled_from,
        returned_until=each.settled_until,
        charged_from=each.charged_from,
        charged_until=each.charged_until,
    )


def tax_lines(charges: list[tuple[int, int]]) -> list[TaxLine]:
    """One line a rate, its tax rounded once."""
    return [
        TaxLine(
            rate_bps=each.rate_bps,
            gross_minor=each.gross_minor,
            base_minor=each.base_minor,
            tax_minor=each.tax_minor,
        )
        for each in rate_totals(charges)
    ]


def invoice_of(claim: Claim, summary: Summary, rules: CycleRules) -> ClaimInvoice:
    """The invoice of a claim, with what was settled of it so far."""
    return ClaimInvoice(
        claim_id=f"clm_{claim.claim_id}",
        payee_id=claim.payee_id,
        cycle_id=f"cyc_{claim.cycle_id}",
        issued_on=business_date(claim.made_at),
        due_on=claim.due_on,
        issuer=_issuer(rules),
        recipient=_recipient(summary.terms),
        first_day=summary.first_day,
        last_day=summary.last_day,
        amount_minor=claim.amount_minor,
        offset_minor=claim.offset_minor,
        collected_minor=claim.collected_minor,
        owed_minor=claim.owed_minor,
    )


def _issuer(rules: CycleRules) -> Party:
    return Party(name=rules.issuer.name, id=None, registration_number=rules.issuer.registration_number)


def _recipient(terms: PayeeTerms) -> Party:
    return Party(name=terms.name, id=terms.payee_id, registration_number=terms.registration_number)
