"""The ledger's verbs: check the request, hand commands to the recorder, read for queries."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import msgspec

from kessai.foundation.call import Call, current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import KeyReused, PaymentError
from kessai.foundation.ids import derived_hex, new_hex
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.services.ledger import api
from kessai.services.ledger.domain.commands import (
    Asked,
    Capture,
    Chain,
    Close,
    Create,
    Open,
    Release,
    Reverse,
    SetFreeze,
    Stored,
    Sweep,
    Update,
)
from kessai.services.ledger.domain.page import Answer
from kessai.services.ledger.domain.types import AccountTypes
from kessai.services.ledger.effects import LedgerEffects
from kessai.services.ledger.service.reader import Reader
from kessai.services.ledger.service.recorder import Recorder

encode = msgspec.json.Encoder().encode
REUSED = ("exchange_id_reused", "action_id_reused")


def content_digest(request: msgspec.Struct) -> bytes:
    """Digest of a request's content: the same key with another digest is a reuse."""
    return _digest(request)


def _digest(request: msgspec.Struct, salt: bytes = b"") -> bytes:
    """Whether a refusal is to be remembered is no part of what is asked for."""
    if getattr(request, "remember_refusal", False):
        request = msgspec.structs.replace(request, remember_refusal=False)
    return hashlib.sha256(salt + encode(request)).digest()[:16]


class LedgerService:
    """Implements the door `Ledger` for one process; several may work on one database."""

    def __init__(self, database: Database, clock: Clock, types: AccountTypes) -> None:
        self._recorder = Recorder(database, clock, types)
        self._reader = Reader(database, clock, types, self._recorder.writer)
        self._types = types
        self.effects = LedgerEffects(database, clock)
        """What the ledger tells of itself to the Processing Tracer."""

    async def open(self) -> None:
        """Connect; raises Unavailable when there is no database."""
        await self._recorder.open()

    async def close(self) -> None:
        """Finish what was accepted, then disconnect."""
        await self._recorder.close()

    # -- accounts ---------------------------------------------------------------------------------------------------

    async def open_account(self, request: api.OpenAccount, /) -> api.Account:
        """Open an owner's account; opening it again gives the account as it is."""
        account_id = api.account_id_of(request.owner, request.account_type)
        return _account(await self._recorder.submit(Open(request, account_id)))

    async def get_account(self, request: api.GetAccount, /) -> api.Account:
        """The account as it stands now."""
        return await self._reader.account(request.account_id)

    async def list_accounts(self, request: api.ListAccounts, /) -> api.Accounts:
        """An owner's accounts, in order of type."""
        return await self._reader.accounts_of(request.owner)

    async def list_over_cap(self, request: api.ListOverCap, /) -> api.Accounts:
        """Accounts that returns have lifted above their retention cap."""
        return await self._reader.over_cap(request.limit)

    async def freeze_account(self, request: api.FreezeAccount, /) -> api.Account:
        """Freeze or thaw an account."""
        return _account(await self._recorder.submit(SetFreeze(request.account_id, request.freeze)))

    async def close_account(self, request: api.CloseAccount, /) -> api.Account:
        """Close an empty account for good."""
        return _account(await self._recorder.submit(Close(request.account_id)))

    async def update_account(self, request: api.UpdateAccount, /) -> api.Account:
        """Change metadata or the overdraft limit."""
        return _account(await self._recorder.submit(Update(request)))

    # -- exchanges --------------------------------------------------------------------------------------------------

    async def create_exchange(self, request: api.CreateExchange, /) -> api.Exchange:
        """Move value, at once or provisionally."""
        call = current_call()
        keyed = request.exchange_id is None and call.request_key is not None
        exchange_id = request.exchange_id or f"exc_{call.request_key or new_hex()}"
        command = _create(request, exchange_id, call, keyed=keyed, asked=None if keyed else _asked(request, call))
        return await self._record(command, call, keyed=keyed)

    async def create_exchanges(self, request: api.CreateExchanges, /) -> api.ExchangeOutcomes:
        """Move value many times in one flush."""
        call = current_call()
        commands = _batch(request, call)
        outcomes = await self._recorder.submit_all(commands)
        derived = [each.exchange_id is None and call.request_key is not None for each in request.exchanges]
        if any(_is_reuse(outcome, keyed=keyed) for outcome, keyed in zip(outcomes, derived, strict=True)):
            raise KeyReused
        call.replayed = call.replayed or all(command.stored is not None for command in commands)
        return api.ExchangeOutcomes(outcomes=[_outcome(outcome) for outcome in outcomes])

    async def capture_exchange(self, request: api.CaptureExchange, /) -> api.Exchange:
        """Capture a held exchange, whole or in part."""
        call = current_call()
        keyed = request.action_id is None and call.request_key is not None
        action_id = request.action_id or f"act_{call.request_key or new_hex()}"
        command = Capture(
            request, action_id, content_digest(request), call.caller, call.processing_id,
            remember=request.remember_refusal or keyed, asked=_asked(request, call),
        )  # fmt: skip
        return await self._record(command, call, keyed=keyed)

    async def void_exchange(self, request: api.VoidExchange, /) -> api.Exchange:
        """Release what a held exchange still holds."""
        call = current_call()
        keyed = request.action_id is None and call.request_key is not None
        action_id = request.action_id or f"act_{call.request_key or new_hex()}"
        command = Release(
            request.exchange_id, action_id, content_digest(request), call.caller, call.processing_id,
            remember=request.remember_refusal or keyed, asked=_asked(request, call),
        )  # fmt: skip
        return await self._record(command, call, keyed=keyed)

    async def reverse_exchange(self, request: api.ReverseExchange, /) -> api.Exchange:
        """Undo captured value, whole or in part."""
        call = current_call()
        keyed = request.reversal_id is None and call.request_key is not None
        reversal_id = request.reversal_id or f"exc_{call.request_key or new_hex()}"
        command = Reverse(
            request, reversal_id, content_digest(request), call.caller, call.processing_id,
            remember=request.remember_refusal or keyed, asked=None if keyed else _asked(request, call),
        )  # fmt: skip
        return await self._record(command, call, keyed=keyed)

    async def _record(self, command: Create | Capture | Release | Reverse, call: Call, *, keyed: bool) -> api.Exchange:
        try:
            answer = await self._recorder.submit(command)
        except PaymentError as error:
            if _is_reuse(error, keyed=keyed):
                raise KeyReused from error
            call.replayed = call.replayed or (command.stored is not None and error.code not in REUSED)
            raise
        stored: Stored | None = command.stored
        if stored is not None:
            call.replayed = True
        assert isinstance(answer, api.Exchange)
        return answer

    async def expire_exchange(self, exchange_id: str) -> api.Exchange:
        """Let a lapsed hold expire (for the job); raises Conflict `hold_not_expired` before its time."""
        action_id = "act_" + derived_hex("expire", exchange_id)
        answer = await self._recorder.submit(Release(exchange_id, action_id, b"expiry", "ledger", None, expiry=True))
        assert isinstance(answer, api.Exchange)
        return answer

    async def sweep_account(self, account_id: str) -> api.Exchange:
        """Post an account's expired lots to breakage (for the job); raises Conflict `nothing_expired`."""
        answer = await self._recorder.submit(Sweep(account_id, f"exc_{new_hex()}", "ledger"))
        assert isinstance(answer, api.Exchange)
        return answer

    async def get_exchange(self, request: api.GetExchange, /) -> api.Exchange:
        """An exchange as it stands."""
        return await self._reader.exchange(request.exchange_id)

    async def get_exchange_by_reference(self, request: api.GetExchangeByReference, /) -> api.Exchange:
        """An exchange by its caller's reference."""
        return await self._reader.exchange_by_reference(request.reference)

    # -- queries ----------------------------------------------------------------------------------------------------

    async def list_account_logs(self, request: api.ListAccountLogs, /) -> api.AccountLogPage:
        """An account's log, newest first."""
        return await self._reader.logs(request)

    async def list_lots(self, request: api.ListLots, /) -> api.LotPage:
        """An account's lots in order of consumption."""
        return await self._reader.lots(request)

    async def get_snapshot(self, request: api.GetSnapshot, /) -> api.Snapshot:
        """An account and its lots at any past instant."""
        return await self._reader.snapshot(request)

    async def list_type_totals(self, request: api.ListTypeTotals, /) -> api.TypeTotals:
        """Totals of every account type."""
        return await self._reader.type_totals(request.as_of)

    def export_logs(self, request: api.ExportLogs, /) -> AsyncIterator[api.AccountLog]:
        """Every account log."""
        return self._reader.export(request.since)

    def export_accounts(self, request: api.ExportAccounts, /) -> AsyncIterator[api.ExportedAccount]:
        """Every account."""
        del request
        return self._reader.export_accounts()

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The exchanges of some processings."""
        return await self.effects.list_effects(request)

    async def list_account_types(self, request: api.ListAccountTypes, /) -> api.AccountTypes:
        """The configured account types."""
        return api.AccountTypes(types=[each.info() for each in self._types])

    @property
    def recorder(self) -> Recorder:
        """For the jobs of this service and for health checks."""
        return self._recorder

    @property
    def reader(self) -> Reader:
        """For the jobs of this service."""
        return self._reader


def _create(
    request: api.CreateExchange,
    exchange_id: str,
    call: Call,
    chain: Chain | None = None,
    salt: bytes = b"",
    *,
    keyed: bool,
    asked: Asked | None = None,
) -> Create:
    """`keyed`: the id stands for the call's idempotency key, so that a refusal is the key's answer for good."""
    digest = _digest(request, salt)
    accounts = [
        leg.account_id or (api.account_id_of(leg.owner, leg.account_type) if leg.owner and leg.account_type else "")
        for leg in (*request.sources, *request.targets)
    ]
    remember = request.remember_refusal or keyed
    return Create(
        request, exchange_id, digest, accounts, call.caller, call.processing_id, chain, remember=remember, asked=asked
    )


def _asked(request: msgspec.Struct, call: Call) -> Asked | None:
    """The key of a request whose effects do not stand under it. Services choose ids, and so need no key besides."""
    key = call.request_key
    return Asked(key, content_digest(request)) if key is not None and call.caller.startswith("key_") else None


def _is_reuse(outcome: Answer | PaymentError, *, keyed: bool) -> bool:
    return isinstance(outcome, KeyReused) or (keyed and isinstance(outcome, PaymentError) and outcome.code in REUSED)


def _batch(request: api.CreateExchanges, call: Call) -> list[Create]:
    key = call.request_key
    asked = None if key is None else Asked(key, content_digest(request))
    whole = Chain("batch_aborted") if request.all_or_nothing else None
    chain: Chain | None = None
    commands: list[Create] = []
    for number, each in enumerate(request.exchanges):
        if each.linked and chain is None:
            chain = Chain("linked_exchange_failed")
        keyed = each.exchange_id is None and key is not None
        exchange_id = each.exchange_id or f"exc_{new_hex() if key is None else derived_hex(key, str(number))}"
        salt = b"" if asked is None or not keyed else asked.digest
        commands.append(_create(each, exchange_id, call, whole or chain, salt, keyed=keyed, asked=asked))
        if not each.linked:
            chain = None
    return commands


def _outcome(outcome: Answer | PaymentError) -> api.ExchangeOutcome:
    if isinstance(outcome, PaymentError):
        failure = api.Failure(code=outcome.code, message=outcome.message, retryable=outcome.retryable)
        return api.ExchangeOutcome(exchange=None, failure=failure)
    assert isinstance(outcome, api.Exchange)
    return api.ExchangeOutcome(exchange=outcome, failure=None)


def _account(answer: Answer) -> api.Account:
    assert isinstance(answer, api.Account)
    return answer
