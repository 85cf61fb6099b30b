"""Settlement's durable work: fees issued by the page, days closed, cycles made, cleared and paid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.services.books.api import Books
from kessai.services.identity.api import Approval, ConsumeApproval
from kessai.services.merchant.api import Merchant
from kessai.services.payment.api import Payment
from kessai.services.settlement.domain.configuration import SettlementConfig
from kessai.services.tracer.api import Tracer

if TYPE_CHECKING:
    from kessai.sdk.workflow import Engine

__all__ = ["Approvals", "Deps"]


class Approvals(Protocol):
    """Where a second person's consent is kept; identity's door is one."""

    async def consume_approval(self, request: ConsumeApproval, /) -> Approval:
        """Use an approval up for one act; idempotent by its consumer. Refuses one that is not for this very content."""
        ...


@dataclass(slots=True, eq=False, weakref_slot=True)
class Deps:
    """Whom settlement works with."""

    database: Database
    clock: Clock
    merchants: Merchant
    payment: Payment
    tracer: Tracer
    books: Books | None
    config: SettlementConfig
    approvals: Approvals | None = None
    running: Engine[Deps] | None = None
    """This process's executor, for work that begins further work."""

    @property
    def engine(self) -> Engine[Deps]:
        """The executor; set once the service is made."""
        assert self.running is not None, "the service sets it"
        return self.running
