"""The tracer's settings, typed: `config/tracer.toml` or an operator's own file in its place."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec

from kessai.foundation.config import TomlDocument
from kessai.sdk.processing.api import DifferenceKind, RepairAction, ServiceName

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


class RetentionClass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the reports of some processings are kept."""

    kept_days: Annotated[int, msgspec.Meta(ge=1, le=36_525)]
    """Since they were last touched."""
    kinds: list[str] = []
    """Of what the processing is about: the kind of the first effect where it began."""


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Classes by name, and the one of every kind that none names."""

    default: str
    classes: dict[str, RetentionClass]


class RepairRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A difference that a service may be told to repair without asking anybody."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,59}$")]
    enabled: bool = True
    participant: ServiceName
    """Who found it."""
    dependency: ServiceName
    """Whose record it is."""
    difference: DifferenceKind
    theirs: list[str]
    """In which states their record may be."""
    own: list[str]
    """In which states all that the participant itself tells of must be; empty: it must not tell of this effect."""
    amount_minor_max: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Above it, people decide."""
    service: ServiceName
    """Who is told."""
    action: RepairAction


class Remote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another team's service that is called for effects, and tells them over gRPC."""

    name: ServiceName
    address: Annotated[str, msgspec.Meta(pattern=r"^[^/\s]+:\d+$")]
    """`host:port`."""
    called_by: Annotated[list[ServiceName], msgspec.Meta(min_length=1)]
    """Who of the platform's services calls it."""


class TracerRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    reports: Reports
    parties: Parties
    notices: Notices
    retention: Retention
    repair: list[RepairRule] = []
    remote: list[Remote] = []

    @property
    def silent(self) -> frozenset[str]:
        """Who does not report; the tracer itself neither, though it calls services that repair something."""
        return frozenset((*self.parties.silent, "tracer"))

    @property
    def kept_classes(self) -> dict[str, timedelta]:
        """How long each class is kept."""
        return {name: timedelta(days=each.kept_days) for name, each in self.retention.classes.items()}

    def kept_class(self, kind: str | None) -> str:
        """The class of a processing that is about something of this kind."""
        named = (name for name, each in self.retention.classes.items() if kind in each.kinds)
        return next(named, self.retention.default)

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
    rules = document.convert((), TracerRules)
    if rules.retention.default not in rules.retention.classes:
        raise document.error(("retention", "default"), "is not the name of a class")
    seen: set[str] = set()
    for number, each in enumerate(rules.repair):
        if each.name in seen:
            raise document.error(("repair", number, "name"), "is the name of another rule, too")
        seen.add(each.name)
    return rules
