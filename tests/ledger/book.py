"""A small language in which the tests of the ledger are written.

    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1_000")
    await book.hold("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    await book.capture("order", 200)

An account is `owner/type`. A leg is an account, an amount and marks; legs are joined by ` + `, sides by ` > `.
Marks: `<=300` (balancing), `returning`, an asset (`300 BTC`), `expires=30d`, `balance>=500`, `version=3`.
Exchanges are called by names; their ids are derived from them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kessai.foundation.contract import Message
from kessai.foundation.db import Database
from kessai.foundation.ids import derived_hex
from kessai.services.ledger import api
from kessai.services.ledger.api import Account, Exchange, Freeze, Ledger, Leg, Lot, account_id_of
from kessai.services.ledger.domain.types import AccountTypes
from kessai.services.ledger.jobs import LedgerJobs
from kessai.services.ledger.service import LedgerService

FIRST_INSTANT = datetime(2026, 4, 1, 0, 0, tzinfo=UTC)
PAGE = 1000


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime = FIRST_INSTANT) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, **step: float) -> datetime:
        """Move forward by `timedelta(**step)`; gives the new instant."""
        self._now += timedelta(**step)
        return self._now


def account_id(account: str) -> str:
    """`owner/type` → account id; an id stays as it is."""
    if account.startswith("acc_"):
        return account
    owner, account_type = account.rsplit("/", 1)
    return account_id_of(owner, account_type)


def exchange_id(name: str) -> str:
    """The id that stands for an exchange's name."""
    return name if name.startswith("exc_") else "exc_" + derived_hex("test", name)


def action_id(name: str) -> str:
    """The id that stands for an action's name."""
    return "act_" + derived_hex("test", name)


_MARK = re.compile(r"^(?P<key>balance>=|version=|expires=)(?P<value>-?[\d_]+)d?$")


class Book:
    """A ledger, a clock and short words for both."""

    def __init__(self, ledger: Ledger, clock: FakeClock, jobs: LedgerJobs) -> None:
        self.ledger = ledger
        self.clock = clock
        self.jobs = jobs
        self._assets: dict[str, str] = {}

    async def ready(self) -> Book:
        """Learn the configured types' assets."""
        types = (await self.ledger.list_account_types(api.ListAccountTypes())).types
        self._assets = {each.account_type: each.asset for each in types}
        return self

    # -- accounts

    async def open(self, *accounts: str, limit: int | None = None, metadata: dict[str, str] | None = None) -> Account:
        """Open accounts; gives the last one."""
        opened = None
        for account in accounts:
            owner, account_type = account.rsplit("/", 1)
            request = api.OpenAccount(
                owner=owner, account_type=account_type, overdraft_limit_minor=limit, metadata=metadata or {}
            )
            opened = await self.ledger.open_account(request)
        assert opened is not None
        return opened

    async def account(self, account: str) -> Account:
        return await self.ledger.get_account(api.GetAccount(account_id=account_id(account)))

    async def freeze(self, account: str, freeze: Freeze) -> Account:
        return await self.ledger.freeze_account(api.FreezeAccount(account_id=account_id(account), freeze=freeze))

    async def close(self, account: str) -> Account:
        return await self.ledger.close_account(api.CloseAccount(account_id=account_id(account)))

    async def update(self, account: str, **changes: Any) -> Account:
        return await self.ledger.update_account(api.UpdateAccount(account_id=account_id(account), **changes))

    async def balance(self, account: str) -> int:
        return (await self.account(account)).balance_minor

    async def available(self, account: str) -> int:
        return (await self.account(account)).available_minor

    async def shows(self, account: str, **expected: object) -> None:
        """Assert fields of an account, e.g. `balance=700, held=300, available=400`."""
        found = await self.account(account)
        actual = {key: _field(found, key) for key in expected}
        assert actual == expected, f"{account}: {actual} instead of {expected}"

    # -- exchanges

    def leg(self, text: str) -> Leg:
        """One leg of the little language."""
        account, *marks = text.split()
        fields: dict[str, Any] = {}
        if account.startswith("acc_"):
            fields["account_id"] = account
            fields["asset"] = "JPY"
        else:
            owner, account_type = account.rsplit("/", 1)
            fields |= {"owner": owner, "account_type": account_type}
            fields["asset"] = self._assets.get(account_type, "JPY")
        for mark in marks:
            fields |= self._mark(mark)
        return Leg(**fields)

    def _mark(self, mark: str) -> dict[str, Any]:
        if (condition := _MARK.match(mark)) is not None:
            value = int(condition["value"])
            match condition["key"]:
                case "balance>=":
                    return {"balance_at_least_minor": value}
                case "version=":
                    return {"version_equals": value}
                case _:
                    return {"expires_at": self.clock.now() + timedelta(days=value)}
        if mark == "returning":
            return {"returning": True}
        if mark.startswith("<="):
            return {"amount_minor": int(mark[2:]), "balancing": True}
        if re.fullmatch(r"[A-Z]{3,8}", mark):
            return {"asset": mark}
        return {"amount_minor": int(mark)}

    def request(self, text: str, *, name: str | None = None, **fields: Any) -> api.CreateExchange:
        """A request from `sources > targets`."""
        sources, targets = text.split(" > ")
        return api.CreateExchange(
            sources=[self.leg(each) for each in sources.split(" + ")],
            targets=[self.leg(each) for each in targets.split(" + ")],
            exchange_id=None if name is None else exchange_id(name),
            **fields,
        )

    async def move(self, text: str, *, name: str | None = None, **fields: Any) -> Exchange:
        """Move value at once."""
        return await self.ledger.create_exchange(self.request(text, name=name, **fields))

    async def hold(self, text: str, *, name: str | None = None, **fields: Any) -> Exchange:
        """Hold value until capture, void or expiry."""
        return await self.move(text, name=name, capture=False, **fields)

    async def give(self, leg: str, *, name: str | None = None, **fields: Any) -> Exchange:
        """Credit an account from the deposits; JPY unless the type is in another asset."""
        target = self.leg(leg)
        source = "bank/deposit_btc" if target.asset == "BTC" else "bank/deposit"
        return await self.move(f"{source} {target.amount_minor} > {leg}", name=name, **fields)

    async def capture(
        self, name: str, amount: int | None = None, *, legs: dict[int, int] | None = None,
        final: bool = True, action: str | None = None,
    ) -> Exchange:  # fmt: skip
        """Capture a hold: all of it, an amount, or amounts of legs."""
        request = api.CaptureExchange(
            exchange_id=exchange_id(name), amount_minor=amount, legs=_leg_amounts(legs), final=final,
            action_id=None if action is None else action_id(action),
        )  # fmt: skip
        return await self.ledger.capture_exchange(request)

    async def void(self, name: str, *, action: str | None = None) -> Exchange:
        chosen = None if action is None else action_id(action)
        return await self.ledger.void_exchange(api.VoidExchange(exchange_id=exchange_id(name), action_id=chosen))

    async def reverse(
        self, name: str, amount: int | None = None, *, legs: dict[int, int] | None = None,
        reversal: str | None = None, **fields: Any,
    ) -> Exchange:  # fmt: skip
        """Undo a captured exchange, wholly or in part."""
        request = api.ReverseExchange(
            exchange_id=exchange_id(name), amount_minor=amount, legs=_leg_amounts(legs),
            reversal_id=None if reversal is None else exchange_id(reversal), **fields,
        )  # fmt: skip
        return await self.ledger.reverse_exchange(request)

    async def batch(self, *requests: api.CreateExchange, all_or_nothing: bool = False) -> list[str]:
        """Create many at once; gives `done` or the failure's code for each."""
        answer = await self.ledger.create_exchanges(
            api.CreateExchanges(exchanges=list(requests), all_or_nothing=all_or_nothing)
        )
        assert all((each.exchange is None) != (each.failure is None) for each in answer.outcomes)
        return ["done" if each.failure is None else each.failure.code for each in answer.outcomes]

    async def run(self, *jobs: str) -> None:
        """Run batches by name, e.g. `expire_lots`."""
        for job in jobs:
            await getattr(self.jobs, job)()

    async def exchange(self, name: str) -> Exchange:
        return await self.ledger.get_exchange(api.GetExchange(exchange_id=exchange_id(name)))

    # -- lots, logs, snapshots

    async def lots(self, account: str, *, include_empty: bool = False, page: int = PAGE) -> list[Lot]:
        """All lots of an account, over all pages."""
        found: list[Lot] = []
        cursor: str | None = None
        while True:
            answer = await self.ledger.list_lots(
                api.ListLots(account_id=account_id(account), include_empty=include_empty, limit=page, cursor=cursor)
            )
            found += answer.lots
            if (cursor := answer.next_cursor) is None:
                return found

    async def remaining(self, account: str) -> list[tuple[int, int | None]]:
        """`(remaining, days left)` of each open lot in order of consumption."""
        return [(lot.remaining_minor, self._days_left(lot)) for lot in await self.lots(account)]

    def _days_left(self, lot: Lot) -> int | None:
        return None if lot.expires_at is None else round((lot.expires_at - self.clock.now()) / timedelta(days=1))

    async def logs(self, account: str, *, page: int = PAGE) -> list[api.AccountLog]:
        """All log entries of an account, newest first, over all pages."""
        found: list[api.AccountLog] = []
        cursor: str | None = None
        while True:
            request = api.ListAccountLogs(account_id=account_id(account), limit=page, cursor=cursor)
            answer = await self.ledger.list_account_logs(request)
            found += answer.logs
            if (cursor := answer.next_cursor) is None:
                return found

    async def snapshot(self, account: str, at: datetime | None = None) -> api.Snapshot:
        return await self.ledger.get_snapshot(api.GetSnapshot(account_id=account_id(account), as_of=at))

    async def totals(self) -> dict[str, int]:
        """Balance of each type."""
        answer = await self.ledger.list_type_totals(api.ListTypeTotals())
        return {each.account_type: each.balance_minor for each in answer.totals}

    def export(self, since: datetime | None = None) -> AsyncIterator[api.AccountLog]:
        return self.ledger.export_logs(api.ExportLogs(since=since))


def decoded(request: object, message: type[Message]) -> Message:
    """What the door makes of a request's JSON; raises msgspec.ValidationError."""
    return msgspec.convert(request, message)


def _leg_amounts(legs: dict[int, int] | None) -> list[api.LegAmount]:
    return [api.LegAmount(leg=leg, amount_minor=amount) for leg, amount in (legs or {}).items()]


def _field(account: Account, key: str) -> object:
    return getattr(account, key if hasattr(account, key) else f"{key}_minor")


async def start(database: Database, clock: FakeClock, types: AccountTypes) -> tuple[LedgerService, Book]:
    """A running ledger, and the book that speaks to it."""
    service = LedgerService(database, clock, types)
    await service.open()
    return service, await Book(service, clock, LedgerJobs(database, clock, service, types)).ready()


Another = Callable[[], Awaitable[Book]]
"""Opens a further ledger on the same database, as another process would."""
