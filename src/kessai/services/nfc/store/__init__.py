"""The schema `nfc` and nothing else: every function takes lists, in a fixed number of statements."""

from kessai.foundation.db import role_of
from kessai.foundation.migrations import SchemaSpec

SCHEMA = SchemaSpec(
    service="nfc",
    package="kessai.services.nfc",
    components=("kessai.foundation.events", "kessai.sdk.workflow", "kessai.sdk.jobs"),
)
ROLE = role_of("nfc")
