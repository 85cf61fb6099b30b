"""Lanes of the fault matrix, to play every kind of payment on."""

from tests.faults.matrix.conftest import impatient, new_lane

__all__ = ["impatient", "new_lane"]
