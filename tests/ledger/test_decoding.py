"""What never reaches the ledger: requests that the door's decoding refuses, naming the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kessai.foundation.contract import Message
from kessai.services.ledger import api

from .book import decoded

ACCOUNT = "acc_" + "0" * 32
EXCHANGE = "exc_" + "0" * 32
LEG: dict[str, Any] = {"amount_minor": 1, "asset": "JPY", "account_id": ACCOUNT}


def _exchange(**changes: object) -> dict[str, Any]:
    return {"sources": [LEG], "targets": [LEG]} | changes


def _amount(amount: object) -> dict[str, Any]:
    return _exchange(sources=[LEG | {"amount_minor": amount}])


REFUSED: list[tuple[str, dict[str, Any], type[Message]]] = [
    ("zero", _amount(0), api.CreateExchange),
    ("negative", _amount(-1), api.CreateExchange),
    ("float", _amount(1.5), api.CreateExchange),
    ("text-amount", _amount("1"), api.CreateExchange),
    ("boolean-amount", _amount(True), api.CreateExchange),
    ("null-amount", _amount(None), api.CreateExchange),
    ("above-the-largest-amount", _amount(10**16 + 1), api.CreateExchange),
    ("2-to-the-63", _amount(2**63), api.CreateExchange),
    ("above-2-to-the-64", _amount(2**64 + 1), api.CreateExchange),
    ("asset-in-lower-case", _exchange(sources=[LEG | {"asset": "jpy"}]), api.CreateExchange),
    ("unknown-field", _exchange(memo="x"), api.CreateExchange),
    ("unknown-field-of-a-leg", _exchange(sources=[LEG | {"memo": "x"}]), api.CreateExchange),
    ("no-source", _exchange(sources=[]), api.CreateExchange),
    ("no-target", _exchange(targets=[]), api.CreateExchange),
    ("too-many-legs", _exchange(sources=[LEG] * 65), api.CreateExchange),
    ("malformed-account-id", _exchange(sources=[LEG | {"account_id": "acc_1"}]), api.CreateExchange),
    ("malformed-owner", _exchange(sources=[LEG | {"owner": "a b"}]), api.CreateExchange),
    ("malformed-exchange-id", _exchange(exchange_id="exc_XYZ"), api.CreateExchange),
    ("empty-reference", _exchange(reference=""), api.CreateExchange),
    ("reference-too-long", _exchange(reference="r" * 129), api.CreateExchange),
    ("rate-with-a-sign", _exchange(rate="-1"), api.CreateExchange),
    ("rate-as-a-number", _exchange(rate=1.5), api.CreateExchange),
    ("rate-with-too-many-decimals", _exchange(rate="1.1234567890123"), api.CreateExchange),
    ("metadata-too-many", _exchange(metadata={f"k{i}": "v" for i in range(17)}), api.CreateExchange),
    ("metadata-value-not-text", _exchange(metadata={"k": 1}), api.CreateExchange),
    ("metadata-value-too-long", _exchange(metadata={"k": "v" * 513}), api.CreateExchange),
    ("capture-as-text", _exchange(capture="yes"), api.CreateExchange),
    ("naive-time", _exchange(expires_at="2026-04-01T00:00:00"), api.CreateExchange),
    ("empty-batch", {"exchanges": []}, api.CreateExchanges),
    ("batch-above-its-limit", {"exchanges": [_exchange()] * 8_001}, api.CreateExchanges),
    ("capture-of-zero", {"exchange_id": EXCHANGE, "amount_minor": 0}, api.CaptureExchange),
    ("capture-of-a-negative-leg", {"exchange_id": EXCHANGE, "legs": [{"leg": 0, "amount_minor": -1}]},
     api.CaptureExchange),
    ("reversal-of-zero", {"exchange_id": EXCHANGE, "amount_minor": 0}, api.ReverseExchange),
    ("void-without-an-exchange", {}, api.VoidExchange),
    ("unknown-freeze", {"account_id": ACCOUNT, "freeze": "HALF"}, api.FreezeAccount),
    ("negative-overdraft", {"owner": "a", "account_type": "credit", "overdraft_limit_minor": -1}, api.OpenAccount),
    ("page-of-nothing", {"account_id": ACCOUNT, "limit": 0}, api.ListAccountLogs),
    ("page-above-its-limit", {"account_id": ACCOUNT, "limit": 1001}, api.ListLots),
    ("snapshot-at-a-naive-time", {"account_id": ACCOUNT, "as_of": "2026-04-01T00:00:00"}, api.GetSnapshot),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_request_is_refused_at_decoding(request_: dict[str, Any], message: type[Message]) -> None:
    decoded(_valid_twin(message), message)
    with pytest.raises(msgspec.ValidationError):
        decoded(request_, message)


def _valid_twin(message: type[Message]) -> dict[str, Any]:
    """A request of the same kind that is fine: what is refused is the one thing that differs."""
    valid: dict[type[Message], dict[str, Any]] = {
        api.CreateExchange: _exchange(),
        api.CreateExchanges: {"exchanges": [_exchange()]},
        api.CaptureExchange: {"exchange_id": EXCHANGE},
        api.ReverseExchange: {"exchange_id": EXCHANGE},
        api.VoidExchange: {"exchange_id": EXCHANGE},
        api.FreezeAccount: {"account_id": ACCOUNT, "freeze": "IN"},
        api.OpenAccount: {"owner": "a", "account_type": "credit"},
        api.ListAccountLogs: {"account_id": ACCOUNT},
        api.ListLots: {"account_id": ACCOUNT},
        api.GetSnapshot: {"account_id": ACCOUNT},
    }
    return valid[message]


def test_largest_amount_is_accepted() -> None:
    request = decoded(_amount(10**16), api.CreateExchange)
    assert isinstance(request, api.CreateExchange)
    assert request.sources[0].amount_minor == 10**16
