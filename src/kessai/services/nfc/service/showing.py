"""Cards and devices as the door shows them."""

from __future__ import annotations

from collections.abc import Mapping

from kessai.services.nfc.api import Device as ShownDevice
from kessai.services.nfc.api import PrepaidCard, WalletPayload
from kessai.services.nfc.domain.cards import Device, Holding
from kessai.services.nfc.domain.phones import shown_phone
from kessai.services.nfc.domain.terms import PhoneTerms


def shown_card(holding: Holding, terms: PhoneTerms) -> PrepaidCard:
    """A card."""
    card, number = holding.card, holding.card.number
    return PrepaidCard(
        card_id=f"vpc_{card.card_id}",
        customer_id=card.customer_id,
        state=card.state,
        lock_reason=card.lock_reason,
        last_four=number.last_four if number else None,
        reference=number.reference if number else None,
        expires_on=number.expires_on if number else None,
        phone=shown_phone(holding.phone, terms),
        replaces=card.replaces and f"vpc_{card.replaces}",
        replaced_by=card.replaced_by and f"vpc_{card.replaced_by}",
        version=card.version,
        created_at=card.created_at,
        updated_at=card.updated_at,
    )


def shown_device(card_id: str, device: Device, payload: Mapping[str, str] | None = None) -> ShownDevice:
    """A device, with what the app hands to the wallet where the token service has just told it."""
    number = device.number
    return ShownDevice(
        device_id=f"dev_{device.device_id}",
        card_id=f"vpc_{card_id}",
        platform=device.platform,
        state=device.state,
        pending=device.pending,
        suspended_by=device.suspended_by,
        last_four=number.last_four if number else None,
        expires_on=number.expires_on if number else None,
        refusal_code=device.refusal_code,
        payload=[WalletPayload(name=name, value=value) for name, value in sorted((payload or {}).items())],
        created_at=device.created_at,
        updated_at=device.updated_at,
    )
