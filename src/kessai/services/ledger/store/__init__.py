"""The ledger's schema and nothing else: pages written, state loaded, reads for queries. Every function takes a list."""

from kessai.foundation.migrations import SchemaSpec

SERVICE = "ledger"
PACKAGE = "kessai.services.ledger"
SCHEMA = SchemaSpec(service=SERVICE, package=PACKAGE, components=("kessai.foundation.events",))
