"""The schema `merchant` and nothing else: every function takes lists, in a fixed number of statements."""

from kessai.foundation.db import role_of
from kessai.foundation.migrations import SchemaSpec

SCHEMA = SchemaSpec(service="merchant", package="kessai.services.merchant", components=("kessai.foundation.events",))
ROLE = role_of("merchant")
