"""The words of the merchant door: ids, kinds, states, aspects."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

MerchantId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
"""As the ledger and payments name the merchant; chosen by the caller, or `mer_` and 32 digits."""
OwnerId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
"""A merchant's own id, or the id by which a payment method knows it."""
CompanyId = Annotated[str, msgspec.Meta(pattern=r"^cmp_[0-9a-f]{32}$")]
BankAccountId = Annotated[str, msgspec.Meta(pattern=r"^bac_[0-9a-f]{32}$")]
ApprovalId = Annotated[str, msgspec.Meta(pattern=r"^apv_[0-9a-f]{32}$")]
ImportId = Annotated[str, msgspec.Meta(pattern=r"^imp_[0-9a-f]{32}$")]
Cursor = Annotated[str, msgspec.Meta(max_length=512)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Cause = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""Why, for whoever reads the history."""
RegistrationNumber = Annotated[str, msgspec.Meta(pattern=r"^T[0-9]{13}$")]
"""適格請求書発行事業者の登録番号: T and 13 digits."""
CorporateNumber = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{13}$")]
"""法人番号: 13 digits, the first of which checks the others."""


class MerchantKind(StrEnum):
    """What sells."""

    COMPANY = "company"
    """A company as such: often only whom its shops' money is paid to."""
    SHOP = "shop"
    """A place with a counter."""
    ONLINE = "online"
    """A shop on the network."""


class MerchantState(StrEnum):
    """Where a merchant stands. Sales are settled of active ones."""

    APPLIED = "applied"
    """申込済"""
    SCREENED = "screened"
    """審査済: may be activated once a contract is there."""
    ACTIVE = "active"
    """利用中"""
    SUSPENDED = "suspended"
    """利用停止中: sells nothing, is paid nothing, and may come back."""
    CLOSED = "closed"
    """解約済: final."""


class Aspect(StrEnum):
    """What of a merchant or company a change is about."""

    COMPANY = "company"
    PROFILE = "profile"
    STATE = "state"
    CONTRACT = "contract"
    PARENT = "parent"
    """Who collects for it (入金集約)."""
    CHILDREN = "children"
    """For whom it collects: the other side of a change of `parent`."""
    BANK_ACCOUNT = "bank_account"
