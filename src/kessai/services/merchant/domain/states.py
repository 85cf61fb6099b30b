"""The life of a merchant. Pure."""

from __future__ import annotations

from datetime import datetime

from kessai.foundation.errors import PaymentError, Refused
from kessai.services.merchant.api import MerchantState
from kessai.services.merchant.domain.standing import Standing

_S = MerchantState
REACHABLE: dict[MerchantState, frozenset[MerchantState]] = {
    _S.APPLIED: frozenset({_S.SCREENED, _S.CLOSED}),
    _S.SCREENED: frozenset({_S.ACTIVE, _S.CLOSED}),
    _S.ACTIVE: frozenset({_S.SUSPENDED}),
    _S.SUSPENDED: frozenset({_S.ACTIVE, _S.CLOSED}),
    _S.CLOSED: frozenset(),
}
"""From each state, the next ones. Who applied or was screened is declined by closing."""


def refuse_state(standing: Standing, state: MerchantState, now: datetime, *, collects: bool) -> PaymentError | None:
    """Why a merchant does not come into a state now; `collects`: it collects for others, now or later."""
    if state not in REACHABLE[standing.state]:
        return Refused(
            "state_not_reachable", f"A merchant that is {standing.state.value} does not become {state.value}."
        )
    if state is _S.ACTIVE and not standing.has_contract_since(now):
        return Refused("contract_required", "Agree a contract first.", merchant_id=standing.merchant_id)
    if state is _S.CLOSED and collects:
        return Refused("merchant_has_children", "It collects for others; let them be collected for elsewhere first.")
    return None
