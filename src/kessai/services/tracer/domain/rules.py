"""The tracer's settings, typed: `config/tracer.toml` or an operator's own file in its place."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec

from kessai.foundation.config import TomlDocument
from kessai.sdk.processing.api import ServiceName

Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 86_400)]


class Reports(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long participants have."""

    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)]
    """Touches that come within it make one revision."""
    deadline_s: Seconds
    in_flight_deadline_s: Seconds


class Parties(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who does not report."""

    silent: list[ServiceName]


class Notices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long notices are kept after they were dealt with."""

    kept_s: Seconds


class TracerRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    reports: Reports
    parties: Parties
    notices: Notices

    @property
    def deadline(self) -> timedelta:
        """From the last touch to INCOMPLETE."""
        return timedelta(seconds=self.reports.deadline_s)

    @property
    def in_flight_deadline(self) -> timedelta:
        """The same, from the last report that something is in flight."""
        return timedelta(seconds=self.reports.in_flight_deadline_s)

    @property
    def notices_kept(self) -> timedelta:
        """How long notices are kept after they were dealt with."""
        return timedelta(seconds=self.notices.kept_s)


def read_rules(document: TomlDocument) -> TracerRules:
    """The settings; ConfigError names the line of what is wrong."""
    return document.convert((), TracerRules)
