"""Verification of phone numbers: codes are made, sent as text messages, and tried."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime

import msgspec
import structlog

from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Connection
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import derived_hex
from kessai.foundation.outbound import NotSent, Unanswered
from kessai.foundation.vault import Vault
from kessai.services.nfc.api import CodeDelivery, PrepaidCard, PrepaidCardState, SendCode, StepKind, VerifyPhone
from kessai.services.nfc.domain.cards import Change, Holding, Phone, Step, given_number
from kessai.services.nfc.domain.phones import (
    CODE_DIGITS,
    limit_reached,
    new_phone,
    refusal_of,
    require_pending,
    sent_again,
    text_of,
    tried,
)
from kessai.services.nfc.domain.terms import CardTerms
from kessai.services.nfc.gateways import SmsSender
from kessai.services.nfc.service.acting import Acts
from kessai.services.nfc.service.issuing import IssueDesk, pool_empty
from kessai.services.nfc.service.showing import shown_card
from kessai.services.nfc.store.cards import Before
from kessai.services.nfc.store.phones import count_message, open_phone, seal_phone

log = structlog.get_logger(__name__)


class PhoneDesk(IssueDesk):
    """Implements what of the door's part `PrepaidCardDesk` is about codes."""

    _clock: Clock
    _vault: Vault
    _acts: Acts
    _terms: CardTerms
    _sms: SmsSender

    async def send_code(self, request: SendCode, /) -> PrepaidCard:
        """Send another code."""
        code = _new_code()

        async def judge(connection: Connection, holding: Holding, now: datetime) -> Change:
            require_pending(holding.card)
            mark = self._code_marks(holding.card.card_id, holding.phone.sends + 1, code)[0]
            phone = sent_again(holding.phone, mark, now, self._terms.phone)
            await self._count(connection, holding.card.customer_id, phone, now)
            return Change(replace(holding, phone=phone), [Step(kind=StepKind.CODE_SENT, detail={"send": phone.sends})])

        holding = await self._acts.change(request.card_id, request, judge)
        return shown_card(await self._deliver(holding, code), self._terms.phone)

    async def verify_phone(self, request: VerifyPhone, /) -> PrepaidCard:
        """Verify the phone and have a card assigned from the pool."""

        async def judge(connection: Connection, holding: Holding, now: datetime) -> Change:
            require_pending(holding.card)
            change = Change(holding, []) if holding.phone.verified_at else self._tried(holding, request.code, now)
            if change.after.phone.verified_at is None:
                return change
            number = await self.assigned(connection, holding.card.card_id, now)
            return change if number is None else given_number(change, number, now)

        holding = await self._acts.change(request.card_id, request, judge, goes_on=_goes_on)
        if holding.card.state is PrepaidCardState.PENDING:
            if holding.phone.verified_at is not None:
                raise pool_empty()
            raise refusal_of("sms_code_wrong", self._terms.phone.attempts_max - holding.phone.attempts)
        await self.note_level()
        return shown_card(holding, self._terms.phone)

    def _tried(self, holding: Holding, code: str, now: datetime) -> Change:
        phone = holding.phone
        marks = self._code_marks(holding.card.card_id, phone.sends, code)
        after = tried(phone, marks, now, self._terms.phone)
        if isinstance(after, PaymentError):
            raise after
        left = self._terms.phone.attempts_max - after.attempts
        detail = {"verified": True} if after.verified_at else {"verified": False, "attempts_left": left}
        return Change(replace(holding, phone=after), [Step(kind=StepKind.CODE_TRIED, detail=detail)])

    # -- codes ----------------------------------------------------------------------------------------------------

    def first_code(self, card_id: str, number: str, now: datetime) -> tuple[Phone, str]:
        """A phone number that a code is being sent to, and the code."""
        code = _new_code()
        sealed, fingerprint = seal_phone(self._vault, card_id, number)
        mark = self._code_marks(card_id, 1, code)[0]
        return new_phone(sealed, fingerprint, number, mark, now, self._terms.phone), code

    async def _count(self, connection: Connection, customer_id: str, phone: Phone, now: datetime) -> None:
        """Count a message towards the day's limits; Refused `sms_limit_reached`."""
        customer = self._vault.fingerprints(customer_id, context="nfc.customer")[0]
        subjects, limit = [phone.fingerprint, customer], self._terms.phone.sends_a_day_max
        if not await count_message(connection, subjects, business_date(now), limit):
            raise limit_reached()

    def _code_marks(self, card_id: str, send: int, code: str) -> list[bytes]:
        return self._vault.fingerprints(code, context=f"nfc.code:{card_id}:{send}")

    async def _deliver(self, holding: Holding, code: str) -> Holding:
        """Send the code that was journalled, and note what became of it; nothing of a replay, whose code is gone."""
        phone, card_id = holding.phone, holding.card.card_id
        if (
            phone.delivery is not CodeDelivery.SENDING
            or phone.code_digest != self._code_marks(card_id, phone.sends, code)[0]
        ):
            return holding
        message_id = f"sms_{derived_hex('nfc.sms', card_id, str(phone.sends))}"
        number = open_phone(self._vault, card_id, phone.sealed)
        delivery = await self._delivery(message_id, number, text_of(code, self._terms.phone))

        async def judge(_: Connection, found: Holding, __: datetime) -> Change:
            if found.phone.sends != phone.sends or found.phone.delivery is not CodeDelivery.SENDING:
                return Change(found, [])
            after = replace(found, phone=replace(found.phone, delivery=delivery))
            return Change(after, [Step(kind=StepKind.CODE_DELIVERY, detail={"delivery": delivery.value})])

        return await self._acts.follow(card_id, judge, self._acts.own())

    async def _delivery(self, message_id: str, number: str, text: str) -> CodeDelivery:
        """Send a message; a lost answer is inquired."""
        try:
            taken = await self._sms.send(message_id, number, text)
        except NotSent:
            return CodeDelivery.NOT_SENT
        except Unanswered:
            return await self._inquired(message_id)
        return CodeDelivery.SENT if taken else CodeDelivery.REFUSED

    async def _inquired(self, message_id: str) -> CodeDelivery:
        try:
            return CodeDelivery.SENT if await self._sms.was_taken(message_id) else CodeDelivery.UNKNOWN
        except (NotSent, Unanswered) as error:
            log.warning("sms_outcome_unknown", message_id=message_id, code=error.code)
            return CodeDelivery.UNKNOWN


def _goes_on(before: Before, holding: Holding) -> bool:
    """A repetition of a code that was wrong is refused again; one that was right goes on to a card, if it has none."""
    told = msgspec.json.decode(before.detail, type=dict[str, object])
    if before.kind is StepKind.CODE_TRIED and not told["verified"]:
        left = told["attempts_left"]
        raise refusal_of("sms_code_wrong", left if isinstance(left, int) else 0)
    return holding.card.state is PrepaidCardState.PENDING


def _new_code() -> str:
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
