"""The card gateway service: one async method a verb. Check, decide, claim; then a workflow has it done, once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import structlog
from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound, PaymentError, Refused
from kessai.foundation.ids import bare, derived_hex, new_hex, new_id
from kessai.sdk.processing.api import EffectSource, EffectsPage, ListEffects
from kessai.sdk.workflow import Conflicted, Counts, Engine, Handle, Parked
from kessai.services.cardgateway import domain, store, workflows
from kessai.services.cardgateway.api import (
    AuthorizationPage,
    AuthorizationState,
    AuthorizeCard,
    CaptureCard,
    Card,
    CardAuthorization,
    Cards,
    CardState,
    CompleteAuthorization,
    GetCard,
    InquireAuthorization,
    ListAuthorizations,
    ListCards,
    OperationKind,
    RefundCard,
    RegisterCard,
    RemoveCard,
    VoidCard,
)
from kessai.services.cardgateway.domain import Instruction, Patience
from kessai.services.cardgateway.effects import NETWORK, CardEffects, CardNetwork
from kessai.services.cardgateway.gateways import Gateway
from kessai.services.cardgateway.service import repairer
from kessai.services.cardgateway.service.repairer import Doubt
from kessai.services.cardgateway.service.sagas import SAGAS, Sagas
from kessai.services.cardgateway.workflows import Deps, Registration

log = structlog.get_logger(__name__)

CLAIM_ATTEMPTS_MAX = 4

Operation: TypeAlias = CaptureCard | RefundCard | VoidCard | CompleteAuthorization


class CardGatewayService:
    """外部接続. Any number of processes may run one on the same database."""

    def __init__(
        self, database: Database, clock: Clock, gateway: Gateway, patience: Patience | None = None, **engine: Any
    ) -> None:
        self._database = database
        self._clock = clock
        self._patience = patience or Patience()
        self.effects = CardEffects(database)
        """What the service tells of itself to the Processing Tracer."""
        self.outside: dict[str, EffectSource] = {NETWORK: CardNetwork(self.effects, gateway)}
        """Parties outside for which it answers there."""
        self._deps = Deps(database=database, gateway=gateway, patience=self._patience)
        self._sagas = Sagas(database, clock, self._deps, **engine)
        self._engine = self._sagas.engine

    async def open(self) -> None:
        """Take up what is in doubt, and keep taking up what other processes leave behind."""
        await self._engine.open()

    async def close(self, *, grace_s: float = 10.0) -> None:
        """Carry what was accepted to its end within `grace_s`; what is left is taken up by another process."""
        await self._engine.close(grace_s=grace_s)
        await self._deps.gateway.close()

    @property
    def workflows(self) -> Counts:
        """What this process's workflows came to."""
        return self._engine.counts

    @property
    def engine(self) -> Engine[Deps]:
        """This process's executor, for operators."""
        return self._engine

    async def parked_workflows(self) -> list[Parked]:
        """Workflows that wait for an operator."""
        return await self._engine.parked()

    async def unpark(self, workflow_id: str) -> bool:
        """Let a parked workflow go on; False when there is none of that id."""
        return await self._engine.unpark(workflow_id)

    # -- cards --------------------------------------------------------------------------------------------------

    async def register_card(self, request: RegisterCard, /) -> Card:
        """Keep a card for a customer, as a token."""
        card_id = request.card_id or f"crd_{current_call().request_key or new_hex()}"
        registration = Registration(card_id=card_id, customer_id=request.customer_id, form_token=request.form_token)
        earlier = await self._sagas.earlier_unless_open(workflows.register, registration, bare(card_id))
        handle = earlier or await self._sagas.start(
            workflows.register,
            registration,
            operation_id=card_id,
            writes=[store.card_insertion(card_id, request.customer_id, self._clock.now())],
            content=registration,
        )
        await self._sagas.outcome(handle, card_id)
        return await self.get_card(GetCard(card_id=card_id))

    async def list_cards(self, request: ListCards, /) -> Cards:
        """A customer's cards."""
        found = await store.cards_of(self._database, request.customer_id, include_removed=request.include_removed)
        return Cards(cards=found)

    async def get_card(self, request: GetCard, /) -> Card:
        """A card."""
        card, _ = await self._card(request.card_id)
        return card

    async def remove_card(self, request: RemoveCard, /) -> Card:
        """Forget a card."""
        card, _ = await self._card(request.card_id)
        if card.state is CardState.REMOVED:
            return card
        with contextlib.suppress(Conflicted):  # somebody else removes it
            await self._engine.start(
                workflows.forget,
                card.card_id,
                workflow_id=derived_hex("forget", card.card_id),
                writes=[store.card_removal(card.card_id, self._clock.now())],
            )
        return await self.get_card(GetCard(card_id=request.card_id))

    async def _card(self, card_id: str) -> tuple[Card, str]:
        found = await store.cards(self._database, [card_id])
        if not found or found[0].card is None:
            raise NotFound("card_not_found", "There is no such card.", card_id=card_id)
        return found[0].card, found[0].card_token

    # -- authorizing --------------------------------------------------------------------------------------------

    async def authorize(self, request: AuthorizeCard, /) -> CardAuthorization:
        """Hold an amount on a card: AUTHORIZED, or REQUIRES_ACTION with where to send the customer."""
        authorization_id = request.authorization_id or f"cau_{current_call().request_key or new_hex()}"
        content = replace(request, authorization_id=None)
        try:
            card_token = await self._usable(request)
            self._deps.gateway.require_open()
        except PaymentError:
            handle = await self._sagas.earlier(workflows.authorize, content, bare(authorization_id))
            if handle is None:
                raise
        else:
            handle = await self._begin_authorization(request, authorization_id, card_token, content)
        return await self._sagas.hold(handle, authorization_id, authorization_id)

    async def _usable(self, request: AuthorizeCard) -> str:
        """The token of the card to be charged."""
        card, card_token = await self._card(request.card_id)
        if card.customer_id != request.customer_id:
            raise NotFound("card_not_found", "The customer has no such card.", card_id=request.card_id)
        if card.state is CardState.REMOVED:
            raise Refused("card_removed", "The card was removed.", card_id=request.card_id)
        domain.check_asset(request.asset)
        return card_token

    async def _begin_authorization(
        self, request: AuthorizeCard, authorization_id: str, card_token: str, content: AuthorizeCard
    ) -> Handle[CardAuthorization]:
        authorization = self._new(
            authorization_id,
            AuthorizationState.PENDING,
            customer_id=request.customer_id,
            card_id=request.card_id,
            amount_minor=request.amount_minor,
            asset=request.asset,
            reference=request.reference,
        )
        instruction = Instruction(
            kind=OperationKind.AUTHORIZE,
            authorization_id=authorization_id,
            operation_id=authorization_id,
            amount_minor=request.amount_minor,
            asset=request.asset,
            card_token=card_token,
            return_url=request.return_url,
        )
        inserted = store.insertion(authorization, bare(authorization_id))
        try:
            return await self._sagas.instruct(authorization, instruction, inserted, content)
        except Conflicted:
            raise domain.aborted(authorization_id) from None

    def _new(self, authorization_id: str, state: AuthorizationState, **of: Any) -> CardAuthorization:
        now = self._clock.now()
        known: dict[str, Any] = {"customer_id": "", "card_id": "", "amount_minor": 0, "asset": "JPY", "reference": None}
        return CardAuthorization(
            authorization_id=authorization_id,
            state=state,
            captured_minor=0,
            refunded_minor=0,
            refusal_code=None,
            action_url=None,
            processing_id=current_call().processing_id or new_id("prc"),
            created_at=now,
            updated_at=now,
            version=0,
            **(known | of),
        )

    # -- operations ---------------------------------------------------------------------------------------------

    async def complete_authorization(self, request: CompleteAuthorization, /) -> CardAuthorization:
        """Take up an authorization after the customer's 3-D Secure; AUTHORIZED, or refused."""

        def plan(authorization: CardAuthorization) -> int:
            domain.check_complete(authorization)
            return authorization.amount_minor

        return await self._operate(OperationKind.COMPLETE, request, plan)

    async def capture(self, request: CaptureCard, /) -> CardAuthorization:
        """Take what is held, whole or in part."""
        return await self._operate(OperationKind.CAPTURE, request, lambda each: domain.capture_amount(each, request))

    async def refund(self, request: RefundCard, /) -> CardAuthorization:
        """Give captured value back, whole or in part."""
        return await self._operate(OperationKind.REFUND, request, lambda each: domain.refund_amount(each, request))

    async def void(self, request: VoidCard, /) -> CardAuthorization:
        """Release what is held: VOIDED; or VOIDING: it is journalled and will be done."""
        authorization_id, until = request.authorization_id, self._sagas.until()
        operation_id = _operation_id(request)
        for _ in range(CLAIM_ATTEMPTS_MAX):
            stored = await self._found(authorization_id)
            if stored is None:
                if await self._void_unseen(authorization_id):
                    break
            elif domain.is_undone(stored.authorization):
                break
            elif stored.authorization.state is AuthorizationState.PENDING:
                await store.abort(self._database, authorization_id, datetime.now(UTC))
                if not await self._sagas.settled(authorization_id, until):
                    break
            elif stored.busy_with is not None and stored.authorization.state is AuthorizationState.VOIDING:
                if not await self._sagas.settled(authorization_id, until):
                    break
            else:
                return await self._void_held(replace(request, operation_id=operation_id), until)
        return (await self._stored(authorization_id)).authorization

    async def _void_unseen(self, authorization_id: str) -> bool:
        tombstone = self._new(authorization_id, AuthorizationState.VOIDED)
        return bool(await store.insert_voided(self._database, [tombstone]))

    async def _void_held(self, request: VoidCard, until: float) -> CardAuthorization:
        handle = await self._begin(OperationKind.VOID, request, _releasable)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                return await handle.result()
        return (await self._stored(request.authorization_id)).authorization

    async def _operate(
        self, kind: OperationKind, request: Operation, plan: Callable[[CardAuthorization], int]
    ) -> CardAuthorization:
        request = replace(request, operation_id=_operation_id(request))
        handle = await self._begin(kind, request, plan)
        assert request.operation_id is not None
        if kind is OperationKind.COMPLETE:
            return await self._sagas.hold(handle, request.operation_id, request.authorization_id)
        return await self._sagas.outcome(handle, request.operation_id)

    async def _begin(
        self, kind: OperationKind, request: Operation, plan: Callable[[CardAuthorization], int]
    ) -> Handle[CardAuthorization]:
        """Claim the authorization for an instruction on it, or find the one that was given under this id."""
        saga, operation_id = SAGAS[kind], request.operation_id
        assert operation_id is not None
        content = replace(request, operation_id=None)
        for _ in range(CLAIM_ATTEMPTS_MAX):
            stored = await self._found(request.authorization_id)
            try:
                if stored is None:
                    raise _not_found(request.authorization_id)
                if stored.busy_with is not None:  # what is in doubt decides what may be done: no refusal for good yet
                    raise domain.under_way(stored.authorization)
                amount_minor = plan(stored.authorization)
                if kind is not OperationKind.VOID:
                    self._deps.gateway.require_open()
            except PaymentError:
                earlier = await self._sagas.earlier(saga, content, bare(operation_id))
                if earlier is None:
                    raise
                return earlier
            instruction = Instruction(
                kind=kind,
                authorization_id=request.authorization_id,
                operation_id=operation_id,
                amount_minor=amount_minor,
                final=not isinstance(request, CaptureCard) or request.final,
            )
            state = AuthorizationState.VOIDING if kind is OperationKind.VOID else stored.authorization.state
            claim = store.claim(stored.authorization, bare(operation_id), state)
            claimed = replace(stored.authorization, version=stored.authorization.version + 1)
            try:
                return await self._sagas.instruct(claimed, instruction, claim, content)
            except Conflicted:
                continue
        raise domain.busy(request.authorization_id)

    # -- look-ups -----------------------------------------------------------------------------------------------

    async def inquire(self, request: InquireAuthorization, /) -> CardAuthorization:
        """An authorization with its operations; what is in doubt is waited for a moment first."""
        await self._sagas.settled(request.authorization_id, self._sagas.until())
        found = await store.whole(self._database, request.authorization_id)
        if found is None:
            raise _not_found(request.authorization_id)
        authorization, made = found
        return replace(authorization, operations=made)

    async def list_authorizations(self, request: ListAuthorizations, /) -> AuthorizationPage:
        """A customer's authorizations, newest first."""
        before = store.NEWEST if request.cursor is None else _position(request.cursor)
        found = await store.of_customer(self._database, request.customer_id, before, request.limit + 1)
        page = found[: request.limit]
        more = len(found) > request.limit
        return AuthorizationPage(authorizations=page, next_cursor=_cursor(page[-1]) if more else None)

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The authorizations of some processings."""
        return await self.effects.list_effects(request)

    async def _found(self, authorization_id: str) -> store.Stored | None:
        found = await store.load(self._database, [authorization_id])
        return found[0] if found else None

    async def _stored(self, authorization_id: str) -> store.Stored:
        stored = await self._found(authorization_id)
        if stored is None:
            raise _not_found(authorization_id)
        return stored

    # -- the repairer -------------------------------------------------------------------------------------------

    async def repair(self) -> int:
        """Void what nobody wants; gives how many voids were begun. What is in doubt, the workflows find out."""
        await repairer.abandon(self._database, self._patience)
        unfinished = await repairer.unfinished(self._database)
        begun = sum([await self._release(each) for each in unfinished])
        await self.doubt()
        return begun

    async def release_outside(self, authorization_id: str, operation_id: str) -> None:
        """Tell the gateway (again) to let go of what is undone here; once for the operation's id.

        Raises NotFound, Refused where it is not undone here or the gateway says no, Unavailable or Unknown.
        """
        stored = await self._stored(authorization_id)
        await repairer.release_outside(self._deps.gateway, stored.authorization, operation_id)

    async def doubt(self) -> Doubt:
        """What is not known just now, and how long it ever took."""
        return await repairer.doubt(self._database, self._patience)

    async def _release(self, authorization_id: str) -> bool:
        stored = await self._stored(authorization_id)
        operation_id = "cop_" + derived_hex("repair", authorization_id, str(stored.authorization.version))
        request = VoidCard(authorization_id=authorization_id, operation_id=operation_id)
        try:
            await self._begin(OperationKind.VOID, request, _releasable)
        except PaymentError as error:
            log.warning("repair_waits", authorization_id=authorization_id, error=str(error))
            return False
        return True


def _releasable(authorization: CardAuthorization) -> int:
    domain.check_void(authorization)
    return authorization.amount_minor - authorization.captured_minor


def _operation_id(request: Operation) -> str:
    return request.operation_id or f"cop_{current_call().request_key or new_hex()}"


def _not_found(authorization_id: str) -> NotFound:
    return NotFound("authorization_not_found", "There is no such authorization.", authorization_id=authorization_id)


def _cursor(authorization: CardAuthorization) -> str:
    at = int(authorization.created_at.timestamp() * 1_000_000)
    return base64.urlsafe_b64encode(
        at.to_bytes(8, "big") + bytes.fromhex(bare(authorization.authorization_id))
    ).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        data = base64.urlsafe_b64decode(cursor.encode())
        at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int.from_bytes(data[:8], "big"))
        if len(data) == 24:
            return at, data[8:].hex()
    except (ValueError, OverflowError):
        pass
    raise Invalid("bad_cursor", "The cursor is not one that this list gave.")
