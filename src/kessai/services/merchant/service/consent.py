"""Four eyes: the consent of a second person, used up for one act."""

from __future__ import annotations

from dataclasses import dataclass

from kessai.foundation.errors import Refused
from kessai.services.identity.api import ConsumeApproval
from kessai.services.merchant.gateways import Approvals


@dataclass(frozen=True, slots=True)
class Act:
    """What is to be done, as its approval names it."""

    act_id: str
    subject: str
    action: str
    content_sha256: str
    approval_id: str | None


@dataclass(frozen=True, slots=True)
class Consent:
    """Who approved, by which approval; nobody, where nobody had to."""

    approval_id: str | None = None
    approved_by: str | None = None


class Consents:
    """Asks for consent where it is needed."""

    def __init__(self, approvals: Approvals | None) -> None:
        self._approvals = approvals

    async def use(self, act: Act) -> Consent:
        """Use the act's approval up; the same act again gets the same. Raises what the verbs list under APPROVAL."""
        if act.approval_id is None:
            raise Refused("approval_required", "A second person has to approve this.", action=act.action)
        if self._approvals is None:
            raise Refused("approvals_not_available", "No approvals are kept here.")
        approval = await self._approvals.consume_approval(
            ConsumeApproval(
                approval_id=act.approval_id,
                consumer_id=act.act_id,
                subject=act.subject,
                action=act.action,
                content_sha256=act.content_sha256,
            )
        )
        return Consent(act.approval_id, approval.approved_by or "unknown")
