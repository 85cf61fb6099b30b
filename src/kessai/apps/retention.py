"""What the platform forgets, and when: once a day for each service that has workflows."""

from __future__ import annotations

from datetime import date, timedelta

from kessai.foundation.clock import Clock, business_date
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError
from kessai.sdk.workflow.retention import Retention, make_room, retire


class WorkflowRetention:
    """Histories of workflows, and much later their ids, of the services of one database."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, services: tuple[str, ...]) -> None:
        if settings.workflow_ids_days < settings.workflow_history_days:
            raise OperatorError("The setting workflow_ids_days may not be below workflow_history_days.")
        self._database = database
        self._clock = clock
        self._retention = Retention(
            history=timedelta(days=settings.workflow_history_days), ids=timedelta(days=settings.workflow_ids_days)
        )
        self._services = services
        self._done: dict[str, date] = {}
        """The day on which each service had its turn in this process."""

    async def make_room(self) -> None:
        """Before anything runs: partitions for what it writes."""
        for service in self._services:
            await make_room(self._database, service, self._clock.now())

    async def run(self) -> int:
        """Forget what is due, if that was not done today; gives how many histories and ids."""
        today, count = business_date(self._clock.now()), 0
        for service in self._services:
            if self._done.get(service) == today:
                continue
            retired = await retire(self._database, service, self._clock, self._retention)
            count += retired.histories + retired.ids
            if not retired.postponed:
                self._done[service] = today
        return count
