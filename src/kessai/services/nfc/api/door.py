"""The nfc service's verbs, and the errors of each in order of precedence: one Protocol a desk, joined in one."""

from __future__ import annotations

from typing import Protocol

from kessai.foundation.contract import verb
from kessai.services.nfc.api.authorizations import NfcAuthorizations
from kessai.services.nfc.api.cards import (
    AuthenticateDevice,
    CardHistory,
    CloseCard,
    DeleteDevice,
    Device,
    Devices,
    GetCardHistory,
    GetPrepaidCard,
    InquireDevice,
    ListDevices,
    ListPrepaidCards,
    LockCard,
    PrepaidCard,
    PrepaidCards,
    ProvisionDevice,
    RegisterPrepaidCard,
    ReissueCard,
    ResumeDevice,
    SendCode,
    SuspendDevice,
    UnlockCard,
    VerifyPhone,
)
from kessai.services.nfc.api.clearing import NfcClearing
from kessai.services.nfc.api.issuing import (
    GetIssueBatch,
    GetPool,
    GiveUpBatch,
    ImportCards,
    IssueBatch,
    IssueBatchPage,
    ListIssueBatches,
    PoolStanding,
    RequestCards,
)

READ = "nfc:read"
WRITE = "nfc:write"
_VAULT = "vault_not_configured"
_TOKENS = ("device_not_found", "idempotency_key_reused", "device_deleted")


class CardIssuing(Protocol):
    """発行: batches of cards, and the pool."""

    @verb("POST /v1/nfc/issue-batches", scope=WRITE, moves_value=True, status=201, errors=("idempotency_key_reused",))
    async def request_cards(self, request: RequestCards, /) -> IssueBatch:
        """Ask the issuer for cards; the request file is sent, and sent again until the issuer is known to have it."""
        ...

    @verb("POST /v1/nfc/issue-batches/{batch_id}/import", scope=WRITE,
          errors=(_VAULT, "issue_batch_not_found", "issuer_unavailable", "issuer_answer_unknown"))  # fmt: skip
    async def import_cards(self, request: ImportCards, /) -> IssueBatch:
        """Carry a batch as far as it will go: send its request, ask for the issuer's file, take its cards in."""
        ...

    @verb("POST /v1/nfc/issue-batches/{batch_id}/give-up", scope=WRITE,
          errors=("issue_batch_not_found", "issue_batch_finished"))  # fmt: skip
    async def give_up_batch(self, request: GiveUpBatch, /) -> IssueBatch:
        """Wait no more for a batch whose file does not come: it ends REFUSED with `given_up`, and none of its cards is
        taken in. Giving it up again changes nothing."""
        ...

    @verb("GET /v1/nfc/issue-batches/{batch_id}", scope=READ, errors=("issue_batch_not_found",))
    async def get_batch(self, request: GetIssueBatch, /) -> IssueBatch:
        """A batch, with its first wrong lines."""
        ...

    @verb("GET /v1/nfc/issue-batches", scope=READ, errors=("bad_cursor",))
    async def list_batches(self, request: ListIssueBatches, /) -> IssueBatchPage:
        """Batches, newest first."""
        ...

    @verb("GET /v1/nfc/pool", scope=READ)
    async def get_pool(self, request: GetPool, /) -> PoolStanding:
        """How full the pool is, and whether it runs low."""
        ...


class PrepaidCardDesk(Protocol):
    """利用者のカード."""

    @verb("POST /v1/nfc/cards", scope=WRITE, moves_value=True, status=201,
          errors=(_VAULT, "idempotency_key_reused", "authentication_stale", "card_already_registered",
                  "card_pool_empty", "sms_limit_reached"))  # fmt: skip
    async def register_prepaid_card(self, request: RegisterPrepaidCard, /) -> PrepaidCard:
        """A card for an authenticated customer, pending until the phone is verified by the code that is sent."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/code", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", "idempotency_key_reused", "card_not_pending", "sms_too_soon",
                  "sms_limit_reached"))  # fmt: skip
    async def send_code(self, request: SendCode, /) -> PrepaidCard:
        """Send another code."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/verify", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", "idempotency_key_reused", "card_not_pending", "sms_code_used_up",
                  "sms_code_expired", "sms_code_wrong", "card_pool_empty"))  # fmt: skip
    async def verify_phone(self, request: VerifyPhone, /) -> PrepaidCard:
        """Verify the phone and have a card assigned from the pool: it is active."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/lock", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", "idempotency_key_reused", "card_closed", "card_not_active"))  # fmt: skip
    async def lock_card(self, request: LockCard, /) -> PrepaidCard:
        """Stop a card at once, and suspend its devices."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/unlock", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", "idempotency_key_reused", "authentication_stale", "card_closed",
                  "card_not_locked", "card_stolen"))  # fmt: skip
    async def unlock_card(self, request: UnlockCard, /) -> PrepaidCard:
        """Let a locked card pay again, with the devices that the lock suspended."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/reissue", scope=WRITE, moves_value=True, status=201,
          errors=(_VAULT, "card_not_found", "idempotency_key_reused", "authentication_stale", "card_closed",
                  "card_not_active", "card_pool_empty"))  # fmt: skip
    async def reissue_card(self, request: ReissueCard, /) -> PrepaidCard:
        """Close a card and give another one of the pool to the same customer: the answer."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/close", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", "idempotency_key_reused", "card_closed"))  # fmt: skip
    async def close_card(self, request: CloseCard, /) -> PrepaidCard:
        """End a card, and delete its devices."""
        ...

    @verb("GET /v1/nfc/cards/{card_id}", scope=READ, errors=("card_not_found",))
    async def get_prepaid_card(self, request: GetPrepaidCard, /) -> PrepaidCard:
        """A card."""
        ...

    @verb("GET /v1/nfc/cards", scope=READ)
    async def list_prepaid_cards(self, request: ListPrepaidCards, /) -> PrepaidCards:
        """A customer's cards."""
        ...

    @verb("GET /v1/nfc/cards/{card_id}/history", scope=READ, errors=("bad_cursor", "card_not_found"))
    async def get_card_history(self, request: GetCardHistory, /) -> CardHistory:
        """Everything that was done to a card and its devices, newest first."""
        ...


class DeviceDesk(Protocol):
    """端末: the phones that a card is on."""

    @verb("POST /v1/nfc/cards/{card_id}/devices", scope=WRITE, moves_value=True, status=201,
          errors=("wallet_data_wrong", _VAULT, "card_not_found", "idempotency_key_reused", "authentication_stale",
                  "card_closed", "card_not_active", "too_many_devices"))  # fmt: skip
    async def provision_device(self, request: ProvisionDevice, /) -> Device:
        """Ask the token service for a number for a phone."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/devices/{device_id}/authenticate", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", *_TOKENS, "authentication_stale", "card_closed", "card_not_active",
                  "device_not_requested"))  # fmt: skip
    async def authenticate_device(self, request: AuthenticateDevice, /) -> Device:
        """Vouch for the customer, so that the phone may take the number up."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/devices/{device_id}/suspend", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", *_TOKENS, "device_not_active"))  # fmt: skip
    async def suspend_device(self, request: SuspendDevice, /) -> Device:
        """Stop a device at once."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/devices/{device_id}/resume", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", *_TOKENS, "authentication_stale", "card_closed", "card_not_active",
                  "device_not_suspended"))  # fmt: skip
    async def resume_device(self, request: ResumeDevice, /) -> Device:
        """Let a suspended device pay again, once the token service has said so."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/devices/{device_id}/delete", scope=WRITE, moves_value=True,
          errors=(_VAULT, "card_not_found", *_TOKENS))  # fmt: skip
    async def delete_device(self, request: DeleteDevice, /) -> Device:
        """Take a card off a phone at once."""
        ...

    @verb("POST /v1/nfc/cards/{card_id}/devices/{device_id}/inquire", scope=WRITE,
          errors=(_VAULT, "card_not_found", "device_not_found", "token_service_unavailable",
                  "token_service_answer_unknown"))  # fmt: skip
    async def inquire_device(self, request: InquireDevice, /) -> Device:
        """Ask the token service how a device stands, and take that over."""
        ...

    @verb("GET /v1/nfc/cards/{card_id}/devices", scope=READ, errors=("card_not_found",))
    async def list_devices(self, request: ListDevices, /) -> Devices:
        """A card's devices, oldest first."""
        ...


class NfcCards(CardIssuing, PrepaidCardDesk, DeviceDesk, Protocol):
    """iD決済, カード: cards issued in batches, given to customers, put on phones."""


class Nfc(NfcCards, NfcAuthorizations, NfcClearing, Protocol):
    """iD決済: virtual prepaid cards on customers' phones, what was paid with them, and what was cleared of it."""
