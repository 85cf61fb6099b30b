"""A small world for tests of authorization: terminals, the line, our server, the real ledger and payment service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from kessai.apps.nfc_server import NfcServer
from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.ids import bare, new_hex
from kessai.foundation.migrations import migrate
from kessai.foundation.vault import Vault, VaultKey
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message, Mti, Network, Pan
from kessai.sdk.processing.api import ListEffects
from kessai.sdk.processing.reconcile import reconcile
from kessai.services.ledger.api import CreateExchange, GetAccount, Leg, OpenAccount, account_id_of
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from kessai.services.nfc.api.authorizations import Authorization, ListAuthorizations
from kessai.services.nfc.domain.devices import last_day_of
from kessai.services.nfc.domain.rules import AuthorizationRules, read_rules
from kessai.services.nfc.service.authorize import AuthorizationDesk
from kessai.services.nfc.store import ROLE, SCHEMA
from kessai.services.nfc.store.vault import insert_pans, sealed_pan
from kessai.services.payment.api import GetPayment, PaymentRecord, TopUp
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from kessai.simulators.cardnetwork import CardNetworkSimulator
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import Tap
from kessai.simulators.cardnetwork.terminal import request_of

VAULT = Vault([VaultKey(bytes(range(32)))])
ROOMY = 30_000
"""A window that no test runs into by being slow, in milliseconds."""


class PaymentLine:
    """The line to the payment service: a verb can be held up, cut before it arrives, or after it took effect."""

    def __init__(self, payment: PaymentService) -> None:
        self.payment = payment
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.after: dict[str, Callable[[], Awaitable[None]]] = {}
        self.calls: list[str] = []

    def __getattr__(self, verb: str) -> Callable[[Any], Awaitable[Any]]:
        known_as = "create_payment" if verb == "hold_payments" else verb  # made either way: one, or many at once

        async def call(request: Any) -> Any:
            self.calls.append(known_as)
            if known_as in self.before:
                await self.before[known_as]()
            answer = await getattr(self.payment, verb)(request)
            if known_as in self.after:
                await self.after[known_as]()
            return answer

        return call


class WireWorld:
    """One ledger and payment service, any number of authorization servers, one network."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SandboxClock()
        self.clock.freeze()
        self.ledger = LedgerService(database, self.clock, load_account_types())
        self.payments = PaymentService(database, self.clock, self.ledger, load_kinds())
        self.line = PaymentLine(self.payments)
        self.network = CardNetworkSimulator(now=self.clock.now, answer_within_s=20.0)
        self.servers: list[NfcServer] = []
        self.desks: list[AuthorizationDesk] = []

    @property
    def desk(self) -> AuthorizationDesk:
        """The latest process's."""
        return self.desks[-1]

    def another_desk(self, **rules: Any) -> AuthorizationDesk:
        """One that shares nothing with the others but the database and the payment service; nothing is repaired by it
        unless a test says so."""
        line: Any = self.line
        made = AuthorizationDesk(self.database, self.clock, payment=line, vault=VAULT, rules=rules_with(**rules))
        self.desks.append(made)
        return made

    async def serve(self, **rules: Any) -> NfcServer:
        """A server over a new desk, to which the network signs on."""
        server = NfcServer(self.another_desk(**rules), self.desk.rules.wire)
        port = await server.start()
        self.servers.append(server)
        await self.network.connect("127.0.0.1", port, connections=2)
        return server

    # -- people and cards -----------------------------------------------------------------------------------------

    async def customer(self, *, funds: int = 0, free_points: int = 0) -> str:
        """A new customer with that much."""
        customer_id = f"cus:{new_hex()}"
        await self.ledger.open_account(OpenAccount(owner=customer_id, account_type="funds"))
        if funds:
            await self.payments.top_up(TopUp(customer_id=customer_id, source="bank_deposit", amount_minor=funds))
        if free_points:
            point_cost = Leg(
                owner="internal:campaign", account_type="point_cost", amount_minor=free_points, asset="JPY"
            )
            points = Leg(owner=customer_id, account_type="free_points", amount_minor=free_points, asset="JPY")
            await self.ledger.create_exchange(
                CreateExchange(exchange_id=f"exc_{new_hex()}", kind="grant", sources=[point_cost], targets=[points])
            )
        return customer_id

    async def card(self, customer_id: str, *, state: str = "ACTIVE", lock_reason: str | None = None) -> str:
        """A card of the network's, given to a customer; its reference."""
        (made,) = self.network.books.issuing.issue(1, self.clock.now())
        pan = Pan(self.network.books.issuing.pan_of(made))
        sealed = sealed_pan(VAULT, pan, made.expiry, "card")
        now = self.clock.now()

        async def work(connection: Any) -> None:
            assert await insert_pans(connection, [sealed], now)
            await connection.execute(
                "INSERT INTO nfc.card (card_id, customer_id, state, lock_reason, reference, token, last_four,"
                " expires_on, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $9)",
                UUID(new_hex()), customer_id, state, lock_reason, made.reference, sealed.token, pan.last4,
                last_day_of(made.expiry), now,
            )  # fmt: skip

        await self.database.transaction(ROLE, work)
        return made.reference

    async def holder(self, *, funds: int = 0, free_points: int = 0) -> tuple[str, str]:
        """A customer with that much, and a card."""
        customer_id = await self.customer(funds=funds, free_points=free_points)
        return customer_id, await self.card(customer_id)

    async def device(self, reference: str, state: str = "ACTIVE") -> Pan:
        """A phone that a card is on; its own number."""
        pan = Pan("9990019" + f"{len(reference):02d}" + f"{int(new_hex()[-5:], 16) % 10**6:06d}")
        sealed = sealed_pan(VAULT, pan, "3112", "device")
        now = self.clock.now()

        async def work(connection: Any) -> None:
            assert await insert_pans(connection, [sealed], now)
            await connection.execute(
                "INSERT INTO nfc.device (card_id, device_id, platform, state, suspended_by, token, last_four,"
                " expires_on, created_at, updated_at) SELECT card_id, $1, 'apple', $2, $3, $4, $5, $6, $7, $7"
                " FROM nfc.card WHERE reference = $8",
                UUID(new_hex()), state, "customer" if state == "SUSPENDED" else None, sealed.token, pan.last4,
                last_day_of("3112"), now, reference,
            )  # fmt: skip

        await self.database.transaction(ROLE, work)
        return pan

    # -- at the terminal ------------------------------------------------------------------------------------------

    async def tap(self, card: str, amount: int, **more: Any) -> Heard:
        """A tap and its outcome."""
        return await self.network.tap(Tap(card=card, amount=amount, **more))

    def message(self, heard: Heard) -> Message:
        """The very request of a tap."""
        return request_of(heard, self.network.books.pan_of(heard))

    # -- looking --------------------------------------------------------------------------------------------------

    async def authorizations(self, customer_id: str) -> list[Authorization]:
        """What the journal has of a customer, oldest first."""
        page = await self.desk.list_id_authorizations(ListAuthorizations(customer_id=customer_id))
        return page.authorizations[::-1]

    async def only(self, customer_id: str) -> Authorization:
        """The one authorization that there is."""
        (found,) = await self.authorizations(customer_id)
        return found

    async def ends(self, customer_id: str, state: str) -> Authorization:
        """The one authorization, once it is in that state and nothing is open any more."""
        async with asyncio.timeout(30):
            while True:
                found = await self.authorizations(customer_id)
                if len(found) == 1 and found[0].state == state and found[0].open_work is None:
                    return found[0]
                await asyncio.sleep(0.02)

    async def payment(self, authorization: Authorization) -> PaymentRecord:
        """The payment that bears it."""
        assert authorization.payment_id is not None
        return await self.payments.get_payment(GetPayment(payment_id=authorization.payment_id))

    async def available(self, owner: str, account_type: str = "funds") -> int:
        """What may be spent from an account."""
        account = await self.ledger.get_account(GetAccount(account_id=account_id_of(owner, account_type)))
        return account.available_minor

    async def expect_agreement(self) -> None:
        """What the journal claims of the payment service is what that did, in every processing that is at rest."""
        if not self.desks:
            return
        rows = await self.database.fetch(None, "SELECT processing_id FROM nfc.id_authorization WHERE plan IS NOT NULL")
        ids = [row["processing_id"] for row in rows]
        if not ids:
            return
        ours = await self.desk.effects.own_view(ids)
        theirs = await self.payments.list_effects(ListEffects(processing_ids=ids, caller="nfc"))
        done = {each.processing_id: each for each in theirs.processings}
        for one, own in ours.items():
            other = done.get(one)
            if not own.in_flight and not (other is not None and other.in_flight):
                found = reconcile("payment", own.claims["payment"], [] if other is None else other.effects)
                assert found == [], found

    def pass_days(self, days: float) -> None:
        """Let business time go by."""
        self.clock.advance(timedelta(days=days))


def rules_with(**tables: Any) -> AuthorizationRules:
    """The platform's rules, with other values in some tables; the window is roomy unless it is given."""
    rules = read_rules()
    window = {"answer_ms": ROOMY, "journal_ms": 100, **tables.pop("window", {})}
    return replace(
        rules,
        window=replace(rules.window, **window),
        **{name: replace(getattr(rules, name), **values) for name, values in tables.items()},
    )


def network_message(kind: Network, stan: int = 1) -> bytes:
    """A 0800."""
    return iso8583.encode(Message(mti=Mti.NETWORK, transmitted="0430030000", stan=f"{stan:06d}", network=kind))


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[WireWorld]:
    """A world that is running, without a server yet."""
    await migrate(database, [SCHEMA])
    world = WireWorld(database)
    await world.ledger.open()
    await world.payments.open()
    await world.network.start()
    try:
        yield world
        await world.expect_agreement()
    finally:
        await world.network.stop()
        for server in world.servers:
            await server.stop()
        for desk in world.desks:
            await desk.close()
        await world.payments.close()
        await world.ledger.close()


__all__ = ["ROOMY", "VAULT", "PaymentLine", "WireWorld", "bare", "network_message", "opened", "rules_with"]
