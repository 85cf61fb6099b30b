"""A lane: one database, its ledger, a simulated card gateway and bank, and one process of services that may die.

Cases are played on a lane one after the other, each with owners of its own; what a dead process left open is taken up
at once by the next one, for its leases are made to lapse.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import SandboxClock
from kessai.foundation.errors import PaymentError, Refused, Unknown
from kessai.foundation.outbound import Destination
from kessai.foundation.vault import Vault, new_vault_key, read_vault_keys
from kessai.services.bank.gateways import HttpBank
from kessai.services.bank.service import BankService
from kessai.services.cardgateway.domain import Patience
from kessai.services.cardgateway.gateways import HttpGateway
from kessai.services.cardgateway.service import CardGatewayService
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from kessai.services.payment.api import PaymentRecord, PaymentState, Refund, RefundState
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from kessai.simulators import bank as simulated_bank
from kessai.simulators import cardgateway as simulated_gateway
from tests.faults.matrix.brittle import Brittle
from tests.faults.matrix.troubles import CALL_MS, Trouble
from tests.payment.outside import Secretary

When: TypeAlias = Literal["before", "after"]
Boundary: TypeAlias = tuple[int, When]
"""Before or after a journal's n-th flush."""
Party: TypeAlias = Literal["card", "bank"]
Told: TypeAlias = str
"""`done`, or the code of a refusal."""

LEASE_S = 3.0
PATIENCE_S = 30.0
PATIENCE = Patience(answer_s=0.6, reach_s=5.0, abandon_after_s=3600.0, converge_within_s=60.0)
SERVICES = ("payment", "cardgateway", "bank")
_LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
_LAPSE = "UPDATE {schema}.lease SET lease_until = $1 WHERE holder = ANY ($2::text[])"
_OPEN = " UNION ALL ".join(
    f"SELECT '{schema} ' || name || ' ' || workflow_id || ' ' || coalesce(parked_error, '') FROM {schema}.workflow_open"
    for schema in SERVICES
)
_UNDECIDED = (PaymentState.PENDING, PaymentState.UNKNOWN, RefundState.PENDING, RefundState.UNKNOWN)


class Fuse:
    """An engine's hook: counts its flushes since it was reset, whoever's they are, and strikes at some boundaries."""

    def __init__(self) -> None:
        self.flushes = 0
        self.struck = 0
        """At how many boundaries it has struck."""
        self._strikes: dict[Boundary, Callable[[], bool]] = {}

    def reset(self) -> None:
        """Count from here on, and strike nowhere."""
        self.flushes = self.struck = 0
        self._strikes.clear()

    def set(self, at: Boundary, strike: Callable[[], bool]) -> None:
        """Do this at a boundary; what it gives says whether the engine dies there."""
        self._strikes[at] = strike

    def __call__(self, when: When, number: int) -> bool:
        if number < 0:  # a transaction of an activity's own
            return False
        if when == "before":
            self.flushes += 1
        strike = self._strikes.pop((self.flushes, when), None)
        if strike is None:
            return False
        self.struck += 1
        return strike()


class Line:
    """The line to a service, whose process may be replaced: as a client over a network sees it."""

    def __init__(self, lane: Lane, service: str) -> None:
        self._lane = lane
        self._service = service

    def __getattr__(self, verb: str) -> Callable[[Any], Awaitable[Any]]:
        async def call(request: Any) -> Any:
            service = await self._lane.living(self._service)
            try:
                return await getattr(service, verb)(request)
            except PaymentError as error:
                if engine_of(service).closing:
                    raise Unknown("connection_lost", "The line was cut.") from error
                raise

        return call


class LedgerLine:
    """The line to the ledger, which can be made to refuse a verb."""

    def __init__(self, ledger: LedgerService) -> None:
        self._ledger = ledger
        self.refused: str | None = None

    def __getattr__(self, verb: str) -> Callable[[Any], Awaitable[Any]]:
        async def call(request: Any) -> Any:
            if verb == self.refused:
                raise Refused("hold_expired", "Somebody let go of it.")
            return await getattr(self._ledger, verb)(request)

        return call


class Way:
    """The way to a party outside, on which trouble can begin with a call; it outlives the processes."""

    def __init__(self, lane: Lane, party: Party, inner: Any) -> None:
        self._lane = lane
        self._party: Party = party
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def instruct(self, *arguments: Any) -> Any:
        """As the party's own; the first argument says what is instructed."""
        what = arguments[0]
        await self._lane.calling(self._party, str(getattr(what, "kind", what)))
        return await self._inner.instruct(*arguments)

    async def close(self) -> None:
        """Nothing: the next process goes the same way."""


def engine_of(service: Any) -> Any:
    """The engine of a service."""
    return service._engine  # pyright: ignore[reportPrivateUsage]  # a test that kills it


class Lane:
    """Where cases are played. With a folder for `books`, the parties outside keep theirs in it."""

    def __init__(self, database: Brittle, *, patience: Patience = PATIENCE, books: Path | None = None) -> None:
        self.database = database
        self.patience = patience
        self.clock = SandboxClock()
        self.ledger = LedgerService(database, self.clock, load_account_types())
        self.ledger_line = LedgerLine(self.ledger)
        self.approvals = Secretary()
        self.cards = simulated_gateway.CardGatewaySimulator(path=books and books / "cardgateway.jsonl")
        self.bank = simulated_bank.BankSimulator(path=books and books / "bank.jsonl", now=self.clock.now)
        self.kinds = load_kinds()
        self.fuses = {name: Fuse() for name in SERVICES}
        self.left = asyncio.Event()
        """Set when the client is to go away, and come back at once."""
        self._services: dict[str, Any] = {}
        self._living: dict[str, asyncio.Event] = {name: asyncio.Event() for name in SERVICES}
        self._burial = asyncio.Lock()
        self._vault = Vault(read_vault_keys(new_vault_key()))
        self._trouble: tuple[Party, str, Trouble] | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._ways: dict[str, Any] = {}

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin."""
        await self.ledger.open()
        await self.cards.start()
        await self.bank.start()
        self._ways = {
            "card": Way(self, "card", HttpGateway(_destination("cardgateway", self.cards.url, simulated_gateway.KEY))),
            "bank": Way(self, "bank", HttpBank(_destination("bank", self.bank.url, simulated_bank.KEY))),
        }
        for name in ("bank", "cardgateway", "payment"):
            await self._begin(name)

    async def close(self) -> None:
        """End."""
        await asyncio.gather(*self._chores, return_exceptions=True)
        for service in self._services.values():
            await service.close(grace_s=0.1)
        await self.ledger.close()
        for way in self._ways.values():
            await way._inner.close()  # pyright: ignore[reportPrivateUsage]
        await self.cards.stop()
        await self.bank.stop()

    async def _begin(self, name: str) -> None:
        options: dict[str, Any] = {"lease_s": LEASE_S, "hook": self.fuses[name]}
        service: Any
        match name:
            case "payment":
                cards: Any = Line(self, "cardgateway")
                bank: Any = Line(self, "bank")
                ledger: Any = self.ledger_line
                service = PaymentService(
                    self.database,
                    self.clock,
                    ledger,
                    self.kinds,
                    cards=cards,
                    bank=bank,
                    approvals=self.approvals,
                    vault=self._vault,
                    **options,
                )
            case "cardgateway":
                service = CardGatewayService(self.database, self.clock, self._ways["card"], self.patience, **options)
            case _:
                service = BankService(self.database, self.clock, self._ways["bank"], self._vault, **options)
        await service.open()
        self._services[name] = service
        self._living[name].set()

    async def living(self, name: str) -> Any:
        """A service whose process lives; waits for the next one when it just died."""
        async with asyncio.timeout(PATIENCE_S):
            await self._living[name].wait()
        return self._services[name]

    # -- death --------------------------------------------------------------------------------------------------

    def kill_at(self, service: str, at: Boundary, *, dying: Sequence[str]) -> None:
        """These services die when one of them comes to a boundary."""

        def strike() -> bool:
            for name in dying:
                self._living[name].clear()
            self._do(self._succeed(dying))
            return True

        self.fuses[service].set(at, strike)

    def leave_at(self, service: str, at: Boundary) -> None:
        """The client goes away when a service comes to a boundary, and comes back at once."""

        def strike() -> bool:
            self.left.set()
            return False

        self.fuses[service].set(at, strike)

    async def _succeed(self, dead: Sequence[str]) -> None:
        """Bury what died, and begin anew; one after the other, where several die at once."""
        async with self._burial:
            await self._bury(dead)

    async def _bury(self, dead: Sequence[str]) -> None:
        for name in dead:
            engine = engine_of(self._services[name])
            holder = engine.journal.lease.holder
            await engine.crash()
            await self.database.fetch(None, _LAPSE.format(schema=name), _LONG_AGO, [holder])
        for name in sorted(dead):  # the payment service comes last, as it needs the others
            await self._begin(name)

    def _do(self, chore: Any) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # -- trouble ------------------------------------------------------------------------------------------------

    def simulator(self, party: Party) -> Any:
        """Who is outside."""
        return self.cards if party == "card" else self.bank

    def trouble(self, party: Party, verb: str, trouble: Trouble) -> None:
        """From now on, until all is calm."""
        self._trouble = (party, verb, trouble)
        for fault in trouble.of(verb):
            self.simulator(party).faults.program(fault)

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self._trouble = None
        self.ledger_line.refused = None
        self.cards.faults.clear()
        self.bank.faults.clear()

    async def calling(self, party: Party, verb: str) -> None:
        """A call is about to go out: a party that is to go down with it does."""
        if self._trouble is None or self._trouble[:2] != (party, verb):
            return
        trouble, self._trouble = self._trouble[2], None
        simulator = self.simulator(party)
        if trouble.down_ms:
            simulator.faults.down = True
            asyncio.get_running_loop().call_later(trouble.down_ms / 1000, setattr, simulator.faults, "down", False)
        if trouble.away_ms:
            gone = asyncio.Event()
            self._do(_be_away(simulator, trouble.away_ms / 1000, gone))
            await gone.wait()

    # -- asking -------------------------------------------------------------------------------------------------

    async def ask(self, verb: str, request: Any, key: str) -> Any:
        """What a client is told in the end, who sends the same request under the same key until it knows.

        Raises what it was refused with.
        """
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    answer = await self._once(verb, request, key)
                except PaymentError as error:
                    if not error.retryable:
                        raise
                else:
                    if not _undecided(answer):
                        return answer
                await asyncio.sleep(0.01)

    async def _once(self, verb: str, request: Any, key: str) -> Any:
        service = await self.living("payment")
        asked = asyncio.create_task(_with_key(getattr(service, verb)(request), key))
        if self.left.is_set():
            return await asked
        gone = asyncio.create_task(self.left.wait())
        await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if asked.done():
            return await asked
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError, PaymentError):
            await asked
        raise Unknown("client_timed_out", "The client went away.")

    async def open_work(self) -> list[str]:
        """Workflows that are not at their end."""
        return [row[0] for row in await self.database.fetch(None, _OPEN)]

    async def come_to_rest(self) -> None:
        """Wait until no workflow is open; raises TimeoutError naming those that stay."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self._chores or await self.open_work():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise TimeoutError(f"still open: {await self.open_work()}") from None


def _undecided(answer: Any) -> bool:
    return isinstance(answer, (PaymentRecord, Refund)) and answer.state in _UNDECIDED


async def _with_key(call: Awaitable[Any], key: str) -> Any:
    token = enter_call(Call(caller="key_matrix", request_key=key))
    try:
        return await call
    finally:
        leave_call(token)


async def _be_away(simulator: Any, for_s: float, gone: asyncio.Event) -> None:
    """A task of its own: whoever called may be cut off meanwhile."""
    await simulator.go_away()
    gone.set()
    await asyncio.sleep(for_s)
    await simulator.start()


def _destination(name: str, url: str, key: str) -> Destination:
    return Destination(
        name=name,
        base_url=url,
        headers={"authorization": f"Bearer {key}"},
        timeout_s=CALL_MS / 1000,
        breaker_failures=10_000,
        breaker_window=10_000,
    )


@asynccontextmanager
async def opened(database: Brittle, **more: Any) -> AsyncGenerator[Lane]:
    """A lane that is running."""
    lane = Lane(database, **more)
    await lane.open()
    try:
        yield lane
    finally:
        await lane.close()
