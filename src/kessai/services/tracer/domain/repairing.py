"""Which differences are repaired by rule, and how. What no rule covers is for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kessai.foundation.ids import derived_hex
from kessai.sdk.processing.api import ConsistencyReport, Difference, RepairAction
from kessai.services.tracer.domain.rules import RepairRule


class Order(NamedTuple):
    """What a service is to be told."""

    rule: str
    service: str
    action: RepairAction
    effect_id: str

    def repair_hex(self, processing_id: str) -> str:
        """Its 32 digits: the same whenever this is to be done to this effect."""
        return derived_hex("repair", processing_id, self.service, self.effect_id, self.action.value)


def orders_for(reports: Mapping[str, ConsistencyReport], rules: Sequence[RepairRule]) -> list[Order]:
    """What repairs all that these reports (by participant) differ in; nothing when any of it is under no rule."""
    orders: dict[Order, None] = {}
    for participant, report in reports.items():
        for difference in report.differences:
            rule = next((each for each in rules if _covers(each, participant, report, difference)), None)
            if rule is None:
                return []
            orders[Order(rule.name, rule.service, rule.action, difference.effect_id)] = None
    return list(orders)


def _covers(rule: RepairRule, participant: str, report: ConsistencyReport, found: Difference) -> bool:
    named = (rule.participant, rule.dependency, rule.difference)
    theirs = found.theirs
    if not rule.enabled or theirs is None or named != (participant, found.dependency, found.kind):
        return False
    if rule.amount_minor_max is not None and abs(theirs.amount_minor) > rule.amount_minor_max:
        return False
    nothing_taken = theirs.captured_minor == 0  # what was taken is given back by a payment, not let go of
    return nothing_taken and theirs.state in rule.theirs and _own_is(rule, report, found.effect_id)


def _own_is(rule: RepairRule, report: ConsistencyReport, effect_id: str) -> bool:
    if not rule.own:
        return all(each.effect_id != effect_id for each in report.effects)
    return bool(report.effects) and all(each.state in rule.own for each in report.effects)
