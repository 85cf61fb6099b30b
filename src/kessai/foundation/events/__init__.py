"""Events between services: a transactional outbox, a relay that orders it, subscriptions with exactly-once effect.

A service inserts its outbox rows inside its own transaction (`outbox_row`, one row a flush and topic). The `Relay`,
one per source under a lease, gives each row a position after its commit, so that a row that commits late is never
skipped. A `Subscription` delivers in order of position; its cursor moves in the handler's own transaction, guarded by
its old value, so that an event takes effect once however often it is delivered. An event whose handler fails alone is
parked with its error and never blocks the others. Tables: `migrations/`, in the schema of each service that lists
`kessai.foundation.events` among its components.
"""

from kessai.foundation.events.outbox import (
    Event,
    OutboxRow,
    encode_events,
    encoded_row,
    outbox_insert,
    outbox_row,
    wake,
)
from kessai.foundation.events.relay import Relay
from kessai.foundation.events.subscription import Handler, ParkedEvent, Subscription, parked

__all__ = [
    "Event",
    "Handler",
    "OutboxRow",
    "ParkedEvent",
    "Relay",
    "Subscription",
    "encode_events",
    "encoded_row",
    "outbox_insert",
    "outbox_row",
    "parked",
    "wake",
]
