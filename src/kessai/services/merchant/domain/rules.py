"""Which changes a second person has to approve: `config/merchant.toml`."""

from __future__ import annotations

import msgspec

from kessai.foundation.config import TomlDocument
from kessai.services.merchant.api import Aspect, MerchantState


class ApprovalRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What needs four eyes."""

    contract: bool
    parent: bool
    bank_account: bool
    master: bool
    profile: bool = True
    company: bool = True
    states: list[MerchantState]
    """Changes into these states."""

    def needed_for(self, aspect: Aspect, state: MerchantState | None = None) -> bool:
        """Whether a change of an aspect (into a state) needs a second person."""
        match aspect:
            case Aspect.CONTRACT:
                return self.contract
            case Aspect.PARENT:
                return self.parent
            case Aspect.BANK_ACCOUNT:
                return self.bank_account
            case Aspect.STATE:
                return state in self.states
            case Aspect.PROFILE:
                return self.profile
            case Aspect.COMPANY:
                return self.company
            case Aspect.CHILDREN:
                return False


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    approval: ApprovalRules


def read_rules(document: TomlDocument) -> ApprovalRules:
    """The rules of a file; ConfigError names the line of what is wrong."""
    return document.convert((), _Document).approval
