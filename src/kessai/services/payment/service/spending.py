"""What customers have moved against their limits: remembered here, guarded in the database.

A new payment that counts raises its customer's row in the same flush; a memory that is behind cannot raise it, and is
read anew. So two payments cannot pass a limit together, in however many processes. A refusal always rests on what is
stored.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Refused
from kessai.sdk.workflow import Write
from kessai.services.ledger.api import GetAccount, Ledger, ListAccountTypes, account_id_of
from kessai.services.payment import domain, store
from kessai.services.payment.domain import PaymentKind, PaymentKinds, Usage
from kessai.services.payment.service.opening import New

REMEMBERED_MAX = 65_536


class Spending:
    """Checks limits, and gives the write that counts a payment."""

    def __init__(self, database: Database, ledger: Ledger, kinds: PaymentKinds) -> None:
        self._database = database
        self._ledger = ledger
        self._kinds = kinds
        self._known: OrderedDict[tuple[str, str], Usage] = OrderedDict()
        self._caps: dict[str, int | None] = {}

    def forget(self, customer_id: str, kind: str) -> None:
        """Read it anew next time."""
        self._known.pop((customer_id, kind), None)

    async def count(self, new: New, customer_id: str, now: datetime, *, later: bool) -> list[Write]:
        """The writes that count a new payment; of one whose value comes later, also towards its payee's cap.

        Raises `daily_limit_exceeded`, `monthly_limit_exceeded`; of one whose value comes later, `pending_above_cap`.
        """
        place, period = (customer_id, new.kind.name), domain.period_of(now)
        usage = self._known.pop(place, None)
        if usage is None or usage.period != period or not _fits(new, usage):
            paid = new.kind.payer == "customer"
            usage = await store.usage(self._database, customer_id, new.kind.name, period, paid=paid)
            domain.check_limits(new.amount_minor, usage, new.kind.limits)
        counted = await self._towards_cap(new) if later else []
        after = usage.and_also(new.amount_minor)
        self._known[place] = after
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return [store.spending_raise(customer_id, new.kind.name, after.version), *counted]

    async def _towards_cap(self, new: New) -> list[Write]:
        """What is there and what is still to come, by payments of whichever kind, must stay below the retention cap
        (滞留上限). The ledger's own cap is of what is there, so it cannot be the guard of what is to come."""
        account_type = new.payee_account_type or new.kind.payee_account_type
        if (cap := await self._cap_of(account_type)) is None:
            return []
        same = [kind.name for kind in self._kinds if account_type in _paid_to(kind)]
        guard = f"to:{account_type}"
        pending = await store.pending_for(self._database, new.payee_id, same, guard)
        account = await self._ledger.get_account(GetAccount(account_id=account_id_of(new.payee_id, account_type)))
        after = account.balance_minor + pending.minor + new.amount_minor
        if after > cap:
            raise Refused(
                "pending_above_cap",
                f"With {pending.minor} still to come, the account would hold more than {cap}.",
                cap_minor=cap,
                pending_minor=pending.minor,
            )
        if after + pending.undecided_minor > cap:
            raise domain.Busy("payment_busy", "What comes of other payments to this account decides; try again.")
        return [store.spending_raise(new.payee_id, guard, pending.version + 1)]

    async def _cap_of(self, account_type: str) -> int | None:
        if not self._caps:
            types = await self._ledger.list_account_types(ListAccountTypes())
            self._caps = {each.account_type: each.retention_cap_minor for each in types.types}
        return self._caps.get(account_type)


def _paid_to(kind: PaymentKind) -> tuple[str, ...]:
    return (kind.payee_account_type, *kind.payee_account_types)


def _fits(new: New, usage: Usage) -> bool:
    try:
        domain.check_limits(new.amount_minor, usage, new.kind.limits)
    except PaymentError:
        return False
    return True
