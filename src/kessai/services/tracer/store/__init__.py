"""The schema `tracer` and nothing else: every function takes lists, in a fixed number of statements."""

from kessai.foundation.db import Connection, role_of
from kessai.foundation.migrations import SchemaSpec

SCHEMA = SchemaSpec(service="tracer", package="kessai.services.tracer", components=("kessai.foundation.events",))
ROLE = role_of("tracer")

_BY_INDEX = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL enable_bitmapscan = off"
)


async def plan_by_index(connection: Connection) -> None:
    """For this transaction: every statement looks its rows up by key, however many there are.

    Left to itself the planner reads a whole table for a batch of a thousand, until the table has a hundred times that.
    """
    await connection.execute(_BY_INDEX)
