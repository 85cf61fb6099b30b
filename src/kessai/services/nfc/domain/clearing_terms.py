"""What clearing goes by: `config/nfc_clearing.toml`. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kessai.foundation.config import TomlDocument, load_toml

Count = Annotated[int, msgspec.Meta(ge=1, le=500)]


class _Read(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Matching(_Read, frozen=True, kw_only=True):
    """Which lines are charged."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3}$")]
    amount_minor_max: Annotated[int, msgspec.Meta(ge=1, le=10**10)]
    """A line above this is not charged, whatever bears it."""


class Files(_Read, frozen=True, kw_only=True):
    """How files are taken."""

    look_back: Annotated[int, msgspec.Meta(ge=0, le=1000)]
    """Files before the last one whose content is compared with what was taken."""
    page: Count
    """Lines that are decided together."""


class Reconciling(_Read, frozen=True, kw_only=True):
    """How days are compared with the processor's."""

    look_back_days: Annotated[int, msgspec.Meta(ge=0, le=31)]
    """Days before its own that a run compares once more."""
    page: Count
    """Records that are asked for at once."""


class ClearingTerms(_Read, frozen=True, kw_only=True):
    """All of it."""

    matching: Matching
    files: Files
    reconcile: Reconciling


def read_clearing_terms(document: TomlDocument | None = None) -> ClearingTerms:
    """The terms of a file, or the platform's own; ConfigError names the line of what is wrong."""
    return (document or load_toml("kessai.config", "nfc_clearing.toml")).convert((), ClearingTerms)
