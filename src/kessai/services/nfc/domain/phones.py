"""The verification of a phone number: codes, attempts, messages, and their limits."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from kessai.foundation.errors import Conflict, PaymentError, Refused
from kessai.services.nfc.api import CodeDelivery, PhoneCheck, PrepaidCardState
from kessai.services.nfc.domain.cards import Card, Phone
from kessai.services.nfc.domain.terms import PhoneTerms

CODE_DIGITS = 6


def new_phone(sealed: bytes, fingerprint: bytes, number: str, code: bytes, now: datetime, terms: PhoneTerms) -> Phone:
    """A number to which its first code is being sent."""
    return Phone(
        sealed=sealed,
        fingerprint=fingerprint,
        last_four=number[-4:],
        code_digest=code,
        sends=1,
        attempts=0,
        delivery=CodeDelivery.SENDING,
        sent_at=now,
        expires_at=now + timedelta(seconds=terms.code_valid_s),
    )


def require_pending(card: Card) -> None:
    """Conflict `card_not_pending` of a card whose phone was verified, or that has ended."""
    if card.state is not PrepaidCardState.PENDING:
        raise Conflict("card_not_pending", "This card waits for no code.", state=card.state.value)


def sent_again(phone: Phone, code: bytes, now: datetime, terms: PhoneTerms) -> Phone:
    """With another code; Refused `sms_too_soon`, `sms_limit_reached`."""
    if now < next_send_at(phone, terms):
        raise Refused("sms_too_soon", "Another code can be sent a little later.", at=next_send_at(phone, terms))
    if phone.sends >= terms.sends_max:
        raise limit_reached()
    return replace(
        phone,
        code_digest=code,
        sends=phone.sends + 1,
        attempts=0,
        delivery=CodeDelivery.SENDING,
        sent_at=now,
        expires_at=now + timedelta(seconds=terms.code_valid_s),
    )


def tried(phone: Phone, marks: Sequence[bytes], now: datetime, terms: PhoneTerms) -> Phone | PaymentError:
    """After a code was given: verified, or one attempt fewer; an error when it is not even compared."""
    if phone.attempts >= terms.attempts_max:
        return refusal_of("sms_code_used_up")
    if now >= phone.expires_at:
        return refusal_of("sms_code_expired")
    if any(hmac.compare_digest(phone.code_digest, mark) for mark in marks):
        return replace(phone, verified_at=now)
    return replace(phone, attempts=phone.attempts + 1)


def refusal_of(code: str, attempts_left: int = 0) -> PaymentError:
    """Why a code does not verify."""
    match code:
        case "sms_code_used_up":
            return Refused("sms_code_used_up", "Too many wrong codes; have another one sent.")
        case "sms_code_expired":
            return Refused("sms_code_expired", "The code's time is over; have another one sent.")
        case _:
            return Refused("sms_code_wrong", "This is not the code that was sent.", attempts_left=attempts_left)


def limit_reached() -> Refused:
    """No more messages."""
    return Refused("sms_limit_reached", "No more codes are sent for now.")


def next_send_at(phone: Phone, terms: PhoneTerms) -> datetime:
    """When another code may be sent."""
    return phone.sent_at + timedelta(seconds=terms.send_every_s)


def shown_phone(phone: Phone, terms: PhoneTerms) -> PhoneCheck:
    """As the door shows it."""
    return PhoneCheck(
        phone=f"*******{phone.last_four}",
        verified_at=phone.verified_at,
        delivery=phone.delivery,
        expires_at=phone.expires_at,
        attempts_left=max(0, terms.attempts_max - phone.attempts),
        sends_left=max(0, terms.sends_max - phone.sends),
        next_send_at=next_send_at(phone, terms),
    )


def text_of(code: str, terms: PhoneTerms) -> str:
    """What the customer reads."""
    minutes = terms.code_valid_s // 60
    return f"認証コード: {code} {minutes}分以内に入力してください。誰にも教えないでください。"
