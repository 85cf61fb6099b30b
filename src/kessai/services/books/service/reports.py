"""The registry of reports: who asks names one, its days and its filters, and gets a `domain.table.Report`.

Each desk offers its own; the forms that a report is written in are no concern of theirs.
"""

from __future__ import annotations

from kessai.foundation.errors import Invalid, NotFound
from kessai.services.books.domain.table import Report
from kessai.services.books.service.asked import Asked, Offers


class Reports:
    """All that can be asked for."""

    def __init__(self, *desks: Offers) -> None:
        self._offers = {name: offer for desk in desks for name, offer in desk.items()}
        assert len(self._offers) == sum(len(desk) for desk in desks), "two desks offer a report of the same name"

    @property
    def names(self) -> list[str]:
        """What there is, in the order of the desks."""
        return list(self._offers)

    def filters_of(self, name: str) -> tuple[str, ...]:
        """The filters that a report takes, those it needs first; raises NotFound `report_not_found`."""
        offer = self._offers.get(name)
        if offer is None:
            raise NotFound("report_not_found", f"There is no report {name}.", reports=", ".join(self._offers))
        return (*offer.required, *offer.optional)

    def required_of(self, name: str) -> tuple[str, ...]:
        """Those of them that it needs."""
        return self._offers[name].required

    async def build(self, asked: Asked) -> Report:
        """The report. Raises `report_not_found`, `range_reversed`, `filter_unknown`, `filter_required`."""
        known = self.filters_of(asked.name)
        offer = self._offers[asked.name]
        if asked.until < asked.since:
            raise Invalid("range_reversed", "The range ends before it begins.")
        for name in asked.filters:
            if name not in known:
                raise Invalid("filter_unknown", f"The report {asked.name} has no filter {name}.", filter=name)
        for name in offer.required:
            if not asked.filters.get(name):
                raise Invalid("filter_required", f"The report {asked.name} needs the filter {name}.", filter=name)
        return await offer.build(asked)
