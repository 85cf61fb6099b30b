"""The verbs about customers' cards: registered, locked, unlocked, reissued, closed, looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Conflict
from kessai.foundation.ids import bare, derived_hex
from kessai.sdk.iso8583 import Pan
from kessai.services.nfc.api import (
    CardHistory,
    CloseCard,
    GetCardHistory,
    GetPrepaidCard,
    ListPrepaidCards,
    LockCard,
    NumberStanding,
    PrepaidCard,
    PrepaidCards,
    PrepaidCardState,
    RegisterPrepaidCard,
    ReissueCard,
    StepKind,
    UnlockCard,
)
from kessai.services.nfc.domain.cards import (
    Card,
    Change,
    Holding,
    Step,
    close,
    given_number,
    lock,
    require_issued,
    unlock,
)
from kessai.services.nfc.domain.terms import CardTerms
from kessai.services.nfc.service.acting import Acts, Judge, Overtaken
from kessai.services.nfc.service.devices import DeviceWork
from kessai.services.nfc.service.issuing import pool_empty
from kessai.services.nfc.service.numbers import Numbers
from kessai.services.nfc.service.paging import cursor_of, position_of
from kessai.services.nfc.service.phones import PhoneDesk
from kessai.services.nfc.service.showing import shown_card
from kessai.services.nfc.store import ROLE, cards
from kessai.services.nfc.store.cards import Act
from kessai.services.nfc.store.phones import open_phone, seal_phone

HIGHEST = 2**62


class CardDesk(PhoneDesk):
    """Implements the door's part `PrepaidCardDesk`, and what the authorization server and clearing ask in process."""

    _database: Database
    _clock: Clock
    _acts: Acts
    _terms: CardTerms
    _numbers: Numbers
    _device_work: DeviceWork

    # -- what others in this service ask --------------------------------------------------------------------------

    async def card_of(self, pan: Pan) -> NumberStanding | None:
        """Whose a card number or Device-PAN is; None of a number that is none of ours. One statement, remembered."""
        return await self._numbers.card_of(pan)

    async def cards_of(self, numbers: Sequence[Pan]) -> list[NumberStanding | None]:
        """Whose many numbers are, in one statement."""
        return await self._numbers.cards_of(numbers)

    async def cards_of_references(self, references: Sequence[str]) -> dict[str, str]:
        """The card ids of the issuer's references, by which clearing files speak of cards."""
        found = await self._database.transaction(
            ROLE, lambda connection: cards.ids_of_references(connection, references)
        )
        return {reference: f"vpc_{card_id}" for reference, card_id in found.items()}

    # -- registration ---------------------------------------------------------------------------------------------

    async def register_prepaid_card(self, request: RegisterPrepaidCard, /) -> PrepaidCard:
        """A card for an authenticated customer, pending until the phone is verified."""
        act = self._acts.act(request)
        sent: list[str] = []

        async def work(connection: Connection) -> Holding:
            if known := (await cards.load(connection, [act.act_id])).get(act.act_id):
                before = await cards.step_of_act(connection, act.act_id, act.act_id)
                self._acts.require_same(before.digest if before else b"", request)
                return known
            holding, code = await self._registered(connection, request, act)
            sent[:] = [code]
            return holding

        holding = await self._acts.again(work)
        if sent:
            holding = await self._deliver(holding, sent[0])
        return shown_card(holding, self._terms.phone)

    async def _registered(self, connection: Connection, request: RegisterPrepaidCard, act: Act) -> tuple[Holding, str]:
        now = self._clock.now()
        self._terms.authentication.require(request.authentication, now)
        known = await self._held(connection, request.customer_id)
        await self.require_free(connection)
        card = Card(
            card_id=act.act_id,
            customer_id=request.customer_id,
            state=PrepaidCardState.PENDING,
            version=1,
            created_at=now,
            updated_at=now,
        )
        phone, code = self.first_code(card.card_id, request.phone_number, now)
        await self._count(connection, request.customer_id, phone, now)
        detail = {"authenticated_by": request.authentication.method.value}
        steps = [Step(kind=StepKind.REGISTERED, detail=detail)]
        holding = Holding(card=card, phone=phone)
        if not await cards.insert(connection, holding, steps, act):
            raise Overtaken
        if not await cards.hold(connection, request.customer_id, card.card_id, known):
            raise Overtaken
        return holding, code

    async def _held(self, connection: Connection, customer_id: str) -> int | None:
        """The version of what is said of a customer's card, which may be replaced; Conflict `card_already_registered`.

        A registration that was never finished is given up for the new one.
        """
        found = await cards.held_by(connection, customer_id)
        if found is None:
            return None
        card_id, version = found
        holding = await self._acts.holding(connection, card_id)
        state = holding.card.state
        if state in (PrepaidCardState.ACTIVE, PrepaidCardState.LOCKED):
            raise Conflict("card_already_registered", "This customer has a card.", card_id=f"vpc_{card_id}")
        if state is PrepaidCardState.PENDING:
            now = self._clock.now()
            change = close(holding, now, now, why="registered_anew")
            if not await cards.write(connection, holding, change, self._acts.own(), now):
                raise Overtaken
        return version

    # -- lock, unlock, reissue, close -----------------------------------------------------------------------------

    async def lock_card(self, request: LockCard, /) -> PrepaidCard:
        """Stop a card at once, and suspend its devices."""

        async def judge(_: Connection, holding: Holding, now: datetime) -> Change:
            return lock(holding, request.reason, now, datetime.now(UTC))

        return await self._card_changed(request, request.card_id, judge, request.note)

    async def unlock_card(self, request: UnlockCard, /) -> PrepaidCard:
        """Let a locked card pay again, with the devices that the lock suspended."""

        async def judge(_: Connection, holding: Holding, now: datetime) -> Change:
            self._terms.authentication.require(request.authentication, now)
            return unlock(holding, now, datetime.now(UTC))

        return await self._card_changed(request, request.card_id, judge, request.note)

    async def close_card(self, request: CloseCard, /) -> PrepaidCard:
        """End a card, and delete its devices."""

        async def judge(_: Connection, holding: Holding, now: datetime) -> Change:
            return close(holding, now, datetime.now(UTC), why="asked_for")

        return await self._card_changed(request, request.card_id, judge, request.note)

    async def _card_changed(self, request: Message, card_id: str, judge: Judge, note: str) -> PrepaidCard:
        holding = await self._acts.change(card_id, request, judge, note=note)
        holding = await self._device_work.tell(holding)
        return shown_card(holding, self._terms.phone)

    async def reissue_card(self, request: ReissueCard, /) -> PrepaidCard:
        """Close a card and give another one of the pool to the same customer."""
        act_id = current_call().request_key or None

        async def judge(connection: Connection, holding: Holding, now: datetime) -> Change:
            self._terms.authentication.require(request.authentication, now)
            require_issued(holding.card)
            new_id = derived_hex("nfc.reissue", act_id or holding.card.card_id)
            change = close(holding, now, datetime.now(UTC), why="reissued", replaced_by=new_id)
            await self._insert_successor(connection, holding, new_id, request, now)
            return change

        old = await self._acts.change(request.card_id, request, judge, note=request.note)
        await self._device_work.tell(old)
        await self.note_level()
        successor = f"vpc_{old.card.replaced_by}"
        return await self.get_prepaid_card(GetPrepaidCard(card_id=successor))

    async def _insert_successor(
        self, connection: Connection, old: Holding, new_id: str, request: ReissueCard, now: datetime
    ) -> None:
        """The card that comes in place of another: of the same customer, with the same verified phone."""
        number = await self.assigned(connection, new_id, now)
        if number is None:
            raise pool_empty()
        phone_number = open_phone(self._vault, old.card.card_id, old.phone.sealed)
        sealed, fingerprint = seal_phone(self._vault, new_id, phone_number)
        card = replace(
            old.card, card_id=new_id, lock_reason=None, number=None, replaces=old.card.card_id, created_at=now
        )
        phone = replace(old.phone, sealed=sealed, fingerprint=fingerprint)
        step = Step(kind=StepKind.REGISTERED, detail={"replaces": f"vpc_{old.card.card_id}"})
        made = given_number(Change(Holding(card=card, phone=phone), [step]), number, now)
        if not await cards.insert(connection, made.after, made.steps, self._acts.act(request, request.note)):
            raise Overtaken
        known = await cards.held_by(connection, card.customer_id)
        if not await cards.hold(connection, card.customer_id, new_id, known[1] if known else None):
            raise Overtaken

    # -- reading --------------------------------------------------------------------------------------------------

    async def get_prepaid_card(self, request: GetPrepaidCard, /) -> PrepaidCard:
        """A card."""
        holding = await self._database.transaction(
            ROLE, lambda connection: self._acts.holding(connection, bare(request.card_id))
        )
        return shown_card(holding, self._terms.phone)

    async def list_prepaid_cards(self, request: ListPrepaidCards, /) -> PrepaidCards:
        """A customer's cards."""

        async def read(connection: Connection) -> PrepaidCards:
            ids = await cards.ids_of_customer(connection, request.customer_id, closed=request.include_closed)
            found = await cards.load(connection, ids)
            return PrepaidCards(cards=[shown_card(found[each], self._terms.phone) for each in ids])

        return await self._database.transaction(ROLE, read)

    async def get_card_history(self, request: GetCardHistory, /) -> CardHistory:
        """Everything that was done to a card and its devices, newest first."""
        below = position_of(request.cursor, tuple[int], (HIGHEST,))[0]

        async def read(connection: Connection) -> CardHistory:
            card_id = bare(request.card_id)
            await self._acts.holding(connection, card_id)
            found = await cards.steps_page(connection, card_id, below, request.limit + 1)
            page = found[: request.limit]
            more = cursor_of(page[-1].version) if len(found) > request.limit else None
            return CardHistory(steps=page, next_cursor=more)

        return await self._database.transaction(ROLE, read)
