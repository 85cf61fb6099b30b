"""The commonest exchange, recognised at a glance: one account pays another, at once, and nothing stands in the way.

It only ever says yes: whatever is unusual, or would be refused, goes the long way of `create`, which checks each
point in the documented order. What it accepts, the long way would accept too, with the same entries.
"""

from __future__ import annotations

from typing import Protocol

from kessai.foundation.money import AMOUNT_MINOR_MAX, BALANCE_MINOR_MAX
from kessai.services.ledger.api import Freeze, Leg
from kessai.services.ledger.domain.commands import Create
from kessai.services.ledger.domain.state import AccountState


class Accounts(Protocol):
    """The part of memory that is looked at."""

    accounts: dict[str, AccountState]


def plain_pair(memory: Accounts, command: Create) -> tuple[AccountState, AccountState] | None:
    """Source and target of a plain exchange; None for every other, and for one that may not be done."""
    request = command.request
    if len(command.accounts) != 2 or not request.capture or request.rate is not None or len(request.sources) != 1:
        return None
    source, target = memory.accounts.get(command.accounts[0]), memory.accounts.get(command.accounts[1])
    if source is None or target is None or source is target:
        return None
    giving, taking = request.sources[0], request.targets[0]
    amount = giving.amount_minor
    if type(amount) is not int or type(taking.amount_minor) is not int or amount != taking.amount_minor:
        return None
    if not 0 < amount <= AMOUNT_MINOR_MAX or command.exchange_id[:4] != "exc_":
        return None
    if _plain(giving, source) and _plain(taking, target) and giving.asset == taking.asset:
        return (source, target) if _may_give(source, amount) and _may_take(target, amount) else None
    return None


def _plain(leg: Leg, account: AccountState) -> bool:
    """A leg that names its account by id and asks for nothing else, and an account that is open both ways."""
    return (
        leg.account_id == account.account_id
        and leg.asset == account.type.asset
        and leg.owner is None
        and leg.account_type is None
        and not leg.balancing
        and leg.expires_at is None
        and leg.balance_at_least_minor is None
        and leg.version_equals is None
        and not account.closed
        and account.freeze is Freeze.NONE
        and account.type.plain
    )


def _may_give(account: AccountState, amount: int) -> bool:
    return account.type.spending_cap_minor is None and account.balance - account.held + account.overdraft >= amount


def _may_take(account: AccountState, amount: int) -> bool:
    after = account.balance + account.incoming + amount
    cap = account.type.retention_cap_minor
    return after <= (BALANCE_MINOR_MAX if cap is None else cap)
