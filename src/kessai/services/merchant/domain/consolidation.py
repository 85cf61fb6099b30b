"""入金集約: who collects for whom. Pure.

One level: who collects for others has nobody who collects for it, at any instant. So there is no cycle either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kessai.foundation.errors import PaymentError, Refused
from kessai.services.merchant.api import MerchantState
from kessai.services.merchant.domain.standing import Agreed, Standing
from kessai.services.merchant.domain.timeline import Stretch, Timeline, before


def refuse_parent(
    child: Standing, parent: Standing, children: Sequence[Standing], valid_from: datetime
) -> PaymentError | None:
    """Why a merchant is not collected for by another from an instant on.

    `children`: whoever is, was or will be collected for by `child`.
    """
    if parent.state is MerchantState.CLOSED:
        return Refused("parent_closed", "Who is to collect is closed.", parent_id=parent.merchant_id)
    stretch = Stretch(valid_from, child.parents.next_after(valid_from), parent.merchant_id)
    if any(each.overlaps(stretch) for each in _under_somebody(parent)):
        return Refused(
            "parent_has_parent", "Who is to collect is collected for by another then.", parent_id=parent.merchant_id
        )
    if any(each.overlaps(stretch) for each in collected_by(child.merchant_id, children)):
        return Refused("merchant_has_children", "It collects for others then.", merchant_id=child.merchant_id)
    if not parent.has_contract_throughout(stretch.since, stretch.until):
        text = "Who is to collect has no contract then, by which it would be paid."
        return Refused("parent_without_contract", text, parent_id=parent.merchant_id)
    return None


def refuse_end_of_contract(
    parent: Standing, children: Sequence[Standing], agreed: Agreed, valid_from: datetime
) -> PaymentError | None:
    """Why a contract that ends is not agreed: others would be collected for by somebody who has none.

    `children`: whoever is, was or will be collected for by `parent`.
    """
    before_it = [(each.since, each.value) for each in parent.contracts.stretches()]
    after = replace(parent, contracts=Timeline([*before_it, (valid_from, agreed)]))
    for each in collected_by(parent.merchant_id, children):
        since = max(each.since, valid_from)
        if before(since, each.until) and not after.has_contract_throughout(since, each.until):
            return Refused("merchant_has_children", "It collects for others when the contract has ended.",
                           merchant_id=parent.merchant_id)  # fmt: skip
    return None


def collected_by(merchant_id: str, children: Sequence[Standing]) -> list[Stretch[str | None]]:
    """When a merchant collects for each of them."""
    return [each for child in children for each in _under_somebody(child) if each.value == merchant_id]


def collects_since(merchant_id: str, children: Sequence[Standing], instant: datetime) -> bool:
    """Whether a merchant collects for one of them at an instant or later."""
    return any(before(instant, each.until) for each in collected_by(merchant_id, children))


def _under_somebody(standing: Standing) -> list[Stretch[str | None]]:
    return [each for each in standing.parents.stretches() if each.value is not None]
