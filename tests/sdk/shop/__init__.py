"""A tiny service for tests of the foundation: purchases made by workflows, and the effects of events."""

from __future__ import annotations

from kessai.foundation.migrations import SchemaSpec

SCHEMA = SchemaSpec(
    service="shop",
    package="tests.sdk.shop",
    components=("kessai.foundation.events", "kessai.sdk.workflow", "kessai.sdk.jobs"),
)
ROLE = "kessai_shop"

INSERT = """
INSERT INTO shop.purchase (order_id, state, version)
SELECT u.order_id, u.state, 1 FROM unnest($1::text[], $2::text[]) AS u (order_id, state)
ON CONFLICT (order_id) DO NOTHING RETURNING order_id
"""
MOVE = """
UPDATE shop.purchase SET state = u.state, version = u.version + 1
FROM unnest($1::text[], $2::int[], $3::text[]) AS u (order_id, version, state)
WHERE purchase.order_id = u.order_id AND purchase.version = u.version
RETURNING purchase.order_id
"""
EFFECT = """
INSERT INTO shop.effect (event_id, count) VALUES ($1::text, 1)
ON CONFLICT (event_id) DO UPDATE SET count = effect.count + 1
"""
