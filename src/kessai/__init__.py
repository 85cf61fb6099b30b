"""kessai (決済): an open payment platform in Python."""

__version__ = "0.1.0"
