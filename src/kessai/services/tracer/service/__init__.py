"""The tracer's service: touches opened, reports taken, verdicts given and sealed, findings worked."""

from kessai.services.tracer.service.verbs import TracerService

__all__ = ["TracerService"]
