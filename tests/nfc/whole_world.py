"""All of nfc in one test: cards from the issuer's file to the phone, terminals, the line, our server, the real payment
service and ledger. Everything in it came about as it does on the platform, so that every row of it can be proved.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from kessai.apps.nfc_server import NfcServer
from kessai.apps.verify.finding import Finding, Report
from kessai.apps.verify.nfc import check_nfc, verify_sealed
from kessai.apps.wiring import SCHEMAS
from kessai.foundation.clock import SandboxClock, business_date
from kessai.foundation.db import AUDITOR_ROLE, Database
from kessai.foundation.ids import new_hex
from kessai.foundation.migrations import migrate
from kessai.foundation.outbound import Destination
from kessai.sdk import iso8583, jobs
from kessai.sdk.iso8583 import Message
from kessai.services.ledger.api import OpenAccount
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService
from kessai.services.nfc.api import PrepaidCard, VerifyPhone
from kessai.services.nfc.domain.rules import AuthorizationRules
from kessai.services.nfc.gateways import (
    HttpIssuer,
    HttpSms,
    HttpTokens,
    files_destination,
    network_destination,
    sms_destination,
)
from kessai.services.nfc.gateways.clearing import HttpClearing
from kessai.services.nfc.jobs import NFC_JOBS
from kessai.services.nfc.service import NfcService
from kessai.services.nfc.service.authorize import AuthorizationDesk
from kessai.services.nfc.store import SCHEMA
from kessai.services.payment.api import TopUp
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from kessai.simulators.cardnetwork import KEY as NETWORK_KEY
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import Tap
from kessai.simulators.cardnetwork.terminal import request_of
from kessai.simulators.sms import KEY as SMS_KEY
from tests.nfc.wire_world import PaymentLine, rules_with
from tests.nfc.world import World


class WholeWorld(World):
    """The service, the payment service behind a line that can be cut, and everybody outside."""

    def __init__(self, database: Database, rules: AuthorizationRules | None = None) -> None:
        super().__init__(database, _frozen())
        self.rules = rules or rules_with()
        self.ledger = LedgerService(database, self.clock, load_account_types())
        self.payments = PaymentService(database, self.clock, self.ledger, load_kinds())
        self.line = PaymentLine(self.payments)
        self.servers: list[NfcServer] = []
        self.customers = 0

    async def start(self) -> None:
        """Everybody is there, and the network has signed on."""
        await self.ledger.open()
        await self.payments.open()
        await super().start()
        await self.serve()

    async def stop(self) -> None:
        """Everybody goes."""
        await self.network.disconnect()
        for server in self.servers:
            await server.stop()
        await super().stop()
        await self.payments.close()
        await self.ledger.close()

    def another_process(self, **more: Any) -> NfcService:
        """A service over the line to the payment service."""
        network = _patient(network_destination(self.network.url, NETWORK_KEY))
        line: Any = self.line
        made = NfcService(
            self.database,
            self.clock,
            self.vault,
            issuer=more.get("issuer") or HttpIssuer(files_destination(network)),
            tokens=HttpTokens(network),
            sms=HttpSms(_patient(sms_destination(self.sms.url, SMS_KEY))),
            network=HttpClearing(files_destination(network)),
            payment=line,
            terms=more.get("terms") or self.terms,
            rules=self.rules,
        )
        self._services.append(made)
        return made

    @property
    def desk(self) -> AuthorizationDesk:
        """The latest process's."""
        return self._services[-1].authorizations

    async def serve(self) -> NfcServer:
        """Have the latest process answer the network, which signs on to it."""
        await self.service.clearing.open()
        server = NfcServer(self.desk, self.rules.wire)
        self.servers.append(server)
        await self.network.connect("127.0.0.1", await server.start(), connections=2)
        return server

    async def replaced(self) -> NfcServer:
        """The process that answers is cut off from the network in the middle of everything; another takes its place."""
        await self.network.disconnect(sign_off=False)
        await self.servers[-1].stop(grace_s=0.0)
        self.service = self.another_process()
        return await self.serve()

    # -- what a story is made of ----------------------------------------------------------------------------------

    async def holder(self, *, funds: int = 0, fill: bool = True) -> tuple[str, PrepaidCard]:
        """A customer with that much, and an active card."""
        self.customers += 1
        customer_id, phone = f"cus:{new_hex()}", f"+8180{self.customers:08d}"
        await self.ledger.open_account(OpenAccount(owner=customer_id, account_type="funds"))
        if funds:
            await self.payments.top_up(TopUp(customer_id=customer_id, source="bank_deposit", amount_minor=funds))
        if fill:
            await self.fill(1)
        card = await self.registered(customer_id, phone)
        return customer_id, await self.service.verify_phone(VerifyPhone(card_id=card.card_id, code=self.code(phone)))

    async def reference(self, card: PrepaidCard) -> str:
        """The issuer's name of a card, by which terminals know it here."""
        rows = await self.database.fetch(None, "SELECT reference FROM nfc.card WHERE card_id = $1", card.card_id[4:])
        return rows[0]["reference"]

    async def tap(self, card: PrepaidCard, amount: int, **more: Any) -> Heard:
        """A tap and its outcome."""
        return await self.network.tap(Tap(card=await self.reference(card), amount=amount, **more))

    async def request(self, card: PrepaidCard, amount: int, **more: Any) -> Message:
        """A 0100 that was made and not sent."""
        made = self.network.books.open(Tap(card=await self.reference(card), amount=amount, **more))
        return request_of(made, self.network.books.pan_of(made))

    async def ask(self, message: Message) -> Message:
        """A message to the latest process, without the line; its answer."""
        answer = await self.desk.answer(iso8583.encode(message), "network")
        assert answer is not None
        return iso8583.decode(answer)

    async def rest(self) -> None:
        """Everything that was begun has come to its end."""
        await self.network.settled()
        async with asyncio.timeout(60):
            while await self._open():
                await self.desk.repairer.repair(open_for_ms=0)
                await asyncio.sleep(0.02)

    async def _open(self) -> bool:
        rows = await self.database.fetch(None, "SELECT 1 FROM nfc.id_authorization WHERE work IS NOT NULL LIMIT 1")
        return bool(rows)

    async def job(self, name: str) -> jobs.JobRun:
        """A run of a job for today, to its end."""
        (job,) = [each for each in NFC_JOBS if each.name == name]
        engine = self.service.clearing.engine
        run = await jobs.finish(self.database, engine, await jobs.start(self.database, engine, job, self.today))
        assert run.state == "DONE", run
        return run

    @property
    def today(self) -> date:
        """The business date."""
        return business_date(self.clock.now())

    def pass_days(self, days: float) -> None:
        """Let business time go by."""
        self.clock.advance(timedelta(days=days))

    # -- the proof ------------------------------------------------------------------------------------------------

    async def findings(self, *, sealed: bool = True) -> list[Finding]:
        """What is wrong with any row of nfc, or with what moved for it."""
        report = Report()
        connection = await self.database.connect(AUDITOR_ROLE)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch("SELECT schemaname, tablename FROM pg_tables")
                tables = {f"{row['schemaname']}.{row['tablename']}" for row in rows}
                await check_nfc(connection, self.terms.phone, report, self.clock.now(), tables=tables)
                if sealed:
                    await verify_sealed(connection, self.vault, report)
        finally:
            await connection.close()
        return report.findings


@asynccontextmanager
async def whole(database: Database, rules: AuthorizationRules | None = None) -> AsyncGenerator[WholeWorld]:
    """A world that is running."""
    if SCHEMA not in SCHEMAS:
        await migrate(database, [SCHEMA])
    made = WholeWorld(database, rules)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def _patient(destination: Destination | None) -> Destination:
    assert destination is not None
    return replace(destination, timeout_s=60.0, connect_timeout_s=60.0)


def _frozen() -> SandboxClock:
    clock = SandboxClock()
    clock.freeze()
    return clock
