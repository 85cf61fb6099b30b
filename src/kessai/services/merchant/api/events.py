"""What the merchant service publishes. A later event of the same merchant has a higher version."""

from __future__ import annotations

from datetime import datetime

import msgspec

from kessai.services.merchant.api.words import Aspect

TOPIC_CHANGED = "merchant.changed"
TOPIC_MASTER = "merchant.master"


class MerchantChanged(
    msgspec.Struct, frozen=True, kw_only=True, tag="merchant.changed", tag_field="type"
):  # fmt: skip
    """Published in `merchant.changed` with every change of a merchant or company."""

    event_id: str
    merchant_id: str
    """Or the company's id, where `aspect` is `company`."""
    version: int
    aspect: Aspect
    valid_from: datetime
    occurred_at: datetime


class MasterIdChanged(
    msgspec.Struct, frozen=True, kw_only=True, tag="merchant.master_id_changed", tag_field="type"
):  # fmt: skip
    """Published in `merchant.master` when an id of a payment method was mapped or its mapping ended."""

    event_id: str
    payment_method: str
    methods_id: str
    merchant_id: str
    valid_from: datetime
    valid_until: datetime | None
    occurred_at: datetime
