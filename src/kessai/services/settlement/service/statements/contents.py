"""What is in a statement and in an invoice: everything from rows, nothing from the clock."""

from __future__ import annotations

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection
from kessai.services.settlement.api.statements import ClaimInvoice, Party, Statement, StatementLine, TaxLine
from kessai.services.settlement.domain.claims import Claim
from kessai.services.settlement.domain.cycle_rules import CycleRules
from kessai.services.settlement.domain.cycles import PayeeTerms
from kessai.services.settlement.domain.invoice import rate_totals
from kessai.services.settlement.domain.payouts import Payout, PayoutState
from kessai.services.settlement.store import cycles
from kessai.services.settlement.store.cycles import Summary

NOT_CHARGED = (PayoutState.FAILED, PayoutState.RETURNED)
"""States in which the transfer fee goes back."""


async def statement_of(connection: Connection, summary: Summary, payout: Payout, rules: CycleRules) -> Statement:
    """The statement of a cycle with its payout as it stands."""
    rows = await cycles.lines_of(connection, summary.payee_id, summary.cycle_id)
    lines = [StatementLine(**dict(row)) for row in rows]
    charges = await cycles.fees_by_rate(connection, summary)
    fee = 0 if payout.state in NOT_CHARGED else payout.transfer_fee_minor
    if fee:
        charges = [*charges, (rules.fees.transfer_fee_tax_bps, fee)]
    return Statement(
        payee_id=summary.payee_id,
        cycle_id=f"cyc_{summary.cycle_id}",
        first_day=summary.first_day,
        last_day=summary.last_day,
        issued_on=business_date(summary.made_at),
        issuer=_issuer(rules),
        recipient=_recipient(summary.terms),
        lines=lines,
        sales_minor=summary.sales_minor,
        refunds_minor=summary.refunds_minor,
        fees_minor=summary.fees_minor - summary.fee_refunds_minor,
        adjustments_minor=summary.added_minor - summary.taken_minor,
        net_minor=summary.net_minor,
        shortfall_minor=summary.shortfall_minor,
        carried_minor=payout.carried_minor,
        failed_minor=payout.failed_minor,
        offset_minor=payout.offset_minor,
        payable_minor=payout.payable_minor,
        transfer_fee_minor=payout.transfer_fee_minor,
        amount_minor=payout.amount_minor,
        claim_minor=payout.claim_minor,
        payout_id=f"spo_{payout.payout_id}",
        payout_state=payout.state.value,
        pay_on=payout.pay_on,
        taxes=tax_lines(charges),
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
