"""The composition root: every service, built once and handed to the doors and the jobs."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from prometheus_client import CollectorRegistry

from kessai.apps import health, jobs
from kessai.apps.card_payments import nfc_of
from kessai.apps.configured import document_of, load_payment_kinds, read_books_of
from kessai.apps.dated import DatedJobs, Desk
from kessai.apps.doubts import Doubts
from kessai.apps.gauges import PlatformGauges
from kessai.apps.nfc_gauges import NfcGauges
from kessai.apps.nfc_server import NfcServer
from kessai.apps.patience import read_patience
from kessai.apps.proving import Proving
from kessai.apps.repairing import CardRepairs, LedgerRepairs
from kessai.apps.retention import WorkflowRetention
from kessai.apps.watching import Alerts, engine_options, trace
from kessai.foundation.clock import Clock, SandboxClock, SystemClock
from kessai.foundation.config import Settings
from kessai.foundation.db import Database, require_dsn
from kessai.foundation.door import DoorApp, DoorMetrics, grpc_server, rest_app
from kessai.foundation.events import Relay, Subscription
from kessai.foundation.lease import LEASE_S
from kessai.foundation.migrations import SchemaSpec, migrate
from kessai.foundation.signing import Signer, read_signing_keys
from kessai.foundation.telemetry import new_registry
from kessai.foundation.vault import Vault, read_vault_keys
from kessai.sdk.jobs import DatedJob
from kessai.sdk.workflow import Engine
from kessai.sdk.workflow.metrics import WorkflowMetrics
from kessai.services.bank.api import Bank
from kessai.services.bank.domain import Patience, load_terms
from kessai.services.bank.gateways import HttpBank, files_of
from kessai.services.bank.gateways import destination_of as bank_at
from kessai.services.bank.jobs import BANK_JOBS
from kessai.services.bank.service import BankService
from kessai.services.bank.store import SCHEMA as BANK
from kessai.services.bank.subscribers import BankResults
from kessai.services.books.api import Books
from kessai.services.books.domain.reconciling import read_reconciling
from kessai.services.books.service.accounting import closing_of
from kessai.services.books.service.reconciling.runs import Doors
from kessai.services.books.service.verbs import BooksService
from kessai.services.books.store import SCHEMA as BOOKS
from kessai.services.books.subscribers import bank_events, ledger_events, payment_steps
from kessai.services.cardgateway.api import CardGateway
from kessai.services.cardgateway.domain import Patience as CardPatience
from kessai.services.cardgateway.gateways import HttpGateway, destination_of
from kessai.services.cardgateway.service import CardGatewayService
from kessai.services.cardgateway.store import SCHEMA as CARDGATEWAY
from kessai.services.identity.api import Identity
from kessai.services.identity.service import IdentityService
from kessai.services.identity.store import SCHEMA as IDENTITY
from kessai.services.ledger.api import Ledger
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.jobs import LedgerJobs
from kessai.services.ledger.service import LedgerService
from kessai.services.ledger.store import SCHEMA as LEDGER
from kessai.services.ledger.store.shapes import settle_shapes
from kessai.services.merchant.api import Merchant
from kessai.services.merchant.service import MerchantService
from kessai.services.merchant.store import SCHEMA as MERCHANT
from kessai.services.nfc.api import Nfc
from kessai.services.nfc.jobs import NFC_JOBS
from kessai.services.nfc.service import NfcService
from kessai.services.nfc.store import SCHEMA as NFC
from kessai.services.nfc.subscribers import lapsed_payments
from kessai.services.payment.api import Payment
from kessai.services.payment.service import PaymentService
from kessai.services.payment.store import SCHEMA as PAYMENT
from kessai.services.payment.subscribers import bank_results, lapsed_holds
from kessai.services.sandbox.api import Sandbox
from kessai.services.sandbox.service import SandboxService
from kessai.services.sandbox.store import SCHEMA as SANDBOX
from kessai.services.settlement.api import Settlement
from kessai.services.settlement.domain.configuration import read_settlement
from kessai.services.settlement.jobs import SETTLEMENT_JOBS
from kessai.services.settlement.service import SettlementService
from kessai.services.settlement.service.results import payout_results, value_dates
from kessai.services.settlement.store import SCHEMA as SETTLEMENT
from kessai.services.settlement.subscribers import FeeLoop, sales_for_fees, transactions_of_payments
from kessai.services.tracer.api import Tracer
from kessai.services.tracer.domain.rules import read_rules
from kessai.services.tracer.service import TracerService
from kessai.services.tracer.store import SCHEMA as TRACER

SCHEMAS: tuple[SchemaSpec, ...] = (
    *(IDENTITY, SANDBOX, LEDGER, CARDGATEWAY, BANK, PAYMENT, TRACER, BOOKS),
    *(MERCHANT, SETTLEMENT, NFC),
)
"""What `migrate` brings up to date, in this order."""

SERVICES = tuple(each.service for each in SCHEMAS)
"""In whose names only the platform itself acts."""

WITH_WORKFLOWS = tuple(spec.service for spec in SCHEMAS if "kessai.sdk.workflow" in spec.components)
"""Services that run workflows."""

DATED_JOBS: tuple[DatedJob, ...] = (*NFC_JOBS, *SETTLEMENT_JOBS, *BANK_JOBS)
"""All jobs with a run per business date; those that fall due at the same instant are run in this order."""

SOURCES = ("ledger", "bank", "cardgateway", "payment", "merchant", "settlement", "nfc")
"""Whose events are relayed."""

CALLS = {"payment": ("ledger", "cardgateway", "bank"), "settlement": ("payment",), "nfc": ("payment",)}
"""Whom a service calls for effects."""


SLOW_LEASES_S = {"settlement": 30.0, "merchant": 60.0, "nfc": 30.0}
"""Services that may wait longer than payments for another process to go on with them: an idle platform asks less."""
SLOW_POLL_S = 24.0
"""The longest pause of their relays; what this process commits is relayed at once."""

GRACE_S = 3.0
"""How long workflows may take to come to their end when the platform stops."""


async def prepare(database_url: str, settings: Settings) -> str | None:
    """Migrate a database; gives the secret of its first API key when it had none yet.

    Raises OperatorError when the database is newer than this program, or has accounts that the configured account
    types would misread.
    """
    database = Database(require_dsn(database_url), isolation=settings.isolation)
    try:
        await migrate(database, list(SCHEMAS))
        await _settle_account_types(database, settings)
        await WorkflowRetention(database, SystemClock(), settings, WITH_WORKFLOWS).make_room()
        return await IdentityService(database, SystemClock()).ensure_first_key()
    finally:
        await database.close()


async def _settle_account_types(database: Database, settings: Settings) -> None:
    """What is kept under a type is read as that type says: a configuration that says otherwise must not start."""
    document = document_of(settings.account_types, "account_types.toml")
    for misfit in await settle_shapes(database, load_account_types(document)):
        path = ("types", misfit.account_type, *([] if misfit.attribute is None else [misfit.attribute]))
        raise document.error(path, misfit.reason)


class Platform:
    """All services of one process over one migrated database. Several processes may each have one."""

    def __init__(
        self, database_url: str, settings: Settings, *, sandbox: bool | None = None, proves: bool = True
    ) -> None:
        """`proves`: whether what proves payments is opened here, too; else a process beside this one does it."""
        self.settings = settings
        self.proves = proves
        self.sandbox = bool(settings.sandbox if sandbox is None else sandbox)
        self.database = Database(require_dsn(database_url), isolation=settings.isolation)
        self.registry = new_registry()
        self.figures = CollectorRegistry()
        """What this process tells of itself alone."""
        self.metrics = DoorMetrics(self.registry)
        self.ready = False
        moved = SandboxClock()
        self.clock: Clock = moved if self.sandbox else SystemClock()
        types = load_account_types(document_of(settings.account_types, "account_types.toml"))
        kinds = load_payment_kinds(settings.payment_kinds)
        patience = read_patience(document_of(settings.outside, "outside.toml"))
        self.identity = IdentityService(self.database, self.clock, platform=SERVICES)
        self.ledger = LedgerService(self.database, self.clock, types)
        self.vault = Vault(read_vault_keys(settings.vault_keys))
        alerts = Alerts()
        self.cardgateway = self._cards(alerts, patience.card_gateway)
        self.bank = self._banking(alerts, patience.bank)
        self.bank_results = BankResults(self.database, self.bank, patience.bank)
        self.doubts = Doubts(self.cardgateway, self.bank)
        self.merchant = MerchantService(self.database, self.clock, approvals=self.identity, bank=self.bank)
        self.payment = PaymentService(
            self.database,
            self.clock,
            self.ledger,
            kinds,
            cards=self.cardgateway,
            bank=self.bank,
            approvals=self.identity,
            vault=self.vault,
            **engine_options(settings, self.vault, "payment", alerts),
        )
        self.rules = read_rules(document_of(settings.tracer, "tracer.toml"))
        self.tracer = TracerService(self.database, self.rules, signer=Signer(read_signing_keys(settings.evidence_keys)))
        self.books = self._bookkeeping()
        self.settlement = self._settling(alerts)
        self.fees = FeeLoop(self.database, self.settlement, lease_s=SLOW_LEASES_S["settlement"])
        self.nfc = self._nfc(alerts)
        self.nfc_server: NfcServer | None = None
        """The authorization server, in a process that serves."""
        services = (self.cardgateway, self.bank, self.payment, self.settlement, self.nfc)
        self.engines: list[Engine[Any]] = [each.engine for each in services]
        jobs_of = ((self.nfc, NFC_JOBS), (self.settlement, SETTLEMENT_JOBS), (self.bank, BANK_JOBS))
        desks = [Desk(service.engine, its_jobs) for service, its_jobs in jobs_of]
        self.dated = DatedJobs(self.database, self.clock, desks)
        self.catching_up = jobs.CatchingUp(self)
        self.retention = WorkflowRetention(self.database, self.clock, settings, WITH_WORKFLOWS)
        self.ledger_jobs = LedgerJobs(self.database, self.clock, self.ledger, types)
        self.proving = self._proving()
        self.relays = [self._relay(source) for source in SOURCES]
        self.subscriptions = self._subscriptions()
        self.nfc_gauges = NfcGauges(self)
        for each in (PlatformGauges(self), WorkflowMetrics(*self.engines), alerts, self.doubts, self.nfc_gauges):
            self.figures.register(each)
        self._clock_service = SandboxService(
            self.database,
            moved,
            due_jobs=self.catching_up.run,
            is_behind=self.catching_up.is_behind,
            alone=settings.workers == 1 and settings.database_url is None,
        )

    async def open(self) -> None:
        """Take up work; ready to serve when this returns. Raises PaymentError (Unavailable) without a database."""
        trace(self.engines)
        if self.sandbox:
            await self._clock_service.open()
        await self.identity.open()
        await self.ledger.open()
        await self.cardgateway.open()
        await self.bank.open()
        if self.settings.bank_url is not None:
            await self.bank_results.open()
        self.doubts.open()
        await self.merchant.open()
        await self.payment.open()
        await self.books.open()
        await self.settlement.open()
        await self.fees.open()
        await self.nfc.open()
        self.nfc_gauges.open()
        await self.dated.open()
        for each in (*self.relays, *self.subscriptions):
            await each.open()
        if self.proves:
            await self.proving.open()
        await self.proving.open_repairs()
        self.ready = True

    async def close(self, *, grace_s: float = GRACE_S) -> None:
        """Carry what was accepted to its end, in the order in which work flows, then disconnect.

        Workflows have `grace_s` in all: what waits for somebody outside for longer is durable, and is taken up by
        another process or by the next start.
        """
        self.ready = False
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_s
        await self.catching_up.close()
        await self.proving.close_repairs()
        for each in (*self.subscriptions, self.proving):
            await each.close()
        await self.fees.close()
        await self.nfc_gauges.close()
        await self.nfc.close(grace_s=grace_s)
        await self.settlement.close(grace_s=grace_s)
        await self.payment.close(grace_s=max(0.0, until - loop.time()))
        await self.merchant.close()
        await self.doubts.close()
        await self.bank_results.close()
        await self.bank.close(grace_s=max(0.0, until - loop.time()))
        await self.cardgateway.close(grace_s=max(0.0, until - loop.time()))
        await self.ledger.close()
        for relay in self.relays:
            await relay.close()
        await self._clock_service.close()
        await self.identity.close()
        await self.database.close()

    async def open_proving(self) -> None:
        """Only what proves payments: nothing is served, and no service takes up work."""
        await self.proving.open()

    async def close_proving(self) -> None:
        """Let another process go on, and disconnect."""
        await self.proving.close()
        await self.database.close()

    def doors(self) -> list[tuple[type, object]]:
        """Each public door with the service behind it."""
        doors: list[tuple[type, object]] = [
            (Ledger, self.ledger),
            (Payment, self.payment),
            (CardGateway, self.cardgateway),
            (Bank, self.bank),
            (Tracer, self.tracer),
            (Books, self.books),
            (Merchant, self.merchant),
            (Settlement, self.settlement),
            (Nfc, self.nfc),
            (Identity, self.identity),
        ]
        return [*doors, (Sandbox, self._clock_service)] if self.sandbox else doors

    def rest(self) -> DoorApp:
        """The ASGI app: every public verb, its documents, health and metrics."""
        return rest_app(
            self.doors(),
            authenticate=self.identity.authenticate,
            observe=self.metrics.observer("rest"),
            extra_routes=health.routes(self),
            timeout_ms=self.settings.request_timeout_ms,
        )

    def grpc(self, *, host: str, port: int, reuse_port: bool = False) -> tuple[Any, int]:
        """The gRPC server, bound but not started, and its port."""
        return grpc_server(
            self.doors(),
            authenticate=self.identity.authenticate,
            host=host,
            port=port,
            observe=self.metrics.observer("grpc"),
            reuse_port=reuse_port,
            timeout_ms=self.settings.request_timeout_ms,
        )

    def _relay(self, source: str) -> Relay:
        lease_s, slow = SLOW_LEASES_S.get(source, LEASE_S), source in SLOW_LEASES_S
        return Relay(self.database, source, lease_s=lease_s, poll_s_max=SLOW_POLL_S if slow else None)

    def _subscriptions(self) -> list[Subscription]:
        return [
            lapsed_holds(self.database, self.clock, self.payment),
            bank_results(self.database, self.clock, self.payment),
            ledger_events(self.database, self.clock, self.books.bookkeeper),
            bank_events(self.database, self.clock, self.books.bookkeeper),
            payment_steps(self.database, self.clock),
            transactions_of_payments(self.database, self.clock, self.settlement),
            sales_for_fees(self.database, self.clock, self.settlement),
            payout_results(self.database, self.clock),
            value_dates(self.database, self.clock),
            lapsed_payments(self.database, self.clock, self.nfc.authorizations, lease_s=SLOW_LEASES_S["nfc"]),
        ]

    def _cards(self, alerts: Alerts, patience: CardPatience) -> CardGatewayService:
        settings = self.settings
        gateway = HttpGateway(destination_of(settings.card_gateway_url, settings.card_gateway_key))
        options = engine_options(settings, self.vault, "cardgateway", alerts)
        return CardGatewayService(self.database, self.clock, gateway, patience, **options)

    def _banking(self, alerts: Alerts, patience: Patience) -> BankService:
        settings = self.settings
        online = bank_at(settings.bank_url, settings.bank_key)
        terms = load_terms(document_of(settings.bank_terms, "bank.toml"))
        return BankService(
            self.database,
            self.clock,
            HttpBank(online),
            self.vault,
            patience,
            files=files_of(terms, online),
            terms=terms,
            persons=self.identity,
            **engine_options(settings, self.vault, "bank", alerts),
        )

    def _bookkeeping(self) -> BooksService:
        books = read_books_of(self.settings)
        return BooksService(
            self.database,
            self.clock,
            books,
            doors=Doors(ledger=self.ledger, payment=self.payment, tracer=self.tracer, bank=self.bank),
            reconciling=read_reconciling(document_of(self.settings.reconciliation, "reconciliation.toml")),
            closing=closing_of(books, document_of(self.settings.accruals, "accruals.toml")),
            approvals=self.identity,
        )

    def _settling(self, alerts: Alerts) -> SettlementService:
        # Its `tracer` is the service, not what makes an engine's spans.
        options: dict[str, Any] = {**engine_options(self.settings, self.vault, "settlement", alerts)}
        return SettlementService(
            self.database,
            self.clock,
            merchants=self.merchant,
            payment=self.payment,
            tracer=self.tracer,
            books=cast("Books", self.books),  # its verbs are its desks', found as they are asked for
            approvals=self.identity,
            lease_s=SLOW_LEASES_S["settlement"],
            config=read_settlement(document_of(self.settings.settlement, "settlement.toml")),
            **options,
        )

    def _nfc(self, alerts: Alerts) -> NfcService:
        options = engine_options(self.settings, self.vault, "nfc", alerts)
        known = (self.settings, self.database, self.clock, self.vault, self.payment)
        return nfc_of(*known, lease_s=SLOW_LEASES_S["nfc"], engine=options)

    def _proving(self) -> Proving:
        services = {
            "ledger": self.ledger,
            "cardgateway": self.cardgateway,
            "bank": self.bank,
            "payment": self.payment,
            "settlement": self.settlement,
            "nfc": self.nfc,
        }
        repairs = {"cardgateway": CardRepairs(self.cardgateway), "ledger": LedgerRepairs(self.ledger)}
        outside = {"cardgateway": self.cardgateway.outside, "bank": self.bank.outside}
        return Proving(
            self.database,
            self.clock,
            self.rules,
            services,
            CALLS,
            outside=outside,
            tracer=self.tracer,
            leases=SLOW_LEASES_S,
            remote_key=self.settings.remote_services_key,
            repairs=repairs,
        )


DOORS: tuple[type, ...] = (
    *(Ledger, Payment, CardGateway, Bank, Tracer, Books, Merchant, Settlement, Nfc),
    *(Identity, Sandbox),
)
"""Every door that the platform can show, as contracts/ has them."""
